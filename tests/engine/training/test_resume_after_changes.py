"""A resumed run repeats its steps with the settings that they had, however often it is killed."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from forked import Forked
from small_runs import MakeConfig, curve, lines

from lmm_tui.engine.config.config_file import load_toml, to_toml
from lmm_tui.engine.config.run_settings import settings_of
from lmm_tui.engine.run.control_client import send
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.setting_changes import SettingChange, SettingHistory, read_history
from lmm_tui.engine.training.run_host import EngineHost

HOST = """
import json, sys
from pathlib import Path
from lmm_tui.engine.config.resolve import resolve, with_changes
from lmm_tui.engine.config.run_settings import settings_of
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.run_host import EngineHost
run = RunDir(sys.argv[1])
config = settings_of(run) if run.exists() else resolve(Path(sys.argv[2]))
if run.exists():
    config = with_changes(config, json.loads(sys.argv[3]))
EngineHost(config, run if run.exists() else None).run()
"""


class KilledRun:
    """A run in a process of its own, to be killed and resumed."""

    def __init__(self, folder: Path, config: Any) -> None:
        self._config = folder / "settings.toml"
        self._config.write_text(to_toml(config))
        self.run = RunDir(Path(config.runs_dir) / config.name)
        self._process: Forked | None = None
        self._script = folder / "host.py"
        self._script.write_text(HOST)

    def start(self, **asked: Any) -> None:
        self._process = Forked(
            [self._script, self.run.path, self._config, json.dumps(asked)],
            self._script.parent,
            os.environ,
        )
        pid = self._process.pid
        self.until(lambda: self.run.exists() and self.run.read_info().pid == pid)

    def until(self, holds: Any) -> None:
        deadline = time.monotonic() + 300
        while not holds():
            assert self._process is not None and self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def past(self, step: int) -> None:
        self.until(lambda: self.run.metrics.exists() and max(self.steps(), default=0) > step)

    def steps(self) -> list[int]:
        found = self.run.metrics.read_bytes().split(b"\n")[:-1]
        return [int(line[8:].split(b",", 1)[0]) for line in found]

    def send(self, command: str, **args: Any) -> Any:
        reply = send(self.run.socket_path(), command, args, 120)
        assert reply.ok, reply.message
        return reply

    def kill(self) -> int:
        """The last step that is written."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return max(self.steps())


def repeated(run: RunDir, name: str = "train/loss") -> dict[int, set[float]]:
    """The values of each step that was trained more than once."""
    values: dict[int, list[float]] = {}
    text = run.metrics.read_bytes().decode().rpartition("\n")[0]
    run.metrics.write_text(text + "\n")  # A torn last line is no value.
    for row in lines(run.metrics):
        if name in row:
            values.setdefault(row["step"], []).append(row[name])
    return {step: set(found) for step, found in values.items() if len(found) > 1}


LONG = {"train__steps": 100_000, "log__val_every": 0, "log__probe_every": 0,
        "log__checkpoint_every": 0, "optim__warmup_steps": 2}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_after_a_live_change_and_a_kill_the_losses_are_repeated_to_the_last_bit(
    small: MakeConfig, tmp_path: Path, optimiser: str
) -> None:
    config = small(name="changed", optim__name=optimiser, **LONG)
    first = KilledRun(tmp_path, config)
    first.start()
    first.past(3)
    saved = first.send("checkpoint").step
    first.past(saved + 3)
    lowered = first.send("set", lr=1e-4).step
    first.past(lowered + 3)
    clipped = first.send("set", clip=0.25).step
    first.past(clipped + 3)
    last = first.kill()
    assert saved < lowered < clipped < last

    first.start()
    first.past(last)
    longest = first.kill()
    run = first.run
    assert run.read_info().resumed_steps == [saved]
    for name in ("train/loss", "train/lr", "train/grad_norm", "train/clip_rate"):
        twice = repeated(run, name)
        assert set(range(saved + 1, last + 1)) <= twice.keys() | {saved}
        assert [step for step, values in twice.items() if len(values) > 1] == []
    rates = curve(run, "train/lr")
    assert rates[lowered] > 5e-4 > rates[lowered + 1]
    # And once more: what was made again is not a change of its own.
    first.start()
    first.past(longest)
    first.kill()
    assert [step for step, values in repeated(run).items() if len(values) > 1] == []


