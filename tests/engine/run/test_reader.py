"""Reader: a run of an earlier version, a live run, and what a newer version would write."""

import json
import math
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import curve, lines, train

from lmm_tui import Reader, lmm_run
from lmm_tui.engine.config.resolve import resolve, with_changes
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.runs.status_text import RunSummary, status_record

OLD_RUN = Path(__file__).parents[2] / "support" / "run_of_4291ae1.tar.gz"
"""Six steps of a model of 2,524 parameters, as commit 4291ae1 wrote them."""


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    with tarfile.open(OLD_RUN) as packed:
        packed.extractall(tmp_path, filter="data")
    yield tmp_path / "old"


def test_a_run_of_an_earlier_version_is_read_whole(old: Path) -> None:
    run = Reader(old)
    run.poll()
    assert (run.view.state, run.view.status.step, run.view.active) == ("finished", 6, False)
    assert run.view.info.model == "nano" and run.unreadable_lines == 0
    assert run["train/loss"].steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert run["val/loss"].steps.tolist() == [3, 6]
    rows = {row["step"]: row for row in lines(old / "metrics.jsonl") if "train/loss" in row}
    assert run["train/loss"].values.tolist() == [rows[step]["train/loss"] for step in rows]
    kinds = [event.kind for event in run.events]
    assert kinds[0] == "start" and kinds[-1] == "end" and "checkpoint" in kinds
    assert {sample.kind for sample in run.samples} == {"sample", "token_losses"}
    assert status_record(RunSummary.of(Reader(old)))["val_loss"] == run["val/loss"].last_value


def test_a_run_of_an_earlier_version_is_resumed(old: Path, tmp_path: Path) -> None:
    before = curve(RunDir(old))
    config = resolve(old / "config.toml")
    config = with_changes(config, {"train.steps": 8, "runs_dir": str(tmp_path)})
    train(config, RunDir(old))
    run = Reader(old)
    run.poll()
    assert run.view.info.resumed_steps == [6] and run["train/loss"].last_step == 8
    assert {step: run["train/loss"].values[step - 1] for step in before} == before


def test_a_run_of_a_newer_format_is_refused_in_a_sentence(old: Path) -> None:
    info = json.loads((old / "run.json").read_text())
    (old / "run.json").write_text(json.dumps(info | {"format": 2}))
    with pytest.raises(RunDirError, match=r"run\.json: format 2 is newer than .* upgrade lmm-tui"):
        Reader(old)


def test_a_live_run_is_followed_and_steered(tmp_path: Path) -> None:
    script = """
    import sys
    from lmm_tui import lmm_run

    with lmm_run(sys.argv[1], probe=lambda: {"rank": 3}) as run:
        step = 0
        while not run.should_stop:
            if step < 5:
                step += 1
                run.log(step=step, loss=8.0 / 2**step)
    """
    path = tmp_path / "mine"
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    with subprocess.Popen(command) as child:
        while not (path / "status.json").exists():
            assert child.poll() is None
        run = Reader.find("mine", tmp_path)
        while not run.poll() or run.view.status.step < 5:
            assert child.poll() is None
        run.poll()
        assert run.view.active and run.view.state == "running"
        assert run["train/loss"].values.tolist() == [4.0, 2.0, 1.0, 0.5, 0.25]
        assert run.send("probe").message == "rank 3"
        assert not run.send("rollback").ok
        assert run.send("stop").ok
    run.poll()
    assert run.view.state == "stopped" and run["probe/rank"].last_value == 3
    with pytest.raises(KeyError, match="no metric is called 'loss'; there are: .*train/loss"):
        run["loss"]


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="no such run"):
        Reader.find("none", tmp_path)
    with pytest.raises(RunDirError, match="holds no runs"):
        Reader.find(runs_dir=tmp_path)


def test_a_log_of_another_program_is_read_alike(tmp_path: Path) -> None:
    log = tmp_path / "train.csv"
    log.write_text("step,loss\n1,2.5\n2,nan\n")
    run = Reader(log)
    run.poll()
    assert run.foreign and not run.view.active and run["train/loss"].values[0] == 2.5
    assert math.isnan(run["train/loss"].values[1])
    assert "takes no commands" in run.send("pause").message


def test_a_snapshot_imports_no_numpy(tmp_path: Path) -> None:
    with lmm_run(tmp_path / "mine") as run:
        run.log(loss=1.0)
    code = f"import sys; from lmm_tui import Reader; print(Reader({str(run.run_dir.path)!r}).view.state, 'numpy' in sys.modules)"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["finished", "False"]
