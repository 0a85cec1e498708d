"""A new run that is named like the weights it starts from."""

import shutil
from pathlib import Path

import pytest
import torch
from small_runs import MakeConfig, lines, of_stage, train

from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.convert import convert
from lmm_tui.engine.training.run_host import EngineHost


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("source", ["run", "path", "checkpoint"])
def test_a_run_that_starts_from_one_of_its_name_gets_the_next_name(
    small: MakeConfig, chats: str, source: str
) -> None:
    old = train(of_stage(small, chats, "sft", name="x", train__steps=2)).run_dir
    before = contents(old.path)
    named = {
        "run": "x",
        "path": str(old.path),
        "checkpoint": str(next(old.checkpoints.glob("step-*"))),
    }[source]
    host = train(
        of_stage(small, chats, "sft", name="x", start_from=named, train__steps=1, optim__lr=1e-9)
    )
    assert host.run_dir.path.name == "x-2" and contents(old.path) == before
    assert host.run_dir.read_info().parent == "x"
    assert "x has the first weights; this run is x-2" in [
        event["message"] for event in lines(host.run_dir.events)
    ]
    now, then = read_weights(host.run_dir.path).tensors, read_weights(old.path).tensors
    assert all(torch.allclose(now[name], then[name], atol=1e-6) for name in then)


def test_a_folder_here_of_the_name_is_what_the_run_starts_from(
    small: MakeConfig, chats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = train(of_stage(small, chats, "sft", name="old", train__steps=1)).run_dir
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    convert(old.path, Path("x"))
    host = train(of_stage(small, chats, "sft", name="x", start_from="x", train__steps=1))
    assert host.run_dir.path == tmp_path / "x"
    assert Path(host.run_dir.read_info().parent) == tmp_path / "here" / "x"
    shutil.rmtree(host.run_dir.path)
    taught = of_stage(
        small, chats, "distill", name="x", distill__teacher="x", data__tokenizer="x", train__steps=1
    )
    assert train(taught).run_dir.path == tmp_path / "x"
    lost = EngineHost(of_stage(small, chats, "sft", name="y", start_from="y", train__steps=1))
    lost.run()
    assert "no such run, checkpoint" in lost.error
