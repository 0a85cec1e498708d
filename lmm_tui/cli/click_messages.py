"""What click says of a wrong command line, as messages: built again from the fields of its errors.

A message that does not give click's own text is not used: that text is shown as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.exceptions import BadOptionUsage, MissingParameter, NoSuchOption

from lmm_tui.message import Message


def usage_message(error: click.UsageError) -> Message:
    """Click's sentence, and where to read more."""
    # click puts each choice on a line of its own.
    said = " ".join(error.format_message().split()).rstrip(".")
    sentence = _same(said, error)
    command = error.ctx.command_path if error.ctx else "lmm-tui"
    if said.endswith("?") and isinstance(sentence, Message):
        return Message("{sentence}?; see `{command} --help`", sentence=sentence, command=command)
    return Message("{sentence}; see `{command} --help`", sentence=sentence, command=command)


def _same(said: str, error: click.UsageError) -> str:
    if isinstance(error.message, Message) and said == error.message:
        return error.message
    candidates = _candidates(said, error)
    return next((it for it in candidates if it == said.removesuffix("?")), said)


def _candidates(said: str, error: click.UsageError) -> Iterator[Message]:
    message = error.message.rstrip(".")
    if isinstance(error, MissingParameter):
        yield from _missing(error)
    elif isinstance(error, click.BadParameter):
        hint = error.param_hint or (error.param.get_error_hint(error.ctx) if error.param else "")
        for why in _reasons(" ".join(message.split()), error):
            yield Message("Invalid value for {hint}: {why}", hint=hint, why=why)
    elif isinstance(error, NoSuchOption):
        yield from _unknown_option(error.option_name, sorted(error.possibilities or []))
    elif isinstance(error, BadOptionUsage):
        name = error.option_name
        yield Message("Option {name!r} requires an argument", name=name)
        yield Message("Option {name!r} does not take a value", name=name)
    else:
        name = str(getattr(error, "command_name", "")) or message[len("No such command '") : -1]
        yield from _unknown_command(name, sorted(getattr(error, "possibilities", None) or []))
        start, _, rest = message.partition(" (")
        extra = rest.removesuffix(")")
        if start.endswith("arguments"):
            yield Message("Got unexpected extra arguments ({extra})", extra=extra)
        yield Message("Got unexpected extra argument ({extra})", extra=extra)
        yield Message("Missing command")


def _missing(error: MissingParameter) -> Iterator[Message]:
    hint = error.param_hint or (error.param.get_error_hint(error.ctx) if error.param else "")
    yield Message("Missing argument {hint}", hint=hint)
    yield Message("Missing option {hint}", hint=hint)
    if error.param is not None and isinstance(error.param.type, click.Choice):
        choices = [*error.param.type.choices]
        yield Message("Missing argument {hint}. Choose from: {choices}", hint=hint, choices=choices)
        yield Message("Missing option {hint}. Choose from: {choices}", hint=hint, choices=choices)


def _unknown_option(name: str, near: list[str]) -> Iterator[Message]:
    yield Message("No such option {name!r}", name=name)
    yield Message("No such option: {name}", name=name)
    if near:
        yield Message("No such option {name!r}. Did you mean {near!r}", name=name, near=near[0])
        yield Message("No such option: {name} Did you mean {near}", name=name, near=near[0])
        yield Message(
            "No such option {name!r}. (Did you mean one of: {near}?)",
            name=name,
            near=[*map(repr, near)],
        )
        yield Message("No such option: {name} (Possible options: {near})", name=name, near=near)


def _unknown_command(name: str, near: list[str]) -> Iterator[Message]:
    yield Message("No such command {name!r}", name=name)
    if near:
        yield Message("No such command {name!r}. Did you mean {near!r}", name=name, near=near[0])
        yield Message(
            "No such command {name!r}. (Did you mean one of: {near}?)",
            name=name,
            near=[*map(repr, near)],
        )


def _reasons(why: str, error: click.BadParameter) -> Iterator[str]:
    """What may be wrong with a value; click keeps it in the sentence only, before known words."""
    value = why.partition(" is not ")[0]
    yield Message("{value} is not a valid integer", value=value)
    yield Message("{value} is not a valid integer range", value=value)
    yield Message("{value} is not a valid float", value=value)
    yield Message("{value} is not a valid float range", value=value)
    kind = error.param.type if error.param else None
    if isinstance(kind, click.Choice):
        choices = [*map(repr, kind.choices)]
        yield Message("{value} is not one of {choices}", value=value, choices=choices)
    yield Message(
        "{value} is not in the range {range}",
        value=value,
        range=why.removeprefix(f"{value} is not in the range "),
    )
    for name in ("File", "Directory", "Path"):
        file = why.removeprefix(f"{name} ")
        path = file.removesuffix(" does not exist")
        if name == "File":
            yield Message("File {path} does not exist", path=path)
            yield Message("File {path} is a directory", path=file.removesuffix(" is a directory"))
        elif name == "Directory":
            yield Message("Directory {path} does not exist", path=path)
            yield Message("Directory {path} is a file", path=file.removesuffix(" is a file"))
        else:
            yield Message("Path {path} does not exist", path=path)


if __name__ == "__main__":
    wrong = click.NoSuchOption("--stp", possibilities=["--steps"])
    print(usage_message(wrong))
    assert usage_message(wrong).values["sentence"].values["name"] == "--stp"
    print("=== 自测通过 ===")
