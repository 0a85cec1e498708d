"""The space of a sweep, its trials on disk, the room of a machine; what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_run import FakeRun
from made_runs import make_run

from lmm_tui.cli.main import run
from lmm_tui.engine.config.model_shape import PRESETS
from lmm_tui.engine.config.options import lookup
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.runs.gpu_cards import Card
from lmm_tui.runs.machine_stats import Machine
from lmm_tui.sweeps.axes import Axis, SweepError, grid, split_assignments, written
from lmm_tui.sweeps.live_trial import LiveTrial, TrialOutcome
from lmm_tui.sweeps.machine_slots import MachineSlots
from lmm_tui.sweeps.results import sweep_record
from lmm_tui.sweeps.sweep_plan import SweepFolder, SweepPlan, SweepWishes, choose, new_sweep
from lmm_tui.sweeps.trial_store import TrialStore
from lmm_tui.sweeps.workers import beat, sign_off

RATES = Axis("optim.lr", (1e-3, 3e-3, 1e-2))


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def made(folder: Path, *axes: Axis, **changes: Any) -> tuple[SweepFolder, SweepPlan]:
    axes = axes or (RATES,)
    base = RunConfig(runs_dir=str(folder)).model_dump(exclude_none=True)
    plan = SweepPlan("night", base, axes, **{"trials": len([*grid(axes)]), **changes})
    place = SweepFolder(folder, "night")
    place.create(plan)
    return place, plan


def test_values_and_ranges_are_told_from_single_values() -> None:
    texts = ["optim.lr=1e-3, 3e-3", "train.batch_size=8..64 log", "optim.clip=0.5..2"]
    texts += ['log.prompts=["a", "b"]', "optim.schedule=cosine,wsd", 'data.source="a, b.txt"']
    axes, fixed = split_assignments(texts)
    assert axes == [
        Axis("optim.lr", (1e-3, 3e-3)),
        Axis("train.batch_size", (), 8, 64, log=True, whole=True),
        Axis("optim.clip", (), 0.5, 2.0),
        Axis("optim.schedule", ("cosine", "wsd")),
    ]
    assert fixed == ['log.prompts=["a", "b"]', 'data.source="a, b.txt"']


def test_settings_of_a_stage_of_ones_own_are_swept() -> None:
    texts = ["own.digits=4, 8", "own.noise=0.1..1 log", "own.rows=1..9", "own.sorted=true,false",
             """own.order="up","down, too\"""", "own.name='a, b'", "own.list=[1, 2]"]  # fmt: skip
    axes, fixed = split_assignments(texts)
    assert axes == [
        Axis("own.digits", (4, 8)),
        Axis("own.noise", (), 0.1, 1.0, log=True),
        Axis("own.rows", (), 1, 9, whole=True),
        Axis("own.sorted", (True, False)),
        Axis("own.order", ("up", "down, too")),
    ]
    assert fixed == ["own.name='a, b'", "own.list=[1, 2]"]
    assert split_assignments([written(axis) for axis in axes]) == (axes, [])
    for unclear in ("own.order=up,down", "own.list=[1],[2]", "own.digits=4,"):
        with pytest.raises(SweepError, match="several values, or one with a comma"):
            split_assignments([unclear])
    with pytest.raises(SweepError, match="a value stands there twice"):
        split_assignments(["own.digits=4,4"])


CHOICES = {
    "optim.name=adamw,muon": ("adamw", "muon"),
    "model.preset=nano,tiny": ("nano", "tiny"),
    "train.compile=true,false": (True, False),
    "stage=pretrain,sft": ("pretrain", "sft"),
    "grpo.loss=grpo, dapo": ("grpo", "dapo"),
    "data.source=\"a, b.txt\",'c.txt'": ("a, b.txt", "c.txt"),
    'lora.targets=["q_proj"],["q_proj", "v_proj"]': (["q_proj"], ["q_proj", "v_proj"]),
}


