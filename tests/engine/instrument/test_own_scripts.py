"""Scripts as people write them: steps of any library, folders that change, runs that end and go on.

Each is a process of its own.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import pytest
from scripts import run_script
from small_runs import curve, lines

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.metrics.readers.json_lines import MetricsFollower
from lmm_tui.metrics.series.rows import rows_of
from lmm_tui.metrics.series.series import SeriesStore


def rows(run: Path) -> dict[int, dict[str, float]]:
    store = SeriesStore()
    MetricsFollower(run / "metrics.jsonl", store).poll()
    return dict(rows_of(store))


def state(run: Path) -> str:
    return RunDir(run).read_status().state


def test_steps_are_whole_numbers_of_any_library_and_nothing_else(tmp_path: Path) -> None:
    said = run_script(
        tmp_path,
        """
        import numpy as np, torch
        from lmm_tui import LmmError, lmm_run

        whole = [1, np.int64(2), np.uint8(3), torch.tensor(4), 5.0, np.float32(6), np.array(7),
                 torch.tensor([8]), np.array([9.0])]
        wrong = [4.5, "5", True, np.bool_(True), torch.tensor(True), [11], -1, np.nan,
                 float("inf"), 10**300, 1 + 0j, torch.tensor([1, 2]), torch.tensor(10.5), b"12"]
        with lmm_run("mine", np.int64(9)) as run:
            for step in whole:
                run.log(step=step, loss=1.0, tokens=step)
                assert type(run.step) is int
            for step in wrong:
                for given in ({"step": step}, {"tokens": step, "step": 10}):
                    try:
                        run.log(loss=9.0, **given)
                    except LmmError as error:
                        assert "expected a whole number" in str(error), error
                        print("refused")
        """,
    )
    assert said.count("refused") == 28
    found = lines(tmp_path / "mine" / "metrics.jsonl")
    assert [row["step"] for row in found] == list(range(1, 10)) == [row["tokens"] for row in found]
    assert all(row["train/loss"] == 1.0 for row in found)
    assert RunDir(tmp_path / "mine").read_status().total_steps == 9


def test_a_value_that_is_refused_takes_nothing_of_its_row_along(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        from lmm_tui import LmmError, lmm_run

        with lmm_run("mine") as run:
            try:
                run.log(step=1, good=7.0, bad="text")
            except LmmError:
                run.log(step=2, loss=1.0)
        """,
    )
    [row] = lines(tmp_path / "mine" / "metrics.jsonl")
    assert row["step"] == 2 and "good" not in row


@pytest.mark.parametrize("made", ["lmm_run", "tracker"])
def test_a_script_may_change_its_directory(tmp_path: Path, made: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    run_script(
        tmp_path,
        """
        import os, sys
        from lmm_tui import TrainingTracker, lmm_run

        if sys.argv[1] == "tracker":
            with TrainingTracker("runs/mine") as tracker:
                os.chdir("elsewhere")
                tracker.update_loss(2.0)
                tracker.log()
        else:
            with lmm_run("runs/mine", tensorboard=True, sample=str.upper) as run:
                os.chdir("elsewhere")
                for step in (1, 2):
                    run.log(step=step, loss=1.0)
        """,
        made,
    )
    assert not list((tmp_path / "elsewhere").iterdir())
    assert list((tmp_path / "runs/mine/tensorboard").iterdir())
    assert made == "tracker" or state(tmp_path / "runs/mine") == "finished"


def test_a_late_evaluation_joins_the_row_of_its_step(tmp_path: Path) -> None:
    said = run_script(
        tmp_path,
        """
        from lmm_tui import LmmError, lmm_run

        with lmm_run("mine", 2000, tensorboard=True) as run:
            for step in range(100, 2001, 100):
                run.log(step=step, loss=5 - step * 0.001)
                if step == 1000:
                    run.log({"eval/acc": 0.4}, step=500)
                    run.log({"eval/acc": 0.45, "eval_loss": 3.0}, step=750)
            run.log({"eval/acc": 0.5}, step=1500)
            for again in ({"loss": 1.0}, {"eval/acc": 0.3}):
                try:
                    run.log(again, step=200)
                except LmmError as error:
                    print(error)
        """,
    )
    assert said.count("steps must not decrease") == 2
    found = rows(tmp_path / "mine")
    losses = {step: row["train/loss"] for step, row in found.items() if "train/loss" in row}
    assert losses == {step: 5 - step * 0.001 for step in range(100, 2001, 100)}
    accuracy = {step: row["eval/acc"] for step, row in found.items() if "eval/acc" in row}
    assert accuracy == {500: 0.4, 750: 0.45, 1500: 0.5}
    assert found[750]["val/loss"] == 3.0 and found[750]["val/ppl"] == pytest.approx(math.exp(3))
    status = RunDir(tmp_path / "mine").read_status()
    assert (status.step, status.loss, status.val_loss) == (2000, 3.0, 3.0)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "mine" / "tensorboard"))
    events.Reload()
    assert [at.step for at in events.Scalars("train/loss")] == list(range(100, 2001, 100))
    assert [at.step for at in events.Scalars("eval/acc")] == [500, 750, 1500]


