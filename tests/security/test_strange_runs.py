"""A run directory of a stranger goes through every command: nothing outside is touched, and each
command ends, with an answer or one sentence.

Rows B2 to B5, B12, B13, W5 to W9 of the review. A hang ends with the time limit of the test.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from strangers import (
    FILES,
    FOLDERS,
    NESTED,
    Trap,
    changed,
    hard_linked,
    holding,
    linked,
    linked_to,
    many_names,
    piped,
    sparse,
)

from lmm_tui.cli import main

pytestmark = pytest.mark.timeout(120)

Capture = pytest.CaptureFixture[str]

REFUSED: dict[str, Trap] = {
    **{f"link {name}": linked(name) for name in (*FILES, *FOLDERS)},
    **{f"zeros {name}": linked_to(name, "/dev/zero") for name in FILES},
    **{f"pipe {name}": piped(name) for name in FILES},
    **{f"holes {name}": sparse(name) for name in ("run.json", "metrics.jsonl", "events.jsonl")},
}
"""Traps that are told from the names and kinds of the files alone."""

ODD: dict[str, Trap] = {
    "nested run.json": holding("run.json", NESTED),
    "a list as run.json": holding("run.json", "[1]"),
    "no text as run.json": holding("run.json", "\0\ud800".encode("utf-16", "surrogatepass").hex()),
    "large run.json": changed("run.json", model="x" * (2 << 20)),
    "2^62 in run.json": changed("run.json", started=2**62, created=-(2**62), parameters=2**62),
    "nested status.json": holding("status.json", NESTED),
    "2^62 in status.json": changed(
        "status.json", step=2**62, total_steps=1, eta_s=2**62, heartbeat=-(2**62), tokens=2**62
    ),
    "shapes in status.json": changed("status.json", step=[], loss={}, error=7),
    "nested config.toml": holding("config.toml", f"a = {NESTED}"),
    "a key of 200,000 parts in config.toml": holding("config.toml", f"a{'.a' * 200_000} = 1"),
    "a number of 9,999 digits in config.toml": holding("config.toml", f"a = {'9' * 9999}"),
    "holes as config.toml": sparse("config.toml"),
    "shapes in config.toml": holding("config.toml", "health = 5\nlog = []\n"),
    "shapes in [health]": holding("config.toml", "[health]\nrules = [1]\nthresholds = [{}]\n"),
    "rules from /dev/zero": holding("config.toml", '[health]\nrules = "/dev/zero"\n'),
    "odd rows": holding(
        "metrics.jsonl",
        f'{{"step": {2**62}, "train/loss": 1e308}}\n{{"step": 9e99}}\n[]\n5\n{NESTED}\n'
        '{"step": 1, "train/loss": {"a": [[]]}, "time": "x", "tokens": -1e999}\n'
        '{"step": 3, "train/loss": -1e308, "time": 1e300, "tokens": 1e300}\n',
    ),
    "a line without end": holding("metrics.jsonl", '{"step": 1, "x": "' + "y" * (4 << 20)),
    "nested events": holding("events.jsonl", f'{NESTED}\n{{"kind": []}}\n{{"step": {{}}}}\n5\n'),
    "odd spikes": holding("spikes", "a file"),
}


def commands(run: str) -> list[list[str]]:
    number = next(_numbers)
    return [
        ["runs"],
        ["status", run],
        ["status", run, "--json"],
        ["health", run],
        ["plot", run, "--text"],
        ["export", run, "--to", "csv", "--output", f"{number}.csv"],
        ["spikes", run],
    ]


_numbers = itertools.count()


@pytest.mark.parametrize("trap", REFUSED.values(), ids=REFUSED)
def test_a_run_that_leads_out_is_one_line_in_the_list_and_refused_by_name(
    trap: Trap, stranger: Path, canary: Path, capsys: Capture
) -> None:
    trap(stranger, canary)
    assert main.run(["runs"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 1 and listed[0].startswith("broken: runs/x/")
    for command in [
        *commands("x")[1:],
        ["plot", "x", "--output", "x.png"],
        ["resume", "x"],
        ["convert", "x", "out"],
    ]:
        assert main.run(command) == 2, command
        said = capsys.readouterr()
        assert said.out == "" and len(said.err.splitlines()) == 1, command
        assert "runs/x/" in said.err


@pytest.mark.parametrize("trap", ODD.values(), ids=ODD)
def test_odd_content_is_read_or_refused_in_a_sentence(
    trap: Trap, stranger: Path, canary: Path, capsys: Capture
) -> None:
    trap(stranger, canary)
    for command in commands("x"):
        code = main.run(command)
        said = capsys.readouterr()
        assert code in (0, 2), (command, said.err)
        assert "Traceback" not in said.err and (said.out or said.err)


def test_one_bad_run_does_not_hide_the_others(
    stranger: Path, canary: Path, trained: Path, capsys: Capture
) -> None:
    good = stranger.with_name("good")
    good.symlink_to(trained)  # The user's own arrangement.
    linked_to("run.json", "/dev/zero")(stranger, canary)
    Path("runs", "no run").mkdir()
    assert main.run(["runs"]) == 0
    head, line, bad = capsys.readouterr().out.splitlines()
    assert "NAME" in head and line.startswith("good") and bad.startswith("broken: runs/x/")


def test_more_metrics_than_there_is_room_for_are_left_out_and_said(
    stranger: Path, canary: Path, capsys: Capture
) -> None:
    many_names(stranger, canary)
    assert main.run(["health", "x"]) == 0
    assert "metrics beyond the first 5000 are left out" in capsys.readouterr().out


def test_own_links_to_the_folder_of_runs_or_to_a_run_work(
    stranger: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "disk").mkdir()
    stranger.parent.rename(tmp_path / "disk" / "runs")
    Path("runs").symlink_to(tmp_path / "disk" / "runs")
    Path("mine").symlink_to(tmp_path / "runs" / "x")
    for command in (
        ["runs"],
        ["status", "x"],
        ["health", "mine"],
        ["plot", "x", "--output", "x.png"],
    ):
        assert main.run(command) == 0, capsys.readouterr().err


def test_a_foreign_log_may_be_a_link_but_no_device(tmp_path: Path, capsys: Capture) -> None:
    Path("real.log").write_text("".join(f"step: {at}, loss: 2.5\n" for at in range(1, 30)))
    Path("link.log").symlink_to("real.log")
    assert main.run(["health", "link.log"]) == 0
    sparse("holes.log")(tmp_path, tmp_path)
    sparse("trainer_state.json")(tmp_path, tmp_path)
    sparse("run-1.wandb")(tmp_path, tmp_path)
    linked_to("zeros.csv", "/dev/zero")(tmp_path, tmp_path)
    piped("pipe.csv")(tmp_path, tmp_path)
    capsys.readouterr()
    for name in ("holes.log", "trainer_state.json", "run-1.wandb", "zeros.csv", "pipe.csv"):
        assert main.run(["health", name]) == 2, name
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_folder_that_others_can_write_is_said(stranger: Path, capsys: Capture) -> None:
    stranger.parent.chmod(0o777)
    assert main.run(["runs"]) == 0
    assert "other users can write here" in capsys.readouterr().err
    stranger.parent.chmod(0o700)
    assert main.run(["runs"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["samples.jsonl", "run.lock", "events.jsonl"])
def test_a_file_with_a_second_name_is_not_written(
    name: str, stranger: Path, canary: Path, capsys: Capture
) -> None:
    hard_linked(name)(stranger, canary)
    assert main.run(["resume", "x", "--steps", "12"]) == 2
    assert "hard link" in capsys.readouterr().err
