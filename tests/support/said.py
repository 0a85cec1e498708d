"""All that the interface says in English: what the code gives to `tr`, and what tables hold."""

from __future__ import annotations

import ast
from typing import get_args

import click
from repository import ROOT

from lmm_tui.charts.viewport import AXES
from lmm_tui.cli.command_line import COMMANDS, cli
from lmm_tui.cli.help_text import paragraphs
from lmm_tui.cockpit.keys import KEYS
from lmm_tui.cockpit.screens import form_labels
from lmm_tui.cockpit.screens.form_tabs import section_of
from lmm_tui.cockpit.widgets.run_line import BADGES
from lmm_tui.engine.config.options import _BOUNDS, options
from lmm_tui.engine.config.recipe import load_recipe, recipe_names
from lmm_tui.engine.run.events import Kind
from lmm_tui.i18n.language import catalogue
from lmm_tui.metrics import names
from lmm_tui.metrics.health.alert import SEVERITIES
from lmm_tui.metrics.health.rules import RULES, in_our_trainer
from lmm_tui.metrics.health.verdict import ENDS, headline_of
from lmm_tui.metrics.readers.log_formats import FORMATS
from lmm_tui.metrics.stages.built_in import BUILT_IN
from lmm_tui.runs.status_text import RUNS_HEAD

CHINESE = catalogue("zh")


def said_in_code() -> set[str]:
    """Every text that is given to `tr`, or marked for it, as it stands."""
    said = set()
    for file in (ROOT / "lmm_tui").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("tr", "mark"):
                said |= {
                    part.value
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                }
    return said


def said_from_tables() -> set[str]:
    """What is given to `tr` from tables, by name."""
    said = {*COMMANDS.values()}
    for key in KEYS:
        said |= {key.title, key.help, key.group}
        said |= {named for named in (f"{key.group}|{key.title}",) if named in CHINESE}
    for rule in (*RULES, *in_our_trainer()):
        said |= {rule.suspect, rule.advice, headline_of(rule.name)}
    for suspect, advice in ENDS.values():
        said |= {suspect, advice}
    said |= {"healthy", "healthy now", "no metrics", "not judged"}  # Headlines of verdicts.
    said |= {name.title for name in names.KNOWN.values()}
    for stage in BUILT_IN.values():
        said |= {stage.aim, stage.step, stage.chart or "perplexity"}
        said |= {name.title for name in stage.metrics.values()}
        said |= {trace.label for trace in stage.traces}
    said |= {
        *names.DEEP_LAYERS.values(),
        *(state.upper() for state in BADGES),
        *BADGES,
        *RUNS_HEAD,
        *AXES,
        *(known.name for known in FORMATS),
    }
    for option in options():
        section, label = section_of(option.key), option.label
        said |= {label, option.help, section}
        said |= {named for named in (f"{section}|{label}",) if named in CHINESE}
    said |= {text for row in form_labels.ROWS.values() for text in row}
    said |= {*_BOUNDS.values(), "whole number", "number"}
    said |= {*SEVERITIES, *get_args(Kind)}
    said |= {load_recipe(name).about for name in recipe_names()} | {"recipe|step", "names|, "}
    said |= {"last", "best", "every", "pinned"}  # What keeps a checkpoint.
    return (said | said_by_help()) - {""}


def said_by_help() -> set[str]:
    """What `--help` of any command says, click's own words among it."""
    bounded = {f"{option.help} ({option.allowed})" for option in options()}
    said = {"Options", "Commands", "Usage: "}
    context = click.Context(cli)
    for command in (cli, *(cli.get_command(context, name) for name in COMMANDS)):
        said |= {*paragraphs(command.help)}
        said |= {param.help or "" for param in command.get_params(click.Context(command))
                 if isinstance(param, click.Option)}  # fmt: skip
    return said - bounded
