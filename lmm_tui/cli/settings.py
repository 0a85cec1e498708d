"""Resolve the command line of `launch`, `train` and `resume` to one configuration.

Flags get their types, defaults and help from the configuration tree. Precedence: defaults < recipe
or resumed run < `--config` file < flags and `--set`. A key given by both a flag and `--set` is an
error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from lmm_tui.engine.config.assignments import parse_assignment
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import load_toml, to_toml
from lmm_tui.engine.config.options import Option, lookup, options, options_by_key
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.train_config import LENGTHS
from lmm_tui.engine.run.find_run import find_run
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_range
from lmm_tui.planning.command_line import FLAGS
from lmm_tui.user_folders import user_settings


@dataclass(frozen=True)
class StartRequest:
    """What a command line asks to start; `resume` is the run to resume."""

    config: RunConfig
    resume: RunDir | None
    sources: tuple[Path, ...] = ()
    """Runs, recipes and files that may hold commands of somebody else."""
    typed: frozenset[str] = frozenset()
    """The dotted keys that were given on the command line."""


def settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that `read_settings` reads from the context."""
    known = options_by_key()
    decorators = [
        *(_flag(name, known[key]) for key, name in FLAGS.items()),
        click.option(
            "--recipe",
            metavar="NAME",
            help="Settings of a recipe's step for --stage, or of its first; see `lmm-tui pipeline`",
        ),
        click.option("--resume", metavar="RUN", help="Resume a run, as `lmm-tui resume` does"),
    ]
    return _decorated(_general_options(function), decorators)


def resume_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument and flags that `read_resumed` reads from the context."""
    known = options_by_key()
    lengths = (f"train.{length}" for length in ("steps", *LENGTHS))
    ranks = ("parallel.ranks", "parallel.restarts")
    flags = {key: FLAGS[key] for key in ("device", *lengths, *ranks, "runs_dir")}
    decorators = [
        click.argument("run", required=False),
        *(_flag(name, known[key], show_default=False) for key, name in flags.items()),
    ]
    return _decorated(_general_options(function), decorators)


trust_option = click.option(
    "--trust", is_flag=True, help="Allow the commands that a run, recipe or file brings; remembered"
)


def _general_options(function: Callable[..., Any]) -> Callable[..., Any]:
    decorators = [
        click.option(
            "--config",
            "file",
            metavar="FILE.toml",
            type=click.Path(path_type=Path),
            help="Settings from a file, such as a run's config.toml",
        ),
        click.option(
            "--set",
            "assignments",
            metavar="SECTION.KEY=VALUE",
            multiple=True,
            help="Any setting of --print-config; may be repeated",
        ),
        click.option("--print-config", is_flag=True, help="Print the settings and start nothing"),
        trust_option,
    ]
    return _decorated(function, decorators)


def _decorated(
    function: Callable[..., Any], decorators: Sequence[Callable[..., Any]]
) -> Callable[..., Any]:
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def read_settings(context: click.Context) -> StartRequest | None:
    """Resolve what to start; with `--print-config`, print it and return None.

    Raises LmmError that names the wrong flag, or the file and line.
    """
    given = context.params
    typed = _typed_flags(context)
    file: Path | None = given["file"]
    if given["resume"] is None:
        base, recipe = _recipe(given["recipe"], typed.get("stage"))
        assigned = _assigned(typed, given["assignments"])
        sources = foreign([file, recipe])
        config = resolve(file, assigned, base)
        own = frozenset() if file is None or file in sources else _keys_of(file)
        start = StartRequest(config, None, sources, own.union(assigned))
    elif given["recipe"] is not None:
        raise ConfigError(
            "--recipe: a resumed run keeps its settings; leave out --recipe or --resume"
        )
    else:
        start = _resume_request(given["resume"], context)
    return _printed_or(start, context)


def read_changed(base: RunConfig, context: click.Context) -> RunConfig | None:
    """`base` with what was typed; with `--print-config`, print it and return None."""
    given = context.params
    for name in ("file", "recipe", "resume"):
        if given[name] is not None:
            flag = "--config" if name == "file" else f"--{name}"
            raise ConfigError("{flag}: CONFIG is given already; leave one out", flag=flag)
    assigned = _assigned(_typed_flags(context), given["assignments"])
    config = resolve(None, assigned, base.model_dump(exclude_none=True))
    if given["print_config"]:
        click.echo(_config_text(config))
        return None
    return config


def read_resumed(context: click.Context) -> StartRequest | None:
    """As `read_settings`, for the run named by the argument, by default the newest."""
    return _printed_or(_resume_request(context.params["run"], context), context)


def _resume_request(name: str | None, context: click.Context) -> StartRequest:
    given, typed = context.params, _typed_flags(context)
    run = find_run(name, typed.pop("runs_dir", given[_parameter(FLAGS["runs_dir"])]))
    assigned = _assigned(typed, given["assignments"])
    config = _resumed(run, given["file"], assigned)
    return StartRequest(config, run, foreign([run.path, given["file"]]), frozenset(assigned))


def _printed_or(start: StartRequest, context: click.Context) -> StartRequest | None:
    """`start`, or None after printing its configuration for `--print-config`."""
    if context.params["print_config"]:
        click.echo(_config_text(start.config))
        return None
    allow(start.config, start.sources, start.typed, trusted=context.params["trust"])
    if start.resume is not None:
        from lmm_tui.engine.config.trust import allow_own

        allow_own(start.config, start.resume.path)
    return start


def allow(
    config: RunConfig, sources: Sequence[Path], typed: Collection[str], *, trusted: bool
) -> None:
    """Raise UntrustedError for commands of a source that are neither typed nor trusted."""
    if not sources:
        return
    from lmm_tui.engine.config.trust import refuse_untrusted, trust

    if trusted:
        for source in sources:
            trust(config, source)
    refuse_untrusted(config, sources, typed)


def _keys_of(file: Path) -> frozenset[str]:
    tables = ((name, table) for name, table in load_toml(file).items() if isinstance(table, dict))
    return frozenset(f"{name}.{key}" for name, table in tables for key in table)


def foreign(sources: Sequence[Path | None]) -> tuple[Path, ...]:
    """Those that are there and are not in the user's own folder of settings."""
    own = user_settings().resolve()
    return tuple(one for one in sources if one and not one.resolve().is_relative_to(own))


