"""The command line: help from the tree, precedence, one sentence for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_runs import make_run

from lmm_tui import __version__
from lmm_tui.cli import main
from lmm_tui.cli.command_line import COMMANDS
from lmm_tui.cli.settings import FLAGS
from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.options import options
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.sections.train_config import LENGTHS
from lmm_tui.engine.run.control_mailbox import Mailbox, Reply
from lmm_tui.engine.run.control_server import ControlServer

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands act on the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def printed_config(args: list[str], capsys: Capture) -> dict[str, object]:
    assert main.run(["train", *args, "--print-config"]) == 0
    return tomllib.loads(capsys.readouterr().out)


# -- help ----------------------------------------------------------------------------------


def test_help_names_every_command(capsys: Capture) -> None:
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert main.run([]) == 0
    assert capsys.readouterr().out == shown
    for name, line in COMMANDS.items():
        assert f"  {name}" in shown and line in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(name: str, capsys: Capture) -> None:
    assert main.run([name, "--help"]) == 0
    assert f"Usage: lmm-tui {name}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["train", "launch"])
def test_flags_take_help_ranges_and_defaults_from_the_tree(command: str, capsys: Capture) -> None:
    assert main.run([command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for option in options():
        if option.key in FLAGS:
            assert FLAGS[option.key] in shown
            assert option.help in shown
            assert option.allowed in shown
            assert option.default is None or f"[default: {option.default}]" in shown


def test_version(capsys: Capture) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"lmm-tui, version {__version__}\n"


# -- precedence ----------------------------------------------------------------------------


def test_defaults_then_file_then_flags(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[train]\nsteps = 77\nbatch_size = 3\n[model]\npreset = "tiny"\n')
    config = printed_config(
        ["--config", "mine.toml", "--steps", "5", "--set", "train.grad_accum=2"], capsys
    )
    assert config["train"]["steps"] == 5
    assert config["train"]["batch_size"] == 3
    assert config["train"]["grad_accum"] == 2
    assert config["train"]["seed"] == 0
    assert config["model"]["preset"] == "tiny"


def test_a_typed_flag_beats_the_file_even_with_the_default_value(
    tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "mine.toml").write_text("[train]\nsteps = 77\n")
    assert printed_config(["--config", "mine.toml"], capsys)["train"]["steps"] == 77
    config = printed_config(["--config", "mine.toml", "--steps", "1000"], capsys)
    assert config["train"]["steps"] == 1000


def test_every_flag_reaches_its_key(capsys: Capture) -> None:
    values = {
        "stage": "pretrain",
        "device": "cpu",
        "model.preset": "tiny",
        "data.source": "texts/*.txt",
        "train.steps": 12,
        "train.epochs": 2.5,
        "train.minutes": 1.5,
        "train.tokens": 3000,
        "train.flops": 1e15,
        "parallel.ranks": 3,
        "parallel.restarts": 2,
        "start_from": "weights.safetensors",
        "name": "mine",
        "runs_dir": "elsewhere",
    }
    assert values.keys() == FLAGS.keys()
    lengths = {"train.steps", *(f"train.{length}" for length in LENGTHS)}
    for length in lengths:
        given = {key: value for key, value in values.items() if key not in lengths - {length}}
        args = [text for key, value in given.items() for text in (FLAGS[key], str(value))]
        config = printed_config(args, capsys)
        for key, value in given.items():
            *section, leaf = key.split(".")
            table = config[section[0]] if section else config
            assert table[leaf] == value


def test_print_config_gives_a_file_that_means_the_same(tmp_path: Path, capsys: Capture) -> None:
    args = ["--steps", "9", "--set", "optim.schedule=wsd", "--set", 'log.prompts=["从前"]']
    assert main.run(["train", *args, "--print-config"]) == 0
    shown = capsys.readouterr().out
    (tmp_path / "printed.toml").write_text(shown, encoding="utf-8")
    assert main.run(["train", "--config", "printed.toml", "--print-config"]) == 0
    assert capsys.readouterr().out == shown
    assert "# model.hidden_size" in shown
    assert not (tmp_path / "runs").exists()


# -- resuming ------------------------------------------------------------------------------


@pytest.fixture
def saved_run(tmp_path: Path) -> Path:
    run = make_run(tmp_path / "runs")
    config = resolve(assignments={"train.steps": 30, "train.batch_size": 3, "name": "demo"})
    run.config.write_text(to_toml(config.completed()))
    return run.path


def test_resume_keeps_the_runs_own_settings_but_for_what_is_typed(
    saved_run: Path, capsys: Capture
) -> None:
    args = ["--resume", "demo", "--steps", "60", "--set", "optim.lr=1e-4"]
    config = printed_config(args, capsys)
    assert config["train"]["steps"] == 60
    assert config["train"]["batch_size"] == 3
    assert config["optim"]["lr"] == 1e-4
    assert config["name"] == "demo"


def test_resume_finds_a_run_in_another_folder(saved_run: Path, capsys: Capture) -> None:
    saved_run.parent.rename("elsewhere")
    config = printed_config(["--resume", "demo", "--runs-dir", "elsewhere"], capsys)
    assert config["train"]["steps"] == 30


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (["--model", "tiny"], "model.preset"),
        (["--name", "other"], "name"),
        (["--set", "train.seed=1"], "train.seed"),
        (["--set", "train.batch_size=4"], "train.batch_size"),
        (["--set", "data.seq_len=64"], "data.seq_len"),
        (["--set", "optim.name=muon"], "optim.name"),
    ],
)
def test_resume_refuses_changes_that_weights_or_data_order_hang_on(
    saved_run: Path, change: list[str], key: str, capsys: Capture
) -> None:
    assert main.run(["train", "--resume", "demo", *change]) == main.USER_ERROR
    assert capsys.readouterr().err.startswith(f"lmm-tui: {key}: cannot change")


# -- mistakes ------------------------------------------------------------------------------

MISTAKES = {
    "unknown command": (["lunch"], "lunch"),
    "unknown flag": (["train", "--stpes", "3"], "--steps"),
    "unknown key": (["train", "--set", "optim.lrr=1"], "did you mean optim.lr"),
    "no assignment": (["train", "--set", "optim.lr"], "section.key=value"),
    "wrong type": (["train", "--steps", "many"], "--steps"),
    "wrong type in --set": (["train", "--set", "train.steps=many"], "train.steps"),
    "out of range": (["train", "--steps", "0"], "train.steps"),
    "not a number": (["train", "--set", "optim.lr=nan"], "optim.lr"),
    "unknown preset": (["train", "--model", "giant"], "nano"),
    "unknown device": (["train", "--device", "tpu"], "tpu"),
    "unknown stage": (["train", "--stage", "rest"], "pretrain"),
    "shape that is none": (["train", "--set", "model.num_heads=7"], "model.hidden_size"),
    "twice given": (["train", "--steps", "3", "--set", "train.steps=4"], "train.steps"),
    "no such file": (["train", "--config", "none.toml"], "none.toml"),
    "run outside": (["train", "--name", "../escape"], "run name"),
    "run outside, absolute": (["train", "--name", "/tmp/escape"], "run name"),
    "run outside, by dots": (["train", "--name", ".."], "run name"),
    "nothing to resume": (["train", "--resume", "ghost"], "ghost"),
    "no runs": (["status"], "lmm-tui launch"),
    "no such run": (["status", "ghost"], "lmm-tui runs"),
    "nothing to plot": (["plot", "ghost", "--text"], "ghost"),
    "no terminal": (["monitor", "held"], "lmm-tui status"),
    "neither picture": (["plot", "held"], "--output"),
    "picture of no kind": (["plot", "held", "-o", "loss.jpg"], ".png or .svg"),
    "screen of no kind": (["plot", "held", "--screen", "loss.png"], ".svg"),
    "picture onto a folder": (["plot", "held", "-o", "held.png"], "held.png"),
    "picture nowhere": (["plot", "held", "-o", "none/loss.png"], "none"),
    "unmeasured run": (["plot", "held", "--text"], "no metrics"),
    "unknown order": (["send", "held", "dance"], "pause"),
    "argument of no kind": (["send", "held", "set", "lr"], "key=value"),
}


@pytest.mark.parametrize(("args", "hint"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_sentence_and_exit_code_2(
    args: list[str], hint: str, tmp_path: Path, capsys: Capture
) -> None:
    if "held" in args:
        make_run(tmp_path / "runs", "held")
    (tmp_path / "held.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert main.run(args) == main.USER_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lmm-tui: ") and err.count("\n") == 1 and err.endswith("\n")
    assert hint in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_mistake_in_a_file_names_its_line(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "mine.toml").write_text("[train]\nseed = 1\nsteps = -3\n")
    assert main.run(["train", "--config", "mine.toml"]) == main.USER_ERROR
    assert "mine.toml:3: train.steps" in capsys.readouterr().err


def test_hostile_text_in_a_refusal_is_shown_not_obeyed(capsys: Capture) -> None:
    assert main.run(["status", "\x1b]0;owned\x07\u202e"]) == main.USER_ERROR
    err = capsys.readouterr().err
    assert "␛]0;owned␇�" in err and "\x1b" not in err


def test_what_nobody_expected_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmm_tui.cli.commands.runs.RunList", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main.run(["runs"])


def test_ctrl_c_is_no_error_report(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lmm_tui.cli.commands.runs.RunList", interrupted)
    assert main.run(["runs"]) == main.INTERRUPTED
    assert capsys.readouterr().err.strip() == ""


def test_a_reader_who_leaves_early_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    program = [sys.executable, "-c", "from lmm_tui.cli.main import main; main()", "--help"]
    left = subprocess.run(program, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write_end)
    assert (left.returncode, left.stderr) == (1, "")


# -- looking at runs -----------------------------------------------------------------------


def test_runs_lists_the_newest_first(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path / "runs", "older", started=1e9)
    make_run(tmp_path / "runs", "小兔子", started=2e9, state="running", step=3)
    (tmp_path / "runs" / "no-run").mkdir()
    assert main.run(["runs"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["NAME", "STATE"]
    assert first.split()[:2] == ["小兔子", "running"]
    assert "? not judged" in first and first.split()[5:8] == ["pretrain", "nano", "3/100"]
    assert second.split()[:2] == ["older", "finished"]


def test_runs_has_a_column_for_the_loss_of_a_diverged_run(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path / "runs", "lost", loss=18_589.8, val_loss=4.85e8)
    assert main.run(["runs"]) == 0
    said = capsys.readouterr().out
    assert " 18,590 " in said and " 4.85e8 " in said


def test_runs_of_an_empty_folder(capsys: Capture) -> None:
    assert main.run(["runs"]) == 0
    assert "no runs yet" in capsys.readouterr().out


def test_status_of_the_newest_run(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path / "runs", eta_s=125.0, state="running", step=40)
    assert main.run(["status"]) == 0
    shown = capsys.readouterr().out
    assert "running, step 40 of 100 (40%), 2 min 05 s to go" in shown
    assert "2.500 (PPL 12.2), validation 2.750 (PPL 15.6)" in shown
    assert "nano, 528k parameters, pretrain" in shown


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"state": "running"}, "running"),
        ({"state": "running", "pid": 2**22 + 1}, "crashed"),
        ({"state": "running", "host": "elsewhere", "heartbeat": 1.0}, "stale"),
        ({"state": "failed", "error": "disk full"}, "failed"),
    ],
)
def test_status_json_derives_the_state(
    tmp_path: Path, changes: dict[str, object], state: str, capsys: Capture
) -> None:
    make_run(tmp_path / "runs", **changes)
    assert main.run(["status", "demo", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["state"] == state
    assert record["format"] == 1
    assert record["path"] == str(tmp_path / "runs" / "demo")


def test_status_json_is_strict_about_a_diverged_loss(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path / "runs", loss=float("nan"), val_loss=float("inf"))
    assert main.run(["status", "--json"]) == 0

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    record = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert (record["loss"], record["val_loss"]) == ("NaN", "Infinity")


def test_status_shows_hostile_words_of_a_run_harmlessly(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path / "runs", state="failed", error="bad\x1b[2J\nline")
    assert main.run(["status"]) == 0
    assert "bad␛[2J⏎line" in capsys.readouterr().out


def test_plot_as_text_and_as_picture(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path / "runs", rows=60)
    target = tmp_path / "curves.png"
    target.write_bytes(b"an older picture")
    assert main.run(["plot", "--text", "--output", "curves.png"]) == 0
    shown = capsys.readouterr().out
    assert "loss, nats" in shown and "unigram 5.50" in shown
    assert shown.splitlines()[-1] == "curves.png"
    assert target.read_bytes().startswith(b"\x89PNG")


def test_what_can_be_exported_from_the_screen_can_be_from_the_command_line(
    tmp_path: Path, capsys: Capture
) -> None:
    make_run(tmp_path / "runs", rows=60)
    assert (
        main.run(["plot", "--output", "page.svg", "--screen", "screen.svg", "--size", "80x24"]) == 0
    )
    assert main.run(["export", "--to", "csv", "--from-step", "10", "-o", "curves.csv"]) == 0
    assert capsys.readouterr().out.split() == ["page.svg", "screen.svg", "curves.csv"]
    assert "</svg>" in (tmp_path / "page.svg").read_text()
    screen = (tmp_path / "screen.svg").read_text()
    assert "FINISHED" in screen and "frequencies" in screen and len(screen) < 200_000
    assert main.run(["plot", "--screen", "screen.svg", "--size", "80by24"]) == 2
    assert "such as 120x36" in capsys.readouterr().err


# -- steering a run ------------------------------------------------------------------------


@pytest.fixture
def live_run(tmp_path: Path) -> Iterator[Mailbox]:
    """A run that listens; its loop says what it was told, and refuses to `set`."""
    run = make_run(tmp_path / "runs", state="running")
    mailbox = Mailbox()
    server = ControlServer(mailbox, run.socket_path())

    def serve() -> None:
        while request := mailbox.take(timeout_s=120):
            if request.command == "stop":
                request.answer(Reply(True, "stopped", 41))
                return
            ok = request.command != "set"
            request.answer(Reply(ok, f"{request.command} {request.args}", 40))

    loop = threading.Thread(target=serve)
    loop.start()
    yield mailbox
    mailbox.send("stop")
    loop.join()
    server.close()


def test_send_prints_what_the_loop_did(live_run: Mailbox, capsys: Capture) -> None:
    args = ["send", "demo", "sample", "prompt=从前", "max_tokens=8", "temperature=0.5"]
    assert main.run(args) == 0
    expected = "step 40: sample {'prompt': '从前', 'max_tokens': 8, 'temperature': 0.5}\n"
    assert capsys.readouterr().out == expected


def test_send_exits_with_1_where_the_run_refuses(live_run: Mailbox, capsys: Capture) -> None:
    assert main.run(["send", "demo", "set", "lr=1e-4"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err == "lmm-tui: set {'lr': 0.0001}\n"


def test_send_to_a_run_that_has_ended(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path / "runs")
    assert main.run(["send", "demo", "pause"]) == 1
    assert "finished" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["health"], ["plot", "--text"], ["convert", "x"]])
def test_a_name_that_no_file_can_have_is_one_sentence(words: list[str], capsys: Capture) -> None:
    assert main.run([*words, "q" * 5000]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and len(said) < 6000
