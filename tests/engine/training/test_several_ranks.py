"""Several ranks: the mathematics of a run does not know how many there are.

Real groups of processes on gloo, one thread each; a group trains all its runs one after another.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import Forked
from rank_groups import start_ranks, train_on
from repository import ROOT
from small_runs import SMALLEST, SOURCES, curve, lines, write_chats

from lmm_tui.engine.checkpoints.checkpoint import load
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.run.control_client import send
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.rank_records import OUT_OF_MEMORY, read_supervisor
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.runs.detached import start

STEPS = 4
FEW = {"train.steps": 3, "log.val_every": 3, "log.probe_every": 3}
"""For runs that are only compared: the second update is that of an optimiser with a state."""
CHAT: dict[str, Any] = {"data.seq_len": 64}
GRPO = CHAT | {"stage": "grpo", "grpo.group": 2, "grpo.max_tokens": 6}
STAGES: dict[str, dict[str, Any]] = {
    "pretrain": {"log.val_every": 3, "log.probe_every": 2},
    "muon": {"optim.name": "muon", "optim.muon_precision": "fp32"},
    "lora": {"lora.rank": 2, "lora.dropout": 0.0},
    "experts": {
        "model.num_experts": 4,
        "model.experts_per_token": 2,
        "train.freeze": ["*embed*"],
    },
    "sft": CHAT | {"stage": "sft"},
    "dpo": CHAT | {"stage": "dpo"},
    "kto": CHAT | {"stage": "kto"},
    "reward": CHAT | {"stage": "reward"},
    "grpo": GRPO,
    "rloo": GRPO | {"grpo.loss": "rloo", "grpo.beta": 0.05},
    "grpo-again": GRPO | {"grpo.updates": 2, "grpo.beta": 0.05},
    "distill": CHAT | {"stage": "distill", "distill.data": "chat"},
}
OWN = ("time", "train/tokens_per_s", "train/steps_per_s", "train/mfu")
"""Numbers of a row that are of the machine."""


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        **SMALLEST,
        "device": "cpu",
        "runs_dir": str(folder),
        "data.cache_dir": str(folder / "cache"),
        "train.steps": STEPS,
        "train.batch_size": 4,
        "train.grad_accum": 2,
        "log.every": 1,
        "log.val_every": STEPS,
        "log.val_batches": 2,
        "log.probe_every": STEPS,
        "log.sample_every": 0,
        "log.checkpoint_every": 0,
        "log.tensorboard": False,
        **more,
    }


def jobs(folder: Path, way: str, stages: Sequence[str], **more: Any) -> list[dict[str, Any]]:
    """The runs of some stages, to be trained in one way."""

    def own(stage: str) -> dict[str, Any]:
        chosen = FEW | STAGES[stage] | {"name": f"{stage}-{way}"}
        if stage == "distill":
            chosen |= {"distill.teacher": str(folder / "pretrain-alone")}
        if kind := chosen.get("stage"):
            chosen |= {"data.source": str(folder / f"{SOURCES[kind]}.jsonl")}
        return chosen

    return [settings(folder, **own(stage), **more) for stage in stages]


def numbers(run: Path) -> dict[tuple[int, str], float]:
    return {
        (row["step"], name): value
        for row in lines(RunDir(run).metrics)
        for name, value in row.items()
        if isinstance(value, float) and name not in OWN and not name.startswith("system/")
    }


WAYS = {
    "replicated-2": (2, "none", ("pretrain", "muon", "experts", "dpo", "grpo-again")),
    "divided-2": (2, "all", tuple(STAGES)),
    "groups-4": (4, "2", ("pretrain", "muon", "lora", "grpo")),
    "divided-4": (4, "all", ("muon",)),
}
"""Ranks, how they divide the model, and the stages that are trained so."""


UNLUCKY = {
    "stage": f"{ROOT}/tests/support/unlucky_stage.py:UnluckyStage",
    "data.source": "builtin",
}
CONSTANT = {"optim.schedule": "constant", "optim.warmup_steps": 0}
"""The learning rate of a step does not depend on how many there will be."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of each way; one that was moved from four ranks to two and to one; unlucky ones."""
    folder = tmp_path_factory.mktemp("ranks")
    write_chats(folder)

    def moved(steps: int) -> dict[str, Any]:
        return settings(folder, name="moved", **CONSTANT, **{"train.steps": steps})

    def divided(size: int) -> list[dict[str, Any]]:
        ways = [way for way in WAYS if WAYS[way][0] == size]
        listed = [jobs(folder, w, WAYS[w][2], **{"parallel.shard": WAYS[w][1]}) for w in ways]
        return [job for some in listed for job in some]

    steady = settings(folder, name="steady", **CONSTANT)
    unlucky = [
        settings(folder, name=fault or "lucky", **UNLUCKY, **{"own.fault": fault})
        for fault in ("", "memory", "nan")
    ]
    train_on(1, [*jobs(folder, "alone", tuple(STAGES)), steady, unlucky[0]], folder)
    train_on(4, [*divided(4), moved(2) | {"parallel.shard": "all"}], folder)
    low = settings(folder, name="bf16", **{"parallel.shard": "all", "parallel.bf16_params": True})
    train_on(2, [*divided(2), moved(3), *unlucky[1:], low], folder)
    train_on(1, [moved(4)], folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage, way", [(stage, way) for way, (_, _, stages) in WAYS.items() for stage in stages]
)
def test_losses_are_those_of_one_rank(trained: Path, stage: str, way: str) -> None:
    one, several = numbers(trained / f"{stage}-alone"), numbers(trained / f"{stage}-{way}")
    assert one.keys() <= several.keys()
    for at, value in one.items():
        if at[1] in ("train/loss", "val/loss"):
            assert several[at] == pytest.approx(value, abs=1e-6), at
        elif at[1] == "train/grad_norm":
            assert several[at] == pytest.approx(value, rel=1e-4), at


