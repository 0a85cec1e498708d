"""Walks a recipe: one run after another, each from the weights of one before, a table at the end.

What is there already is not done again: finished runs are passed by, unfinished ones go on. After
each step the model is asked the recipe's questions. `monitor` can watch every run meanwhile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.cells import cell_len

from lmm_tui.cli import headless
from lmm_tui.engine.config.recipe import Recipe
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import tr
from lmm_tui.metrics.readers.json_lines import MetricsFollower
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.runs.status_text import duration
from lmm_tui.terminal.safe_text import fit

_HELD_OUT = ("val/loss", "val/accuracy", "val/reward", "val/kl")


@dataclass(frozen=True)
class StepOutcome:
    """What a step came to."""

    name: str
    stage: str
    steps: int
    seconds: float | None
    """None where it was done before."""
    held_out: dict[str, float]
    right: dict[str, float]
    """Kind of question -> share answered exactly."""


def walk(recipe: Recipe, prefix: str, assignments: Mapping[str, Any]) -> int:
    """Train all steps in order; the exit code of the first that fails, else 0."""
    configs = [step.config(prefix, assignments) for step in recipe.steps]
    outcomes: list[StepOutcome] = []
    for step, config in zip(recipe.steps, configs, strict=True):
        assert config.name is not None
        run = RunDir(Path(config.runs_dir) / config.name)
        steps = tr("{count} steps", count=config.train.steps)
        click.echo(f"\n== {step.name}: {step.stage}, {steps}")
        seconds = None
        if run.exists() and run.read_status().state == "finished":
            click.echo(tr("{run} is finished already", run=run.path))
        else:
            began = time.monotonic()
            if code := headless.train(config, run if run.exists() else None):
                return code
            if run.read_status().state != "finished":
                click.echo(tr("stopped; the same command goes on from here"))
                return 1
            seconds = time.monotonic() - began
        outcomes.append(_outcome(step.name, config, run, recipe, seconds))
        click.echo(_words(outcomes[-1]))
    click.echo(f"\n{report(outcomes)}")
    return 0


def report(outcomes: list[StepOutcome]) -> str:
    """A Markdown table, a row a step."""
    held_out = [name for name in _HELD_OUT if any(name in o.held_out for o in outcomes)]
    kinds = list(dict.fromkeys(kind for outcome in outcomes for kind in outcome.right))
    head = [tr("step", about="recipe"), tr("stage"), tr("steps"), tr("time"), *held_out]
    head += [tr("{kind}, exact", kind=kind) for kind in kinds]
    rows = [
        [
            outcome.name,
            outcome.stage,
            f"{outcome.steps:,}",
            tr("done before") if outcome.seconds is None else duration(outcome.seconds),
            *(_number(outcome.held_out.get(name), 3) for name in held_out),
            *(_number(outcome.right.get(kind), 3) for kind in kinds),
        ]
        for outcome in outcomes
    ]
    return _markdown([head, *rows])


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    head, *rest = (
        "| " + " | ".join(fit(cell, width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    )
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([head, rule, *rest])


def _outcome(
    name: str, config: RunConfig, run: RunDir, recipe: Recipe, seconds: float | None
) -> StepOutcome:
    store = SeriesStore()
    MetricsFollower(run.metrics, store).poll()
    held_out = {
        metric: series.last_value
        for metric in _HELD_OUT
        if (series := store.get(metric)) and series.last_value is not None
    }
    return StepOutcome(
        name=name,
        stage=config.stage,
        steps=config.train.steps,
        seconds=seconds,
        held_out=held_out,
        right=_quiz(run, recipe) if recipe.kinds else {},
    )


def _quiz(run: RunDir, recipe: Recipe) -> dict[str, float]:
    from lmm_tui.data.tokenizing.tokenizer import Tokenizer
    from lmm_tui.engine.checkpoints.weights import read_weights
    from lmm_tui.engine.generation.exact_match import exact_match

    weights = read_weights(run.path)
    assert weights.tokenizer is not None
    tokenizer = Tokenizer.load(weights.tokenizer)
    return exact_match(weights.decoder(), tokenizer, kinds=recipe.kinds, questions=recipe.questions)


def _words(outcome: StepOutcome) -> str:
    right = tr(", ").join(f"{kind} {share:.1%}" for kind, share in outcome.right.items())
    return tr("answered exactly: {shares}", shares=right) if right else ""


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    shown = report(
        [
            StepOutcome("pretrain", "pretrain", 600, 120.0, {"val/loss": 2.5}, {"sums": 0.0}),
            StepOutcome("sft", "sft", 900, None, {"val/loss": 0.5}, {"sums": 0.6}),
        ]
    )
    print(shown, file=sys.stdout)
    assert "| done before |" in shown
    print("=== 自测通过 ===")
