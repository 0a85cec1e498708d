"""A run that was moved or copied while nobody trained it goes on where it is now."""

import shutil
from pathlib import Path

from small_runs import MakeConfig, curve

from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.control_client import send
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.run_host import EngineHost


def longer(run: RunDir, steps: int) -> RunConfig:
    return resolve(assignments={"train.steps": steps}, base=resolve(run.config).model_dump())


def finish(host: EngineHost) -> None:
    assert host.run() == "finished", host.error


def test_a_copy_and_its_original_go_on_at_the_same_time(small: MakeConfig, tmp_path: Path) -> None:
    first = EngineHost(small(train__steps=4, optim__schedule="constant"))
    finish(first)
    copy = RunDir(tmp_path / "elsewhere" / "copy")
    shutil.copytree(first.run_dir.path, copy.path)
    hosts = [EngineHost(longer(run, 8), run) for run in (first.run_dir, copy)]
    assert copy.read_info().name == "copy"
    assert copy.socket_path() != first.run_dir.socket_path()
    for host in hosts:
        info = host.run_dir.read_info()
        path = host.run_dir.listening_at(info)
        asked = host.mailbox.send("set", {"clip": 0.5})
        assert path.is_socket()
        finish(host)
        assert asked.result(120)
    assert curve(copy) == curve(first.run_dir) and len(curve(copy)) == 8


def test_a_moved_run_that_began_from_another_finds_its_tokenizer(
    small: MakeConfig, tmp_path: Path
) -> None:
    base = EngineHost(small(name="base", train__steps=2))
    finish(base)
    tuned = EngineHost(small(name="tuned", train__steps=3, start_from="base"))
    finish(tuned)
    moved = RunDir(tmp_path / "archive" / "renamed")
    moved.path.parent.mkdir()
    tuned.run_dir.path.rename(moved.path)
    shutil.rmtree(base.run_dir.path)
    host = EngineHost(longer(moved, 6), moved)
    host.start()
    assert send(moved.socket_path(), "checkpoint").message
    assert host.join(60) and host.state == "finished", host.error
    assert sorted(curve(moved)) == list(range(1, 7))
    assert moved.read_info().name == "renamed"
