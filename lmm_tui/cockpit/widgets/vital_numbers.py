"""The numbers that matter most, large, and where they are heading: the third line of the dashboard.

On a tall screen the first ones are digits of three lines under their labels, on a medium one all
stand under their labels, on a short one they share one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from textual.content import Content
from textual.geometry import Size

from lmm_tui.cockpit.widgets.big_digits import HEIGHT, big_digits
from lmm_tui.cockpit.widgets.styled_line import Part, StyledLine
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import count, figure, metric_figure, scientific
from lmm_tui.metrics import names
from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.metrics.series.series import Series, SeriesStore
from lmm_tui.metrics.series.smoothing import recent_mean
from lmm_tui.metrics.stages.stage_info import StageInfo

_LARGE, _MEDIUM = Size(140, 44), Size(100, 30)
_LEAST_CHANGE = 2e-3
"""Of a value: what changes less is steady."""
_ARROWS = {"up": "▲", "down": "▼", "steady": "▶"}


@dataclass(frozen=True)
class Vital:
    """A number to show: `metric` under `label`; the first ones are the last to be left out."""

    metric: str
    label: str


_LOSS = (Vital(names.TRAIN_LOSS, mark("loss")), Vital(names.VAL_LOSS, mark("val")))
_OF_ALL = (
    Vital(names.LR, mark("learning rate")),
    Vital(names.GRAD_NORM, mark("gradient norm")),
    Vital(names.TOKENS_PER_S, mark("tokens/s")),
    Vital(names.GPU, mark("GPU %")),
    Vital(names.GPU_MEMORY, mark("GPU memory, GB")),
    Vital(names.CPU, mark("CPU %")),
    Vital(names.MEMORY, mark("memory, GB")),
)


def vitals_of(stage: StageInfo) -> tuple[Vital, ...]:
    """The numbers of a stage: its own metric in the place of the perplexity, or of the loss."""
    own = [it for at, it in enumerate(stage.traces) if at == 0 or it.kind == "marks"]
    vitals = [Vital(it.metric, names.describe(it.metric).title) for it in own]
    if stage.chart_first:
        return (*vitals, *_OF_ALL)
    return (*_LOSS, *(vitals[:1] or [Vital(names.TRAIN_PPL, mark("perplexity"))]), *_OF_ALL)


class VitalNumbers(StyledLine):
    """Hidden while nothing is measured; a click on a number does nothing."""

    DEFAULT_CSS = """
    VitalNumbers { display: none; height: 1; padding: 0 1; }
    VitalNumbers.-medium { height: 2; }
    VitalNumbers.-large { height: 4; }
    """

    def __init__(self, stage: StageInfo, id: str | None = None) -> None:
        super().__init__(id=id)
        self._vitals = vitals_of(stage)
        self._store = SeriesStore()

    def show(self, store: SeriesStore) -> None:
        self._store = store
        self.display = any(store.get(vital.metric) for vital in self._vitals)
        self.reword()

    def fit_to(self, screen: Size) -> None:
        """Take as many lines as a screen of this size can spare."""
        large = screen.width >= _LARGE.width and screen.height >= _LARGE.height
        medium = screen.width >= _MEDIUM.width and screen.height >= _MEDIUM.height
        self.set_class(large, "-large")
        self.set_class(medium and not large, "-medium")

    def compose_line(self, width: int) -> Content:
        shown = self._measured()
        if self.has_class("-large"):
            return self._columns(shown, width, big=3)
        if self.has_class("-medium"):
            return self._columns(shown, width, big=0)
        return self._one_line(shown, width)

    def _measured(self) -> list[tuple[Vital, Series]]:
        found = [(vital, series) for vital in self._vitals if (series := self._series(vital))]
        if any(vital.metric == names.GPU for vital, _ in found):
            return [each for each in found if each[0].metric not in (names.CPU, names.MEMORY)]
        return found

    def _series(self, vital: Vital) -> Series | None:
        series = self._store.get(vital.metric)
        return series if series is not None and len(series) else None

    def _one_line(self, shown: Sequence[tuple[Vital, Series]], width: int) -> Content:
        line = Content()
        for vital, series in shown:
            part = Content.assemble(
                (tr(vital.label) + " ", "$foreground 70%"),
                (_value(series), "bold"),
                _arrow(series),
                "  ",
            )
            if line.cell_length + part.cell_length > width:
                break
            line += part
        return line

    def _columns(self, shown: Sequence[tuple[Vital, Series]], width: int, *, big: int) -> Content:
        """Each number under its label; the first `big` ones in large digits."""
        rows = [Content() for _ in range(1 + (HEIGHT if big else 1))]
        for index, (vital, series) in enumerate(shown):
            block = _block(vital, series, big=index < big, lines=len(rows))
            wide = max(part.cell_length for part in block) + 3
            if rows[0].cell_length + wide > width:
                break
            rows = [row + _padded(part, wide) for row, part in zip(rows, block, strict=True)]
        return Content("\n").join(rows)


def _block(vital: Vital, series: Series, *, big: bool, lines: int) -> list[Content]:
    label = Content.assemble((tr(vital.label), "$foreground 70%"), _arrow(series), _note(series))
    value = _value(series)
    if big and all(character in "0123456789.,-" for character in value):
        return [label, *(Content.styled(line, "bold") for line in big_digits(value))]
    shown = Content.styled(value, "bold")
    return [label, *[Content()] * (lines > 2), shown, *[Content()] * (lines > 2)]


def _padded(part: Content, width: int) -> Content:
    return part + Content(" " * (width - part.cell_length))


def _value(series: Series) -> str:
    """The last value; of a noisy training loss the mean of the last ones."""
    if series.name in (names.TRAIN_LOSS, names.TRAIN_PPL):
        return metric_figure(series.name, recent_mean(series.values))
    value = float(series.values[-1])
    if series.name == names.TOKENS_PER_S:
        return count(value)
    if series.name == names.LR and np.isfinite(value):
        return scientific(value)
    if series.name in (names.CPU, names.GPU):
        return f"{value:.0f}"
    if series.name in (names.MEMORY, names.GPU_MEMORY):
        return f"{value:.1f}"
    return figure(value)


def _note(series: Series) -> Part:
    """Where the best validation was."""
    if series.name != names.VAL_LOSS or (best := series.best("lower")) is None:
        return "", ""
    if best.step == int(series.steps[-1]):
        return f" {tr('best so far')}", "$text-success"
    said = tr("best {value} at step {step:,}", value=figure(best.value), step=best.step)
    return f" {said}", "$foreground 60%"


def _arrow(series: Series) -> Part:
    """Where the last values are heading, green if that is better and yellow if it is worse."""
    trend = _trend(series.values)
    better = names.describe(series.name).better
    if trend == "" or series.name in (names.CPU, names.MEMORY):
        return "", ""
    style = "$foreground 60%"
    if better != "neither" and trend != "steady":
        good = (trend == "up") == (better == "higher")
        style = "$text-success" if good else "$text-warning"
    return f" {_ARROWS[trend]}", style


def _trend(values: Floats) -> str:
    """The last twentieth of the values against the one before it."""
    part = min(max(len(values) // 20, 1), 200)
    last = values[-2 * part :]
    if len(last) < 2 * part or not np.isfinite(last).all():
        return ""
    before, now = float(last[:part].mean()), float(last[part:].mean())
    if abs(now - before) <= _LEAST_CHANGE * abs(before):
        return "steady"
    return "up" if now > before else "down"


if __name__ == "__main__":
    from lmm_tui.metrics.stages.pretrain import PRETRAIN

    line = VitalNumbers(PRETRAIN)
    for step in range(1, 300):
        line._store.append({"step": step, "train/loss": 7 - step / 100, "train/lr": 3e-3})
    print(line.compose_line(60))
    line.add_class("-large")
    print(line.compose_line(100))
    assert _trend(line._store.get("train/loss").values) == "down"  # type: ignore[union-attr]
    print("=== 自测通过 ===")