@pytest.mark.parametrize("text", CHOICES)
def test_choices_of_every_kind_become_settings_of_their_trials(text: str, tmp_path: Path) -> None:
    (axis,), _ = split_assignments([text])
    place = new_sweep(RunConfig(runs_dir=str(tmp_path)), (axis,), SweepWishes(), "night")
    assert split_assignments([written(axis)]) == ([axis], [])
    plan = place.read()
    store = TrialStore(place, plan)
    trials = [trial for _ in CHOICES[text] if (trial := store.claim("w"))]
    found = tuple(lookup(plan.config(one.point, one.run), axis.key) for one in trials)
    assert found == CHOICES[text]
    if axis.key == "model.preset":  # The preset counts, not the numbers of the first one.
        sizes = [plan.config(one.point, one.run).model.shape().hidden_size for one in trials]
        assert sizes == [PRESETS[name].hidden_size for name in ("nano", "tiny")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "5"], "nothing to sweep"),
        (["--set", "data.source=a, b.txt", "--set", "optim.lr=1e-3,2e-3"], "one with a comma?"),
        (["--set", "lora.targets=q_proj,v_proj"], "write several lists as"),
        (["--set", "optim.lr=1e-3,,2e-3"], "nothing stands before or after a comma"),
        (["--set", "optim.name=adamw,"], "nothing stands before or after a comma"),
        (["--set", "optim.name=adamw,sgd"], "'adamw' or 'muon' (got 'sgd')"),
        (["--set", "data.stream=true,yes"], "twice"),
        (["--set", "data.stream=true,2"], "data.stream"),
        (["--set", "model.hidden_size=64,100"], "model.head_dim: 25 is odd"),
        (["--set", "train.seed=1..3", "--trials", "10"], "only 3 points"),
        (["--set", "train.steps=5,6", "--set", "train.minutes=1,2"], "leave one out"),
        (["--set", "optim.lr=1e-2..1e-3", "--trials", "3"], "is empty"),
        (["--set", "optim.lr=0..1 log", "--trials", "3"], "begins above 0"),
        (["--set", "optim.lr=1e-3..1e-2"], "give --trials N"),
        (["--set", "optim.lr=1e-3..1e-2", "--sampler", "grid", "--trials", "3"], "has no grid"),
        (["--set", "optim.lr=1e-3,2e-3", "--trials", "5"], "only 2 points"),
        (["--set", "optim.lr=1e-3,fast"], "optim.lr"),
        (["--set", "optim.lr=1e-3,99"], "optim.lr"),
        (["--set", "optim.lr=1e-3,1e-3"], "twice"),
        (["--set", "optim.lr=1..x", "--trials", "3"], "no range"),
        (["--set", "train.seed=1..2.5", "--trials", "3"], "whole numbers"),
        (["--set", "optim.name=1..2", "--trials", "3"], "no number"),
        (["--set", "name=a,b"], "the same for all"),
        (["--set", "optim.lr=1e-3,2e-3", "--set", "optim.lr=1e-2,2e-2"], "varied twice"),
        (["--set", "optim.lrr=1,2"], "optim.lrr"),
        (["--resume", "x", "--set", "optim.lr=1e-3,2e-3"], "lmm-tui worker"),
        (["--pause"], "of which sweep"),
        (["none"], "no such sweep"),
        (["../up"], "name of a sweep"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_a_space_that_cannot_be_is_refused_in_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sweep", *words, "--runs-dir", str(tmp_path / "runs")]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_ten_thousand_points_are_too_many() -> None:
    axes = tuple(Axis(f"k{at}", tuple(range(30))) for at in range(3))
    with pytest.raises(SweepError, match="more than 10,000"):
        choose(axes, None, None)
    assert choose(axes, 20, None) == ("tpe", 20)


def test_a_sweep_of_another_version_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    place, plan = made(tmp_path)
    with pytest.raises(SweepError, match="there is a sweep of that name"):
        place.create(plan)
    record = json.loads(place.plan_file.read_text())
    place.plan_file.write_text(json.dumps(record | {"format": 9}))
    with pytest.raises(SweepError, match="of format 9, this lmm-tui reads 1"):
        place.read()
    place.plan_file.write_text(json.dumps(record | {"axes": [3]}))
    with pytest.raises(SweepError, match="damaged"):
        place.read()
    place.journal.write_text('{"op_code": 99}\n')
    with pytest.raises(SweepError, match="cannot read it"):
        TrialStore(place, plan)


def test_two_queues_never_take_the_same_trial_and_a_torn_journal_goes_on(tmp_path: Path) -> None:
    place, plan = made(tmp_path)
    one, other = TrialStore(place, plan), TrialStore(place, plan)
    taken = [store.claim("w") for store in (one, other)]
    with place.journal.open("ab") as journal:  # As a kill -9 in the middle of a write leaves it.
        journal.write(b'{"op_code": 4, "trial_')
    third = TrialStore(place, plan)
    taken.append(third.claim("w"))
    points = [trial.point["optim.lr"] for trial in taken if trial]
    assert sorted(points) == [1e-3, 3e-3, 1e-2]
    assert [store.claim("w") for store in (one, other, third)] == [None] * 3
    assert [trial.state for trial in one.trials()] == ["running"] * 3


def test_the_order_can_be_changed_and_trials_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, plan = made(tmp_path)
    words = ["sweep", "night", "--runs-dir", str(tmp_path)]
    assert run([*words, "--first", "2", "--drop", "0"]) == 0
    assert run([*words, "--pause"]) == 0 and place.flagged("paused")
    assert run([*words, "--unpause"]) == 0 and not place.flagged("paused")
    assert run([*words, "--first", "7"]) == 2
    assert "these do: 1, 2" in capsys.readouterr().err
    store = TrialStore(place, plan)
    taken = [trial.number for _ in range(2) if (trial := store.claim("w"))]
    assert taken == [2, 1] and store.claim("w") is None
    assert store.trials()[0].attributes["ended"] == "cancelled"


def test_points_of_a_range_lie_in_it_and_no_point_comes_twice(tmp_path: Path) -> None:
    axes = (
        Axis("optim.lr", (), 1e-4, 1e-2, log=True),
        Axis("train.batch_size", (), 2, 4, whole=True),
    )
    place, plan = made(tmp_path, *axes, trials=6, sampler="tpe")
    store = TrialStore(place, plan)
    points = [trial.point for _ in range(9) if (trial := store.claim("w"))]
    assert len(points) == 6
    assert all(1e-4 <= float(point["optim.lr"]) <= 1e-2 for point in points)
    assert {point["train.batch_size"] for point in points} <= {2, 3, 4}
    (tmp_path / "b").mkdir()
    place, plan = made(
        tmp_path / "b", Axis("optim.name", ("adamw", "muon")), trials=2, sampler="random"
    )
    store = TrialStore(place, plan)
    taken = [trial.point["optim.name"] for _ in range(4) if (trial := store.claim("w"))]
    assert sorted(map(str, taken)) == ["adamw", "muon"]


def test_a_trial_behind_the_median_is_stopped_with_who_asked(tmp_path: Path) -> None:
    axis = Axis("train.seed", tuple(range(6)))
    place, plan = made(tmp_path, axis, pruner="median")
    store = TrialStore(place, plan)
    for value in (1.0, 2.0, 3.0, 4.0):
        trial = store.claim("w")
        assert trial is not None
        store.report(trial.number, 500, value)
        store.finish(trial.number, "complete", value, "finished")
    stopped: list[tuple[str, str]] = []

    def answer(request: Any) -> Reply:
        stopped.append((request.command, request.by))
        return Reply(True, "stopped with a checkpoint", 50)

    for value, expected in ((2.4, []), (2.6, [("stop", "sweep night")])):  # The median is 2.5.
        trial = store.claim("w")
        assert trial is not None
        fake = FakeRun(tmp_path / trial.run, total=100)
        fake.serve(answer)
        fake.metrics.write({"step": 50, "val/loss": value})
        live = LiveTrial(plan, store, trial, fake.dir)
        assert live.look() is None
        fake.write_status(state="running", step=51)
        deadline = time.monotonic() + 30
        while expected and not stopped and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stopped == expected and bool(live.stopping) == bool(expected)
        fake.write_status(state="stopped" if expected else "finished", step=51)
        outcome = live.look()
        state, ended = ("pruned", "pruned") if expected else ("complete", "finished")
        assert outcome == TrialOutcome(state, value, ended)  # type: ignore[arg-type]
        assert 500 in store.trials()[trial.number].reported
        fake.close()


def test_a_diverged_trial_is_lost_and_a_run_without_the_metric_has_failed(tmp_path: Path) -> None:
    place, plan = made(tmp_path)
    store = TrialStore(place, plan)
    verdict = {"level": "error", "headline": "diverged", "step": 9, "text": "diverged"}
    lost, empty = store.claim("w"), store.claim("w")
    assert lost is not None and empty is not None
    run_dir = make_run(tmp_path, lost.run, rows=20, verdict=verdict)
    outcome = LiveTrial(plan, store, lost, run_dir).look()
    assert outcome is not None and (outcome.state, outcome.ended) == ("pruned", "diverged")
    run_dir = make_run(tmp_path, empty.run, rows=5)
    outcome = LiveTrial(plan, store, empty, run_dir).look()
    assert outcome == TrialOutcome("failed", None, "no val/loss was measured")


def test_queues_of_one_machine_share_its_room_and_a_dead_one_leaves_it(tmp_path: Path) -> None:
    one, other = MachineSlots("cpu"), MachineSlots("cpu")
    assert one.claim(RunConfig(), "a") is not None
    assert other.claim(RunConfig(), "b") is None and not other.has_room(RunConfig())
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    one.hand_over("a", child.pid)
    assert not other.has_room(RunConfig())
    child.kill()  # It stays a zombie until it is waited for.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert other.claim(RunConfig(), "b") is not None
    child.communicate()
    huge = resolve(assignments={"model.hidden_size": 16384, "model.num_layers": 200})
    with pytest.raises(SweepError, match=r"it would take about .* GB"):
        MachineSlots("cpu").claim(huge, "c")
    with pytest.raises(SweepError, match="this machine has"):
        MachineSlots("cpu", jobs=1000)


def test_the_record_counts_the_steps_that_pruning_saved(tmp_path: Path) -> None:
    place, plan = made(tmp_path)
    store = TrialStore(place, plan)
    for value, step, state in ((2.0, 100, "complete"), (3.0, 40, "pruned"), (1.5, 100, "complete")):
        trial = store.claim("w")
        assert trial is not None
        make_run(tmp_path, trial.run, step=step, total_steps=100)
        store.finish(trial.number, state, value, "finished")  # type: ignore[arg-type]
    record = sweep_record(place)
    assert (record["steps_done"], record["steps_without_pruning"]) == (240, 300)
    assert record["best"] == "night-002" and json.loads(json.dumps(record)) == record


def test_a_run_that_ended_without_a_worker_is_not_shown_as_running(tmp_path: Path) -> None:
    place, plan = made(tmp_path)
    trial = TrialStore(place, plan).claim("w")
    assert trial is not None
    make_run(tmp_path, trial.run, step=100, total_steps=100)
    assert sweep_record(place)["trials"][0]["state"] == "not counted"
    beat(place, "w")
    assert sweep_record(place)["trials"][0]["state"] == "running"
    sign_off(place, "w")
    assert sweep_record(place)["trials"][0]["state"] == "not counted"


def test_ranks_take_the_room_of_as_many_processes(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    config = resolve(assignments={"parallel.ranks": cores, "model.preset": "nano"})
    slots, other = MachineSlots("cpu"), MachineSlots("cpu")
    slot = slots.claim(config, "a/one")
    assert slot is not None and slot.threads == 1
    assert other.claim(RunConfig(), "a/two") is None
    slots.release("a/one")
    with pytest.raises(SweepError, match="take fewer ranks"):
        slots.claim(resolve(assignments={"parallel.ranks": cores + 1}), "a/one")


def test_ranks_take_every_card_and_wait_until_all_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card("A card", memory_total=80 << 30)
    reading = replace(Machine(tmp_path, None).read(), cards=(card, card))
    monkeypatch.setattr(Machine, "read", lambda self: reading)
    slots = MachineSlots("auto")
    one, two = (resolve(assignments={"parallel.ranks": count}) for count in (1, 2))
    first = slots.claim(one, "a/one")
    assert first is not None and first.device == "cuda:0"
    assert slots.claim(two, "a/two") is None
    slots.release("a/one")
    both = slots.claim(two, "a/two")
    assert both is not None and both.device == "cuda"
    assert slots.claim(one, "a/one") is None


def test_jobs_of_a_slurm_array_on_one_node_each_use_what_they_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = tuple(Card("H100", memory_total=80 << 30, uuid=f"GPU-{at}") for at in range(2))
    reading = replace(Machine(tmp_path, None).read(), cards=cards)
    monkeypatch.setattr(Machine, "read", lambda self: reading)

    def job(task: int, shown: str) -> MachineSlots:
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(task))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
        return MachineSlots("auto")

    first, second, third = job(1, "0"), job(2, "1"), job(3, "GPU-1")
    for slots, trial in ((first, "a"), (second, "b")):
        slot = slots.claim(RunConfig(), trial)
        assert slot is not None and slot.device == "cuda:0"  # As each job numbers its own.
    assert third.claim(RunConfig(), "c") is None
    second.release("b")
    assert third.claim(RunConfig(), "c") is not None

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for cores, free in (({0, 1}, True), ({2, 3}, True), ({3, 4}, False)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: cores)
        slot = MachineSlots("auto").claim(RunConfig(), f"on {cores}")
        assert (slot is not None and slot.threads == 2) is free
