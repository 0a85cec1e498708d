"""Several ranks: rank 0 writes, and all of them pause, save and stop at the same step."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from processes import until
from scripts import begin_ranks, begin_script, environment, outputs, run_script
from small_runs import lines

from lmm_tui.engine.instrument.script_run import lmm_run
from lmm_tui.engine.instrument.silent_run import SilentRun
from lmm_tui.engine.run import control_client
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.run_dir import RunDir

GROUP_TIMEOUT_S = 3

LOOP = f"""
import os
import time
from datetime import timedelta
import torch
import torch.distributed as dist
from lmm_tui import lmm_run

torch.set_num_threads(1)
rank, step = int(os.environ["RANK"]), 0
store = dist.TCPStore("127.0.0.1", int(os.environ["MASTER_PORT"]), 2, rank == 0)
store.set(f"here{{rank}}", "")
store.wait(["here0", "here1"])  # The short timeout is for training, not for the start.
dist.init_process_group("gloo", store=store, rank=rank, world_size=2,
                        timeout=timedelta(seconds={GROUP_TIMEOUT_S}))

def save():
    print("saved", step)
    if BROKEN == rank:
        raise OSError("disk full")

with lmm_run("mine", checkpoint=save) as run:
    while True:
        step += 1
        dist.all_reduce(torch.ones(1))
        time.sleep(0.002)
        if LOGS_ON in (rank, "all"):
            run.log(step=step, loss=1.0)
        if READS_ON == "all" and run.should_stop:
            break
        if READS_ON != "all":  # As a script would that knows nothing of the other ranks.
            stop = torch.tensor(float(READS_ON == rank and run.should_stop))
            dist.all_reduce(stop)
            if stop:
                break
print("ended", step)
store.set(f"ended{{rank}}", "")
if rank == 0:  # It serves the store, and gloo fails where a peer closes early.
    store.wait(["ended1"])
