"""How the lines of one shape are read: where the step, the epoch and each value stand.

Lines that differ in nothing but their digits have the same shape, and a log has few of them. So a
line is taken apart by patterns once for each shape; all others are sliced.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from lmm_tui.metrics.readers.console_pairs import KeyValue, pairs_in, without_noise
from lmm_tui.metrics.readers.console_position import Position, Span, cut_position
from lmm_tui.metrics.readers.console_table import header_of
from lmm_tui.metrics.readers.metric_names import EPOCHS, STEPS, common_names, normal, split_of
from lmm_tui.metrics.readers.text_numbers import NUMBER, UNIT, factor_of
from lmm_tui.metrics.series.row_values import MAX_STEP

_DICTIONARY = re.compile(r"\{\s*['\"][^{}]*\}")
_ITEM = re.compile(
    rf"['\"](?P<name>[^'\"]+)['\"]\s*:\s*(?P<quote>['\"]?)\s*(?P<number>{NUMBER})\s?"
    rf"(?P<unit>{UNIT})?\s*(?P=quote)\s*(?=[,}}])",
    re.IGNORECASE,
)
SUMMARY = "train_runtime"
"""Is in the last line of Hugging Face's Trainer, whose `train_loss` is a mean over all steps."""

_SHORT = re.compile(r"^(?:s:(?P<step>\d+) (?=te?l:|trl:)|(?P<step2>\d+) \| (?=loss \d|loss nan))")
"""`s:100 trl:4.2 lr:0.001 norm:1.2` of llm.c's main.log, `100 | loss 4.2 | lr …` of llama2.c."""

_POSITIONAL = re.compile(
    r"(?P<split>train|valid)\s+(?P<step>\d+)\s+(?P<loss>\d\.\d+e[+-]\d+|nan|inf)\s"
    r"|^(?P<step2>\d+) (?P<split2>train|val|hella) (?P<loss2>\d+\.\d+|nan|inf)\s*$"
)
"""`train 050 2.3e+00 15.2 40.1` of DARTS, `250 val 5.9` of build-nanogpt."""

_EPOCH_SUMMARY = re.compile(r"\| train \| epoch \d+ \|")
"""fairseq's means over an epoch, beside `train_inner`."""

_OF_TOTAL = re.compile(
    r"['\"](?:global_step/max_steps)['\"]\s*:\s*['\"](?P<step>\d+)/(?P<total>\d+)['\"]"
)
"""ms-swift's step."""

_LOSS_WORDS = ("loss", "ppl", "acc", "accuracy", "perplexity", "bpb", "score", "f1", "reward")
_MAY_BE_A_ROW = re.compile(
    r"[:=]\s*['\"]?[-+]?(?:\d|\.\d|nan|inf)|\|\s*\d+/\d|(?:loss|acc|accuracy|ppl|lr|step|iter\w*|"
    r"epoch|norm|train|valid)\W+(?:is\s+)?(?:\d|nan|inf)|^\d+ (?:train|val|hella) \d",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class LinePlan:
    """Where everything stands on the lines of one shape."""

    at: Position
    pairs: tuple[KeyValue, ...]
    follows: tuple[KeyValue, ...]
    """Those that may belong to the position of a line before, where there is none on this one."""
    counted: bool = False
    """Whether lines are numbered where they have no step."""
    columns: tuple[str, ...] = ()
    """Of the header of a table: the names of its columns."""
    bar_before: bool = False
    """Whether the last progress bar tells the step."""


AT_THE_END = LinePlan(Position(), (), (), counted=True)
"""The plan of the line that ends a training."""

TEXT = LinePlan(Position(), (), ())
"""The plan of lines that say nothing."""


def plan_of(text: str) -> LinePlan:
    """The plan for all lines of the shape of this one."""
    if columns := header_of(text):
        return LinePlan(Position(), (), (), columns=columns)
    if not _MAY_BE_A_ROW.search(text):
        return TEXT
    if "{" in text and (found := _DICTIONARY.search(text)) is not None:
        return _dictionary(text, found)
    if (short := _SHORT.match(text)) is not None:
        at = Position(step=_span(short, "step", "step2"))
        return LinePlan(at, tuple(pairs_in("|" * short.end() + text[short.end() :])), ())
    if (named := _POSITIONAL.search(text)) is not None:
        return _positional(named)
    at, rest = cut_position(without_noise(text))
    pairs = tuple(pairs_in(rest))
    if at.in_epoch and at.split:  # The batches of a validation, not the steps of the training.
        at = replace(at, step=None, in_epoch=False)
    if _EPOCH_SUMMARY.search(text):
        pairs = tuple(pair._replace(name=f"epoch/{pair.name}") for pair in pairs)
    follows = pairs if text[:1] in " \t" else tuple(pair for pair in pairs if _is_known(pair.name))
    return LinePlan(at, pairs, follows) if at.found or follows else TEXT


def _dictionary(text: str, found: re.Match[str]) -> LinePlan:
    """A dictionary as Python or JSON prints it."""
    before, _ = cut_position(text[: found.start()])
    at = Position(
        step=before.step,
        bar=before.bar,
        bar_total=before.bar_total,
        described_bar=before.described_bar,
    )
    pairs = []
    for item in _ITEM.finditer(text, found.start(), found.end()):
        name, span = item["name"], item.span("number")
        factor = factor_of(item["unit"], name)
        plain = normal(name)
        if name == SUMMARY:
            return AT_THE_END
        if plain in STEPS and "." not in item["number"]:
            at.step = span
        elif plain in EPOCHS:
            at.epoch = span
        elif factor is not None:
            pairs.append(KeyValue(name, *span, factor))
    if of_total := _OF_TOTAL.search(text):
        at.step, at.steps_an_epoch = of_total.span("step"), of_total.span("total")
    return LinePlan(at, tuple(pairs), (), counted=True, bar_before=at.step is None)


def _positional(found: re.Match[str]) -> LinePlan:
    if found["step2"]:
        name = found["split2"] if found["split2"] == "hella" else f"{found['split2']}/loss"
        pair = KeyValue(name, *found.span("loss2"), 1.0)
        return LinePlan(Position(step=found.span("step2")), (pair,), ())
    pair = KeyValue("loss", *found.span("loss"), 1.0)
    if split_of(found["split"]) == "val":
        return LinePlan(Position(split="val"), (pair,), (pair,))
    return LinePlan(Position(step=found.span("step")), (pair,), ())


def _span(found: re.Match[str], *groups: str) -> Span:
    return next(found.span(group) for group in groups if found[group] is not None)


def _is_known(name: str) -> bool:
    """Whether a number on a line of its own may be a metric of the step before."""
    plain = normal(name)
    last = plain.replace("/", " ").rsplit(" ", 1)[-1].partition("@")[0]
    return plain in common_names() or last in _LOSS_WORDS


def whole(text: str, span: Span | None) -> int | None:
    """The whole number at a place, where it is small enough for a step."""
    if span is None:
        return None
    digits = text[slice(*span)].replace(",", "")
    value = int(digits) if len(digits) <= 16 and digits.isdecimal() else MAX_STEP + 1
    return value if value <= MAX_STEP else None


if __name__ == "__main__":
    for line in (
        "iter 100: loss 4.25, mfu 3.10%",
        "{'loss': '4.8', 'epoch': '0.2'}",
        "saw 3 files",
    ):
        plan = plan_of(line)
        print(plan.at, plan.pairs)
    assert plan is TEXT and whole("step 1,000", (5, 10)) == 1000
    print("=== 自测通过 ===")
