"""The pictures of the dashboard: which series share a plot, in which colours, on which axis."""

from __future__ import annotations

from collections.abc import Mapping

from engine.rundir import LIKELIHOOD_STAGES
from lmm_tui.widgets.chart import Chart, Trace
from lmm_tui.widgets.heatmap import HeatMap
from metrics import names

LAYER_NORMS = names.GRAD_LAYER


_TITLES = {"dpo": "preference", "grpo": "reward", "distill": "teacher"}


def stage_title(stage: str) -> str:
    """Of the picture that a stage brings along."""
    return _TITLES.get(stage, "PPL")


def numbers_of(stage: str) -> tuple[str, ...]:
    """The metrics that a stage shows one by one: its own, then as many probes as there is room."""
    own = names.STAGE_NUMBERS.get(stage, ())
    probes = tuple(names.PROBE + probe for probe in names.PROBES)
    return (own + probes)[: len(names.PROBES)]


def make_pictures(stage: str) -> list[Chart | HeatMap]:
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
        Chart(stage_title(stage), _stage_traces(stage), log=stage in LIKELIHOOD_STAGES, id="stage"),
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


def _stage_traces(stage: str) -> list[Trace]:
    if stage == "dpo":
        return [
            Trace("dpo/accuracy", "accuracy", "blue", "line"),
            Trace("dpo/margin", "margin", "green", "line"),
            Trace("val/accuracy", "val accuracy", "orange", "marks"),
        ]
    if stage == "grpo":
        return [
            Trace("grpo/reward", "mean", "blue", "line"),
            Trace("grpo/flat_groups", "flat groups", "purple", "line"),
            Trace("val/reward", "val", "orange", "marks"),
        ]
    if stage == "distill":
        return [
            Trace("distill/kl", "KL", "blue", "line"),
            Trace("distill/ce", "CE", "purple", "line"),
            Trace("val/kl", "val KL", "orange", "marks"),
        ]
    return [
        Trace(names.TRAIN_PPL, "train", "blue", "line"),
        Trace(names.VAL_PPL, "val", "orange", "marks"),
    ]


def references_for(panel: str | None, levels: Mapping[str, float]) -> Mapping[str, float]:
    """The loss levels worth a line; no other chart has any."""
    return dict(levels) if panel == "loss" else {}


if __name__ == "__main__":
    for made in make_pictures("grpo"):
        print(made.id)
    print(numbers_of("dpo"))
    assert references_for("lr", {"ln V": 6.9}) == {}
    print("=== 自测通过 ===")
