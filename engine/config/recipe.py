"""Recipes: the settings of a sequence of stages in one TOML file, built in or given by its path.

A file has `about`, settings `[common…]` of all steps, and a `[[step]]` table for each run, with its
`name`, `stage`, `from` (the step whose weights it starts from; by default the previous one, "" for
none) and any other setting. This module only reads recipes; it does not start runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from lmm_tui.data.builtin.task import KINDS
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import load_toml
from lmm_tui.engine.config.resolve import (
    merged,
    refuse_two_lengths,
    resolve,
    with_later_length,
)
from lmm_tui.engine.config.run_config import RunConfig

_KEYS = {"about", "common", "step", "quiz"}


_LONGEST_GROUP = 100


@dataclass(frozen=True)
class Step:
    """One run of a recipe; `source` is the step whose weights it starts from, or None."""

    name: str
    stage: str
    source: str | None
    settings: dict[str, Any]
    """Nested tables, including the stage and the settings of `[common]`."""

    def config(self, prefix: str, assignments: Mapping[str, Any]) -> RunConfig:
        """The configuration of the run `PREFIX-NAME`; `assignments` (dotted keys) win.

        Its group is the prefix, by which lists show the runs of one pipeline together.
        """
        start = {} if self.source is None else {"start_from": f"{prefix}-{self.source}"}
        group = {"group": prefix[:_LONGEST_GROUP]}
        base = {**group, **self.settings, "name": f"{prefix}-{self.name}", **start}
        return resolve(assignments=assignments, base=base)


@dataclass(frozen=True)
class Recipe:
    name: str
    about: str
    steps: tuple[Step, ...]
    kinds: tuple[str, ...]
    """Kinds of built-in questions for the exact-match quiz after each step; may be empty."""
    questions: int
    """Questions of each kind."""

    def step_of(self, stage: str | None) -> Step:
        """The first step of `stage`, or of any stage for None; ConfigError if there is none."""
        for step in self.steps:
            if stage in (None, step.stage):
                return step
        stages = ", ".join(step.stage for step in self.steps)
        raise ConfigError(
            "recipe {name}: has no stage {stage}; it has {stages}",
            name=self.name,
            stage=stage,
            stages=stages,
        )


def recipe_names() -> list[str]:
    """Names of the built-in recipes."""
    names = (file.name for file in _folder().iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def recipe_file(name: str | None) -> Path | None:
    """The file of a recipe that is not built in."""
    return Path(name) if name is not None and name.endswith(".toml") else None


def load_recipe(name: str) -> Recipe:
    """A built-in recipe by name, or any TOML file by path; ConfigError if it is not a recipe."""
    if file := recipe_file(name):
        return _read(load_toml(file), file.stem, name)
    with resources.as_file(_folder() / f"{name}.toml") as built_in:
        if not built_in.is_file():
            known = ", ".join(recipe_names())
            raise ConfigError(
                "no recipe {name!r}; give one of {known}, or the path of a .toml",
                name=name,
                known=known,
            )
        return _read(load_toml(built_in), name, f"recipe {name}")


def _folder() -> Traversable:
    return resources.files("lmm_tui.engine.config") / "recipes"


def _read(table: Mapping[str, Any], name: str, where: str) -> Recipe:
    if unknown := next((key for key in table if key not in _KEYS), None):
        raise ConfigError(
            "{where}: unknown key {unknown}; it takes {keys}",
            where=where,
            unknown=unknown,
            keys=sorted(_KEYS),
        )
    tables = table.get("step")
    if not isinstance(tables, list) or not tables:
        raise ConfigError("{where}: has no [[step]]; a recipe has one for each stage", where=where)
    steps: list[Step] = []
    for given in tables:
        steps.append(_step(given, steps, table.get("common", {}), where))
    quiz = table.get("quiz", {})
    kinds = tuple(quiz.get("kinds", ()))
    if wrong := next((kind for kind in kinds if kind not in KINDS), None):
        raise ConfigError(
            "{where}: quiz.kinds: unknown kind {wrong}; it takes {kinds}",
            where=where,
            wrong=wrong,
            kinds=[*KINDS],
        )
    return Recipe(
        name, str(table.get("about", "")), tuple(steps), kinds, int(quiz.get("questions", 200))
    )


def _step(
    given: Mapping[str, Any], before: Sequence[Step], common: Mapping[str, Any], where: str
) -> Step:
    own = dict(given)
    stage = str(own.pop("stage", "pretrain"))
    name = str(own.pop("name", stage))
    names = [step.name for step in before]
    if name in names:
        raise ConfigError(
            "{where}: two steps are called {name}; give one another name", where=where, name=name
        )
    source = str(own.pop("from", names[-1] if names else ""))
    if source and source not in names:
        raise ConfigError(
            "{where}: step {name} starts from {source!r}, no step before it",
            where=where,
            name=name,
            source=source,
        )
    refuse_two_lengths(own, f"{where}: step {name}: ")
    settings = merged(with_later_length(dict(common), own), own | {"stage": stage})
    step = Step(name, stage, source or None, settings)
    try:
        step.config("x", {})
    except ConfigError as error:
        raise ConfigError(
            "{where}: step {name}: {error}", where=where, name=name, error=error
        ) from None
    return step


if __name__ == "__main__":
    steps = [{"stage": "pretrain"}, {"stage": "sft", "train": {"steps": 9}}]
    recipe = _read({"about": "two steps", "step": steps}, "demo", "demo.toml")
    last = recipe.steps[1].config("mine", {"device": "cpu"})
    print(last.name, last.start_from, last.train.steps)
    print("=== 自测通过 ===")
