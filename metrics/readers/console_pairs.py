"""Names and numbers on a line that a program prints: `key: value`, `key=value`, `loss 2.5`.

A name may have blanks; it is the whole of what stands before the number, as `Critic Loss` is no
loss of the model. Times of day, places in source files, ranks and hosts are no metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from lmm_tui.metrics.readers.metric_names import common_names, normal
from lmm_tui.metrics.readers.text_numbers import NUMBER, UNIT, read_number

_END = r"(?![\w.]|[-:/]\d)"
_WORD = r"[A-Za-z_][\w./@+\-]*"
_PAIR = re.compile(
    rf"(?<![\w./:@])(?P<name>{_WORD}(?: (?:\([\w/%.]+\)|[A-Za-z_][\w./@+\-]*))*(?:\([\w/%.]+\))?)"
    rf"['\"]?\s*(?::|=+)\s*['\"]?(?P<number>{NUMBER})(?P<unit>{UNIT})?{_END}",
    re.IGNORECASE,
)
_SPACED = re.compile(
    rf"(?<![\w./:@])(?P<name>{_WORD}(?: {_WORD}){{0,2}})\s+(?:is\s+)?"
    rf"(?P<number>{NUMBER})(?P<unit>{UNIT})?{_END}",
    re.IGNORECASE,
)
_RATE = re.compile(
    rf"(?P<number>{NUMBER})\s?(?P<unit>k|M)?\s?tok(?:en)?s?/s(?:ec)?\b", re.IGNORECASE
)
_MFU = re.compile(rf"(?P<number>{NUMBER})\s?%\s(?:\w+ )?MFU\b", re.IGNORECASE)

_NOISE = re.compile(
    r"\[?\b\d{4}[-/]\d\d[-/]\d\d[T ,]+\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?"
    r"|\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?\b"
    r"|\b(?:INFO|DEBUG|WARNING|WARN|ERROR|CRITICAL|NOTICE)\b:?"
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
    r"^(?:(?:with|at|is|the|a|an|of|and|in|to|for|on|current|has|got|done)\s+)+", re.I
)
_UNIT_IN_NAME = re.compile(r"\s*\([^)]*\)$")


def cut_noise(text: str) -> str:
    """The line without times, log levels, ranks and places in source files."""
    return _NOISE.sub("|", text)


def pairs_in(text: str) -> Iterator[tuple[str, float]]:
    """Names as they stand there, and numbers."""
    rest, end = [], 0
    for found in _PAIR.finditer(text):
        name = _pair_name(found["name"])
        value = read_number(found["number"], found["unit"], found["name"]) if name else None
        if name and value is not None:
            yield name, value
            rest += [text[end : found.start()], "|"]
            end = found.end()
    left = "".join(rest) + text[end:] if rest else text
    yield from _spaced_in(left)


def _spaced_in(text: str) -> Iterator[tuple[str, float]]:
    for found in _SPACED.finditer(text):
        name = _spaced_name(found["name"])
        if name:
            value = read_number(found["number"], found["unit"], name)
            if value is not None:
                yield name, value
    for pattern, name in ((_RATE, "tok/s"), (_MFU, "mfu")):
        found_one = pattern.search(text)
        if found_one:
            unit = found_one["unit"] if pattern is _RATE else None
            value = read_number(found_one["number"], unit)
            if value is not None:
                yield name, value


@lru_cache(maxsize=1 << 12)
def _pair_name(written: str) -> str:
    """The name of a metric before `:` or `=`; empty where it is none."""
    name = _UNIT_IN_NAME.sub("", _FILLERS.sub("", written)).strip()
    plain = normal(name)
    if not name or plain in _NO_METRICS or len(name.split(" ")) > 6:
        return ""
    return name


@lru_cache(maxsize=1 << 12)
def _spaced_name(written: str) -> str:
    """The name of a metric before a blank and a number; prose is none."""
    name = _FILLERS.sub("", written).removesuffix(" is").strip()
    words = normal(name).split(" ")
    if normal(name) in common_names() or words[-1].rsplit("/", 1)[-1] in _LAST_WORDS:
        return "" if normal(name) in _NO_METRICS else name
    return ""


if __name__ == "__main__":
    for line in (
        "tok/sec: 1,245,678 | mfu: 45.12 | dt: 420.12ms | time 04:39",
        "Critic Loss: 7.5, Actor LR: 0.0000003, train loss 2.1, val loss 2.2",
        "[trainer:837] loss=3.5 host:0 | 123,456 tok/s | 45.1% bf16 MFU | saw 3 files",
    ):
        print(dict(pairs_in(cut_noise(line))))
    assert dict(pairs_in("loss is Infinity"))["loss"] == float("inf")
    print("=== 自测通过 ===")