dist.destroy_process_group()
"""


def loop(broken: int = -1, logs_on: str = "'all'", reads_on: str = "'all'") -> str:
    given = f"BROKEN, LOGS_ON, READS_ON = {broken}, {logs_on}, {reads_on}\n"
    return given + LOOP


def ask(folder: Path, command: str) -> Reply:
    return control_client.send(RunDir(folder / "mine").socket_path(), command, timeout_s=120)


def wait_for_step(folder: Path, step: int) -> None:
    until(lambda: RunDir(folder / "mine").read_status().step >= step)


def wait_for_pause(folder: Path) -> None:
    """The reply comes at once, the status file within a heartbeat."""
    until(lambda: RunDir(folder / "mine").read_status().state == "paused")


@pytest.mark.parametrize(("logs_on", "rank"), [("'all'", "None"), ("1", "1 - rank")])
def test_commands_act_on_all_ranks_at_the_same_step(
    tmp_path: Path, logs_on: str, rank: str
) -> None:
    script = loop(logs_on=logs_on).replace('"mine", ', f'"mine", rank={rank}, ')
    ranks = begin_ranks(tmp_path, script)
    wait_for_step(tmp_path, 3)
    paused = ask(tmp_path, "pause")
    assert paused.ok and paused.message == "paused"
    assert ask(tmp_path, "checkpoint").ok
    wait_for_pause(tmp_path)
    # What a collective would not survive: longer than the timeout of the group.
    time.sleep(2 * GROUP_TIMEOUT_S)
    assert RunDir(tmp_path / "mine").read_status().step == paused.step
    assert ask(tmp_path, "resume").ok
    wait_for_step(tmp_path, paused.step + 20)
    stopped = ask(tmp_path, "stop")
    first, second = outputs(ranks)
    assert first == second
    assert first.split() == ["saved", str(paused.step), "saved", str(stopped.step), "ended",
                             str(stopped.step)]  # fmt: skip
    assert RunDir(tmp_path / "mine").read_status().state == "stopped"
    steps = [row["step"] for row in lines(RunDir(tmp_path / "mine").metrics)]
    assert steps == list(range(1, stopped.step + 1))


def test_a_function_that_fails_on_another_rank_is_reported(tmp_path: Path) -> None:
    ranks = begin_ranks(tmp_path, loop(broken=1))
    wait_for_step(tmp_path, 3)
    failed = ask(tmp_path, "checkpoint")
    assert not failed.ok and "rank 1" in failed.message and "disk full" in failed.message
    ask(tmp_path, "stop")
    outputs(ranks)


def test_a_pause_that_other_ranks_would_not_keep_is_refused(tmp_path: Path) -> None:
    patient = f"seconds={GROUP_TIMEOUT_S}", "seconds=120"
    ranks = begin_ranks(tmp_path, loop(reads_on="0").replace(*patient))
    wait_for_step(tmp_path, 3)
    refused = ask(tmp_path, "pause")
    assert not refused.ok and "not every rank reads run.should_stop" in refused.message
    assert ask(tmp_path, "stop").ok  # The script tells the others itself.
    outputs(ranks)


def test_a_script_that_never_reads_should_stop_says_so(tmp_path: Path) -> None:
    script = """
    import os
    import torch
    import torch.distributed as dist
    from lmm_tui import lmm_run

    dist.init_process_group("gloo")
    with lmm_run("mine") as run:
        done = torch.zeros(1)
        while not done:
            run.log(loss=1.0)
            done[0] = os.path.exists("done")
            dist.all_reduce(done)
    """
    ranks = begin_ranks(tmp_path, script)
    wait_for_step(tmp_path, 5)
    refused = ask(tmp_path, "pause")
    (tmp_path / "done").touch()
    assert not refused.ok and "read it once a step" in refused.message
    outputs(ranks)


def test_rank_0_that_ends_first_leaves_nobody_waiting(tmp_path: Path) -> None:
    script = """
    import torch.distributed as dist
    from lmm_tui import lmm_run

    dist.init_process_group("gloo")
    with lmm_run("mine") as run:
        for step in range(1, 4 if dist.get_rank() == 0 else 200):
            run.log(step=step, loss=1.0)
            if run.should_stop:
                break
    print("ended", step)
    dist.barrier()
    """
    first, second = outputs(begin_ranks(tmp_path, script))
    assert (first, second) == ("ended 3\n", "ended 199\n")


TWO_RANKS = """
import os
import torch
from torch.utils.data import Dataset
torch.set_num_threads(1)

class Data(Dataset):
    def __len__(self):
        return 4096
    def __getitem__(self, at):
        row = torch.randint(0, 64, (8,), generator=torch.Generator().manual_seed(at))
        return {"input_ids": row, "labels": row}
"""

HF = (
    TWO_RANKS
    + """
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
from lmm_tui import lmm_callback

model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=8, n_embd=8, n_layer=1, n_head=1,
                                   bos_token_id=0, eos_token_id=0))
settings = TrainingArguments("out", max_steps=2000, per_device_train_batch_size=1, logging_steps=1,
                             save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True,
                             ddp_backend="gloo")
trainer = Trainer(model, settings, train_dataset=Data(), callbacks=[lmm_callback("mine")])
trainer.train()
print("ended", trainer.state.global_step)
"""
)

LIGHTNING = (
    TWO_RANKS
    + """
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader
from lmm_tui import lmm_lightning

