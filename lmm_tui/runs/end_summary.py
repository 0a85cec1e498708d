"""The summary printed when a run ends in this process: result, plots, and the next commands.

The cockpit, the plain-text progress and the detached engine all end with it. It draws the plots
first, because the summary lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import listed, mark, tr
from lmm_tui.i18n.number_format import count, number
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics import names
from lmm_tui.runs.status_text import (
    RunSummary,
    aligned_rows,
    run_argument,
    state_text,
    time_text,
    validation_text,
)


def end_summary(run: RunDir) -> str:
    """Draw the run's plots and summarise it."""
    session = Reader(run.path)
    session.poll()
    loss = session.series.get(names.TRAIN_LOSS)
    plots, failure = _draw_plots(run)
    first_loss = float(loss.values[0]) if loss else None
    return _summary(RunSummary.of(Reader(run.path)), first_loss, plots) + failure


def _summary(run: RunSummary, first_loss: float | None, plots: Sequence[Path]) -> str:
    status = run.status
    losses = f"{number(first_loss)} → {number(status.loss)}"
    speed = f" ({count(status.tokens_per_s)} {tr('tokens/s')})" if status.tokens_per_s else ""
    name = run_argument(run.path)
    checkpoints = list_checkpoints(RunDir(run.path).checkpoints)
    finished = status.step >= status.total_steps
    more_steps = f" --steps {2 * status.total_steps}" if finished else ""
    return aligned_rows(
        {
            mark("run"): name,
            mark("state"): state_text(run),
            mark("error"): translate_message(status.error),
            mark("health"): translate_message(run.verdict.text),
            mark("loss"): losses + validation_text(run) if status.loss is not None else "",
            mark("time"): time_text(run.info, status) + speed,
            mark("checkpoint"): str(checkpoints[-1]) if checkpoints else "",
            mark("plots"): listed([*map(str, plots[:1]), *(path.name for path in plots[1:])]),
            mark("watch"): f"lmm-tui monitor {name}",
            mark("resume"): f"lmm-tui resume {name}{more_steps}" if checkpoints else "",
        }
    )


def _draw_plots(run: RunDir) -> tuple[list[Path], str]:
    """The files written, and a line that says why they could not be."""
    from lmm_tui.metrics.visualize import export_plots

    try:
        return export_plots(run.path), ""
    except (OSError, LmmError) as error:
        return [], "\n" + tr("plots not written: {why}", why=translate_message(str(error)))


if __name__ == "__main__":
    from lmm_tui.engine.run.run_records import RunInfo, RunStatus

    info = RunInfo("demo", "pretrain", 0.0, 0.0, "box", 1, 0.0)
    run = RunSummary(Path("runs/demo"), info, RunStatus("finished", 2, 2, loss=3.0), "finished")
    print(_summary(run, 4.0, [Path("plots/training.png")]))
    print("=== 自测通过 ===")
