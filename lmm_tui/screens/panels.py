"""The pictures of the dashboard: which series share a plot, in which colours, on which axis."""

from __future__ import annotations

from collections.abc import Mapping

from lmm_tui.widgets.chart import Chart, Trace
from lmm_tui.widgets.heatmap import HeatMap
from metrics import names

LAYER_NORMS = names.GRAD_LAYER


def make_pictures() -> list[Chart | HeatMap]:
    """One picture a panel; their ids are those of the pages. They can be focused and zoomed."""
    pictures: list[Chart | HeatMap] = [
        Chart(
            "loss",
            [
                Trace(names.TRAIN_LOSS, "train", "blue", "band"),
                Trace(names.TRAIN_LOSS_EMA, "EMA", "blue", "line"),
                Trace(names.VAL_LOSS, "val", "orange", "marks"),
            ],
            id="loss",
        ),
        Chart(
            "PPL",
            [
                Trace(names.TRAIN_PPL, "train", "blue", "line"),
                Trace(names.VAL_PPL, "val", "orange", "marks"),
            ],
            log=True,
            id="ppl",
        ),
        Chart(
            "grad",
            [
                Trace(names.GRAD_NORM, "norm", "purple", "line"),
                Trace(names.CLIP_RATE, "clipped", "red", "line"),
            ],
            id="grad",
        ),
        Chart("learning rate", [Trace(names.LR, "LR", "green", "line")], id="lr"),
        Chart("tokens/s", [Trace(names.TOKENS_PER_S, "tokens/s", "cyan", "line")], id="speed"),
        HeatMap("gradient norms by layer", id="layers"),
    ]
    for picture in pictures:
        picture.can_focus = True
        picture.add_class("picture")
    return pictures


def references_for(panel: str | None, levels: Mapping[str, float]) -> Mapping[str, float]:
    """The loss levels worth a line; no other chart has any."""
    return dict(levels) if panel == "loss" else {}


if __name__ == "__main__":
    for made in make_pictures():
        print(made.id)
    assert references_for("lr", {"ln V": 6.9}) == {}
    print("=== 自测通过 ===")
