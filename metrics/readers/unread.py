"""Sentences for what holds no row of a log: what was found instead, and what is looked for."""

from __future__ import annotations

import re
from pathlib import Path

from lmm_tui.message import Message, os_reason
from lmm_tui.metrics.readers.json_lines import parse
from lmm_tui.metrics.readers.json_log import document_in, history_in
from lmm_tui.metrics.readers.log_facts import failure_in
from lmm_tui.metrics.readers.log_formats import Head, LogFormat, delimiter_in, format_of
from lmm_tui.metrics.readers.table_log import cells_of

_LFS = b"version https://git-lfs.github.com/spec/"
_KEY_VALUE = re.compile(rb"^\s*(?:- )?[\w.\-\"']+\s*[:=]\s*\S*|^\s*\[[\w.\-\"]+\]\s*$|^\s*#|^---")
_STEPS = "step, global_step, iter, epoch …"
_FEW = 6
_CONFIG_SUFFIXES = (".yaml", ".yml", ".toml", ".ini", ".cfg")


def not_a_log(head: Head, known: LogFormat | None) -> str:
    """Why a file is no log, as the end of a sentence; an empty string where it may be one."""
    if head.data.startswith(_LFS):
        return Message("is a pointer of Git LFS, not the file; run `git lfs pull`")
    if not head.data:
        return ""
    if known is None:
        return Message(
            "is no log but binary data; give a file of JSON lines, CSV or console output"
        )
    if known.name == "JSON document" and len(head.data) == len(head.text) < 1 << 16:
        return _no_history(head)
    if known.name == "console output" and head.path.suffix.lower() in _CONFIG_SUFFIXES:
        lines = head.lines[:50]
        if lines and all(_KEY_VALUE.match(line) for line in lines):
            return Message("is a configuration, no log; give the file that training writes")
    return ""


def _no_history(head: Head) -> str:
    try:
        document = document_in(head.text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return ""
    if history_in(document) is not None:
        return ""
    if isinstance(document, dict) and isinstance(document.get("log_history"), list):
        return ""
    return Message(
        "is a JSON document without a history; looked for log_history or rows with a step"
    )


def nothing_read(path: Path, still_written: bool) -> str:
    """Why no metric was read from a log, as the end of a sentence."""
    try:
        head = Head.of(path)
    except OSError as error:
        return Message("cannot be read: {error}", error=os_reason(error))
    if not head.data:
        return Message("is empty")
    known = format_of(head)
    wrong = not_a_log(head, known)
    if wrong or known is None:
        return wrong
    if known.name in ("TensorBoard events", "W&B history"):
        return Message("{name} without a number", name=known.name)
    if still_written and len(head.data) < 1 << 16 and len(head.lines) < 20:
        return Message("no metrics yet; wait for the first step")
    if known.name == "JSON document":
        return Message(
            "is a JSON document without a history; looked for log_history or rows with a step"
        )
    count = len(head.lines)
    found = Message(
        "read as {name}: more than {count} lines, none with a step that is known ({steps})"
        if len(head.data) == 1 << 16
        else "read as {name}: {count} lines, none with a step that is known ({steps})",
        name=known.name,
        count=count,
        steps=_STEPS,
    )
    if failure := failure_in(head.lines):
        return Message("{found}; it ends with {failure}", found=found, failure=failure[1])
    keys = _keys_of(head, known)[:_FEW]
    return Message("{found}; the first has {keys}", found=found, keys=keys) if keys else found


def _keys_of(head: Head, known: LogFormat) -> list[str]:
    """What the first line has names for."""
    if known.name == "JSON lines":
        return sorted(map(str, parse(head.lines[0]) or ()))
    if known.name == "table":
        return cells_of(head.lines[0], delimiter_in(head) or ",") or []
    return []


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for content in (b"", _LFS, b"hello\n", b'{"a": 1}\n{"a": 2}\n'):
            file = Path(folder) / "a.log"
            file.write_bytes(content)
            print(nothing_read(file, still_written=False))
        assert "the first has a" in nothing_read(file, still_written=False)
    print("=== 自测通过 ===")
