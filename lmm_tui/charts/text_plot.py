"""The loss of a run, or what sums it up, as text: for `plot --text` and the summary of a run.

plotext keeps a global figure and handles neither non-finite values nor millions of points, so each
plot has its own figure, of finite values within the limits, binned to the columns there are.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lmm_tui.i18n.language import mark, tr
from lmm_tui.metrics import names
from lmm_tui.metrics.drawing.ticks import round_ticks, tick_labels
from lmm_tui.metrics.series.series import Series, SeriesStore
from lmm_tui.metrics.series.smoothing import centred_mean, on_band
from lmm_tui.terminal import capabilities
from lmm_tui.terminal.safe_text import clean

_LARGEST = (110, 24)
_SMALLEST = (32, 8)
_BOX_TO_ASCII = str.maketrans("─│┌┐└┘├┤┬┴┼", "-|+++++++++")
_BRAILLE_COLUMNS = 2
_Y_LABELS = 8
_HUGE = 1e30  # Beyond it differences overflow.


@dataclass(frozen=True)
class TextCanvas:
    """The text area of a plot: columns and rows, and whether it has colours and braille."""

    width: int
    height: int
    colour: bool
    braille: bool

    @classmethod
    def of_terminal(cls) -> TextCanvas:
        """The size of the terminal, up to a limit; 80 columns if stdout is none."""
        size = capabilities.size()
        return cls(
            width=min(size.columns - 1, _LARGEST[0]),
            height=min(size.lines - 6, _LARGEST[1]),
            colour=capabilities.has_colour(sys.stdout),
            braille=capabilities.has_braille(sys.stdout),
        )


@dataclass(frozen=True)
class _TextLine:
    label: str
    colour: str
    sign: str
    """The marker without braille."""
    braille: str
    """Its swatch in braille; empty if it is drawn with `sign` even then."""
    joined: bool = False
    """Whether it is the smoothed line; otherwise low and high of each column are dots."""


_RAW = _TextLine(mark("raw"), "gray", ".", "⠐⠄⠂")
_SMOOTHED = _TextLine(mark("smoothed"), "cyan", "*", "⠤⠤⠤", joined=True)
_VAL = _TextLine(mark("val"), "orange", "o", "")

_SUBJECTS = (
    (names.REWARD, "val/reward"),
    ("dpo/accuracy", "val/accuracy"),
    (names.TRAIN_LOSS, names.VAL_LOSS),
)
"""What a picture is of, with what is measured of it on validation data; the first that there is.

