"""Runs side by side: what differs, seeds with error bars, answers; in the terminal and as files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_run
from scipy import stats

from lmm_tui.charts.parallel import ParallelPlot
from lmm_tui.charts.run_points import PlottedColumn, quarters
from lmm_tui.cli.main import run
from lmm_tui.metrics.plots.comparison_page import (
    ComparisonPage,
    PlotAxis,
    PlottedCurves,
    draw,
)
from lmm_tui.runs.comparison import Comparison
from lmm_tui.runs.run_details import RunDetails
from lmm_tui.runs.run_list import listed_runs
from lmm_tui.runs.seed_ranking import ranked
from lmm_tui.runs.value_scale import ValueScale

RUNS = {
    "a0": (1e-3, 0, 2.5),
    "a1": (1e-3, 1, 2.7),
    "a2": (1e-3, 2, 2.6),
    "b0": (1e-2, 0, 2.2),
    "c0": (1e-4, 0, math.nan),
}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, (lr, seed, val) in RUNS.items():
        made = make_run(tmp_path, name, val_loss=val)
        made.write_config(f"[optim]\nlr = {lr}\n[train]\nseed = {seed}\nsteps = 40\n")
        rows = [
            {"step": step, "tokens": 64 * step, "train/loss": val + 4 / step, "val/loss": val + d}
            for step, d in ((10, 0.5), (20, 0.0), (30, 0.3))
        ]
        lines = [json.dumps(row).replace("NaN", '"NaN"') for row in rows]
        made.metrics.write_text("\n".join(lines) + "\n")
        for prompt in ("Once", f"only {name}"):
            sample = {"step": 30, "kind": "sample", "prompt": prompt, "text": f" {name} said"}
            with made.samples.open("a") as file:
                file.write(json.dumps(sample) + "\n")
    change = {"step": 20, "key": "optim.lr", "before": 1e-2, "after": 3e-3}
    event = {"step": 20, "event": "command", "message": "set", "changes": [change]}
    (tmp_path / "b0" / "events.jsonl").write_text(json.dumps(event) + "\n")
    return tmp_path


def compared(folder: Path) -> Comparison:
    found = Comparison(listed_runs([folder / name for name in RUNS]), RunDetails(folder))
    found.read()
    return found


def test_runs_that_differ_only_in_their_seed_are_one_row_with_students_interval(
    runs: Path,
) -> None:
    first, second = compared(runs).ranking()
    assert first.names == ("b0",) and first.mean == 2.2 and first.bar is None
    assert second.names == ("a0", "a1", "a2") and second.mean == pytest.approx(2.6)
    values = [2.5, 2.7, 2.6]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert second.bar == pytest.approx((high - low) / 2, rel=1e-3)


@pytest.mark.parametrize("count", [2, 5, 31, 32, 90])
def test_the_interval_is_students_for_any_number_of_seeds(count: int) -> None:
    values = np.random.default_rng(count).normal(2, 0.1, count)
    names = {f"{at}": float(value) for at, value in enumerate(values)}
    (one,) = ranked(names, {name: {} for name in names}, ["train.seed"])
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert one.bar == pytest.approx((high - low) / 2, rel=0.05 if count > 31 else 1e-3)


def test_a_change_in_a_live_run_is_among_its_settings(runs: Path) -> None:
    found = compared(runs)
    b0 = found.runs[3]
    assert found.columns.value(b0, "optim.lr") == 3e-3
    assert found.columns.text(b0, "optim.lr") == "0.01→0.003"
    assert found.plottable()[:2] == ["optim.lr", "train.seed"]


def test_a_setting_that_an_older_run_does_not_know_has_its_default(runs: Path) -> None:
    newer = runs / "a0" / "config.toml"
    newer.write_text(newer.read_text() + "grad_accum = 4\n[data]\nstream = false\nsources = []\n")
    found = compared(runs)
    assert found.differing() == ["optim.lr", "train.seed", "train.grad_accum"]
    assert [*found.settings()] == ["optim.lr", "train.seed", "train.grad_accum"]
    assert [found.columns.text(run, "train.grad_accum") for run in found.runs[:2]] == ["4", "1"]
    assert [found.columns.text(run, "data.stream") for run in found.runs[:2]] == ["false", "false"]
    assert found.columns.value(found.runs[1], "data.sources") is None


def test_only_prompts_that_several_runs_were_asked_are_compared(runs: Path) -> None:
    (shared,) = compared(runs).answers()
    assert shared.prompt == "Once"
    assert shared.answers == {name: (30, f" {name} said") for name in RUNS}


def test_a_run_that_is_deleted_while_it_is_compared_stays_as_it_was_read(tmp_path: Path) -> None:
    made = make_run(tmp_path, "gone", state="running", rows=20)
    found = Comparison(listed_runs([made.path]), RunDetails(tmp_path))
    found.read()
    best = found.columns.value(found.runs[0], "best")
    made.metrics.unlink()
    made.info_file.unlink()
    found.read()
    assert found.columns.value(found.runs[0], "best") == best and best is not None


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([1e-4, 1e-3, 1e-2, None], [0.0, 0.5, 1.0, None]),
        ([1.0, 2.0, 3.0, math.nan], [0.0, 0.5, 1.0, None]),
        ([5, 5], [0.5, 0.5]),
        ([-1.0, 1000.0, 499.5], [0.0, 1.0, 0.5]),
        (["muon", "adamw", ""], [1.0, 0.0, None]),
        ([True, False], [1.0, 0.0]),
        ([], []),
    ],
)
def test_values_stand_where_their_scale_puts_them(values: list[Any], places: list[Any]) -> None:
    scale = ValueScale.of(values)
    assert [scale.place(value) for value in values] == pytest.approx(places)


def test_a_line_that_lacks_a_value_is_not_drawn_across_it() -> None:
    plot = ParallelPlot()
    columns = [
        PlottedColumn.of("a", [0, 1]),
        PlottedColumn.of("b", [0, None]),
        PlottedColumn.of("c", [0, 1]),
    ]
    plot.show(columns, quarters([1.0, None]))
    canvas = plot.draw(60, 12)
    top = "".join(map(chr, canvas.codes[3].tolist()))
    assert not set(top) & {chr(code) for code in range(0x2801, 0x2900)}


def test_the_command_says_who_is_ahead_and_draws_it(
    runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [*RUNS, "--runs-dir", str(runs)]
    assert run(["compare", *words]) == 0
    table, ranking = capsys.readouterr().out.split("\n\n")
    assert table.splitlines()[1].startswith("b0") and "0.01→0.003" in table
    assert "a0, a1, a2" in ranking.splitlines()[2]
    assert run(["compare", *words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [one["runs"] for one in record["ranking"]] == [["b0"], ["a0", "a1", "a2"]]
    assert {one["name"]: one["best"] for one in record["runs"]} == {
        name: None if math.isnan(val) else val for name, (_, _, val) in RUNS.items()
    }
    picture = tmp_path / "new.svg"
    assert run(["compare", *words, "-o", str(picture), "--x", "seed", "--y", "tokens"]) == 0
    assert picture.read_text().count("<path") > 40


def test_the_picture_has_the_curves_and_the_places_that_it_was_given() -> None:
    steps = np.arange(1.0, 50.0)
    curves = PlottedCurves("loss", "step", {"a": (steps, 9 / steps), "b": (steps, 5 / steps)})
    lr = PlotAxis("lr", (0.0, None), ((0.0, "1e-4"), (1.0, "1e-3")))
    best = PlotAxis("best", (1.0, 0.0), ((0.0, "2.1"), (1.0, "3.2")))
    page = ComparisonPage(("a", "b"), (curves,), (lr, best), (lr, best), (3, 0))
    above, scatter, parallel = draw(page).axes
    assert [list(line.get_ydata()) for line in above.lines] == [list(9 / steps), list(5 / steps)]
    assert [list(line.get_xydata()[0]) for line in scatter.lines] == [[0.0, 1.0]]
    assert scatter.get_xlabel() == "lr"
    lines = [line.get_ydata() for line in parallel.lines if len(line.get_ydata()) == 2]
    assert any(np.array_equal(line, [0.0, 1.0]) for line in lines)
    assert any(np.isnan(line[0]) and line[1] == 0.0 for line in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "no such run"),
        (["a0", "--x", "lr"], "add --output"),
        (["a0", "b0", "-o", "x.png", "--x", "nonsense"], "no column and no setting"),
        (["a0", "b0", "-o", "x.png", "--y", "note"], "none of these runs has it"),
        (["a0", "b0", "-o", "x.jpg"], "ends in"),
        ([], "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_compared_is_refused(
    runs: Path,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(runs)
    assert run(["compare", *words, "--runs-dir", str(runs)]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1