def test_after_the_end_numbers_join_the_steps_that_there_are(tmp_path: Path) -> None:
    said = run_script(
        tmp_path,
        """
        from lmm_tui import LmmError, lmm_run

        with lmm_run("mine", 3) as run:
            for step in (1, 2, 3):
                run.log(step=step, loss=1.0)
        run.log(eval_loss=2.5, step=3)
        for given in ({}, {"step": 4}):
            try:
                run.log(loss=1.0, **given)
            except LmmError as error:
                print(error)
        """,
    )
    assert said.count("the run has ended; pass step=3") == 2
    assert rows(tmp_path / "mine")[3]["val/loss"] == 2.5 and len(rows(tmp_path / "mine")) == 3
    status = RunDir(tmp_path / "mine").read_status()
    assert (status.state, status.val_loss) == ("finished", 2.5)


CELL = """
run = lmm_run("mine", 100, resume=RESUME)
for step in range(1, 4):
    run.log(step=step, loss=1.0)
"""

WITH_CELL = """
with lmm_run("mine", 100, resume=RESUME) as run:
    for step in range(1, 4):
        run.log(step=step, loss=1.0)
"""


@pytest.mark.parametrize("cell", [CELL, WITH_CELL])
@pytest.mark.parametrize("resume", [False, True])
def test_a_cell_may_be_run_again(tmp_path: Path, cell: str, resume: bool) -> None:
    notebook = f"""
    from lmm_tui import lmm_run
    RESUME = {resume}
    for number in range(3):
        exec(compile({cell!r}, f"<cell {{number}}>", "exec"))
    """
    said = run_script(tmp_path, notebook)
    runs = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert runs == (["mine"] if resume else ["mine", "mine-2", "mine-3"])
    assert all(state(tmp_path / run) in ("stopped", "finished") for run in runs)
    assert all(set(curve(RunDir(tmp_path / run))) == {1, 2, 3} for run in runs)
    assert resume or said.count("an earlier run of this program") == 2


def test_the_row_of_a_forked_child_is_refused_in_it(tmp_path: Path) -> None:
    said = run_script(
        tmp_path,
        """
        import multiprocessing as mp
        from lmm_tui import LmmError, lmm_run

        def child():
            for use in (lambda: run.log(step=100, loss=9.0), lambda: run.should_stop):
                try:
                    use()
                except LmmError as error:
                    print(error, flush=True)
            run.close()

        run = lmm_run("mine")
        run.log(step=1, loss=1.0)
        process = mp.get_context("fork").Process(target=child)
        process.start()
        process.join()
        run.log(step=2, loss=1.0)
        run.close()
        """,
    )
    assert said.count("this is a child of it") == 2
    assert [row["step"] for row in lines(tmp_path / "mine" / "metrics.jsonl")] == [1, 2]
    assert state(tmp_path / "mine") == "finished"


