"""What is said about a run that has just ended here, its PNGs drawn first.

The cockpit and the plain renderer end with the same words; how a summary is worded stands in
`lmm_tui.runs.status_text`.
"""

from __future__ import annotations

from pathlib import Path

from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics import names
from lmm_tui.runs.session import RunSession
from lmm_tui.runs.status_text import RunSummary, farewell


def end_summary(run: RunDir, seconds: float) -> str:
    """Export the run's plots and sum it up; `seconds` is how long it has been here."""
    session = RunSession(run.path)
    session.poll()
    loss = session.series.get(names.TRAIN_LOSS)
    checkpoints = list_checkpoints(run.checkpoints)
    plots, trouble = _export(run)
    words = farewell(
        RunSummary.of(run),
        first_loss=float(loss.values[0]) if loss else None,
        seconds=seconds,
        plots=plots,
        checkpoint=checkpoints[-1] if checkpoints else None,
    )
    return words + trouble


def _export(run: RunDir) -> tuple[list[Path], str]:
    """The pictures drawn, and what kept others from being."""
    from lmm_tui.metrics.visualize import export_plots

    try:
        return export_plots(run.path), ""
    except (OSError, LmmError) as error:
        return [], "\n" + tr("plots not written: {why}", why=translate_message(str(error)))


if __name__ == "__main__":
    import json
    import tempfile

    from lmm_tui.engine.run.run_records import RunInfo, RunStatus

    with tempfile.TemporaryDirectory() as folder:
        demo = RunDir(Path(folder) / "demo")
        demo.create()
        demo.write_info(RunInfo("demo", "pretrain", 0.0, 0.0, "box", 1, 0.0))
        demo.write_status(RunStatus("finished", 2, 2, loss=4.0))
        rows = [{"step": step, names.TRAIN_LOSS: 5.0 - step} for step in (1, 2)]
        demo.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
        print(words := end_summary(demo, 75.0).replace(folder, "runs"))
        assert "training.png" in words
    print("=== 自测通过 ===")
