"""The cache of prepared data as text for people, and as records for programs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmm_tui.data.preparation.cache_items import ANSWERS, TASKS, CacheItem
from lmm_tui.i18n.language import listed, mark, tr
from lmm_tui.i18n.number_format import NOTHING, duration, size
from lmm_tui.runs.status_text import table_text
from lmm_tui.terminal.safe_text import clean

_HEAD = (mark("NAME"), mark("SIZE"), mark("MADE"), mark("USED"), mark("STATE"), mark("RUNS"))
_OWN = {
    ANSWERS: mark("answers of a cancelled evaluation"),
    TASKS: mark("built-in evaluation tasks"),
}
_STATES = {
    "whole": mark("whole"),
    "unfinished": mark("orphan: unfinished"),
    "damaged": mark("orphan: damaged"),
    "leftover": mark("orphan: leftover"),
}


def cache_table(items: Sequence[CacheItem], now: float | None = None) -> str:
    """A line for each item, in the order given."""
    now = time.time() if now is None else now
    rows = [
        (
            item.path.name,
            size(item.size),
            tr("{time} ago", time=duration(now - item.made)),
            tr("in use") if item.in_use else tr("{time} ago", time=duration(now - item.used)),
            _state(item),
            listed(item.runs) if item.runs else NOTHING,
            _made_of(item),
        )
        for item in items
    ]
    head = (*map(tr, _HEAD), tr("MADE OF"))
    return table_text([head, *(tuple(map(clean, row)) for row in rows)], right={1, 2, 3})


def cache_total(cache: Path, items: Sequence[CacheItem]) -> str:
    """One line about all of them."""
    return tr(
        "{folder}: {count} items, {size}",
        folder=clean(str(cache)),
        count=len(items),
        size=size(sum(item.size for item in items)),
    )


def cache_record(item: CacheItem) -> dict[str, Any]:
    """What `lmm-tui cache --json` prints of an item; times are unix seconds."""
    return {
        "path": str(item.path),
        "made_of": item.purpose,
        "state": item.state,
        "bytes": item.size,
        "made": item.made,
        "used": item.used,
        "in_use": item.in_use,
        "runs": list(item.runs),
    }


def _made_of(item: CacheItem) -> str:
    own = _OWN.get(item.purpose)
    return tr(own) if own else item.purpose or NOTHING


def _state(item: CacheItem) -> str:
    if item.state == "unfinished" and item.in_use:
        return tr("being written")
    return tr(_STATES[item.state])


if __name__ == "__main__":
    demo = CacheItem(Path("a" * 24), "texts/*.txt", "whole", 5_364_024, 0.0, 60.0, False, ("one",))
    print(cache_table([demo], now=3600.0))
    print(cache_total(Path("cache"), [demo]))
    print("=== 自测通过 ===")