def test_a_forked_child_that_lives_on_does_not_hold_the_run(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        import multiprocessing as mp
        from lmm_tui import lmm_run

        end = mp.get_context("fork").Event()
        run = lmm_run("mine")
        run.log(step=1, loss=1.0)
        process = mp.get_context("fork").Process(target=end.wait)
        process.start()
        run.close()
        with lmm_run("mine", resume=True) as run:
            run.log(step=2, loss=1.0)
        end.set()
        process.join()
        """,
    )
    assert set(curve(RunDir(tmp_path / "mine"))) == {1, 2}


NO_SOCKET = """
import socket, sys
real = socket.socket.bind
def bind(self, address):
    if isinstance(address, str) and (sys.argv[1] == "anywhere" or "mine" in address):
        raise OSError(95, "Operation not supported")
    return real(self, address)
socket.socket.bind = bind

from lmm_tui import lmm_run
with lmm_run("mine", probe=lambda: {"entropy": 2.0}) as run:
    run.log(step=1, loss=1.0)
    if sys.argv[1] == "here":
        from concurrent.futures import ThreadPoolExecutor
        from lmm_tui.engine.run.reader import Reader
        with ThreadPoolExecutor() as other:
            reply = other.submit(Reader("mine").send, "probe")
            while not reply.done():
                run.log(loss=1.0)
        print(reply.result())
"""


@pytest.mark.parametrize("where", ["here", "anywhere"])
def test_a_file_system_without_sockets_does_not_end_the_script(tmp_path: Path, where: str) -> None:
    # Paths of sockets have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="lmm-") as runtime:
        said = run_script(tmp_path, NO_SOCKET, where, env={"XDG_RUNTIME_DIR": runtime})
    assert "(Operation not supported)" in said
    assert ("takes no commands" in said) == (where == "anywhere")
    assert where == "anywhere" or "ok=True" in said
    assert state(tmp_path / "mine") == "finished"
    [told] = [event for event in lines(tmp_path / "mine/events.jsonl") if event["kind"] == "alert"]
    assert told["level"] == "warning"


def test_the_system_is_in_the_rows_without_any_call(tmp_path: Path) -> None:
    said = run_script(
        tmp_path,
        """
        import json, time
        import psutil
        from lmm_tui import lmm_run

        with lmm_run("mine") as run:
            before, began = psutil.Process().cpu_times(), time.perf_counter()
            run.log(step=1, loss=1.0)
            while time.perf_counter() - began < 1.5:
                pass
            after, took = psutil.Process().cpu_times(), time.perf_counter() - began
            run.log(step=2, loss=1.0)
            run.log({"system/memory_gb": 77.0}, step=3)
            used = after.user + after.system - before.user - before.system
            print(json.dumps([100 * used / took, psutil.Process().memory_info().rss / 1e9]))
        """,
    )
    cpu, memory = json.loads(said)
    first, second, third = lines(tmp_path / "mine" / "metrics.jsonl")
    assert first["system/memory_gb"] > 0 and "system/cpu_percent" in first
    assert second["system/memory_gb"] == pytest.approx(memory, rel=0.2)
    assert second["system/cpu_percent"] == pytest.approx(cpu, abs=10)
    assert third["system/memory_gb"] == 77.0  # The script's own number counts.


def test_a_hint_names_the_argument_that_is_missing(tmp_path: Path) -> None:
    said = run_script(
        tmp_path,
        """
        from lmm_tui import lmm_run

        with lmm_run("mine") as run:
            run.log(step=1, loss=1.0)
            for command in ("evaluate", "probe", "sample", "checkpoint"):
                asked = run.commands.mailbox.send(command)
                run.log(loss=1.0)
                print(asked.result().message)
        """,
    )
    for name in ("evaluate", "probe", "sample", "checkpoint"):
        assert f"{name}: the script has no function for it; pass {name}= to lmm_run" in said


DATA = """
import torch
torch.set_num_threads(1)

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 64
    def __getitem__(self, at):
        row = torch.randint(0, 64, (8,), generator=torch.Generator().manual_seed(at))
        return {"input_ids": row, "labels": row}
"""

TRAINER = (
    DATA
    + """
import json, os
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
from lmm_tui import lmm_callback

def trainer(steps=4, save="no"):
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=8, n_embd=8, n_layer=1, n_head=1,
                                       bos_token_id=0, eos_token_id=0))
    settings = TrainingArguments("out", max_steps=steps, per_device_train_batch_size=2,
                                 save_steps=2, logging_steps=2, save_strategy=save, report_to=[],
                                 disable_tqdm=True, use_cpu=True)
    return Trainer(model, settings, train_dataset=Data(), eval_dataset=Data(),
                   callbacks=[lmm_callback("mine")])

