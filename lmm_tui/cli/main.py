"""The `lmm-tui` command: finds the command that was asked for, and words every refusal.

It imports a command's module only when that command is called, so that help is instant; what a
command does stands in `lmm_tui/commands/`, a file each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from itertools import pairwise

import click

from lmm_tui import __version__, installation
from lmm_tui.errors import LmmError
from lmm_tui.i18n import language

COMMANDS = {
    "launch": "Start a run and watch it in the cockpit",
    "train": "Start a run without the cockpit",
    "resume": "Go on with a run from its last intact checkpoint",
    "pipeline": "Walk a recipe: pretrain, SFT, DPO, GRPO, one run each",
    "monitor": "Watch and steer a run from its own cockpit",
    "runs": "List the runs",
    "status": "Show how a run is doing",
    "plot": "Draw a run's curves, as PNG or as text",
    "spikes": "Show the batches of steps whose loss or gradient spiked",
    "health": "Say whether a run is healthy, and what was wrong when",
    "export": "Write a run's metrics as CSV, JSON lines or TensorBoard events",
    "send": "Send a command to a live run",
    "eval": "Score a model by lm-eval and compare its checkpoints",
    "convert": "Write a model as a Hugging Face folder or a MiniMind file",
    "serve-run": "Serve a run to a monitor on another machine, over ssh",
    "doctor": "Check devices, versions, terminal and folders",
}
"""Every command and its one line of help; `commands/<name>.py` holds it as `command`, a dash in
its name being an underscore."""

_TRAINS = ("launch", "train", "resume", "pipeline")

USER_ERROR = 2
INTERRUPTED = 130


LANGUAGE = click.Option(
    ["--lang"],
    type=click.Choice(language.LANGUAGES),
    expose_value=False,
    help="Language of the interface (default: that of LC_ALL or LANG)",
)
"""Before the command or after it; `run` has heeded it by then, so that refusals are in it, too."""


class _Context(click.Context):
    def make_formatter(self) -> click.HelpFormatter:
        if language.chosen() == "en":
            return super().make_formatter()
        from lmm_tui.cli.help_text import TranslatedHelp

        return TranslatedHelp(width=self.terminal_width, max_width=self.max_content_width)


def _module(name: str) -> str:
    return name.replace("-", "_")


class _LazyGroup(click.Group):
    context_class = _Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"lmm_tui.cli.commands.{_module(cmd_name)}").command
        if LANGUAGE not in command.params:
            command.params.append(LANGUAGE)
            command.context_class = _Context
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[LANGUAGE],
)
@click.version_option(__version__, prog_name="lmm-tui")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train small language models and watch them learn, in the terminal."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    elif context.invoked_subcommand in _TRAINS:
        installation.require_training()


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command line; its exit code.

    0 done, 1 refused or failed by the run, 2 wrong input (one sentence on stderr), 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    language.choose(_asked_language(args))
    try:
        code = cli.main([*args], prog_name="lmm-tui", standalone_mode=False)
        sys.stdout.flush()
    except LmmError as error:
        return _refuse(str(error))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "lmm_tui":
            raise
        return _refuse(str(installation.missing(error.name)))
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "lmm-tui"
        # click lists choices one a line.
        sentence = " ".join(error.format_message().split()).rstrip(".")
        return _refuse(f"{sentence}; see `{command} --help`")
    except click.ClickException as error:
        return _refuse(error.format_message())
    except click.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has left; keep the interpreter's last flush from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def _asked_language(args: Sequence[str]) -> str | None:
    asked = [value for flag, value in pairwise(args) if flag == "--lang"]
    asked += [arg.partition("=")[2] for arg in args if arg.startswith("--lang=")]
    return asked[0] if asked and asked[0] in language.LANGUAGES else None


def _refuse(sentence: str) -> int:
    from lmm_tui.i18n.translate_messages import translate_message
    from lmm_tui.terminal.safe_text import clean

    click.echo(f"lmm-tui: {clean(translate_message(sentence))}", err=True)
    return USER_ERROR


if __name__ == "__main__":
    assert run(["--help"]) == 0
    assert run(["lunch"]) == USER_ERROR
    print("=== 自测通过 ===")