@pytest.mark.slow
def test_any_number_of_ranks_goes_on_with_a_run(trained: Path) -> None:
    one, moved = curve(RunDir(trained / "steady")), curve(RunDir(trained / "moved"))
    assert [moved[step] for step in one] == pytest.approx([*one.values()], abs=1e-6)
    assert RunDir(trained / "moved").read_info().resumed_steps == [2, 3]
    (own, theirs) = (
        load(trained / name / "checkpoints" / "step-000000004", torch.device("cpu"))
        for name in ("steady", "moved")
    )
    torch.testing.assert_close(theirs[1], own[1], rtol=0, atol=1e-5)
    for mine, other in zip(own[2]["optimizers"], theirs[2]["optimizers"], strict=True):
        assert mine["state"].keys() == other["state"].keys()
        torch.testing.assert_close(other["state"], mine["state"], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_all_cut_where_one_runs_out_of_memory(trained: Path) -> None:
    lucky, cut = curve(RunDir(trained / "lucky")), curve(RunDir(trained / "memory"))
    assert [*cut.values()] == pytest.approx([*lucky.values()], abs=1e-6)
    state, _, _ = load(trained / "memory/checkpoints/step-000000004", torch.device("cpu"))
    assert state.parts == 2


@pytest.mark.slow
def test_a_step_that_is_not_finite_on_one_rank_is_left_out_by_all(trained: Path) -> None:
    losses = curve(RunDir(trained / "nan"))
    assert [step for step, loss in losses.items() if loss == "NaN"] == [2]
    assert losses[3] == pytest.approx(curve(RunDir(trained / "lucky"))[3], abs=0.5)


@pytest.mark.slow
def test_parameters_can_be_gathered_in_bf16(trained: Path) -> None:
    exact, low = curve(RunDir(trained / "lucky")), curve(RunDir(trained / "bf16"))
    assert [*low.values()] == pytest.approx([*exact.values()], abs=0.05)
    assert low != exact
    _, weights, _ = load(trained / "bf16/checkpoints/step-000000004", torch.device("cpu"))
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.usefixtures("forked_children", "empty_pages")
def test_a_group_goes_on_after_a_kill_and_after_a_lack_of_memory(
    trained: Path, tmp_path: Path
) -> None:
    changed = {"own.fault": "twice", "parallel.ranks": 2, "parallel.restarts": 2}
    every = {"log.checkpoint_every": 1, "data.cache_dir": str(trained / "cache")}
    config = resolve(assignments=settings(tmp_path, name="twice", **UNLUCKY, **changed, **every))
    begun = start(config)
    assert begun.process.wait() == 0, [*begun.run.ranks.rglob("*.log")]
    supervised = read_supervisor(begun.run.supervisor_file)
    assert supervised is not None
    assert {end.code for end in supervised.rank_ends if end.rank == 1} == {-9, OUT_OF_MEMORY}
    lucky, twice = curve(RunDir(trained / "lucky")), curve(begun.run)
    assert [*twice.values()] == pytest.approx([*lucky.values()], abs=1e-6)
    state, _, _ = load(begun.run.checkpoints / "step-000000004", torch.device("cpu"))
    assert state.parts == 2
    told = [event["message"] for event in lines(begun.run.events)]
    assert any("rank 1" in text and "SIGKILL" in text for text in told)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[RunDir, list[Forked]]]:
    """A long run of a model divided in two; the ranks wait two seconds at most for one another."""
    wanted = {"train.steps": 10**6, "log.probe_every": 0, "log.val_every": 0}
    shared = {"parallel.timeout_s": 2, "parallel.shard": "all"} | CONSTANT
    job = settings(tmp_path, name="pair", **wanted, **shared)
    (tmp_path / "jobs.json").write_text(json.dumps([job]))
    script = ROOT / "tests/support/rank_jobs.py"
    group = start_ranks(2, script, [str(tmp_path / "jobs.json")], tmp_path)
    yield RunDir(tmp_path / "pair"), group
    for process in group:
        process.kill()


