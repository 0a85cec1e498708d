"""Whatever run.json, status.json and state.json hold: they are read, or refused in a sentence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from made_runs import make_run

from lmm_tui.engine.checkpoints.checkpoint_files import STATE, newest_intact
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.runs.checkpoint_list import CheckpointList
from lmm_tui.runs.run_list import RunList
from lmm_tui.runs.status_text import RunSummary, runs_table, status_record, status_sheet

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([2**62, -(2**63), 10**400, 1e308, "\ud800", "\x1b]52;c;aGk=\x07", "running"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
quick = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def records(kind: type) -> st.SearchStrategy[bytes]:
    """The record with some of its values replaced; or any JSON, or any bytes."""
    named = st.dictionaries(st.sampled_from([*kind.__dataclass_fields__]), VALUES)
    known = named.map(lambda found: (json.dumps(_WHOLE[kind] | found)).encode())
    return known | VALUES.map(lambda found: json.dumps(found).encode()) | st.binary(max_size=40)


_WHOLE: dict[type, dict[str, Any]] = {
    RunInfo: {"name": "x", "stage": "sft", "created": 1.0, "started": 1.0, "host": "h"}
    | {"pid": 1, "pid_started": 1.0},
    RunStatus: {"state": "running", "step": 3},
}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make_run(tmp_path, rows=5)


@quick
@given(info=records(RunInfo), status=records(RunStatus))
@example(info=b"[" * 100_000, status=b"{}")
@example(info=b'{"name": ' * 100_000, status=b"[" * 100_000)
def test_a_run_is_read_or_refused(run: RunDir, info: bytes, status: bytes) -> None:
    run.info_file.write_bytes(info)
    run.status_file.write_bytes(status)
    runs_table([listed.summary for listed in RunList(run.path.parent).read()])
    try:
        Reader(run.path).poll()
        found = RunSummary.of(Reader(run.path))
        assert status_sheet(found) and json.dumps(status_record(found))
    except RunDirError as refused:
        assert str(run.path) in str(refused)


@quick
@given(
    state=st.dictionaries(
        st.sampled_from(["format", "step", "val_loss", "files", "digest", "tokens", "time"]), VALUES
    ),
    sealed=st.booleans(),
)
@example(state={"format": 2, "files": {"a\0b": "x"}}, sealed=True)
@example(state={"format": 2, "files": {"": None}}, sealed=True)
def test_a_checkpoint_is_read_or_damaged(run: RunDir, state: dict[str, Any], sealed: bool) -> None:
    folder = run.checkpoints / "step-000000003"
    folder.mkdir(parents=True, exist_ok=True)
    if sealed:
        state.pop("digest", None)
        text = json.dumps(state, sort_keys=True)
        state["digest"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / STATE).write_text(json.dumps(state))
    newest_intact(run.checkpoints)
    CheckpointList(run).read()


def test_nesting_is_damage(run: RunDir) -> None:
    folder = run.checkpoints / "step-000000003"
    folder.mkdir(parents=True)
    (folder / STATE).write_bytes(b'{"format": ' + b"[" * 100_000)
    assert newest_intact(run.checkpoints)[0] is None
