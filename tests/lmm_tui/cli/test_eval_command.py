"""`lmm-tui eval`: a run is scored, kept and compared; what is wrong is one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from forked import Forked
from made_runs import make_run
from processes import until
from repository import ROOT

from lmm_tui.cli import main
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.evaluation.evaluation_request import EvaluationRequest
from lmm_tui.engine.training.run_host import EngineHost

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run of two steps, with a checkpoint after each."""
    settings = {
        "runs_dir": str(tmp_path / "runs"),
        "name": "demo",
        "device": "cpu",
        "model.vocab_size": 300,
        "model.hidden_size": 32,
        "model.num_layers": 1,
        "model.intermediate_size": 64,
        "data.seq_len": 32,
        "data.builtin_mb": 0.1,
        "train.steps": 2,
        "train.threads": 1,
        "log.val_every": 0,
        "log.probe_every": 0,
        "log.sample_every": 0,
        "log.checkpoint_every": 1,
        "log.tensorboard": False,
    }
    host = EngineHost(resolve(assignments=settings))
    assert host.run() == "finished", host.error
    return host.run_dir.path


@pytest.mark.slow
@pytest.mark.usefixtures("forked_children")
def test_a_checkpoint_is_scored_kept_and_compared(
    trained: Path, tmp_path: Path, capsys: Capture
) -> None:
    first = trained / "checkpoints" / "step-000000001"
    asked = ["--tasks", "lmm_choice", "lmm_talk", "--limit", "4", "--device", "cpu"]
    output = ["--output", str(tmp_path / "out.json")]
    assert main.run(["eval", "--run", str(first), *asked, *output]) == 0
    shown = capsys.readouterr().out
    assert "lmm_choice  acc " in shown and "kept in" in shown
    assert "step 1: the first 4 questions of each task" in shown
    [kept] = (trained / "evals").iterdir()
    assert kept.name.startswith("step-000000001-")
    record = json.loads(kept.read_text())
    assert json.loads((tmp_path / "out.json").read_text()) == record
    assert (record["run"], record["step"], record["job"]["limit"]) == ("demo", 1, 4)
    assert record["outcome"]["versions"]["lm-eval"]
    later = kept.with_name(kept.name.replace("step-000000001", "step-000000002"))
    later.write_text(json.dumps(record | {"step": 2}))
    assert main.run(["eval", "--history", "demo"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[-4:] == ["STEP", "1", "STEP", "2"]
    assert [row.split()[0] for row in rows] == ["lmm_choice", "lmm_choice", "lmm_talk"]


@pytest.mark.slow
def test_ctrl_c_ends_the_child_too_and_says_that_one_can_go_on(tmp_path: Path) -> None:
    code = "import sys; from lmm_tui.cli.main import main; sys.argv[0] = 'lmm-tui'; main()"
    # All questions there are: the first answers come long before the last.
    command = ["-c", code, "eval", "--smoke", "--tasks", "lmm_all", "--limit", "0"]
    folder = tmp_path / "here"
    folder.mkdir()
    process = Forked(command, folder, os.environ, session=True)
    answers = tmp_path / "cache" / "lmm-tui" / "evaluation" / "answers"
    until(lambda: process.poll() is not None or list(answers.glob("*")))
    assert len(_working_in(folder)) > 1
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == main.INTERRUPTED
    assert "cancelled; the same command resumes it" in stderr
    until(lambda: not _working_in(folder))


def _working_in(folder: Path) -> list[psutil.Process]:
    """All processes whose folder it is: lm-eval's is that of its command."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder):
                found.append(process)
    return found


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--run", "nowhere"], "nowhere: no such run in runs"),
        (["--run", "bare"], "this run has no checkpoint yet"),
        ([], "this run has no checkpoint yet"),
        (["--history", "bare"], "nothing is kept of this run"),
        (["--run", "bare", "--model-path", "x"], "both name a model"),
        (["--backend", "hf"], "give it as --model-path"),
        (["--output", "no/where.json"], "there is no folder no"),
        (["--write-tasks", "."], "exists already"),
        (["--limit", "-1"], "-1 is not in the range"),
        (["--backend", "vllm"], "'vllm' is not one of"),
        (["lmm_sums"], "unexpected extra argument"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_code_2(
    args: list[str], sentence: str, tmp_path: Path, capsys: Capture
) -> None:
    make_run(tmp_path / "runs", "bare")
    assert main.run(["eval", *args]) == main.USER_ERROR
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1
    assert not said.out


def test_both_command_lines_take_the_same_flags() -> None:
    from lmm_tui.cli.commands import eval as in_cockpit
    from lmm_tui.engine import evaluate

    for command in (evaluate.command, in_cockpit.command):
        flags = {param.name for param in command.params} - {"lang"}
        assert flags == set(EvaluationRequest.__annotations__)


@pytest.mark.slow
def test_the_file_runs_as_a_command_of_its_own(tmp_path: Path) -> None:
    file = ROOT / "engine" / "evaluate.py"
    smoke = [file, "--smoke", "--device", "cpu", "--tasks", "lmm_choice", "--limit", "3"]
    done = Forked(smoke, tmp_path, os.environ, session=True)
    said, complaints = done.communicate()
    assert done.returncode == 0, complaints
    assert said.splitlines()[1].split()[:2] == ["lmm_choice", "acc"]
    # Without our package on the path of Python, and without torch.
    wrong = [sys.executable, str(file), "--run", "nowhere"]
    refused = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("evaluate: nowhere: no such run")