def _typed_flags(context: click.Context) -> dict[str, Any]:
    """Keys whose flag was typed: it overrides a file even if its value is the default."""
    names = {key: _parameter(name) for key, name in FLAGS.items()}
    source = context.get_parameter_source
    typed = {
        key: context.params[name]
        for key, name in names.items()
        if source(name) is ParameterSource.COMMANDLINE
    }
    if "data.source" in typed:
        typed["data.source"], *typed["data.more"] = typed["data.source"]
    return typed


def _recipe(name: str | None, stage: str | None) -> tuple[dict[str, Any], Path | None]:
    """Settings of a recipe, and its file where it is not built in."""
    if name is None:
        return {}, None
    from lmm_tui.engine.config.recipe import load_recipe, recipe_file

    return load_recipe(name).step_of(stage).settings, recipe_file(name)


def _config_text(config: RunConfig) -> str:
    """The settings as TOML; unset ones as comments, because TOML has no null."""
    config = config.completed()
    unset = [option for option in options() if lookup(config, option.key) is None]
    lines = ["", tr("# Unset:")] if unset else []
    for option in unset:
        allowed = f" ({translate_range(option.allowed)})" if option.allowed else ""
        lines.append(f"# {option.key:<24} {tr(option.help)}{allowed}")
    return "\n".join([to_toml(config).rstrip(), *lines])


def _flag(
    name: str, option: Option, show_default: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    kind = click.Choice(option.choices) if option.choices and not option.open else option.kind
    help_text = f"{option.help} ({option.allowed})" if option.allowed else option.help
    if option.key == "data.source":
        sources = (option.default,)
        return click.option(
            name, type=kind, multiple=True, default=sources, show_default=True, help=help_text
        )
    return click.option(
        name, type=kind, default=option.default, show_default=show_default, help=help_text
    )


def _parameter(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _assigned(typed: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Flags and `--set` as one mapping of dotted keys; the last of a repeated `--set` counts."""
    assigned = dict(parse_assignment(text) for text in assignments)
    for key in assigned.keys() & typed.keys():
        raise ConfigError(
            "{key}: given by {flags} and by --set; leave one out",
            key=key,
            flags=FLAGS.get(key, "--data"),
        )
    return {**typed, **assigned}


def _resumed(run: RunDir, file: Path | None, assigned: Mapping[str, Any]) -> RunConfig:
    """The run's own settings with the given changes; ConfigError if one may not change."""
    from lmm_tui.engine.config.run_settings import may_change, settings_of

    saved = settings_of(run)
    wanted = resolve(file, assigned, base=saved.model_dump(exclude_none=True))
    for option in options():
        before, after = lookup(saved, option.key), lookup(wanted, option.key)
        if before != after and not may_change(option.key):
            raise ConfigError(
                "{key}: cannot change from {before} to {after} when {name} is "
                "resumed; start a new run instead",
                key=option.key,
                before=before,
                after=after,
                name=run.name,
            )
    return wanted


if __name__ == "__main__":
    from lmm_tui.engine.config.run_settings import may_change

    print(_config_text(RunConfig()))
    print([key for key in ("optim.lr", "optim.name", "data.source") if may_change(key)])
    print("=== 自测通过 ===")
