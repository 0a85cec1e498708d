"""What `lmm-tui export` writes reads back as the same numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from made_runs import make_run
from pyarrow import parquet

from lmm_tui.cli import main
from lmm_tui.engine.run.reader import Reader


@pytest.mark.parametrize("to", ["csv", "jsonl", "tensorboard"])
def test_an_export_reads_back_as_the_run(
    tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, rows=30)
    with run.metrics.open("a") as file:
        file.write('{"step":31,"train/loss":"NaN","mine/score, \\"x\\"":1}\n')
    target = tmp_path / f"out.{to}"
    assert main.run(["export", str(run.path), "--to", to, "-o", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    written, read = Reader(run.path), Reader(target)
    written.poll()
    read.poll()
    extra = {"log/tokens"} if to == "tensorboard" else set()  # A tag is always a curve there.
    assert set(read.series.names()) - extra == set(written.series.names())
    if not extra:
        assert read.series.span("tokens") == written.series.span("tokens")
    for name in written.series.names():
        before, after = written.series.get(name), read.series.get(name)
        assert before is not None and after is not None
        assert before.steps.tolist() == after.steps.tolist()
        close = {"rtol": 1e-6 if to == "tensorboard" else 0.0}
        np.testing.assert_allclose(after.values, before.values, **close)


def test_a_parquet_file_holds_the_run_with_nulls_where_nothing_was_measured(tmp_path: Path) -> None:
    run = make_run(tmp_path, rows=30)
    with run.metrics.open("a") as file:
        file.write('{"step":31,"train/loss":"NaN","mine/score":1}\n')
    target = tmp_path / "out.parquet"
    assert main.run(["export", str(run.path), "--to", "parquet", "-o", str(target)]) == 0
    written = Reader(run.path)
    written.poll()
    table = parquet.read_table(target)
    assert table.column_names == ["step", "time", "tokens", *written.series.names()]
    steps = table["step"].to_pylist()
    for name in written.series.names():
        series = written.series.get(name)
        assert series is not None
        cells = zip(steps, table[name].to_pylist(), strict=True)
        found = {step: value for step, value in cells if value is not None}
        assert list(found) == series.steps.tolist()
        np.testing.assert_array_equal(list(found.values()), series.values)


def test_parquet_without_pyarrow_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, rows=3)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    target = tmp_path / "out.parquet"
    assert main.run(["export", str(run.path), "--to", "parquet", "-o", str(target)]) == 2
    said = capsys.readouterr().err
    assert "pip install pyarrow" in said and said.count("\n") == 1 and not target.exists()


def test_what_exists_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, rows=3)
    for to in ("csv", "jsonl", "tensorboard", "parquet"):
        target = tmp_path / "kept"
        target.write_text("mine")
        assert main.run(["export", str(run.path), "--to", to, "-o", str(target)]) == 2
        assert "-o" in capsys.readouterr().err and target.read_text() == "mine"