first = trainer(save="steps")
found = [first.evaluate()["eval_loss"]]
first.train()
found.append(first.evaluate()["eval_loss"])
first.train()
os.chdir("/")
found.append(first.evaluate()["eval_loss"])
os.chdir(os.path.dirname(os.path.abspath(__file__)))
trainer(steps=6).train(resume_from_checkpoint="out/checkpoint-4")
print("found", json.dumps(found))
"""
)


def test_a_trainer_evaluates_and_trains_again(tmp_path: Path) -> None:
    said = run_script(tmp_path, TRAINER)
    before, after, again = json.loads(said.partition("found ")[2].splitlines()[0])
    first, second = rows(tmp_path / "mine"), rows(tmp_path / "mine-2")
    # The first one was resumed at step 4 in the end; the Trainer rounds what it reports.
    assert {0, 2, 4, 6} <= set(first) <= {*range(7)} and {2, 4} <= set(second) <= {*range(1, 5)}
    assert first[0]["val/loss"] == pytest.approx(before, abs=1e-3)
    assert first[4]["val/loss"] == pytest.approx(after, abs=1e-3)
    assert second[4]["val/loss"] == pytest.approx(again, abs=1e-3)
    assert RunDir(tmp_path / "mine").read_info().resumed_steps == [4]
    assert state(tmp_path / "mine") == state(tmp_path / "mine-2") == "finished"


LIGHTNING = (
    DATA
    + """
import json
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
    def validation_step(self, batch, at):
        self.log("val_loss", self.layer(batch["input_ids"].float() / 64).pow(2).mean())
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.001)

model, batches = Model(), DataLoader(Data(), batch_size=8)
parts = lmm_lightning("mine")
found = []

def trainer_of(steps):
    return Trainer(max_steps=steps, logger=parts[0], callbacks=[parts[1]], accelerator="cpu",
                   enable_progress_bar=False, enable_model_summary=False,
                   enable_checkpointing=False, log_every_n_steps=1, num_sanity_val_steps=0)

for _ in range(2):
    trainer = trainer_of(4)
    trainer.fit(model, batches)
    found.append(trainer.validate(model, batches, verbose=False)[0]["val_loss"])
trainer.save_checkpoint("last.ckpt")
trainer_of(6).fit(model, batches, ckpt_path="last.ckpt")
print("found", json.dumps(found))
"""
)


def test_a_lightning_fit_is_validated_and_repeated(tmp_path: Path) -> None:
    said = run_script(tmp_path, LIGHTNING)
    found = json.loads(said.partition("found ")[2].splitlines()[0])
    for run, value in zip(("mine", "mine-2"), found, strict=True):
        last, status = rows(tmp_path / run)[4], RunDir(tmp_path / run).read_status()
        assert last["val/loss"] == pytest.approx(value, rel=1e-6) and "train/loss" in last
        assert status.state == "finished" and status.step == status.total_steps
    assert not (tmp_path / "mine-3").exists() and max(rows(tmp_path / "mine-2")) == 6
    assert RunDir(tmp_path / "mine-2").read_info().resumed_steps == [4]