class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)
    def training_step(self, batch, at):
        loss = self.layer(batch["input_ids"].float() / 64).pow(2).mean()
        self.log("train_loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.001)

if __name__ == "__main__":
    logger, callback = lmm_lightning("mine")
    trainer = Trainer(max_steps=2000, logger=logger, callbacks=[callback], accelerator="cpu",
                      devices=2, strategy="ddp",
                      enable_progress_bar=False, enable_model_summary=False,
                      enable_checkpointing=False, log_every_n_steps=1)
    trainer.fit(Model(), DataLoader(Data(), batch_size=1))
    print("ended", trainer.global_step)
"""
)


@pytest.mark.parametrize("kind", ["Trainer", "Lightning"])
def test_the_callbacks_steer_two_ranks(tmp_path: Path, kind: str) -> None:
    if kind == "Trainer":
        processes = begin_ranks(tmp_path, HF)
    else:  # Lightning starts the second rank itself; what both print comes from one process.
        processes = [begin_script(tmp_path, LIGHTNING)]
    wait_for_step(tmp_path, 3)
    paused = ask(tmp_path, "pause")
    assert paused.ok
    wait_for_pause(tmp_path)
    time.sleep(1)  # A rank that went on would log hundreds of steps.
    assert lines(RunDir(tmp_path / "mine").metrics)[-1]["step"] == paused.step
    assert ask(tmp_path, "checkpoint").ok
    assert ask(tmp_path, "resume").ok
    wait_for_step(tmp_path, paused.step + 5)
    assert ask(tmp_path, "stop").ok
    said = " ".join(outputs(processes)).split()
    ends = [said[at + 1] for at, word in enumerate(said) if word == "ended"]
    assert len(ends) == 2 and len(set(ends)) == 1
    saved = {"Trainer": f"out/checkpoint-{paused.step}", "Lightning": "mine/lightning"}[kind]
    assert (tmp_path / saved).exists()
    assert not (tmp_path / "mine-2").exists()
    assert RunDir(tmp_path / "mine").read_status().state == "stopped"


@pytest.mark.parametrize(
    "env",
    [
        {"RANK": "1"},
        {"SLURM_PROCID": "1"},
        {"OMPI_COMM_WORLD_RANK": "1"},
        {"PMI_RANK": "1"},
        {"LOCAL_RANK": "1"},
        {"LOCAL_RANK": "0", "NODE_RANK": "1"},
    ],
)
def test_ranks_of_any_launcher_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str]
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with lmm_run(tmp_path / "mine") as run:
        run.log(step=1, loss=1.0)
        assert isinstance(run, SilentRun) and not run.should_stop
    assert not list(tmp_path.iterdir())
    lmm_run(tmp_path / "mine", rank=0).close()
    assert RunDir(tmp_path / "mine").exists()


def test_the_process_group_knows_better_than_the_environment(tmp_path: Path) -> None:
    script = """
    import os, sys
    import torch.distributed as dist
    from lmm_tui import lmm_run

    rank = int(os.environ.pop("RANK"))
    dist.init_process_group("gloo", rank=rank)
    os.environ["SLURM_PROCID"] = "0"
    print(type(lmm_run("mine")).__name__)
    """
    assert outputs(begin_ranks(tmp_path, script)) == ["ScriptRun\n", "SilentRun\n"]


def test_ranks_of_our_own_training_that_cannot_meet_are_refused(tmp_path: Path) -> None:
    from processes import PROGRAM

    found = []
    for rank in ("0", "1"):
        env = environment({"RANK": rank, "WORLD_SIZE": "2"})
        done = subprocess.run(
            [*PROGRAM, "train", "--steps", "2"],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        found.append((done.returncode, done.stderr.count("\n"), done.stdout))
    assert found == [(2, 1, ""), (2, 1, "")]
    assert not (tmp_path / "runs").exists()


def test_a_child_process_that_runs_the_script_anew_is_told(tmp_path: Path) -> None:
    script = """
    import os
    import subprocess
    import sys
    from lmm_tui import LmmError, lmm_run

    try:
        run = lmm_run("mine")
    except LmmError as error:
        print(error)
        raise SystemExit
    with run:
        subprocess.run([sys.executable, __file__], check=True)
    """
    said = run_script(tmp_path, script)
    assert "the script that started this process" in said and "with rank=" in said
    assert RunDir(tmp_path / "mine").read_status().state == "finished"
