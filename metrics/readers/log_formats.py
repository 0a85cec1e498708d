"""The formats of logs that are read: a table, from the likeliest to what is left.

A format is recognised by what stands at the beginning of a file, never by its name alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path

from lmm_tui.guarded_files import reading
from lmm_tui.metrics.readers.console_log import ConsoleLog
from lmm_tui.metrics.readers.event_files import EventReader, EventSource, sources_in
from lmm_tui.metrics.readers.event_records import split as split_records
from lmm_tui.metrics.readers.json_lines import parse
from lmm_tui.metrics.readers.json_log import JsonLog, RecordLines, is_object
from lmm_tui.metrics.readers.log_follower import DocumentFollower, LineLogFollower, LogFollower
from lmm_tui.metrics.readers.log_lines import decoded, split_lines
from lmm_tui.metrics.readers.log_row import LineReader
from lmm_tui.metrics.readers.metric_names import MetricNamer
from lmm_tui.metrics.readers.table_log import TableLog, delimiter_of
from lmm_tui.metrics.readers.trackio_log import MAGIC as SQLITE
from lmm_tui.metrics.readers.trackio_log import TrackioFollower, runs_in
from lmm_tui.metrics.readers.wandb_frames import MAGIC
from lmm_tui.metrics.readers.wandb_log import WandbFollower
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.named_code import LOG_FORMAT_GROUP, NamedCodeError, installed_names, load

_log = logging.getLogger(__name__)

HEAD_BYTES = 1 << 16
_ODD = bytes(set(range(32)) - set(b"\t\n\r\f\b\x1b"))
_FEW_BYTES = 32
"""So short a file has hardly begun: its name tells what it will be."""


@dataclass(frozen=True)
class Head:
    """The first bytes of a file."""

    path: Path
    data: bytes

    @classmethod
    def of(cls, path: Path) -> Head:
        """Raises OSError where the file cannot be read."""
        with reading(path) as file:
            return cls(path, file.read(HEAD_BYTES))

    @cached_property
    def text(self) -> bytes:
        """As UTF-8, decompressed."""
        return decoded(self.data)

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines that are not blank, whole ones as far as can be told."""
        lines = split_lines(self.text)
        if len(self.data) == HEAD_BYTES and len(lines) > 1:
            lines.pop()
        return [line for line in lines if line and not line.isspace()]

    @cached_property
    def is_text(self) -> bool:
        sample = self.text[:4096]
        if b"\0" in sample:
            return False
        odd = len(sample) - len(sample.translate(None, _ODD))
        return odd * 50 <= len(sample)


@dataclass(frozen=True)
class LogFormat:
    """One format: what is read as it, how sure a beginning is one (0 to 1), and its follower."""

    name: str
    files: str
    """What programs write it, for people."""
    recognise: Callable[[Head], float]
    follow: Callable[[Path, SeriesStore], LogFollower]
    new_reader: Callable[[Head], LineReader] | None = None
    """For a log of lines."""

    def has_rows(self, head: Head) -> bool:
        """Whether the beginning of a file has a row."""
        if self.new_reader is None:
            return True
        reader = self.new_reader(head)
        for begin, end in pairwise((0, 50, 2000)):  # Most logs begin soon.
            rows, _ = reader.rows(head.lines[begin:end])
            if any(row.values for row in rows):
                return True
        return False


def _events(head: Head) -> float:
    records = split_records(head.data) if len(head.data) >= 12 else None
    if records is not None and not records.lost and len(records.lengths):
        return 1.0
    return 0.5 if "tfevents" in head.path.name and len(head.data) < _FEW_BYTES else 0.0


def _wandb(head: Head) -> float:
    if head.data.startswith(MAGIC):
        return 1.0
    return 0.5 if head.path.suffix == ".wandb" and len(head.data) < _FEW_BYTES else 0.0


def _trackio(head: Head) -> float:
    return 1.0 if head.data.startswith(SQLITE) and runs_in(head.path) else 0.0


def _json_lines(head: Head) -> float:
    lines = head.lines[:20]
    good = [found for line in lines if (found := parse(line)) is not None]
    if not good or not lines[0].lstrip().startswith(b"{"):
        return 0.0
    if len(head.lines) == 1 and RecordLines().row(good[0]) is None:
        return 0.6
    return 0.9 * len(good) / len(lines)


_DOCUMENT = re.compile(rb'\s*(?:\{\s*["}]|\[\s*[\[{\]])')


