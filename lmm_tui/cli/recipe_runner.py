"""Run a recipe: its steps one after another, each a run of its own, and a table of results.

Finished runs are skipped and unfinished ones resumed, so the same command continues where it was
interrupted. After each step the model answers the recipe's exact-match questions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.cells import cell_len

from lmm_tui.cli import headless
from lmm_tui.engine.config.recipe import Recipe
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.run_settings import resumed_settings
from lmm_tui.engine.config.trust import allow_own
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import duration
from lmm_tui.metrics.values import wilson_interval
from lmm_tui.terminal.safe_text import fit

_VALIDATION_METRICS = ("val/loss", "val/accuracy", "val/reward", "val/kl")


@dataclass(frozen=True)
class StepOutcome:
    """The result of one step."""

    name: str
    stage: str
    steps: int
    seconds: float | None
    """None if the run was finished before."""
    validation: dict[str, float]
    exact: dict[str, float]
    """Kind of question -> share answered exactly."""
    answered_on: str = ""
    """Device and precision of the answers, as `cuda:0 bf16`."""


def run_recipe(
    recipe: Recipe,
    prefix: str,
    assignments: Mapping[str, Any],
    allow: Callable[[RunConfig], None],
) -> int:
    """Train all steps in order; returns the exit code of the first that fails, else 0.

    `allow` raises an LmmError for a configuration whose commands are not allowed.
    """
    configs = [step.config(prefix, assignments) for step in recipe.steps]
    for config in configs:
        allow(config)
    outcomes: list[StepOutcome] = []
    for step, config in zip(recipe.steps, configs, strict=True):
        assert config.name is not None
        run = RunDir(Path(config.runs_dir) / config.name)
        click.echo(f"\n== {step.name}: {step.stage}, {_length(config)}")
        seconds = None
        if run.exists() and Reader(run.path).view.state == "finished":
            click.echo(tr("{run} is finished already", run=run.path))
        else:
            began = time.monotonic()
            before = run if run.exists() else None
            settings = resumed_settings(run, config) if before else config
            if before:
                allow_own(settings, run.path)
            if code := headless.train(settings, before):
                return code
            if Reader(run.path).view.state != "finished":
                click.echo(tr("stopped; the same command resumes from here"))
                return 1
            seconds = time.monotonic() - began
        outcomes.append(_outcome(step.name, config, run, recipe, seconds))
        click.echo(_scores(outcomes[-1], recipe.questions))
    click.echo(f"\n{report(outcomes)}")
    return 0


def _length(config: RunConfig) -> str:
    if config.train.epochs is not None:
        return tr("epochs: {count}", count=f"{config.train.epochs:g}")
    return tr("{count} steps", count=config.train.steps)


def report(outcomes: list[StepOutcome]) -> str:
    """A Markdown table, one row per step."""
    metrics = [name for name in _VALIDATION_METRICS if any(name in o.validation for o in outcomes)]
    kinds = list(dict.fromkeys(kind for outcome in outcomes for kind in outcome.exact))
    head = [tr("step", about="recipe"), tr("stage"), tr("steps"), tr("time"), *metrics]
    head += [tr("{kind}, exact", kind=kind) for kind in kinds]
    rows = [
        [
            outcome.name,
            outcome.stage,
            f"{outcome.steps:,}",
            tr("done before") if outcome.seconds is None else duration(outcome.seconds),
            *(_cell(outcome.validation.get(name)) for name in metrics),
            *(_cell(outcome.exact.get(kind)) for kind in kinds),
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
    reader = Reader(run.path)
    reader.poll()
    validation = {
        metric: series.last_value
        for metric in _VALIDATION_METRICS
        if (series := reader.series.get(metric)) and series.last_value is not None
    }
    exact, answered_on = _exact_match(run, recipe) if recipe.kinds else ({}, "")
    return StepOutcome(
        name=name,
        stage=config.stage,
        steps=reader.view.status.step,
        seconds=seconds,
        validation=validation,
        exact=exact,
        answered_on=answered_on,
    )


def _exact_match(run: RunDir, recipe: Recipe) -> tuple[dict[str, float], str]:
    """The share of questions of each kind that the model answers, and on what."""
    from lmm_tui.data.tokenizing.tokenizer import Tokenizer
    from lmm_tui.engine.checkpoints.placed_model import place_as_trained
    from lmm_tui.engine.checkpoints.weights import read_weights
    from lmm_tui.engine.generation.exact_match import exact_match

    weights = read_weights(run.path)
    assert weights.tokenizer is not None
    tokenizer = Tokenizer.load(weights.tokenizer)
    placed = place_as_trained(weights)
    with placed.autocast():
        exact = exact_match(placed.model, tokenizer, kinds=recipe.kinds, questions=recipe.questions)
    return exact, str(placed)


def _scores(outcome: StepOutcome, questions: int) -> str:
    """Each share with its 95 % interval, as `sums 0.0% (0.0%-27.8%)`."""
    shown = []
    for kind, share in outcome.exact.items():
        low, high = wilson_interval(share, questions)
        shown.append(f"{kind} {share:.1%} ({low:.1%}-{high:.1%})")
    shares = tr(", ").join(shown)
    if not shares:
        return ""
    return tr("answered exactly, on {device}: {shares}", device=outcome.answered_on, shares=shares)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    scores = {"val/loss": 2.5}, {"sums": 0.0}
    print(report([StepOutcome("pretrain", "pretrain", 600, 120.0, *scores)]))
    print("=== 自测通过 ===")
