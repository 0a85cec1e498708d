"""What a field of the form can be filled with: runs, checkpoints, models, data files, tokenizers.

Only folders near the working directory are searched, and only for a moment: what lies elsewhere is
typed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.checkpoint_names import checkpoint_step, list_checkpoints
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import NOTHING, number, size

if TYPE_CHECKING:
    from lmm_tui.runs.run_list import ListedRun

_DEPTH, _MOST, _SEARCHING_S = 4, 300, 0.5
_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages"})


@dataclass(frozen=True)
class Candidate:
    """A value, and what it is."""

    value: str
    about: str


def candidates(key: str, config: RunConfig) -> list[Candidate]:
    """Values for the option `key`; files are looked for, so call it in a thread."""
    find = _FINDERS.get(key)
    return [] if find is None else find(config)


def has_candidates(key: str) -> bool:
    return key in _FINDERS


def is_list_of_names(key: str) -> bool:
    """Whether several candidates may be taken at once."""
    return key in _NAMES


def settings_candidates(runs_dir: str) -> list[Candidate]:
    """What settings can be loaded from: runs, the newest first, stages of recipes, TOML files."""
    from lmm_tui.engine.config.recipe import load_recipe, recipe_names

    found = [
        Candidate(run.name, tr("run · {stage}", stage=run.summary.info.stage))
        for run in _runs(runs_dir)
        if (run.summary.path / "config.toml").is_file()
    ]
    for name in recipe_names():
        for step in load_recipe(name).steps:
            found.append(Candidate(f"{name}:{step.stage}", tr("stage of a recipe")))
    near = _nearby(lambda name: name.endswith(".toml"), Path(runs_dir).resolve())
    return found + [Candidate(str(path), _size(path)) for path in near]


def devices() -> list[Candidate]:
    """The devices of this machine; torch is imported for them."""
    from lmm_tui.engine.device import describe_devices

    found = [Candidate(one.name, one.description) for one in describe_devices()]
    return [Candidate("auto", tr("the best of this machine")), *found]


def _runs(runs_dir: str) -> tuple[ListedRun, ...]:
    from lmm_tui.runs.run_list import RunList

    return RunList(Path(runs_dir)).read()


def pretrained_runs(runs_dir: str) -> list[ListedRun]:
    """Runs with weights, the newest first."""
    return [
        run
        for run in _runs(runs_dir)
        if not run.is_log and list_checkpoints(run.summary.path / "checkpoints")
    ]


def _models(config: RunConfig) -> list[Candidate]:
    found = []
    for run in pretrained_runs(config.runs_dir):
        summary = run.summary
        loss = NOTHING if summary.status.val_loss is None else number(summary.status.val_loss)
        about = tr(
            "run · {stage} {model} · step {step:,} · val loss {loss}",
            stage=summary.info.stage,
            model=summary.info.model or NOTHING,
            step=summary.status.step,
            loss=loss,
        )
        found.append(Candidate(run.name, about))
        for path in reversed(list_checkpoints(summary.path / "checkpoints")):
            about = tr("checkpoint · step {step:,}", step=checkpoint_step(path))
            found.append(Candidate(str(path), about))
    skipped = Path(config.runs_dir).resolve()
    for path in _nearby(lambda name: name.endswith(("config.json", ".pth")), skipped):
        if path.name == "config.json":
            if any(path.parent.glob("*.safetensors")) or any(path.parent.glob("*.bin")):
                found.append(Candidate(str(path.parent), tr("Hugging Face model folder")))
        else:
            found.append(Candidate(str(path), tr("MiniMind weights, {size}", size=_size(path))))
    return found


def _data(config: RunConfig) -> list[Candidate]:
    from lmm_tui.data.text.containers import ROW_FORMATS, TEXT_FORMATS, format_of

    formats = TEXT_FORMATS if config.reads_text else ROW_FORMATS
    builtin = tr("built-in corpus") if config.reads_text else tr("built-in questions")
    found = [Candidate("builtin", builtin)]
    folders: dict[Path, int] = {}
    skipped = Path(config.runs_dir).resolve()
    for path in _nearby(lambda name: format_of(name) in formats, skipped):
        if path.name in ("config.json", "tokenizer.json", "package.json"):
            continue
        folders[path.parent] = folders.get(path.parent, 0) + 1
        about = f"{path.suffix.lstrip('.')} · {_size(path)}"
        found.append(Candidate(str(path), about))
    several = [
        Candidate(str(folder), tr("folder of {count} files", count=count))
        for folder, count in folders.items()
        if count > 1
    ]
    return [found[0], *several, *found[1:]]


def _tokenizers(config: RunConfig) -> list[Candidate]:
    found = [
        Candidate(str(run.summary.path / "tokenizer.json"), tr("tokenizer of the run"))
        for run in _runs(config.runs_dir)
        if (run.summary.path / "tokenizer.json").is_file()
    ]
    near = _nearby(lambda name: name == "tokenizer.json", Path(config.runs_dir).resolve())
    return found + [Candidate(str(path), _size(path)) for path in near]


def _tasks(_: RunConfig) -> list[Candidate]:
    from lmm_tui.engine.evaluation.builtin_tasks import NAMES

    known = ("hellaswag", "arc_easy", "arc_challenge", "piqa", "winogrande", "lambada_openai")
    harness = tr("lm-eval; needs its data")
    return [
        *(Candidate(name, tr("built in")) for name in NAMES),
        *(Candidate(name, harness) for name in known),
    ]


def _kinds(_: RunConfig) -> list[Candidate]:
    from lmm_tui.data.builtin.task import KINDS

    return [Candidate(kind, tr("built in")) for kind in KINDS]


def _targets(_: RunConfig) -> list[Candidate]:
    parts = {
        "attention": ["q_proj", "k_proj", "v_proj", "o_proj"],
        "MLP": ["gate_proj", "up_proj", "down_proj"],
    }
    return [Candidate(name, tr(part)) for part, names in parts.items() for name in names]


def _rewards(_: RunConfig) -> list[Candidate]:
    return [
        Candidate("exact", tr("1 if the answer is right")),
        Candidate("format", tr("1 if the answer has the form asked for")),
        Candidate("length", tr("more for shorter answers")),
    ]


def _rules(_: RunConfig) -> list[Candidate]:
    from lmm_tui.metrics.health.rules import RULES

    return [Candidate(rule.name, tr(rule.suspect)) for rule in RULES]


_NAMES: dict[str, Callable[[RunConfig], list[Candidate]]] = {
    "eval.tasks": _tasks,
    "data.kinds": _kinds,
    "data.more": _data,
    "lora.targets": _targets,
    "grpo.rewards": _rewards,
    "health.pause": _rules,
    "health.checkpoint": _rules,
    "health.rollback": _rules,
}
_FINDERS = {
    "start_from": _models,
    "distill.teacher": _models,
    "data.source": _data,
    "data.tokenizer": _tokenizers,
    **_NAMES,
}


def _nearby(wanted: Callable[[str], bool], skipped: Path) -> Iterator[Path]:
    """Files below the working directory with such names, as relative paths."""
    deadline, count = time.monotonic() + _SEARCHING_S, 0
    for folder, names, files in os.walk("."):
        depth = len(Path(folder).parts)
        names[:] = sorted(
            name
            for name in names
            if depth < _DEPTH
            and not name.startswith(".")
            and name not in _SKIPPED
            and Path(folder, name).resolve() != skipped
        )
        for name in sorted(files):
            if count >= _MOST or time.monotonic() > deadline:
                return
            if wanted(name) and not name.startswith("."):
                count += 1
                yield Path(folder, name)


def _size(path: Path) -> str:
    try:
        return size(path.stat().st_size)
    except OSError:
        return NOTHING


if __name__ == "__main__":
    for key in ("start_from", "data.source", "lora.targets", "eval.tasks"):
        print(key, *candidates(key, RunConfig())[:3], sep="\n   ")
    assert candidates("data.source", RunConfig())[0].value == "builtin"
    print("=== 自测通过 ===")