def _document(head: Head) -> float:
    if not _DOCUMENT.match(head.text):
        return 0.0
    if len(head.lines) > 1 and parse(head.lines[0]) is not None:
        return 0.0  # The first of several objects, a line each.
    return 0.95 if b'"log_history"' in head.text else 0.7


def delimiter_in(head: Head) -> str | None:
    """What divides the cells of a table; None where a file is none."""
    lines = [line for line in head.lines[:40] if not line.startswith(b"#")]
    return delimiter_of(lines[0], lines[1:]) if lines else None


def _table(head: Head) -> float:
    return 0.85 if head.is_text and delimiter_in(head) is not None else 0.0


def _console(head: Head) -> float:
    return 0.1 if head.is_text else 0.0


def _follow_events(path: Path, store: SeriesStore) -> LogFollower:
    sources = [EventSource(path)]
    return EventReader(lambda: sources, store, MetricNamer())


def _follow_table(path: Path, store: SeriesStore) -> LogFollower:
    delimiter = delimiter_in(Head.of(path)) or ","
    return LineLogFollower(path, store, lambda: TableLog(delimiter))


FORMATS: tuple[LogFormat, ...] = (
    LogFormat("TensorBoard events", "`*tfevents*`", _events, _follow_events),
    LogFormat("W&B history", "`run-*.wandb`", _wandb, WandbFollower),
    LogFormat("trackio database", "`*.db` of trackio", _trackio, TrackioFollower),
    LogFormat(
        "JSON lines",
        "LLaMA-Factory `trainer_log.jsonl`, detectron2, MMEngine, DETR, MMCV, own scripts",
        _json_lines,
        lambda path, store: LineLogFollower(path, store, JsonLog, is_object),
        lambda head: JsonLog(),
    ),
    LogFormat(
        "JSON document",
        "Hugging Face `trainer_state.json`, lists of rows, Keras `history`",
        _document,
        DocumentFollower,
    ),
    LogFormat(
        "table",
        "CSV, TSV: Lightning, Keras CSVLogger, Ultralytics, fastai, Flair",
        _table,
        _follow_table,
        lambda head: TableLog(delimiter_in(head) or ","),
    ),
    LogFormat(
        "console output",
        "Hugging Face, TRL, Axolotl, Megatron, torchtitan, nanochat, nanoGPT, modded-nanogpt, "
        "llm.c, OLMo, litgpt, fairseq, MiniMind, Keras, Flair, timm, MMCV, DARTS, tqdm bars, "
        "own scripts",
        _console,
        lambda path, store: LineLogFollower(path, store, ConsoleLog),
        lambda head: ConsoleLog(),
    ),
)
"""All formats; of several that know a file the surest one reads it."""


EVENT_FOLDER = LogFormat(
    "TensorBoard events",
    "a folder",
    lambda head: 0.0,
    lambda path, store: EventReader(lambda: sources_in(path), store, MetricNamer()),
)


@cache
def _installed() -> tuple[LogFormat, ...]:
    """Formats of other packages; one that cannot be loaded is left out."""
    formats = []
    for name in installed_names(LOG_FORMAT_GROUP):
        try:
            found = load(name, LOG_FORMAT_GROUP)
        except NamedCodeError as error:
            _log.warning("%s", error)
            continue
        if isinstance(found, LogFormat):
            formats.append(found)
        else:
            _log.warning("%s of %s: is no LogFormat; it is left out", name, LOG_FORMAT_GROUP)
    return tuple(formats)


def _confidence(one: LogFormat, head: Head) -> float:
    try:
        return one.recognise(head)
    except Exception:
        if one in FORMATS:
            raise
        _log.warning("%s: fails to recognise a log; it is left out", one.name, exc_info=True)
        return 0.0


def format_of(head: Head) -> LogFormat | None:
    """The format of a file, or None where it is no text and nothing that is known."""
    formats = (*FORMATS, *_installed())
    sure = [(_confidence(one, head), -at, one) for at, one in enumerate(formats)]
    confidence, _, best = max(sure, key=lambda found: found[:2])
    return best if confidence > 0 else None


if __name__ == "__main__":
    for content in (b'{"step": 1}\n', b'{\n "log_history": []}', b"step,loss\n1,2\n", b"step 1\n"):
        known = format_of(Head(Path("log"), content))
        print(content, known and known.name)
    assert format_of(Head(Path("x"), b"\0\1\2" * 99)) is None
    print("=== 自测通过 ===")
