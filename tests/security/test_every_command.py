"""Run directories of a stranger with all traps at once go through every command there is: nothing
outside is touched, and each command ends, with an answer or with the name of the file.

In one run every name of ours leads out; in the other all are files, and each is a bomb.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w
from processes import PROGRAM, ROOT, until
from strangers import (
    FILES,
    FOLDERS,
    NESTED,
    SETTINGS,
    Trap,
    changed,
    holding,
    linked,
    linked_to,
    piped,
    sparse,
)
from terminals import Pty

from lmm_tui.cli import main
from lmm_tui.cli.command_line import COMMANDS
from lmm_tui.engine.run.checkpoint_names import list_checkpoints

pytestmark = pytest.mark.timeout(240)

LEADS_OUT: dict[str, Trap] = {
    **{name: linked(name) for name in FOLDERS},
    **{name: linked(name) for name in FILES},
    "events.jsonl": linked_to("events.jsonl", "/dev/zero"),
    "note.txt": piped("note.txt"),
    "output.log": sparse("output.log"),
    "config.toml": holding("config.toml", f"a = {NESTED}"),
    "run.json": changed("run.json", started=2**62),
}

ODD_LINES = (
    f'{NESTED}\n{{"kind": [], "step": {{}}, "message": 5}}\n5\n[]\n{{"step": {2**62}}}\n'
    '{"kind": "checkpoint", "step": 1e400, "time": NaN, "path": "../../canary"}\n'
    '{"kind": "alert", "step": -1, "message": {"template": "{x.__class__}", "values": []}}\n'
    f'{{"step": 1, "text": "{"y" * (8 << 20)}"}}\n{{"step": 2, "text": "\\ud800"}}\n'
    + '{"step": 1}\n'
    * 50_000
)


def bombs(run: Path, canary: Path) -> None:
    """Files alone, each with what is too much or makes no sense."""
    rows = "".join(f'{{"step":{at},"n{at}":1}}\n' for at in range(6000))
    holding("metrics.jsonl", f"{NESTED}\n5\n{rows}")(run, canary)
    for name in ("events.jsonl", "samples.jsonl"):
        holding(name, ODD_LINES)(run, canary)
    changed("run.json", started=2**62, parameters=-1, socket="../canary", host="\x1b[2J")(
        run, canary
    )
    changed("status.json", step=2**62, total_steps=1, eta_s=2**62, tokens=2**62)(run, canary)
    holding("config.toml", f"x = {NESTED}\n")(run, canary)
    holding("tokenizer.json", NESTED)(run, canary)
    holding("tokenizer_config.json", f'{{"chat_template": {NESTED}')(run, canary)
    holding("output.log", "\x1b]52;c;aGk=\x07" * 100_000)(run, canary)
    holding("note.txt", "\u202e" * (1 << 20))(run, canary)
    (run / "evals").mkdir(exist_ok=True)
    (run / "spikes").mkdir(exist_ok=True)
    for name in ("evals/step-5.json", "spikes/step-000000005.json"):
        holding(name, NESTED)(run, canary)
    older, newest = list_checkpoints(run / "checkpoints")
    holding("state.json", NESTED)(older, canary)
    (newest / "model.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{}")


@pytest.fixture(params=["leads out", "bombs"])
def trapped(request: pytest.FixtureRequest, stranger: Path, canary: Path) -> str:
    for trap in LEADS_OUT.values() if request.param == "leads out" else [bombs]:
        trap(stranger, canary)
    shutil.copytree(stranger, stranger.with_name("mine-x"), symlinks=True, copy_function=_copied)
    step = {"name": "x", "train": {"steps": 20}}
    Path("mine.toml").write_text(tomli_w.dumps({"step": [step, {"name": "y", "from": "x"}]}))
    return str(request.param)


def _copied(source: str, target: str) -> None:
    """Pipes are not read, holes not filled: a second run of the same traps."""
    if Path(source).is_file() and Path(source).stat().st_size < 1 << 30:
        shutil.copy2(source, target, follow_symlinks=False)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Pty]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    opened = Pty([*PROGRAM, "monitor", "x"], tmp_path, env)
    yield opened
    if opened.process.poll() is None:
        opened.process.kill()
    opened.close()


READ = [
    ["status", "x"],
    ["status", "x", "--json"],
    ["health", "x"],
    ["health", "x", "--json"],
    ["plot", "x", "--text"],
    ["plot", "x", "--screen", "x.svg"],
    ["export", "x", "--to", "csv"],
    ["export", "x", "--to", "jsonl"],
    ["export", "x", "--to", "tensorboard"],
    ["spikes", "x"],
    ["tag", "x"],
    ["tag", "x", "mine"],
    ["compare", "x"],
    ["report", "x", "--output", "x.html"],
    ["serve-run", "runs/x"],
]
PICTURE = ["plot", "x", "--output", "x.png"]
"""Not of thousands of metrics, whose four pages take their time: see `test_visualize`."""
USED = [
    ["convert", "x", "out"],
    ["convert", "x", "out.gguf"],
    ["eval", "--run", "x"],
    ["eval", "--history", "x"],
    ["eval", "--model-path", "runs/x/checkpoints/step-000000010"],
    ["resume", "x", "--steps", "20"],
    ["resume", "x", "--steps", "20", "--print-config"],
    ["launch", "--resume", "x"],
    ["train", "--from", "x", "--name", "other", "--runs-dir", "runs", *SETTINGS],
    ["pipeline", "mine.toml", "--runs-dir", "runs", *SETTINGS],
    ["send", "x", "pause"],
    ["plan", "x", "--gpu", "h100"],
    ["plan", "--from", "x", "--gpu", "h100", "--measured", "x"],
    ["parity", "x", "--set", "train.batch_size=3"],
    ["cache", "--cache-dir", "runs/x"],
    ["cache", "prune", "--cache-dir", "runs/x", "--keep-size", "0kb", "--yes"],
    ["sweep", "x"],
    ["worker", "x"],
    ["mcp"],
    ["data", "runs/x/metrics.jsonl", "--tokenizer", "runs/x"],
    ["names"],
    ["doctor"],
]
ELSEWHERE = ("names", "doctor", "cache", "sweep", "worker", "mcp", "data")
"""They open no run."""


def test_every_command_stands_here() -> None:
    tried = {words[0] for words in READ + USED} | {"runs", "monitor"}
    assert tried == COMMANDS.keys()


@pytest.mark.usefixtures("forked_children")
def test_nothing_outside_is_touched_and_every_command_ends(
    trapped: str,
    canary: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        picture = [PICTURE] if trapped == "leads out" else []
        for command in [["runs"], ["runs", "--json"], *READ, *picture, *USED]:
            began = sum(os.times()[:4])
            code = main.run(command)
            out, err = (part.decode("utf-8", "replace") for part in capsysbinary.readouterr())
            # Processor time: what waits for ever ends with the test's limit.
            assert sum(os.times()[:4]) - began < 10, command
            assert code in (0, 1, 2) and "Traceback" not in err, (command, err)
            if command[0] == "serve-run":  # Its stdout is compressed.
                assert code == (2 if trapped == "leads out" else 0)
            elif trapped == "leads out" and command[0] not in ("runs", *ELSEWHERE):
                assert code and re.search("runs/(mine-)?x/", out + err), (command, err)
            elif command in USED and command[0] not in ELSEWHERE:
                assert code and len(err.splitlines()) == 1, (command, err)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="has no /proc")
def test_the_cockpit_refuses_or_shows_it_and_is_left_by_a_key(
    trapped: str, canary: Path, terminal: Pty
) -> None:
    if trapped == "bombs":
        until(lambda: terminal.look(0.1) and terminal.shows("FINISHED"))
        terminal.press("q")
    until(lambda: not terminal.look(0.1) and terminal.process.poll() is not None)
    assert terminal.process.returncode == (2 if trapped == "leads out" else 0)
