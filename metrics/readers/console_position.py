"""Where a line that a program prints says that it is: step, epoch, progress, and of which split.

Each form is a pattern; what it matches is cut out of the line, so that no position is taken for a
metric. A form that counts within an epoch says so; of others, only the steps that follow can tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from lmm_tui.metrics.readers.console_pairs import blank_out
from lmm_tui.metrics.readers.metric_names import VALIDATION

_INT = r"\d{1,3}(?:,\d{3})+(?!\d)|\d+"
_END = r"(?!\w|\.\w|[-:/,]\d)"


Span: TypeAlias = tuple[int, int]
"""Where a number stands on its line."""


@dataclass(slots=True)
class Position:
    """Where the parts of a position stand on a line; None is what it does not say."""

    step: Span | None = None
    epoch: Span | None = None
    steps_an_epoch: Span | None = None
    in_epoch: bool = False
    bar: Span | None = None
    """The count of a progress bar."""
    bar_total: Span | None = None
    described_bar: bool = False
    """Whether the bar has a text before it, such as `Loading:`."""
    split: str = ""

    @property
    def found(self) -> bool:
        return self.step is not None or self.epoch is not None or self.bar is not None


_WITHIN = re.compile(
    rf"(?P<before>(?:\w+ )?)\bepoch(?:\((?P<split>\w+)\))?\s*:?\s*"
    rf"(?:\[\s*(?P<e>\d+)(?:\s*/\s*\d+)?\s*\]|(?P<e2>\d+))\s*[:,|-]?\s*"
    rf"[\[(]\s*(?P<i>{_INT})\s*/\s*(?P<n>{_INT})\s*(?:\(\s*[\d.]+\s*%\s*\))?\s*[\])]"
    r"|^\W*(?P<split2>train|test|val|eval):\s*(?P<e3>\d+)\s*\[\s*(?P<i3>\d+)/(?P<n3>\d+)\s*\([^)]*\)\s*\]"
    r"|^\W*(?P<split3>train|test|val|eval):\s*(?P<e5>\d+)/\d+\s*\([^)]*\)\s*"
    r"\[\s*(?P<i5>\d+)/(?P<n5>\d+)\s*\([^)]*\)\s*\]"
    r"|\bepoch (?P<e4>\d+)(?::\s+|\s+)(?P<i4>\d+)\s*/\s*(?P<n4>\d+)(?=[\s\]])",
    re.IGNORECASE,
)
"""`Epoch:[1/2](100/900)`, `Epoch(train) [1][50/100]`, `Train Epoch: 1 [640/60000 (1%)]`,
`Train: 0 [50/1251 (4%)]` of timm, `Train: 1/80 (1%) [10/928 (1%)]` of OpenPCDet,
`epoch 001: 200 / 1000` of fairseq, `[Epoch 1 128/60000]`."""

_PAIR = re.compile(r"^\s*\[(?P<e>\d+),\s+(?P<i>\d+)\](?=\s+loss)", re.IGNORECASE)
"""`[1,  2000] loss: 2.173` of PyTorch's tutorials."""

_BAR = re.compile(
    r"(?P<text>[^|\r]*?)\s*(?:\d+%)?\|[^|]*\|\s*(?P<n>\d+)/(?P<N>\d+)\s*\[[\d:?]+<[^\],]*(?:,\s*[\d.?]+\s*"
    r"[\w/]+)?(?P<postfix>,)?"
)
"""`Epoch 0:  10%|#  | 10/100 [00:10<00:90, 2.0it/s, loss=4.9]`"""

_KERAS_BAR = re.compile(
    r"^\s*(?P<n>\d+)/(?P<N>\d+)\s*(?:\[[=>.]*\]|[━\u2500-\u259f]+)\s*-?\s*"
    r"(?:ETA: [\d:]+\w*|[\d:]+\w*)?(?:\s*[\d.]+\w+/(?:step|epoch))?"
)

