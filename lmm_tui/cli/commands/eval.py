"""`lmm-tui eval`: score a model with lm-eval and compare its checkpoints."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click
from rich.cells import cell_len

from lmm_tui.engine.evaluation.flags import EvaluationCommand, evaluation_options
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import duration
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.engine.evaluation.job import EvaluationProgress


@click.command("eval", cls=EvaluationCommand)
@evaluation_options
def command(**flags: Any) -> None:
    """Score a model by lm-eval: on questions of our own, on local files, or on the hub's.

    \b
    lmm-tui eval                                    the newest run, built-in questions
    lmm-tui eval --run demo --tasks lmm_sums lmm_talk --apply-chat-template
    lmm-tui eval --model-path DIR --tasks hellaswag arc_easy mmlu gsm8k --data-dir FILES
    lmm-tui eval --history demo                     scores by step
    lmm-tui eval --smoke --device cpu               does it work here?

    Ctrl+C cancels; the same command resumes it. Scores of a run are kept in its evals/.
    """
    from lmm_tui.engine.evaluation.evaluation_request import EvaluationRequest

    line = _ProgressLine(sys.stderr)
    try:
        text = EvaluationRequest(**flags).answer(line.show)
    except KeyboardInterrupt:
        line.end()
        click.echo(tr("cancelled; the same command resumes it"), err=True)
        raise click.Abort from None
    finally:
        line.end()
    if flags["as_json"]:
        click.echo(text)
        return
    click.echo(
        clean("\n".join(map(_translate_line, translate_message(text).split("\n"))), newlines="keep")
    )


_HEADS = (
    mark("TASK"),
    mark("METRIC"),
    mark("VALUE"),
    mark("CHANCE"),
    mark("QUESTIONS"),
    mark("SHOTS"),
)
_HEAD = re.compile(rf"STEP (?P<step>\d+)|{'|'.join(_HEADS)}")


def _translate_line(line: str) -> str:
    """A line of the result; table headings keep their width, so that columns stay aligned."""
    return _HEAD.sub(_heading, line) if line.startswith(_HEADS[0]) else line


def _heading(found: re.Match[str]) -> str:
    step = found["step"]
    heading = tr("STEP {step}", step=step) if step else tr(found[0])
    padding = " " * (len(found[0]) - cell_len(heading))
    rest = found.string[found.end() :].lstrip()
    left_aligned = found[0] in _HEADS[:2] or rest.startswith("CHANCE")
    return heading + padding if left_aligned else padding + heading


class _ProgressLine:
    """A line that is overwritten in place; prints nothing if there is no terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown = 0
        self._visible = out.isatty()
        self._write(tr("starting lm-eval"))

    def show(self, progress: EvaluationProgress) -> None:
        parts = [tr("{done}/{total} answers", done=progress.done, total=progress.total)]
        if progress.remembered:
            parts.append(tr("{count} of them known", count=progress.remembered))
        if progress.eta_s is not None:
            parts.append(tr("{time} left", time=duration(progress.eta_s)))
        self._write(tr(", ").join(parts))

    def end(self) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        if self._visible:
            self._out.write(f"\r{' ' * self._shown}")
            self._out.write(f"\r{text}")
            self._out.flush()
            self._shown = cell_len(text)


if __name__ == "__main__":
    command(["--help"], standalone_mode=False)
    print("=== 自测通过 ===")
