"""The changes of a run's settings, as its events tell them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmm_tui.engine.run import setting_changes
from lmm_tui.engine.run.setting_changes import read_history


def event(step: int, after: float) -> str:
    change = {"step": step, "key": "optim.lr", "before": 0.1, "after": after}
    return json.dumps({"time": 1.0, "kind": "command", "changes": [change]}) + "\n"


def test_events_are_read_again_only_when_there_are_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    really = setting_changes.reading

    def counted(path: Path, root: Path) -> object:
        opened.append(path)
        return really(path, root)

    monkeypatch.setattr(setting_changes, "reading", counted)
    events = tmp_path / "events.jsonl"
    assert read_history(events).at() == {}
    events.write_text(event(3, 0.2))
    opened.clear()
    first = read_history(events)
    first.began.clear()  # What one caller does with its own is not seen by others.
    assert [read_history(events).at() for _ in range(3)] == [{"optim.lr": 0.2}] * 3
    assert len(opened) == 1
    with events.open("a") as file:
        file.write(event(5, 0.3))
    assert read_history(events).at() == {"optim.lr": 0.3} and len(opened) == 2
    assert read_history(events).began == {"optim.lr": 0.1}