@pytest.mark.slow
def test_the_settings_file_says_what_the_run_began_with(small: MakeConfig, tmp_path: Path) -> None:
    config = small(name="began", optim__lr=2e-3, **LONG)
    process = KilledRun(tmp_path, config)
    process.start()
    process.past(2)
    process.send("checkpoint")
    reply = process.send("set", lr=1e-3)
    last = process.kill()
    assert load_toml(process.run.config)["optim"]["lr"] == 2e-3
    assert settings_of(process.run).optim.lr == 1e-3
    assert "peak learning rate 0.002 → 0.001 (now " in reply.message
    assert "the cosine schedule continues" in reply.message
    process.start(**{"train.steps": 200_000})
    process.past(last)
    process.kill()
    kept = read_history(process.run.events)
    assert kept.began == {"optim.lr": 2e-3, "train.steps": 100_000}
    assert kept.at() == {"optim.lr": 1e-3, "train.steps": 200_000}
    assert load_toml(process.run.config)["train"]["steps"] == 100_000


@pytest.mark.slow
def test_a_change_made_anew_before_an_old_one_replaces_it(
    small: MakeConfig, tmp_path: Path
) -> None:
    process = KilledRun(tmp_path, small(name="anew", **LONG))
    process.start()
    process.past(2)
    process.send("pause")
    saved = process.send("checkpoint").step
    process.send("resume")
    process.past(saved + 5)
    process.send("pause")
    later = process.send("set", lr=1e-4).step
    process.kill()
    process.start()
    process.until(lambda: process.run.read_status().state == "running")
    process.kill()
    changes = read_history(process.run.events).changes
    assert [(change.step, change.after) for change in changes] == [(later, 1e-4)]
    rows = len(process.steps())
    process.start(**{"optim.lr": 3e-4})
    process.until(lambda: len(process.steps()) > rows + later - saved + 3)
    process.kill()
    assert curve(process.run, "train/lr")[later + 2] > 2e-4
    changes = read_history(process.run.events).changes
    assert [(change.step, change.after) for change in changes] == [(saved, 3e-4)]


def test_a_run_without_a_checkpoint_is_resumed_from_its_start(small: MakeConfig) -> None:
    first = EngineHost(small(name="bare", **LONG))
    first.start()
    while first.status.status.step < 3:
        assert not first.join(0.005)
    lowered = first.mailbox.send("set", {"lr": 1e-4}).result(60).step
    while first.status.status.step < lowered + 3:
        assert not first.join(0.005)
    first.mailbox.send("stop", {"checkpoint": False})
    assert first.join(60)
    last = max(curve(first.run_dir))
    again = EngineHost(settings_of(first.run_dir), first.run_dir)
    again.start()
    while again.status.status.step <= last:
        assert not again.join(0.005)
    again.mailbox.send("stop", {"checkpoint": False})
    assert again.join(60)
    twice = repeated(first.run_dir)
    assert len(twice) == last and all(len(values) == 1 for values in twice.values())
    assert first.run_dir.read_info().resumed_steps == [0]


def test_what_holds_at_a_step_is_the_last_change_before_it() -> None:
    def change(step: int, after: float, before: float) -> SettingChange:
        return SettingChange(step, "optim.lr", before, after)

    history = SettingHistory([change(100, 2.0, 1.0), change(150, 3.0, 2.0)])
    assert [history.at(step)["optim.lr"] for step in (99, 100, 149, 150)] == [1.0, 2.0, 2.0, 3.0]
    assert history.add(change(120, 4.0, 2.0)) == [change(150, 3.0, 2.0)]
    assert [history.at(step)["optim.lr"] for step in (99, 100, 149, 150)] == [1.0, 2.0, 4.0, 4.0]
