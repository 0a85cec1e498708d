"""The flags of `python engine/evaluate.py` and `lmm-tui eval`.

`--tasks` takes several names, as in lm-eval's own command line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lmm_tui.engine.evaluation.builtin_tasks import ALL
from lmm_tui.engine.run.run_dir import RUNS_DIR

DEFAULT_LIMIT = 100
SMOKE_LIMIT = 10

_TASKS = "--tasks"


class EvaluationCommand(click.Command):
    """A command whose `--tasks` takes one or more names."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, split_tasks(args))


def split_tasks(args: list[str]) -> list[str]:
    """`--tasks a b` as `--tasks a --tasks b`; commas separate names as well."""
    result: list[str] = []
    in_tasks = False
    for arg in args:
        if arg.startswith("-"):
            flag, equals, first = arg.partition("=")
            in_tasks = flag == _TASKS
            named = first if in_tasks and equals else ""
            result += [] if in_tasks else [arg]
        else:
            named = arg if in_tasks else ""
            result += [] if in_tasks else [arg]
        for name in filter(None, named.split(",")):
            result += [_TASKS, name]
    return result


def evaluation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add every flag; their values are the fields of `EvaluationRequest`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--run",
        metavar="NAME_OR_PATH",
        help="A run (its newest checkpoint), a checkpoint, a folder, a .pth or a .gguf file, "
        "evaluated by our own decoder [default: the newest run]",
    ),
    click.option("--model-path", metavar="DIR", help="A Hugging Face folder"),
    click.option(
        "--backend",
        type=click.Choice(["run", "hf"]),
        help="Our decoder, or transformers [default: hf with --model-path, else run]",
    ),
    click.option(
        _TASKS,
        multiple=True,
        metavar="NAME...",
        help=f"What to ask: built-in tasks, lm-eval's own, several words [default: {ALL}]",
    ),
    click.option(
        "--limit",
        type=click.IntRange(min=0),
        metavar="N",
        help=f"The first N questions of each task, 0 for all [default: {DEFAULT_LIMIT}]",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=8,
        show_default=True,
        help="Questions that are scored at once",
    ),
    click.option(
        "--num-fewshot",
        type=click.IntRange(min=0),
        metavar="K",
        help="Worked examples before each question [default: what the task says]",
    ),
    click.option(
        "--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps, auto"
    ),
    click.option(
        "--apply-chat-template", "chat", is_flag=True, help="Ask in the chat template of the model"
    ),
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Local questions: hellaswag.jsonl, arc_easy.jsonl, gsm8k.jsonl, mmlu/<subject>.jsonl",
    ),
    click.option(
        "--output",
        type=click.Path(path_type=Path),
        metavar="F.json",
        help="Write the scores there as well",
    ),
    click.option(
        "--smoke",
        is_flag=True,
        help=f"Try it all offline, {SMOKE_LIMIT} questions a task; makes a model if none is given",
    ),
    click.option(
        "--history", metavar="RUN", help="Evaluate nothing: show what is kept of a run, by step"
    ),
    click.option(
        "--write-tasks",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Evaluate nothing: write the built-in tasks there, for lm_eval --include_path",
    ),
    click.option(
        "--runs-dir",
        type=click.Path(path_type=Path),
        default=RUNS_DIR,
        show_default=True,
        help="Folder that holds the runs",
    ),
    click.option(
        "--json", "as_json", is_flag=True, help="A JSON list of what is kept, or was found"
    ),
)


if __name__ == "__main__":
    words = split_tasks(["--tasks", "lmm_sums,lmm_talk", "gsm8k", "--limit", "3"])
    print(words)
    assert words.count(_TASKS) == 3 and words[-2:] == ["--limit", "3"]
    print("=== 自测通过 ===")
