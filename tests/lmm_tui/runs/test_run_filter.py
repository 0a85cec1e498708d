"""Lists of runs: the filter language, columns, tags, CSV that reads back."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run

from lmm_tui.cli.main import run
from lmm_tui.runs.run_tags import read_tags

RUNS: dict[str, dict[str, Any]] = {
    "fox": {"lr": 1e-4, "stage": "sft", "val_loss": 2.0, "batch": 8, "group": "night"},
    "owl": {"lr": 3e-3, "stage": "sft", "val_loss": math.nan, "batch": 8, "group": "night"},
    "hen": {"lr": 1e-2, "stage": "dpo", "val_loss": None, "batch": 16, "group": ""},
}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, facts in RUNS.items():
        kept = {key: facts[key] for key in ("stage", "val_loss", "group")}
        made = make_run(tmp_path, name, **kept)
        made.write_config(
            f"[optim]\nlr = {facts['lr']}\nbeta1 = 0.9\n[train]\nbatch_size = {facts['batch']}\n"
        )
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    return tmp_path


def names(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert run(["runs", *words, "--json", "--runs-dir", str(folder)]) == 0
    return [Path(record["path"]).name for record in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["lr<1e-3"], ["fox"]),
        (["optim.lr>=3e-3"], ["owl", "hen"]),
        (["stage=sft", "lr>1e-3"], ["owl"]),
        (["stage!=sft"], ["hen"]),
        (["group=night"], ["fox", "owl"]),
        (["val<3"], ["fox"]),
        (["val>0"], ["fox"]),
        (["batch_size=16"], ["hen"]),
        (["beta1=.9"], ["fox", "owl", "hen"]),
        (["name~O"], ["fox", "owl"]),
        (["FOX"], ["fox"]),
        (["tag=best"], ["owl"]),
        (["tag!=best", "stage=sft"], ["fox"]),
        (["nothing"], []),
    ],
    ids=" ".join,
)
def test_a_filter_keeps_the_runs_for_which_all_of_it_holds(
    runs: Path, words: list[str], found: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tag", "owl", "best", "--runs-dir", str(runs)]) == 0
    capsys.readouterr()
    assert set(names(runs, capsys, *words)) - {"broken"} == {*found}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lr<fast"], "compares numbers"),
        (["stage="], "nothing to compare stage with"),
        (["nonsense=1"], "no column and no setting"),
        (["--sort", "nonsense"], "no column and no setting"),
        (["--columns", "name,nonsense"], "no column and no setting"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_filter_that_says_nothing_is_refused(
    runs: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["runs", *words, "--runs-dir", str(runs)]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1


def test_a_sort_has_runs_without_a_value_last(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert names(runs, capsys, "--sort", "lr")[:3] == ["fox", "owl", "hen"]
    assert names(runs, capsys, "--sort", "-lr")[:3] == ["hen", "owl", "fox"]
    assert names(runs, capsys, "--sort", "val")[0] == "fox"


def test_csv_reads_back_with_the_settings_that_differ(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "fox" / "note.txt").write_text("=cmd|' /C calc'!A0\n")
    words = ["--csv", "--columns", "name,val,note,differing", "--sort", "name"]
    assert run(["runs", *words, "--runs-dir", str(runs)]) == 0
    head, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == ["name", "val", "note", "optim.lr", "train.batch_size"]
    assert [row[0] for row in rows] == ["fox", "hen", "owl"]
    assert [float(row[3]) for row in rows] == [RUNS[row[0]]["lr"] for row in rows]
    assert rows[0][2].startswith("'=") and rows[1][1] == "" and rows[2][1] == "NaN"
    assert run(["runs", "--columns", "name,differing", "--runs-dir", str(runs)]) == 0
    table = capsys.readouterr().out
    assert "LR" in table.splitlines()[0] and "0.0001" in table


def test_tags_are_given_and_taken(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lmm_tui.engine.run.run_dir import RunDir

    words = ["--runs-dir", str(runs)]
    assert run(["tag", "fox", "night", "best", *words]) == 0
    assert run(["tag", "fox", "night", "--remove", *words]) == 0
    assert read_tags(RunDir(runs / "fox")) == ("best",)
    assert run(["tag", "fox", "best", "--remove", *words]) == 0
    assert not (runs / "fox" / "tags.txt").exists()
    capsys.readouterr()
    assert run(["tag", "fox", "two words", *words]) == 2
    assert "a tag starts with" in capsys.readouterr().err
