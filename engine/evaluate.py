"""Evaluation from the command line: `python engine/evaluate.py --run NAME --tasks lmm_sums`.

The same as `lmm-tui eval`, in plain text and without the rest of the cockpit; everything it does
is in `engine/evaluation/`. Without flags it tries itself.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from lmm_tui.engine.evaluation.command import EvaluationRequest
from lmm_tui.engine.evaluation.flags import EvaluationCommand, evaluation_options
from lmm_tui.engine.evaluation.job import EvaluationProgress
from lmm_tui.errors import LmmError

_LINE_EVERY_S = 5.0


@click.command("evaluate", cls=EvaluationCommand)
@evaluation_options
def command(**flags: Any) -> None:
    """Ask a model questions and score its answers, by lm-eval in a process of its own."""
    said = 0.0

    def report(at: EvaluationProgress) -> None:
        nonlocal said
        if time.monotonic() - said > _LINE_EVERY_S:
            said = time.monotonic()
            click.echo(f"{at.done}/{at.total}", err=True)

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