_EPOCH = re.compile(
    rf"(?P<before>\b\w+ )?(?<![\w/.])epoch(?:\((?P<split>\w+)\))?\s*[:=#]?\s*[\[(]?\s*"
    rf"(?P<e>\d+(?:\.\d+)?)(?:\s*(?:/|of)\s*\d+)?\s*[\])]?{_END}",
    re.IGNORECASE,
)
_STEP = re.compile(
    r"(?P<before>(?:\b[A-Za-z]+ ){0,3})(?<![\w/.])"
    r"(?P<word>global[ _]step|train[ _]step|(?:step|iteration)s(?=\s*[:=])|step|iteration|iter|itr"
    r"|num[ _]updates|update|batch|it(?=\s*[:=]))"
    rf"(?:\((?P<split>\w+)\))?['\"]?\s*[:=#]?\s*['\"]?[\[(]?\s*(?P<i>{_INT})(?:\.0)?"
    rf"(?:\s*(?:/|of)\s*(?P<n>{_INT}))?\s*[\])]?(?:\s*\([\d.]+%\))?{_END}",
    re.IGNORECASE,
)
_NO_STEP = frozenset((
    "per", "every", "each", "total", "max", "num", "number", "of", "warmup", "save", "log",
    "logging", "time", "last", "best", "accumulation", "skipped", "nan", "until", "from",
    "after", "resume", "resuming", "loaded", "loading", "ms",
))  # fmt: skip
_STEP_WORDS = re.compile("step|it|update|batch")
_LIKELIEST = ("step", "iteration", "iter", "itr", "update", "it", "batch")
_FIRST_WORD = re.compile(r"^\W*([A-Za-z]+)\b\s*(?=[\]):|\-]|set\b|results?\b|epoch\b|step\b|iter)")


def cut_position(text: str) -> tuple[Position, str]:
    """The position on a line, and the line with it blanked out, as long as before."""
    at = Position()
    lower = text.lower()
    if "|" in text and (bar := _BAR.search(text)) is not None:
        at.bar, at.bar_total = bar.span("n"), bar.span("N")
        at.described_bar = bool(bar["text"].strip(" \t:|"))
        text = blank_out(text, bar.end("text"), bar.end())
    elif text.lstrip()[:1].isdigit() and (bar := _KERAS_BAR.match(text)) is not None:
        at.step, at.steps_an_epoch = bar.span("n"), bar.span("N")
        text = blank_out(text, 0, bar.end())
    if found := _PAIR.match(text):
        at.epoch, at.step = found.span("e"), found.span("i")
        return at, blank_out(text, 0, found.end())
    if ("epoch" in lower or "[" in text) and (found := _WITHIN.search(text)):
        at.epoch = _first_span(found, "e", "e2", "e3", "e4", "e5")
        at.step = _first_span(found, "i", "i3", "i4", "i5")
        at.steps_an_epoch = _first_span(found, "n", "n3", "n4", "n5")
        at.in_epoch = True
        at.split = _split(
            found["split"] or found["split2"] or found["split3"] or "", found["before"] or ""
        )
        text = blank_out(text, *found.span())
    if _STEP_WORDS.search(lower):
        text = _cut_steps(at, text)
    if at.epoch is None and "epoch" in lower and (found := _EPOCH.search(text)):
        at.epoch = found.span("e")
        at.split = at.split or _split(found["split"] or "", found["before"] or "")
        text = blank_out(text, *found.span())
    if not at.split and (first := _FIRST_WORD.match(text)):
        at.split = _split(first[1], "")
    return at, text


def _first_span(found: re.Match[str], *groups: str) -> Span:
    return next(found.span(group) for group in groups if found[group] is not None)


def _cut_steps(at: Position, text: str) -> str:
    """Read the steps on a line, of which the likeliest counts, and blank them out."""
    best = len(_LIKELIEST)
    cut = text
    for found in _STEP.finditer(text):
        before = found["before"].lower().split()
        if before and not _NO_STEP.isdisjoint(before):
            continue
        word = found["word"].lower().replace("_", " ").rsplit(" ", 1)[-1].removesuffix("s")
        rank = _LIKELIEST.index(word)
        if rank < best:
            best = rank
            if not at.in_epoch or word in ("step", "iteration", "update"):
                at.step, at.in_epoch = found.span("i"), False
                at.steps_an_epoch = found.span("n") if found["n"] else None
            at.split = at.split or _split(found["split"] or "", found["before"])
        cut = blank_out(cut, *found.span())
    return cut


def _split(named: str, before: str) -> str:
    words = {named.lower(), *before.lower().split()}
    return "val" if words & VALIDATION else ""


if __name__ == "__main__":
    for line in (
        "Epoch:[1/2](100/900), loss: 6.1",
        "step 00001/21400 (0.01%) | loss: 9",
        "epoch 1 - iter 10/30 - loss 0.71",
        "Epoch 0:  10%|#   | 10/100 [00:10<00:10, 2.0it/s, loss=4.90]",
        "validate step:  1  loss:  8.0",
        "elapsed time per iteration (ms): 820.5",
    ):
        print(cut_position(line))
    assert cut_position("eval step 1: loss 9")[0].split == "val"
    assert not cut_position("save every step: 5")[0].found
    print("=== 自测通过 ===")
