"""Whether the patterns of a tokenizer from elsewhere can be run: tried in a process with limits.

A regular expression may take hours on a kilobyte (Oniguruma gives up on one match after 10 million
steps, but each place of a text is another match), and a list of replacements may double a text
forty times. Inside of `tokenizers` neither can be stopped. Patterns that are widely used are known,
so that no time is spent on them; others are tried on texts of the characters that stand in them.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import tokenizers

from lmm_tui.child_process import limit_resources, start_confined
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.split_patterns import GPT2, LLAMA3, OURS, QWEN2
from lmm_tui.message import Message

KNOWN = {OURS, GPT2, QWEN2, LLAMA3}

_PROGRAM = "from lmm_tui.data.tokenizing.pattern_check import try_patterns; try_patterns()"
_LONGEST_S = 20.0
_MOST_MEMORY = 2 << 30
_LENGTH = 4000
_MOST_PAIRS = 150
_COMMON = "a1 \n!中"


def check_patterns(backend: tokenizers.Tokenizer, file: Path) -> None:
    """Raises DataError where the patterns of `backend`, read from `file`, exceed the limits."""
    parts = {
        name: json.loads(part.__getstate__())
        for name in ("normalizer", "pre_tokenizer", "decoder")
        if (part := getattr(backend, name)) is not None
    }
    if _patterns(parts) - KNOWN and (why := _trial(json.dumps(parts))):
        raise DataError(
            "data.tokenizer: {file}: {why}; choose another tokenizer", file=file, why=why
        )


@contextmanager
def panics_refused() -> Iterator[None]:
    """A panic of Rust, which is no Exception, as a DataError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise DataError(
            "data.tokenizer: it fails on a text ({error}); choose another tokenizer",
            error=str(error)[:200],
        ) from None


@cache
def _trial(parts: str) -> str:
    """What went wrong with the patterns; nothing where they are quick on every trial text."""
    with start_confined(
        ["-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            child.communicate(parts.encode(), _LONGEST_S)
        except subprocess.TimeoutExpired:
            return Message("its patterns take too long on a short text")
        finally:
            child.kill()
    return (
        Message("its patterns fail, or need too much memory, on a short text")
        if child.returncode
        else ""
    )


def try_patterns() -> None:
    """In the process with limits: encode and decode each trial text."""
    limit_resources({resource.RLIMIT_AS: _MOST_MEMORY})
    parts = json.loads(sys.stdin.buffer.read())
    model = {"type": "BPE", "vocab": {"<x>": 0}, "merges": [], "unk_token": "<x>"}
    backend = tokenizers.Tokenizer.from_str(
        json.dumps({"version": "1.0", "added_tokens": [], "model": model, **parts})
    )
    for text in _texts(_patterns(parts)):
        backend.encode(text)
        if backend.decoder is not None:
            backend.decoder.decode([text])


def _patterns(part: Any) -> set[str]:
    """All patterns within the state of a part: regular expressions and what is replaced."""
    if isinstance(part, list):
        return set().union(*map(_patterns, part))
    if not isinstance(part, dict):
        return set()
    found = set().union(*map(_patterns, part.values()))
    if isinstance(pattern := part.get("Regex"), str):
        found.add(pattern)
    if part.get("type") == "Replace" and len(str(part.get("content"))) > 3:
        found.add(str(part.get("pattern")))  # SentencePiece's is a space for `▁`, one for one.
    return found


def _texts(patterns: set[str]) -> Iterator[str]:
    written = "".join(sorted(patterns))
    letters = dict.fromkeys(_COMMON + "".join(c for c in written if c.isalnum() or c in "_ ,.<>▁"))
    some = [*letters][:18]
    for letter in some:
        yield letter * _LENGTH
        yield letter * _LENGTH + "\x01"
    for count, (one, other) in enumerate(permutations(some, 2)):
        if count == _MOST_PAIRS:
            return
        yield (one + other) * (_LENGTH // 2)


if __name__ == "__main__":
    from tokenizers import Regex, models, pre_tokenizers

    demo = tokenizers.Tokenizer(models.BPE())
    for pattern in (r"\w+|\W+", r"(a|aa|aaa)+(?=b)$", *KNOWN):
        demo.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
        try:
            check_patterns(demo, Path("tokenizer.json"))
            print("fine:", pattern)
        except DataError as refused:
            print(refused)
    print("=== 自测通过 ===")
