"""Keys that had another meaning in earlier versions: whoever presses one is told once.

A key that does nothing any more is told to everyone, a key that does something else now only to
people whose preferences come from an earlier version.
"""

from __future__ import annotations

from collections.abc import Collection

from lmm_tui.cockpit.keys import KEYS, Key

_TABLE = """
dashboard: n view.next, N view.previous, i spikes.open
charts: up chart.in, down chart.out
spikes: r spikes.back
runs: o runs.overlay, d runs.differences, s runs.sort, S runs.reverse, n runs.note, x runs.delete
overlay: o overlay.close
checkpoints: p checkpoints.pin, e checkpoints.evaluate, c checkpoints.convert
checkpoints: v checkpoints.check, x checkpoints.delete
log: f log.narrow
samples: c samples.chat, s samples.again, o samples.manner
chat: o chat.manner, s chat.stop, n chat.anew
tokens: e tokens.write
evaluate: r evaluate.run, x evaluate.cancel, v evaluate.view, V evaluate.view_back
"""
"""By place, the keys of earlier versions with the id of what they did."""

_ROWS = {row.id: row for row in KEYS}

MOVED: dict[tuple[str, str], Key] = {
    (place, key): _ROWS[name]
    for line in _TABLE.strip().splitlines()
    for place, _, pairs in [line.partition(": ")]
    for key, name in [pair.split() for pair in pairs.split(", ")]
}
"""By place and key."""


def moved(key: str, places: Collection[str], *, knows_old: bool) -> Key | None:
    """What `key` did in these places, if it does that no more and it is worth telling."""
    found = next((MOVED[place, key] for place in places if (place, key) in MOVED), None)
    if found is None or key in found.current_keys:
        return None
    here = {one for row in KEYS if row.where in ("app", *places) for one in row.current_keys}
    return found if knows_old or key not in here else None


if __name__ == "__main__":
    for (place, key), row in MOVED.items():
        print(f"{place}: {key} is {row.key_display} now ({row.title})")
    assert moved("n", ("dashboard",), knows_old=False) is _ROWS["view.next"]
    assert moved("d", ("runs",), knows_old=False) is None
    print("=== 自测通过 ===")
