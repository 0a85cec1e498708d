"""What is on the screen of a run as files in its folder of plots: which, from where to where.

It asks charts what they show, and writes nothing but the picture of the screen.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from lmm_tui.charts.chart import Chart
from lmm_tui.cockpit.screens.dialogs import Choice
from lmm_tui.i18n.language import mark

PNG, SVG, CSV = "png", "svg", "csv"
CHOICES = (
    Choice(PNG, "p", mark("The plots of the whole run, as PNG")),
    Choice(SVG, "s", mark("The screen as it is, as SVG")),
    Choice(CSV, "c", mark("The curves that are shown, as CSV")),
)

_LONGEST_NAME = 40


@dataclass(frozen=True)
class Curves:
    """Metrics, and the steps from `first` to `last` that are seen of them."""

    metrics: tuple[str, ...]
    first: int
    last: int

    @classmethod
    def of(cls, charts: Sequence[Chart]) -> Curves | None:
        """Of charts with different windows, all that any shows; None where nothing is shown."""
        seen = [(chart, whole) for chart in charts if (whole := chart.whole)]
        metrics = dict.fromkeys(
            metric for chart, _ in seen for metric in chart.metrics if chart.store.get(metric)
        )
        if not metrics:
            return None
        edges = [
            chart.store.translate(edge, chart.view.axis, "step")
            for chart, whole in seen
            for edge in chart.view.span(whole)
        ]
        return cls(tuple(metrics), math.ceil(min(edges)), math.floor(max(edges)))

    def file(self, folder: Path, page: str) -> Path:
        """A name that says what is in it, and is free."""
        words = "-".join(re.findall(r"[a-z0-9]+", page.casefold()))[:_LONGEST_NAME]
        return _free(folder, f"{words or 'curves'}-{self.first}-{self.last}", CSV)


def write_picture(folder: Path, picture: str) -> Path:
    """Keep an SVG of the screen under the time of day. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _free(folder, time.strftime("screen-%Y%m%d-%H%M%S"), SVG)
    with path.open("x", encoding="utf-8") as file:
        file.write(picture)
    return path


def _free(folder: Path, name: str, suffix: str) -> Path:
    names = (f"{name}-{number}" if number > 1 else name for number in count(1))
    return next(path for one in names if not (path := folder / f"{one}.{suffix}").exists())


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        kept = [write_picture(Path(place) / "plots", "<svg/>").name for _ in range(2)]
    curves = Curves(("train/loss",), 10, 20).file(Path("plots"), "losses 1/2")
    print(kept, curves)
    assert len(set(kept)) == 2 and curves.name == "losses-1-2-10-20.csv"
    print("=== 自测通过 ===")
