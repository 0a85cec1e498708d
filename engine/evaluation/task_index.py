"""lm-eval's task index for one job: built-in tasks, tasks on local files, and lm-eval's own.

The full index of 14,000 names takes seconds to build, so only the folders whose names match a task
are read unless a task is missing there.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.tasks import TaskManager

from lmm_tui.engine.evaluation import builtin_tasks
from lmm_tui.engine.evaluation.job import EvaluateError, Job
from lmm_tui.engine.evaluation.local_tasks import expected_file, tasks_folder, write_overlays
from lmm_tui.guarded_files import make_private

_OURS = "lmm_"


class TaskIndex:
    """`manager` is passed to lm-eval, which loads the tasks through it."""

    def __init__(self, job: Job, context: int, scratch: Path, cache: Path) -> None:
        """`context` is the model's context length in tokens.

        Raises EvaluateError for an unknown task and for unusable local files.
        """
        folders = [builtin_folder(cache)]
        local: list[str] = []
        if job.data_dir is not None:
            local = [name for name in job.tasks if expected_file(name) is not None]
            write_overlays(local, Path(job.data_dir), scratch / "overlays", job.num_fewshot)
            folders.append(scratch / "overlays")
        foreign = [name for name in job.tasks if name not in (*builtin_tasks.NAMES, *local)]
        self.manager = _manager(folders, foreign)
        self.manager.context = context

    def requests(self) -> int:
        """The number of requests of the loaded tasks."""
        tasks = self.manager.loaded
        return sum(instance.repeats for task in tasks for instance in task.instances or ())


class _Manager(TaskManager):
    """Records the loaded tasks and turns load failures into EvaluateError."""

    context = sys.maxsize

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.loaded: list[Any] = []

    def load(self, task_list: Any) -> Any:
        try:
            found = super().load(task_list)
        except EvaluateError:
            raise
        except Exception as error:
            raise _load_error(task_list, error) from None
        self.loaded = list(found["tasks"].values())
        for task in self.loaded:
            _check_context(task, self.context)
        return found


def builtin_folder(cache: Path) -> Path:
    """The folder of the built-in tasks, written once for each version of them."""
    folder = (cache / f"tasks-{builtin_tasks.content_key()}").resolve()
    if not folder.is_dir():
        make_private(cache)
        temporary = Path(tempfile.mkdtemp(dir=cache))
        builtin_tasks.write_tasks(temporary, folder)
        try:
            temporary.rename(folder)
        except OSError:  # Another process created it first.
            shutil.rmtree(temporary)
    return folder


def _manager(folders: Sequence[Path], foreign: Sequence[str]) -> _Manager:
    misspelt = next((name for name in foreign if name.startswith(_OURS)), None)
    if misspelt is not None:
        raise _unknown(misspelt)
    likely = [
        folder
        for folder in tasks_folder().iterdir()
        if folder.is_dir() and any(name.startswith(folder.name) for name in foreign)
    ]
    for include_defaults in (False, True):
        paths = [str(folder) for folder in (*likely, *folders)]
        manager = _Manager(include_path=paths, include_defaults=include_defaults)
        unknown = [name for name in foreign if name not in manager.all_tasks]
        if not unknown:
            return manager
    raise _unknown(unknown[0])


def _unknown(name: str) -> EvaluateError:
    return EvaluateError(
        "{name}: no such task; built in are {names}, and `lm_eval ls tasks` "
        "lists those that need the hub",
        name=name,
        names=[*builtin_tasks.NAMES],
    )


def _check_context(task: Any, context: int) -> None:
    """Refuse a task whose answers exceed the context, before anything is computed."""
    if task.OUTPUT_TYPE != "generate_until":
        return
    budget = normalize_gen_kwargs(task.get_config("generation_kwargs"))["max_gen_toks"]
    if budget >= context:
        raise EvaluateError(
            "{task_name}: asks for {budget} tokens of answer, and the model's "
            "context has {context}; leave that task out, or train with a larger "
            "context",
            task_name=task.task_name,
            budget=budget,
            context=context,
        )


def _load_error(names: Sequence[str], error: Exception) -> EvaluateError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    files = [file for name in names if (file := expected_file(name))]
    return EvaluateError(
        "{names}: questions cannot be loaded ({reason}); put {files} into a folder and give it as "
        "--data-dir, or go online for them once"
        if files
        else "{names}: questions cannot be loaded ({reason}); go online for them once",
        names=[*names],
        reason=reason,
        files=files,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        index = TaskIndex(Job("", (builtin_tasks.ALL,)), 512, home / "scratch", home / "cache")
        print(index.manager.all_tasks)
        assert builtin_tasks.ALL in index.manager.all_groups
    print("=== 自测通过 ===")