def until(condition: Callable[[], bool], group: Sequence[Forked], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        ended = [process.communicate() for process in group if process.poll() is not None]
        assert not ended, ended
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_commands_act_on_all_ranks_and_a_stop_of_any_is_that_of_all(
    pair: tuple[RunDir, list[Forked]],
) -> None:
    run, group = pair
    until(lambda: run.read_status().step > 3, group)

    def ask(command: str, **args: Any) -> Reply:
        reply = send(Path(run.read_info().socket), command, args)
        assert reply.ok, reply.message
        return reply

    asked_at = run.read_status().step
    changed = ask("set", lr=1e-4)
    paused_at = ask("pause").step
    assert paused_at >= changed.step >= asked_at
    until(lambda: run.read_status().state == "paused", group)
    time.sleep(3)  # Longer than the ranks wait for one another in a step.
    for command in ("evaluate", "sample", "probe", "checkpoint", "talk"):
        words = {"prompt": "Hi"} if command == "talk" else {}
        ask(command, **words)
    assert run.read_status().step == paused_at
    ask("resume")
    until(lambda: run.read_status().step > paused_at + 3, group)
    group[1].send_signal(signal.SIGTERM)
    assert [process.wait() for process in group] == [0, 0], [p.communicate() for p in group]
    status = run.read_status()
    assert status.state == "stopped"
    assert (run.checkpoints / f"step-{status.step:09d}" / "state.json").exists()
    told = [event["args"] for event in lines(run.events) if event["kind"] == "command"]
    assert told.count({"lr": 1e-4}) == 1
    rates = curve(run, "train/lr")
    assert rates[changed.step + 1] == pytest.approx(1e-4) != rates[changed.step]
