"""Evaluation from the command line: `python engine/evaluate.py --run NAME --tasks lmm_sums`.

The same as `lmm-tui eval` in plain text, without the cockpit; the implementation is in
`engine/evaluation/`. Without flags it runs its self-test.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from lmm_tui.engine.evaluation.evaluation_request import EvaluationRequest
from lmm_tui.engine.evaluation.flags import EvaluationCommand, evaluation_options
from lmm_tui.engine.evaluation.job import EvaluationProgress
from lmm_tui.errors import LmmError

_LINE_EVERY_S = 5.0


@click.command("evaluate", cls=EvaluationCommand)
@evaluation_options
def command(**flags: Any) -> None:
    """Ask a model questions and score its answers, by lm-eval in a process of its own."""
    last_report = 0.0

    def report(progress: EvaluationProgress) -> None:
        nonlocal last_report
        if time.monotonic() - last_report > _LINE_EVERY_S:
            last_report = time.monotonic()
            click.echo(f"{progress.done}/{progress.total}", err=True)

    try:
        click.echo(EvaluationRequest(**flags).answer(report))
    except LmmError as error:
        click.echo(f"evaluate: {error}", err=True)
        sys.exit(2)


def _self_test() -> None:
    assert not [
        param for param in command.params if param.name not in EvaluationRequest.__annotations__
    ]
    click.echo(command.get_help(click.Context(command, info_name="evaluate.py")))
    print("=== 自测通过 ===")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        command()
    else:
        _self_test()
