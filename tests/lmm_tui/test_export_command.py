"""What `lmm-tui export` writes reads back as the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_runs import make_run

from lmm_tui import cli
from lmm_tui.session import RunSession


@pytest.mark.parametrize("to", ["csv", "jsonl", "tensorboard"])
def test_an_export_reads_back_as_the_run(
    tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, rows=30)
    with run.metrics.open("a") as file:
        file.write('{"step":31,"train/loss":"NaN","mine/score, \\"x\\"":1}\n')
    target = tmp_path / f"out.{to}"
    assert cli.run(["export", str(run.path), "--to", to, "-o", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    written, read = RunSession(run.path), RunSession(target)
    written.poll()
    read.poll()
    assert sorted(read.series.names()) == sorted(written.series.names())
    for name in written.series.names():
        before, after = written.series.get(name), read.series.get(name)
        assert before is not None and after is not None
        assert before.steps.tolist() == after.steps.tolist()
        close = {"rtol": 1e-6 if to == "tensorboard" else 0.0}
        np.testing.assert_allclose(after.values, before.values, **close)


def test_what_exists_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, rows=3)
    for to in ("csv", "jsonl", "tensorboard"):
        target = tmp_path / "kept"
        target.write_text("mine")
        assert cli.run(["export", str(run.path), "--to", to, "-o", str(target)]) == 2
        assert "-o" in capsys.readouterr().err and target.read_text() == "mine"
