"""Load settings from a TOML file, a run or a recipe; save them to a TOML file."""

from __future__ import annotations

from pathlib import Path

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import load_toml, to_toml
from lmm_tui.engine.config.recipe import load_recipe, recipe_names
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.trust import allow_own, refuse_untrusted
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import listed, tr
from lmm_tui.message import os_reason


def sources() -> str:
    """Describe what `load_settings` accepts."""
    recipes = listed(recipe_names())
    return tr("a .toml file, a run, or RECIPE or RECIPE:STAGE of {recipes}", recipes=recipes)


def load_settings(source: str, runs_dir: str) -> RunConfig:
    """Load settings from `source` (see `sources`), without the name of a run.

    Raises ConfigError if there are none.
    """
    source = source.strip()
    if is_recipe(source, runs_dir):
        recipe, _, stage = source.partition(":")
        step = load_recipe(recipe).step_of(stage or None)
        config = step.config(recipe, {"runs_dir": runs_dir, "name": None})
        return _allowed(config, Path(recipe))
    if source.endswith(".toml"):
        file = Path(source).expanduser()
        return _allowed(resolve(file), file)
    run = RunDir(run_or_path(source, runs_dir))
    if not source or not run.config.is_file():
        given = source or tr("nothing")
        raise ConfigError(
            tr("{given}: holds no settings; give {sources}", given=given, sources=sources())
        )
    run.refuse_unsafe()
    return _allowed(resolve(run.config, {"runs_dir": runs_dir, "name": None}), run.path)


def is_recipe(source: str, runs_dir: str) -> bool:
    """Whether `source` names a recipe, or a step of one; a run of that name comes first."""
    if ":" in source:
        return True
    if source.endswith(".toml"):
        return "step" in load_toml(Path(source).expanduser())
    return source in recipe_names() and not run_or_path(source, runs_dir).is_dir()


def _allowed(config: RunConfig, source: Path) -> RunConfig:
    """`config`, unless it has commands that the user has not trusted."""
    refuse_untrusted(config, [source])
    return config


def save_settings(target: str, config: RunConfig) -> Path:
    """Write a new TOML file for `--config`; raises ConfigError if it exists already."""
    path = Path(target.strip()).expanduser()
    if path.suffix != ".toml":
        raise ConfigError(tr("{path}: give it a name that ends in .toml", path=path))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(to_toml(config))
        allow_own(config, path)
    except FileExistsError:
        raise ConfigError(tr("{path}: is there already; choose another name", path=path)) from None
    except OSError as error:
        raise ConfigError(
            "{path}: cannot be written ({error})", path=path, error=os_reason(error)
        ) from None
    return path


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        saved = save_settings(f"{folder}/mine.toml", resolve(assignments={"train.steps": 7}))
        print(saved.read_text())
    print(load_settings("tiny:sft", folder).start_from)
    print("=== 自测通过 ===")
