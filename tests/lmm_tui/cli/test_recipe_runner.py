"""`lmm-tui pipeline`: all stages in order, nothing done twice, a table at the end."""

from pathlib import Path

import pytest

from lmm_tui.cli.main import run
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.checkpointing import Checkpointer

RECIPE = """
about = "two small steps"

[quiz]
kinds = ["sums"]
questions = 4

[common.model]
vocab_size = 300
hidden_size = 32
num_layers = 1
intermediate_size = 64

[common.data]
seq_len = 64
builtin_mb = 0.1

[common.train]
steps = 3
batch_size = 2
threads = 1

[common.log]
tensorboard = false

[[step]]
stage = "pretrain"

[[step]]
stage = "sft"
data = { source = "chats.jsonl", val_fraction = 0.4 }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = [f'{{"instruction": "{n} + 1?", "output": "{n + 1}"}}' for n in range(30)]
    Path("chats.jsonl").write_text("\n".join(rows), encoding="utf-8")
    Path("small.toml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("empty_pages")
def test_it_runs_all_steps_and_does_nothing_twice(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pipeline", "small.toml", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said.count("| small") == 0
    table = [line for line in said.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table] == ["step", "-" * 10, "pretrain", "sft"]
    assert "sums, exact" in table[0]
    assert said.count("answered exactly, on cpu fp32: sums ") == 2
    sft = RunDir(folder / "runs" / "small-sft")
    assert sft.read_info().parent == "small-pretrain"
    assert sft.read_status().state == "finished"

    assert run(["pipeline", "small.toml", "--device", "cpu"]) == 0
    again = capsys.readouterr().out
    assert again.count("is finished already") == 2
    assert again.count("done before") == 2


@pytest.mark.usefixtures("empty_pages")
def test_a_step_that_was_interrupted_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = ["pipeline", "small.toml", "--device", "cpu", "--name", "mine"]
    with monkeypatch.context() as broken:
        broken.setattr(Checkpointer, "begin", lambda self: 1 / 0)
        assert run(args) == 1
    first = RunDir(folder / "runs" / "mine-pretrain")
    assert first.read_status().state == "failed"
    assert run(args) == 0
    assert first.read_status().state == "finished"


def test_without_a_recipe_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pipeline"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == ["gpu", "minimind3", "tiny"]


def test_a_recipe_gives_a_single_run_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--recipe", "tiny", "--stage", "grpo", "--steps", "7", "--print-config"]
    assert run(command) == 0
    printed = capsys.readouterr().out
    assert 'stage = "grpo"' in printed
    assert "steps = 7" in printed
    assert run(["train", "--recipe", "tiny", "--resume", "x"]) == 2
    assert "--recipe" in capsys.readouterr().err
