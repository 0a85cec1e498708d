"""A full disk, by a limit on the size of files: the run goes on, and nothing is lost."""

import resource
import threading
from pathlib import Path

from forked import Forked
from small_runs import MakeConfig, curve, lines

from lmm_tui.engine.checkpoints.checkpoint_files import verify
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.run_host import EngineHost


def train_on_a_disk_that_fills(config: RunConfig, until_the_end: bool) -> None:
    """The disk is full for some steps in the middle, or from the middle to the end."""
    host = EngineHost(config)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def wait_for(step: int) -> None:
        while host.status.status.step < step:
            assert not host.join(0.002), host.error

    def fill() -> None:
        wait_for(10)
        resource.setrlimit(resource.RLIMIT_FSIZE, (host.run_dir.metrics.stat().st_size, hard))
        wait_for(30)
        if not until_the_end:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    host.start()
    threading.Thread(target=fill).start()
    host.join()
    assert host.state == "finished" and host.error == ""


def train(config: RunConfig, until_the_end: bool) -> RunDir:
    child = Forked.calling(train_on_a_disk_that_fills, config, until_the_end)
    _, errors = child.communicate()
    assert child.returncode == 0, errors
    run = RunDir(Path(config.runs_dir) / "small")
    for path in list_checkpoints(run.checkpoints):
        verify(path)
    return run


def alerts(run: RunDir) -> list[str]:
    return [event["message"] for event in lines(run.events) if event["kind"] == "alert"]


def test_rows_that_waited_for_space_are_all_written(small: MakeConfig) -> None:
    chosen = {"train__steps": 60, "log__checkpoint_every": 4}
    whole = EngineHost(small(name="whole", **chosen))
    assert whole.run() == "finished"
    run = train(small(**chosen), until_the_end=False)
    for name in ("train/loss", "val/loss", "probe/entropy"):
        assert curve(run, name) == curve(whole.run_dir, name)
    full, *_, again = [text for text in alerts(run) if "metrics" in text]
    assert "metrics cannot be written (File too large)" in full and "written again" in again
    assert sum("checkpoint not written" in text for text in alerts(run)) == 1
    assert list_checkpoints(run.checkpoints)[-1].name == "step-000000060"


def test_a_disk_that_stays_full_leaves_what_was_there(small: MakeConfig) -> None:
    run = train(small(train__steps=40, log__checkpoint_every=4), until_the_end=True)
    assert sorted(curve(run))[:9] == list(range(1, 10))
    saved = [int(path.name[-3:]) for path in list_checkpoints(run.checkpoints)]
    assert saved and max(saved) < 40
