"""Other people's scripts, instrumented by the lines of the documentation, watched and stopped."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import Forked
from processes import PROGRAM, until
from repository import ROOT
from scripts import begin_script

from lmm_tui.cli import main
from lmm_tui.engine.run import control_client
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir

DOC = ROOT / "docs" / "your-own-script.md"

NO_TORCH = """
import itertools, time

batches = itertools.count(1)

def train_step(x):
    time.sleep(0.002)
    return 9.0 / x
"""

MINIMIND = """
import argparse
import time
import torch

def Logger(content):
    print(content)

def train_epoch(epoch, loader, iters, start_step=0, wandb=None):
    start_time = time.time()
    for step, (X, Y) in enumerate(loader, start=start_step + 1):
        loss = (model(X) - Y).square().mean() / args.accumulation_steps
        loss.backward()
        if step % args.accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % args.log_interval == 0 or step == iters - 1:
            spend_time = time.time() - start_time
            current_loss = loss.item() * args.accumulation_steps
            current_lr = optimizer.param_groups[-1]['lr']
            eta_min = spend_time / (step + 1) * iters // 60 - spend_time // 60
            Logger(f'Epoch:[{epoch + 1}/{args.epochs}]({step}/{iters}), loss: {current_loss:.6f}')
            time.sleep(0.002)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--accumulation_steps", type=int, default=2)
    parser.add_argument("--log_interval", type=int, default=4)
    parser.add_argument("--iters", type=int, default=40)
    args = parser.parse_args()
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    start_epoch = 0
    for epoch in range(start_epoch, args.epochs):
        pairs = ((torch.randn(4, 8), torch.randn(4, 1)) for _ in range(args.iters))
        train_epoch(epoch, pairs, args.iters)
"""


def documented(section: str) -> list[str]:
    """The Python blocks of a section of the documentation."""
    text = DOC.read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, re.S)


def after(anchor: str, block: str, script: str, *, before: bool = False) -> str:
    """The script with a block pasted at a line, indented like it."""
    [line] = [line for line in script.splitlines() if line.strip() == anchor]
    pasted = textwrap.indent(block, line[: len(line) - len(line.lstrip())]).rstrip("\n")
    return script.replace(line, f"{pasted}\n{line}" if before else f"{line}\n{pasted}")


def minimind() -> str:
    """MiniMind's script with the documented lines where the documentation wants them."""
    top, begin, log = documented("MiniMind")
    script = after("import time", top, MINIMIND)
    anchor = "for epoch in range(start_epoch, args.epochs):"
    script = after(anchor, begin, script, before=True)
    return after("current_lr = optimizer.param_groups[-1]['lr']", log, script)


TRAINER = """
import sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
    num_attention_heads=2, max_position_embeddings=32))
data = [{"input_ids": torch.arange(i, i + 8) % 32, "labels": torch.arange(i, i + 8) % 32}
        for i in range(64)]
trainer = Trainer(model, TrainingArguments(
    output_dir="hf", max_steps=int(sys.argv[1]), logging_steps=2, save_strategy="no",
    report_to="none", use_cpu=True, disable_tqdm=True), train_dataset=data)
"""

LIGHTNING = """
import lightning.pytorch as pl
import torch
from lightning.pytorch import Trainer

class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)

    def training_step(self, batch, index):
        loss = self.layer(batch).square().mean()
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

loader = torch.utils.data.DataLoader(torch.randn(640, 8), batch_size=8)
"""


