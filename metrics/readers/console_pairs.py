"""Names and numbers on a line that a program prints: `key: value`, `key=value`, `loss 2.5`.

A name may have blanks; it is the whole of what stands before the number, as `Critic Loss` is no
loss of the model. Times of day, places in source files, ranks and hosts are no metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from lmm_tui.metrics.readers.metric_names import common_names, normal
from lmm_tui.metrics.readers.text_numbers import NUMBER, UNIT, factor_of

_END = r"(?!\w|\.\w|[-:/,]\d)"
_WORD = r"(?:[A-Za-z]{1,5}\.|[A-Za-z_](?:[\w./@+\-]*[\w@+\-])?)"
"""Not the end of a sentence, but `Val.` is one."""

_NUMBER = re.compile(
    rf"(?P<sign>['\"]?\s*(?::|=+)\s*(?:['\"]|\[(?=[^\s,\]]+\]))?|\s)(?P<number>{NUMBER})"
    rf"(?P<unit>{UNIT})?{_END}",
    re.IGNORECASE,
)
_NAME = re.compile(
    rf"(?<![\w./:@])(?P<name>{_WORD}(?: (?:\([\w/%.]+\)|{_WORD})){{0,6}}(?:\([\w/%.]+\))?)\s*\Z"
)
_LONGEST_NAME = 80
_RATE = re.compile(
    rf"(?P<number>{NUMBER})\s?(?P<unit>k|M)?\s?tok(?:en)?s?/s(?:ec)?\b", re.IGNORECASE
)
_MFU = re.compile(rf"(?P<number>{NUMBER})(?P<unit>\s?%)\s(?:\w+ )?MFU\b", re.IGNORECASE)
_BEHIND = ((_RATE, "tok/s", "/s"), (_MFU, "mfu", " MFU"))
"""Numbers that stand before their names, and what tells that there may be one."""

_NOISE = re.compile(
    r"\[?\b\d{4}[-/]\d\d[-/]\d\d[T ,]+\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?"
    r"|\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?\b"
    r"|\b(?:INFO|DEBUG|WARNING|WARN|ERROR|CRITICAL|NOTICE)\b:?"
    r"|\(\w+ pid=\d+(?:, ip=[\d.]+)?\)"
    r"|\[[\w.\-]+:\d+\]|\[rank\s?\d+\]:?|\brank\s?\d+:|\b[\w./\-]+\.py:\d+|\bhost:\d+\b"
    r"|(?<![\w./])[a-z_]\w*(?:\.[a-z_]\w*)+:\d+(?=\s)"
)
_NO_METRICS = frozenset((
    "rank local rank", "local rank", "rank", "global rank", "world size", "host", "pid", "line",
    "port", "seed", "gpu", "device", "node", "version", "v num", "total steps", "max steps",
    "num epochs", "total epochs", "warmup steps", "eta", "elapsed", "remaining", "total", "it",
))  # fmt: skip
_LAST_WORDS = frozenset((
    "loss", "losses", "lr", "norm", "mfu", "acc", "accuracy", "ppl", "perplexity", "bpb", "time",
    "reward", "kl", "f1", "auc", "bleu", "wer", "cer", "map", "miou", "tps", "dt",
))  # fmt: skip
_FILLERS = re.compile(
    r"^(?:(?:with|at|is|the|a|an|of|and|in|to|for|on|current|has|got|done\.?)\s+)+", re.IGNORECASE
)
_UNIT_IN_NAME = re.compile(r"\s*\([^)]*\)$")


class KeyValue(NamedTuple):
    """A metric on a line, and where its number stands."""

    name: str
    start: int
    end: int
    factor: float
    """Of the unit behind the number."""


def blank_out(text: str, start: int, end: int) -> str:
    """The line with a part of it replaced by separators, so that all else stays in place."""
    return f"{text[:start]}{'|' * (end - start)}{text[end:]}"


def without_noise(text: str) -> str:
    """The line without times, log levels, ranks and places in source files, as long as before."""
    return _NOISE.sub(lambda found: "|" * len(found[0]), text)


def pairs_in(text: str) -> Iterator[KeyValue]:
    """The metrics on a line; of two of one name the first one."""
    seen: set[str] = set()
    begin = 0
    for found in _NUMBER.finditer(text):
        before = text[max(begin, found.start() - _LONGEST_NAME) : found.start()]
        written = _NAME.search(before)
        is_pair = not found["sign"].isspace()
        name = ""
        if written is not None:
            name = _pair_name(written["name"]) if is_pair else _spaced_name(written["name"])
            yield from _pair(name, found, seen)
        if name or is_pair or text[found.end("number") - 1].isdigit():
            begin = found.end()  # Else `nan` may be a word of a name.
    for pattern, name, sign in _BEHIND:
        if sign in text and (one := pattern.search(text)) is not None:
            yield from _pair(name, one, seen)


def _pair(name: str, found: re.Match[str], seen: set[str]) -> Iterator[KeyValue]:
    factor = factor_of(found["unit"], name) if name and name not in seen else None
    if factor is not None:
        seen.add(name)
        yield KeyValue(name, *found.span("number"), factor)


@lru_cache(maxsize=1 << 12)
def _pair_name(written: str) -> str:
    """The name of a metric before `:` or `=`; empty where it is none."""
    name = _UNIT_IN_NAME.sub("", _FILLERS.sub("", written)).strip()
    return "" if normal(name) in _NO_METRICS else name


@lru_cache(maxsize=1 << 12)
def _spaced_name(written: str) -> str:
    """The name of a metric before a blank and a number; prose is none."""
    words = written.removesuffix(" is").split(" ")[-3:]
    name = _FILLERS.sub("", " ".join(words)).strip()
    last = normal(name).rsplit(" ", 1)[-1].rsplit("/", 1)[-1].partition("@")[0]
    return name if normal(name) in common_names() or last in _LAST_WORDS else ""


if __name__ == "__main__":
    for line in (
        "tok/sec: 1,245,678 | mfu: 45.12 | dt: 420.12ms | time 04:39",
        "Critic Loss: 7.5, Actor LR: 0.0000003, train loss 2.1, val loss 2.2",
        "[trainer:837] loss=3.5 host:0 | 123,456 tok/s | 45.1% bf16 MFU | saw 3 files",
    ):
        text = without_noise(line)
        print({pair.name: text[pair.start : pair.end] for pair in pairs_in(text)})
    assert next(pairs_in("Loss is Infinity")) == ("Loss", 8, 16, 1.0)
    print("=== 自测通过 ===")
