"""An entry of the cache that is being written, and what a killed process has left of one.

`plan.json` says what it is made of. `survey.json` is written once the text was read through and the
tokenizer is there, `written.json` after each batch of tokens: a later process goes on from both.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmm_tui import guarded_files
from lmm_tui.data.preparation.cache import LOCK, Lease, hold_alone, partial_of, read_json, remove
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.data.text.json_rows import BadLine, Skipped
from lmm_tui.data.tokenizing.token_store import NotAsRecordedError, TokenWriter, Written
from lmm_tui.guarded_files import list_folder, make_folder, make_private, replace_text

_POLLED_EVERY_S = 0.25
_ABANDONED_S = 7 * 86400
_LEFTOVER_S = 86400
# What versions without locks left when they were killed, and `remove` does.
_LEFTOVER = re.compile(r"\.[0-9a-f]{24}\.(?!partial$)\w{7,8}")


@dataclass(frozen=True)
class Survey:
    """What was learnt by reading the whole text once."""

    size: int
    """Bytes of text in documents."""
    skipped: Skipped


class Unfinished:
    """The folder of an entry that this process alone writes."""

    def __init__(self, entry: Path, lease: Lease) -> None:
        self.folder = partial_of(entry)
        self._entry, self._lease = entry, lease

    @property
    def has_tokens(self) -> bool:
        return (self.folder / "written.json").exists()

    def plan(self, source: str, identity: str) -> None:
        """Record what the entry is made of, for `sweep` and for people."""
        write_json(self.folder / "plan.json", {"source": source, "identity": identity})

    def survey(self) -> Survey | None:
        """That of the process before, if it came so far."""
        with suppress(AttributeError, KeyError, TypeError):
            kept = read_json(self.folder / "survey.json")
            return Survey(kept["size"], skipped_from(kept["skipped"]))
        return None

    def keep(self, survey: Survey) -> None:
        write_json(self.folder / "survey.json", asdict(survey))

    def writer(self, vocab_size: int, fingerprint: str) -> TokenWriter:
        """Goes on behind the last batch; starts anew if there is none, or it is damaged."""
        path = self.folder / "tokens.bin"
        with suppress(OSError, ValueError, TypeError, NotAsRecordedError):
            if kept := read_json(self.folder / "written.json"):
                return TokenWriter(path, vocab_size, fingerprint, Written(**kept))
        return TokenWriter(path, vocab_size, fingerprint)

    def record(self, written: Written) -> None:
        write_json(self.folder / "written.json", asdict(written))

    def complete(self, record: dict[str, Any]) -> None:
        """Rename it into place."""
        write_json(self.folder / "corpus.json", record)
        for name in ("plan.json", "survey.json", "written.json"):
            with suppress(FileNotFoundError):
                guarded_files.remove(self.folder / name, self._entry.parent)
        guarded_files.rename(self.folder, self._entry, self._entry.parent)
        self._lease.close()

    def clear(self) -> None:
        """Forget the tokens, and what they were made of."""
        for name in list_folder(self.folder, self._entry.parent):
            if name not in (LOCK, "plan.json"):
                guarded_files.remove(self.folder / name, self._entry.parent)

    def discard(self) -> None:
        """Remove it, unless it is complete."""
        if self._lease.is_held:
            with suppress(OSError):
                guarded_files.remove(self.folder, self._entry.parent)
            self._lease.close()

    def close(self) -> None:
        """Let others go on, or remove it where there is nothing to go on from."""
        if not self.has_tokens:
            self.discard()
        self._lease.close()


def begin(entry: Path, waiting: Callable[[], None]) -> Unfinished | None:
    """Hold the folder in which an entry is written; None once the entry is there.

    `waiting` is called while another process writes it, and may raise.
    """
    folder = partial_of(entry)
    while not entry.is_dir():
        make_private(folder.parent)
        make_folder(folder, folder.parent)
        lease = hold_alone(folder)
        if lease is None:
            waiting()
            time.sleep(_POLLED_EVERY_S)
        elif entry.is_dir():  # It was completed just now, and the folder was made again above.
            shutil.rmtree(folder, ignore_errors=True)
        else:
            return Unfinished(entry, lease)
    return None


def sweep(entry: Path, source: str, identity: str) -> bool:
    """Remove what killed processes left and nobody will go on with: whether some was of `source`.

    That is of no more use once its text has changed, or after a week.
    """
    changed = False
    for folder in entry.parent.glob(".*"):
        if _LEFTOVER.fullmatch(folder.name):
            if _age(folder) > _LEFTOVER_S or folder.name.endswith(".removed"):
                shutil.rmtree(folder, ignore_errors=True)
        elif folder.name.endswith(".partial") and folder != partial_of(entry):
            plan = read_json(folder / "plan.json")
            same = plan.get("source") == source != BUILTIN and plan.get("identity") != identity
            if same or _age(folder) > _ABANDONED_S:
                with suppress(OSError):
                    changed |= remove(folder) and same
    return changed


def skipped_from(kept: dict[str, Any]) -> Skipped:
    """What `asdict` made of it, read again."""
    first = [BadLine(**bad) for bad in kept["first"]]
    more = {key: kept[key] for key in ("unused", "columns", "filtered", "lacking") if key in kept}
    return Skipped(kept["lines"], kept["count"], first, **more)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Replace a file as a whole; several processes may."""
    replace_text(path, json.dumps(record, ensure_ascii=False) + "\n", path.parents[1])


def _age(folder: Path) -> float:
    """Seconds since anything in a folder was changed."""
    times = [0.0]
    for path in [folder, *folder.glob("*")]:
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    return time.time() - max(times)


if __name__ == "__main__":

    def nobody_else() -> None:
        raise AssertionError("nobody else writes here")

    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "0" * 24)
        first = begin(demo, nobody_else)
        assert first is not None
        first.plan("some.txt", "as it was")
        first.record(Written())
        first.close()
        assert sweep(Path(scratch, "1" * 24), "some.txt", "as it is now")
        print("left behind:", list(Path(scratch).iterdir()))
    print("=== 自测通过 ===")