class Script:
    """Runs Python text as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Forked] = []

    def start(self, text: str, *args: str) -> Forked:
        process = begin_script(self._folder, text, *args)
        self._started.append(process)
        return process

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    monkeypatch.chdir(tmp_path)
    script = Script(tmp_path)
    yield script
    script.end()


def at_step(path: str, step: int) -> Reader:
    """The run in `path`, once it has come so far."""
    until(lambda: RunDir(path).read_status().step >= step)
    session = Reader(path)
    session.poll()
    return session


def test_a_plain_script_is_watched_paused_and_stopped(
    script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    process = script.start(NO_TORCH + documented("Plain PyTorch")[0])
    session = at_step("runs/mine", 5)
    assert session.view.state == "running" and session.series.get("train/loss")
    monitor = Watched("runs/mine")
    monitor.wait_for(b"RUNNING")
    assert main.run(["send", "runs/mine", "pause"]) == 0
    monitor.wait_for(b"PAUSED")
    held = RunDir("runs/mine").read_status().step
    assert main.run(["send", "runs/mine", "probe"]) == 1
    assert "pass probe= to lmm_run" in capsys.readouterr().err
    assert RunDir("runs/mine").read_status().step == held
    assert main.run(["send", "runs/mine", "resume"]) == 0
    at_step("runs/mine", held + 3)
    assert main.run(["send", "runs/mine", "stop"]) == 0
    assert "stopped without a checkpoint" in capsys.readouterr().out
    assert process.wait(120) == 0
    monitor.wait_for(b"STOPPED")
    monitor.end()
    status = RunDir("runs/mine").read_status()
    assert status.state == "stopped" and status.step > held
    assert not RunDir("runs/mine").socket_path().exists()


def test_minimind_s_script_is_watched_and_stopped(script: Script) -> None:
    process = script.start(minimind(), "--iters", "1000000")
    until(lambda: list(Path("runs").glob("minimind-*/status.json")))
    [path] = Path("runs").iterdir()
    session = at_step(str(path), 40)
    assert {"train/loss", "train/lr"} <= set(session.series.names())
    assert control_client.send(RunDir(path).socket_path(), "stop").ok
    assert process.wait(120) == 0
    assert RunDir(path).read_status().state == "stopped"


@pytest.mark.parametrize(
    ("last", "code", "state", "error"),
    [("", 0, "finished", ""), ("1 / 0", 1, "failed", "ZeroDivisionError: division by zero")],
)
def test_a_script_without_with_ends_its_run_too(
    script: Script, last: str, code: int, state: str, error: str
) -> None:
    begin, _, rest = documented("Plain PyTorch")[0].partition("with ")
    line = rest.partition(" as run:")[0]
    process = script.start(f"{begin}run = {line}\nrun.log(step=1, loss=2.0)\n{last}")
    assert process.wait(60) == code, process.communicate()
    status = RunDir("runs/mine").read_status()
    assert (status.state, status.error, status.step) == (state, error, 1)


def test_a_hugging_face_trainer_is_watched_saved_and_stopped(script: Script) -> None:
    [lines] = documented("Hugging Face Trainer")
    process = script.start(f"{TRAINER}\n{lines}\ntrainer.train()", "100000")
    session = at_step("runs/mine", 6)
    assert {"train/loss", "train/lr", "train/grad_norm"} <= set(session.series.names())
    assert session.view.status.total_steps == 100_000
    path = RunDir("runs/mine").socket_path()
    assert control_client.send(path, "pause").ok
    saved = control_client.send(path, "checkpoint")
    assert saved.ok and "after this step" in saved.message
    assert control_client.send(path, "resume").ok
    at_step("runs/mine", saved.step + 2)
    assert control_client.send(path, "stop").ok
    assert process.wait(120) == 0, process.communicate()
    assert RunDir("runs/mine").read_status().state == "stopped"
    assert len(list(Path("hf").glob("checkpoint-*"))) == 2


def test_lightning_is_watched_saved_and_stopped(script: Script) -> None:
    pytest.importorskip("lightning")
    [lines] = documented("Lightning")
    lines = lines.replace("max_steps=1000", "max_steps=1000000, log_every_n_steps=2")
    quiet = "enable_progress_bar=False, accelerator='cpu', callbacks"
    lines = lines.replace("callbacks", quiet)
    process = script.start(f"{LIGHTNING}\n{lines}\ntrainer.fit(Module(), loader)")
    session = at_step("runs/mine", 9)
    assert "train/loss" in session.series.names()
    path = RunDir("runs/mine").socket_path()
    assert control_client.send(path, "pause").ok and control_client.send(path, "checkpoint").ok
    assert control_client.send(path, "resume").ok
    at_step("runs/mine", session.view.status.step + 5)
    assert control_client.send(path, "stop").ok
    assert process.wait(120) == 0, process.communicate()
    assert RunDir("runs/mine").read_status().state == "stopped"
    assert len(list(Path("runs/mine/lightning").glob("step-*.ckpt"))) == 2


def test_a_killed_script_is_crashed(script: Script) -> None:
    process = script.start(NO_TORCH + documented("Plain PyTorch")[0])
    session = at_step("runs/mine", 2)
    process.send_signal(signal.SIGKILL)
    process.wait()

    def crashed() -> bool:
        session.poll()
        return session.view.state == "crashed"

    until(crashed)
    assert not session.send("stop").ok


def test_ctrl_c_is_a_stop(script: Script) -> None:
    process = script.start(NO_TORCH + documented("Plain PyTorch")[0])
    at_step("runs/mine", 2)
    process.send_signal(signal.SIGINT)
    process.wait(120)
    assert RunDir("runs/mine").read_status().state == "stopped"


class Watched:
    """`lmm-tui monitor` in a terminal of its own."""

    def __init__(self, run: str) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [*PROGRAM, "monitor", run],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
        )
        os.close(slave)
        self._seen = b""

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + 120
        while text not in self._seen:
            assert time.monotonic() < deadline, self._seen[-2000:]
            if select.select([self._master], [], [], 0.1)[0]:
                self._seen += os.read(self._master, 1 << 16)

    def end(self) -> None:
        self._process.terminate()
        while self._process.poll() is None:
            if select.select([self._master], [], [], 0.05)[0]:
                try:
                    os.read(self._master, 1 << 16)
                except OSError:
                    break
        self._process.wait(120)
        os.close(self._master)


def test_a_notebook_plots_a_live_run(script: Script) -> None:
    process = script.start(NO_TORCH + documented("Plain PyTorch")[0])
    at_step("runs/mine", 5)
    [cell] = documented("Read a run in a notebook")
    agg = os.environ | {"MPLBACKEND": "agg"}
    read = Forked(["-c", cell], Path.cwd(), agg, ["matplotlib.pyplot"])
    said, complaints = read.communicate()
    assert read.returncode == 0, complaints
    state, step, loss = said.split()
    assert state == "running" and int(step) >= 5 and float(loss) > 0
    assert Path("loss.png").read_bytes().startswith(b"\x89PNG")
    assert control_client.send(RunDir("runs/mine").socket_path(), "stop").ok
    assert process.wait(120) == 0
