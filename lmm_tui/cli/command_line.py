"""The command line as click reads it: a command a file, help, and what is refused.

Commands are in `lmm_tui/cli/commands/`, imported only when they are called: help must not wait for
them. `lmm-tui` alone comes by without any of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from lmm_tui import __version__, installation
from lmm_tui.cli.open_cockpit import open_cockpit
from lmm_tui.engine.run.launched_rank import launched_rank, launched_ranks, require_one_process
from lmm_tui.errors import LmmError
from lmm_tui.i18n import language
from lmm_tui.message import Message
from lmm_tui.terminal import capabilities, first_paint

COMMANDS = {
    "launch": "Start a run and watch it in the cockpit",
    "plan": "Say what a run takes on a card: memory, hours, money",
    "train": "Start a run without the cockpit",
    "resume": "Resume a run from its last intact checkpoint",
    "pipeline": "Run a recipe: pretrain, SFT, DPO, GRPO, one run each",
    "sweep": "Train over a space of settings, one run a point",
    "worker": "Train trials of a sweep, beside other workers",
    "monitor": "Watch and steer a run from its own cockpit",
    "runs": "List the runs",
    "tag": "Give a run tags, by which lists find it",
    "status": "Show how a run is doing",
    "plot": "Draw a run's curves, as PNG or as text",
    "compare": "Compare runs: results, settings that differ, seeds, a picture",
    "report": "Write a report on runs, for the browser or as Markdown",
    "spikes": "Show the batches of steps whose loss or gradient spiked",
    "health": "Diagnose a run: its verdict, its alerts and their likely causes",
    "export": "Write a run's metrics as CSV, JSON lines or TensorBoard events",
    "names": "Print what metrics of other programs are called here",
    "send": "Send a command to a live run",
    "eval": "Score a model by lm-eval and compare its checkpoints",
    "convert": "Write a model for Hugging Face, MiniMind, llama.cpp or Ollama",
    "mcp": "Serve runs to an agent, over the Model Context Protocol",
    "serve-run": "Serve a run to a monitor on another machine, over ssh",
    "parity": "Compare the losses of a run on several numbers of ranks",
    "data": "Report what data hold before training on them",
    "cache": "List the cache of prepared data, and make room in it",
    "doctor": "Check devices, versions, terminal and folders",
}
"""Every command and its line of help. Its function is `command` in `commands/<name>.py`, with an
underscore for a dash."""

_TRAINS = ("launch", "train", "resume", "pipeline", "sweep", "worker")

_PAINT = ("launch", "monitor")
"""On a terminal they end in the cockpit, however they begin."""

_ONE_PROCESS = ("pipeline", "sweep", "worker", "eval", "convert")
"""What several ranks would each do, into the same place."""

LANGUAGE = click.Option(
    ["--lang"],
    type=click.Choice(language.LANGUAGES),
    expose_value=False,
    help="Language of the interface (default: that of LC_ALL or LANG)",
)
"""Accepted before and after the command's name. `main.run` reads it before click parses, so that
click's own errors are translated too."""


class _Context(click.Context):
    def make_formatter(self) -> click.HelpFormatter:
        if language.chosen() == "en":
            return super().make_formatter()
        from lmm_tui.cli.help_text import TranslatedHelp

        return TranslatedHelp(width=self.terminal_width, max_width=self.max_content_width)


def _module(name: str) -> str:
    """A file mcp.py would hide the package of that name from modules that run alone beside it."""
    return "mcp_server" if name == "mcp" else name.replace("-", "_")


class _LazyGroup(click.Group):
    context_class = _Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown command with the one that was probably meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1)
            if near:
                given, meant = args[0], near[0]
                said = Message(
                    "No such command {name!r}. Did you mean {near!r}", name=given, near=meant
                )
                raise click.UsageError(said, ctx)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in _PAINT and capabilities.can_host_app():
            first_paint.hurry()
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
def cli(context: click.Context) -> int | None:
    """Train small language models and watch them learn, in the terminal.

    Without a command it opens the cockpit.
    """
    if context.invoked_subcommand is None:
        if capabilities.can_host_app():
            return open_cockpit()
        click.echo(context.get_help())
        return 0
    if context.invoked_subcommand in _ONE_PROCESS:
        if launched_ranks() > 1 and launched_rank():
            context.exit(click.UsageError.exit_code)  # Rank 0 says why.
        require_one_process(context.invoked_subcommand)
    if context.invoked_subcommand in _TRAINS:
        installation.require_training()
    return None


def call(args: Sequence[str]) -> Any:
    """Do what a command line asks for; returns what its command returns.

    Raises LmmError for a line that click refuses, KeyboardInterrupt for a question that was left.
    """
    try:
        return cli.main([*args], prog_name="lmm-tui", standalone_mode=False)
    except click.UsageError as error:
        from lmm_tui.cli.click_messages import usage_message

        raise LmmError("{error}", error=usage_message(error)) from None
    except click.ClickException as error:
        raise LmmError("{error}", error=error.format_message()) from None
    except click.Abort:
        raise KeyboardInterrupt from None


if __name__ == "__main__":
    assert call(["--help"]) == 0
    try:
        call(["lunch"])
    except LmmError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
