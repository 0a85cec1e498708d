"""A run whose files are cut anywhere or have bytes changed: readers say so, or do without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import make_run

from lmm_tui.cli import main
from lmm_tui.cli.progress_printer import event_line, progress_line, sample_line
from lmm_tui.cockpit.widgets.event_list import event_content
from lmm_tui.cockpit.widgets.samples_panel import sample_paragraph
from lmm_tui.engine.run.find_run import list_runs
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.run.run_records import RunStatus
from lmm_tui.runs.status_text import RunSummary, runs_table, status_record, status_sheet

FILES = ("run.json", "status.json", "metrics.jsonl", "events.jsonl", "samples.jsonl", "config.toml")

IN_ONE_FOLDER = settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = make_run(tmp_path_factory.mktemp("whole"), rows=2, state="running", eta_s=12.5)
    event = {"time": 1.5, "step": 3, "kind": "alert", "level": "error", "message": "loss is NaN"}
    sample = {"step": 3, "kind": "sample", "prompt": "小", "text": "兔", "reward": 0.5}
    tokens = {"step": 3, "kind": "token_losses", "tokens": ["a", "b"], "losses": [0.5, 2.0]}
    run.events.write_text(json.dumps(event) + "\n")
    run.samples.write_text(json.dumps(sample) + "\n" + json.dumps(tokens) + "\n")
    run.write_config('stage = "pretrain"\n')
    return run


def look(run: RunDir) -> Reader | None:
    """Everything that a reader words; None where the folder is refused as no run."""
    assert len(list_runs(run.path.parent)) <= 1
    try:
        session = Reader(run.path)
        session.poll()
        summary = RunSummary.of(session)
    except RunDirError as refusal:
        assert "run.json" in str(refusal)
        return None
    json.dumps(status_record(summary), allow_nan=False)
    words = [status_sheet(summary), runs_table([summary])]
    words.append(progress_line(session.view, session.series))
    for event in session.events:
        words += [event_line(event), event_content(event, 80).plain]
    for sample in session.samples:
        words += [sample_line(sample), sample_paragraph(sample).plain]
    assert not any(char in text for text in words for char in "\x1b\x07\x9b\x90\x9d\u202e\0")
    return session


def values(session: Reader) -> dict[str, dict[int, float]]:
    found = {}
    for name in session.series.names():
        series = session.series.get(name)
        assert series is not None
        found[name] = dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))
    return found


@pytest.mark.parametrize("name", FILES)
def test_cut_anywhere_a_file_shows_less_and_nothing_else(
    whole: RunDir, tmp_path: Path, name: str
) -> None:
    run = RunDir(tmp_path / "demo")
    shutil.copytree(whole.path, run.path)
    full = look(run)
    assert full is not None
    content = (run.path / name).read_bytes()
    for end in range(len(content)):
        (run.path / name).write_bytes(content[:end])
        session = look(run)
        if session is None:
            assert name == "run.json"
            continue
        assert values(session).items() <= values(full).items() or name == "metrics.jsonl"
        for metric, points in values(session).items():
            assert points.items() <= values(full)[metric].items()
        assert session.events == full.events[: len(session.events)]
        assert session.samples == full.samples[: len(session.samples)]
        assert session.view.info == full.view.info
        assert name == "status.json" or session.view.status == full.view.status
        assert session.view.status in (full.view.status, RunStatus())


@IN_ONE_FOLDER
@given(data=st.data())
def test_whatever_bytes_change_readers_neither_raise_nor_pass_on_what_a_terminal_obeys(
    whole: RunDir, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole.path, folder)
    file = folder / data.draw(st.sampled_from(FILES))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(
            st.integers(0, 255) | st.sampled_from(b'"0123456789[]{}:,.-e\x1b\n')
        )
    file.write_bytes(content)
    look(RunDir(folder))


wrong = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@IN_ONE_FOLDER
@given(data=st.data())
def test_values_of_any_type_in_any_record_are_survived(
    whole: RunDir, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole.path, folder)
    file = folder / data.draw(st.sampled_from(FILES[:-1]))
    lines = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
    record = json.loads(lines[0])
    record[data.draw(st.sampled_from(sorted(record)))] = data.draw(wrong)
    file.write_text("\n".join([json.dumps(record), *lines[1:]]) + "\n")
    look(RunDir(folder))


def test_a_status_that_is_damaged_while_somebody_looks_leaves_the_one_before(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path, state="running", step=7)
    session = Reader(run.path)
    run.status_file.write_text('{"state": "running", "step": "8"}')
    session.poll()
    assert session.view.status.step == 7


def test_rows_from_a_clock_that_was_set_are_drawn_judged_and_counted_like_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, rows=60)
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["time"] += (0, -86_400, 1e6)[number // 20]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for words in (["plot", "--text"], ["status"], ["health"]):
        assert main.run([*words, str(run.path)]) in (0, 1)
    shown = capsys.readouterr()
    assert shown.err == "" and "loss" in shown.out
    session = look(run)
    assert session is not None and session.unreadable_lines == 0
    assert list(values(session)["train/loss"]) == list(range(1, 61))
