"""Datasets in the caches of huggingface_hub and `datasets`, and what they hold as a whole.

A snapshot in the cache has the files that were asked for, not all of the dataset, and a download
may have been cut short. So the Hub's list of files is kept, and a cached dataset is chosen from it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lmm_tui.data.errors import DataError
from lmm_tui.guarded_files import make_private, read_text, replace_text
from lmm_tui.user_folders import user_cache

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SHORT = re.compile(r"[A-Za-z0-9][\w.-]*")


def cached(name: str, config: str) -> Path | None:
    """The folder of a dataset in the caches of huggingface_hub or `datasets`.

    Raises DataError where `datasets` has prepared several configurations and none is named.
    """
    if not (NAME.fullmatch(name) or _SHORT.fullmatch(name)):
        return None
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface").expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    kept = hub / f"datasets--{name.replace('/', '--')}"
    with suppress(OSError):
        revision = (kept / "refs" / "main").read_text("utf-8")[:40].strip()
        if re.fullmatch(r"[0-9a-f]+", revision) and (kept / "snapshots" / revision).is_dir():
            return kept / "snapshots" / revision
    made = Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets").expanduser()
    prepared: dict[str, list[Path]] = {}
    for record in (made / name.replace("/", "___")).glob("*/*/*/dataset_info.json"):
        prepared.setdefault(record.parents[2].name, []).append(record.parent)
    if config:
        prepared = {config: prepared[config]} if config in prepared else {}
    if len(prepared) > 1:
        raise DataError(
            "data.source: {name} has several configurations in the cache; name "
            "one, such as {name}:{prepared}: {prepared2}",
            name=name,
            prepared=min(prepared),
            prepared2=sorted(prepared),
        )
    newest = [max(one, key=lambda path: path.stat().st_mtime) for one in prepared.values()]
    return newest[0] if newest else None


def keep_listing(snapshot: Path, files: Sequence[str]) -> None:
    """Remember which files the Hub has of a snapshot."""
    record = _record(snapshot)
    make_private(record.parent)
    replace_text(record, json.dumps(list(files)), record.parent)


def listing(snapshot: Path) -> list[Path] | None:
    """The files of a snapshot that the Hub has, wherever they are; None where nobody asked it."""
    with suppress(OSError, ValueError, TypeError):
        return [snapshot / name for name in json.loads(read_text(_record(snapshot)))]
    return None


def _record(snapshot: Path) -> Path:
    return user_cache() / "hub" / f"{snapshot.parents[1].name}-{snapshot.name}.json"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"HF_HOME": scratch, "XDG_CACHE_HOME": scratch}
        demo = Path(scratch, "hub", "datasets--me--tiny", "snapshots", "abc")
        demo.mkdir(parents=True)
        (demo.parents[1] / "refs").mkdir()
        (demo.parents[1] / "refs" / "main").write_text("abc", encoding="utf-8")
        assert cached("me/tiny", "") == demo and listing(demo) is None
        keep_listing(demo, ["train.jsonl", "test.jsonl"])
        print(listing(demo))
    print("=== 自测通过 ===")