The loss of GRPO is about 0 at every step, that of DPO says less than its accuracy.
"""


@dataclass(frozen=True)
class _Window:
    """The steps that are shown, on so many columns."""

    first: float
    last: float
    columns: int


def loss_picture(
    store: SeriesStore, references: Mapping[str, float], canvas: TextCanvas | None = None
) -> str:
    """Training and validation loss over steps, or what sums up the run in place of it.

    "" if nothing finite was logged. `references` (label to level, in nats) are horizontal lines, if
    within the y range. Outliers are drawn at the edge; non-finite values are counted.
    """
    canvas = canvas or TextCanvas.of_terminal()
    title, train, val = _subject(store)
    main = train or val
    if main is None:
        return ""
    from plotext._figure import _figure_class  # plotext's module-level figure is shared state.
    from plotext._utility import uncolorize

    width, height = max(canvas.width, _SMALLEST[0]), max(canvas.height, _SMALLEST[1])
    columns = (width - _Y_LABELS) * (_BRAILLE_COLUMNS if canvas.braille else 1)
    window = _window(main, columns)
    low, high = _limits(main, window)
    figure = _figure_class()
    figure._limit_size(False, False)
    figure.plot_size(width, height - 1)
    figure.theme("clear")
    figure.xlim(window.first, window.last)
    figure.ylim(low, high)
    span = int(window.last - window.first)
    figure.xticks(*_ticks(window.first, window.last, min(width // 12, span)))
    figure.yticks(*_ticks(low, high, height // 4))
    for label, level in references.items() if main.name.endswith("/loss") else ():
        if low < level < high:
            figure.horizontal_line(level, color="gray")
            figure.text(f"{clean(label)} {level:.2f}", window.last, level, alignment="right")
    drawn = []
    for series, line in ((train, _RAW), (train, _SMOOTHED), (val, _VAL)):
        x, y = _points(series, line, window) if series else ([], [])
        if x:
            marker = "braille" if canvas.braille and line.braille else line.sign
            draw = figure.plot if line.joined else figure.scatter
            draw(x, np.clip(y, low, high).tolist(), marker=marker, color=line.colour)
            drawn.append(line)
    text = f"{_headline(title, drawn, canvas.braille, main)}\n{figure.build()}"
    if not canvas.colour:
        text = uncolorize(text)
    if not canvas.braille:
        text = text.translate(_BOX_TO_ASCII)
    return "\n".join(line.rstrip() for line in text.splitlines())


def _subject(store: SeriesStore) -> tuple[str, Series | None, Series | None]:
    """The title, and the series on training and validation data; of other runs the first metric."""
    for pair in (*_SUBJECTS, *((name, "") for name in store.names())):
        train, val = map(store.get, pair)
        train, val = (it if it and np.isfinite(it.values).any() else None for it in (train, val))
        if train or val:
            of_loss = names.TRAIN_LOSS in pair
            return tr("loss, nats" if of_loss else names.describe(pair[0]).title), train, val
    return "", None, None


def _window(series: Series, columns: int) -> _Window:
    """From step 0 on, unless the first one is far from there."""
    first, last = (float(it) for it in series.span("step"))
    first = 0.0 if 0 <= first <= 0.05 * last or first == last > 0 else first
    return _Window(first, max(last, first + 1.0), columns)


def _limits(raw: Series, window: _Window) -> tuple[float, float]:
    """The y range: the 5th to 95th percentile with a margin, and the initial loss."""
    bins = raw.bins(window.first, window.last, window.columns)
    lows, highs = (
        values[np.isfinite(values)].clip(-_HUGE, _HUGE) for values in (bins.low, bins.high)
    )
    bulk_low, bulk_high = np.percentile(lows, 5), np.percentile(highs, 95)
    reach = 0.5 * (bulk_high - bulk_low)
    low = max(lows.min(), bulk_low - reach)
    high = min(highs.max(), max(bulk_high + reach, highs[0]))
    margin = max(0.03 * (high - low), 1e-3 * abs(high), 1e-9)
    return float(low - margin), float(high + margin)


def _points(series: Series, line: _TextLine, window: _Window) -> tuple[list[float], list[float]]:
    """The finite points of a line."""
    bins = series.bins(window.first, window.last, window.columns)
    width = (window.last - window.first) / window.columns
    x = window.first + (np.arange(window.columns) + 0.5) * width
    if line.joined:
        y = on_band(centred_mean(bins.mean), bins.low, bins.high)
    else:
        x, y = np.concatenate((x, x)), np.concatenate((bins.low, bins.high))
    finite = np.isfinite(y)
    return x[finite].tolist(), y[finite].tolist()


def _ticks(low: float, high: float, wanted: int) -> tuple[list[float], list[str]]:
    places = round_ticks(low, high, wanted)
    return places, tick_labels(places, _Y_LABELS) or [f"{place:.3g}" for place in places]


def _headline(title: str, drawn: list[_TextLine], braille: bool, raw: Series) -> str:
    from plotext._utility import colorize

    signs = [((braille and line.braille) or line.sign, line) for line in drawn]
    legend = [f"{colorize(sign, line.colour)} {tr(line.label)}" for sign, line in signs]
    nonfinite = int(np.count_nonzero(~np.isfinite(raw.values)))
    note = [tr("{count} not finite", count=nonfinite)] if nonfinite else []
    return "   ".join([clean(title), *legend, *note])


if __name__ == "__main__":
    demo = SeriesStore()
    for step in range(1, 301):
        loss = 5 * math.exp(-step / 60) + 2
        demo.append({"step": step, names.TRAIN_LOSS: loss + 0.2 * math.sin(step), "val/loss": loss})
    print(loss_picture(demo, {"unigram": 4.5}, TextCanvas(60, 12, colour=False, braille=False)))
    print("=== 自测通过 ===")
