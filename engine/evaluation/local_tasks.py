"""lm-eval's hellaswag, ARC, MMLU and GSM8K on local files instead of the hub.

Each task becomes a YAML that includes lm-eval's own and replaces the source of its rows. Few-shot
examples come from `<name>.examples.jsonl` if it exists, else from the other questions. lm-eval is
not imported, only its task files are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

from lmm_tui.engine.evaluation.builtin_tasks import NAMES
from lmm_tui.engine.evaluation.job import EvaluateError, Job
from lmm_tui.guarded_files import reading
from lmm_tui.json_text import RepeatedKeyError, parse_json
from lmm_tui.message import Message, os_reason

_MMLU = "mmlu"


@dataclass(frozen=True)
class _Source:
    yaml: str
    """Path in lm-eval's folder of tasks."""
    columns: dict[str, type]
    fewshot: int = 0
    """The task's default number of examples."""


_MMLU_COLUMNS: dict[str, type] = {"question": str, "choices": list, "answer": int}
_ARC_COLUMNS: dict[str, type] = {"question": str, "choices": dict, "answerKey": str}
_SOURCES = {
    "hellaswag": _Source(
        "hellaswag/hellaswag.yaml",
        {"ctx_a": str, "ctx_b": str, "activity_label": str, "endings": list, "label": object},
    ),
    "arc_easy": _Source("arc/arc_easy.yaml", _ARC_COLUMNS),
    "arc_challenge": _Source("arc/arc_challenge.yaml", _ARC_COLUMNS),
    "gsm8k": _Source("gsm8k/gsm8k.yaml", {"question": str, "answer": str}, fewshot=5),
}


def tasks_folder() -> Path:
    """lm-eval's folder of tasks, found without importing it."""
    found = find_spec("lm_eval")
    if found is None or found.origin is None:
        raise EvaluateError("lm-eval is not installed; `pip install lm-eval`")
    return Path(found.origin).parent / "tasks"


def expected_file(name: str) -> str | None:
    """The file of a data folder with the questions of a task; None for other tasks."""
    if name == _MMLU:
        return "mmlu/<subject>.jsonl"
    if name.startswith("mmlu_"):
        return f"mmlu/{name.removeprefix('mmlu_')}.jsonl"
    return f"{name}.jsonl" if name in _SOURCES else None


def needs_hub(job: Job) -> bool:
    """Whether any task's questions are neither built in nor in local files."""
    local = job.data_dir is not None
    return any(
        name not in NAMES and not (local and expected_file(name) is not None) for name in job.tasks
    )


def write_overlays(
    names: Sequence[str], data_dir: Path, folder: Path, num_fewshot: int | None
) -> None:
    """Write into `folder` the YAML of those `names` that have a local file.

    Raises EvaluateError if a file is missing or has too few rows, or (with its line) if a row
    lacks a column.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name == _MMLU:
            _write_group(data_dir, folder, num_fewshot)
        elif expected_file(name) is not None:
            _write_overlay(name, data_dir, folder, num_fewshot)


def _write_group(data_dir: Path, folder: Path, num_fewshot: int | None) -> None:
    files = sorted((data_dir / _MMLU).glob("*.jsonl"))
    subjects = [file.stem for file in files if not file.name.endswith(".examples.jsonl")]
    if not subjects:
        raise EvaluateError(
            "{data_dir}: holds no <subject>.jsonl; put one file a subject there, "
            "such as anatomy.jsonl",
            data_dir=data_dir / _MMLU,
        )
    members = [f"{_MMLU}_{subject}" for subject in subjects]
    write_overlays(members, data_dir, folder, num_fewshot)
    mean = {"metric": "acc", "weight_by_size": True}
    _write_yaml(
        folder / f"{_MMLU}.yaml",
        {"group": _MMLU, "task": members, "aggregate_metric_list": [mean]},
    )


def _write_overlay(name: str, data_dir: Path, folder: Path, num_fewshot: int | None) -> None:
    source = _source(name)
    file = data_dir / str(expected_file(name))
    examples = file.with_suffix(".examples.jsonl")
    rows = _count_rows(file, source.columns)
    shots = source.fewshot if num_fewshot is None else num_fewshot
    files = {"test": str(file.resolve())}
    config: dict[str, Any] = {"fewshot_split": "test"}
    if examples.is_file():
        rows = _count_rows(examples, source.columns)
        files["examples"] = str(examples.resolve())
        config["fewshot_split"] = "examples"
    elif shots:
        # MMLU's "first_n" sampler would show the first questions their own answers.
        config["fewshot_config"] = {"sampler": "default"}
        rows -= 1
    if rows < shots:
        raise EvaluateError(
            "{examples}: {name} shows {shots} worked examples, and {value} are "
            "there; add rows or give a smaller --num-fewshot",
            examples=examples if examples.is_file() else file,
            name=name,
            shots=shots,
            value=max(rows, 0),
        )
    _write_yaml(
        folder / f"{name}.yaml",
        {
            "include": str(tasks_folder() / source.yaml),
            "task": name,
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": files},
            "training_split": None,
            "validation_split": None,
            "test_split": "test",
            **config,
        },
    )


def _source(name: str) -> _Source:
    if name in _SOURCES:
        return _SOURCES[name]
    path = f"mmlu/default/{name}.yaml"
    if not (tasks_folder() / path).is_file():
        subjects = sorted(f.stem for f in (tasks_folder() / "mmlu/default").glob("mmlu_*.yaml"))
        raise EvaluateError(
            "{name}: MMLU has no such subject; it has {subjects} and {subjects2} more",
            name=name,
            subjects=[*subjects[:3]],
            subjects2=len(subjects) - 3,
        )
    return _Source(path, _MMLU_COLUMNS)


def _count_rows(file: Path, columns: dict[str, type]) -> int:
    """The number of rows of a file, after validating each."""
    expected = ", ".join(columns)
    rows = 0
    try:
        with BufferedReader(reading(file)) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                rows += 1
                if wrong := _problem(line, columns):
                    raise EvaluateError(
                        "{file}:{number}: {wrong}; a row has {expected}",
                        file=file,
                        number=number,
                        wrong=wrong,
                        expected=expected,
                    )
    except OSError as error:
        raise EvaluateError(
            "{file}: cannot be read ({error}); put the task's questions there, "
            "one JSON object a line with {expected}",
            file=file,
            error=os_reason(error),
            expected=expected,
        ) from None
    if not rows:
        raise EvaluateError(
            "{file}: is empty; put one JSON object a line there with {expected}",
            file=file,
            expected=expected,
        )
    return rows


def _problem(line: bytes, columns: dict[str, type]) -> str:
    try:
        row = parse_json(line)
    except RepeatedKeyError as error:
        return str(error)
    except ValueError as error:
        return Message("not JSON ({error})", error=error)
    if not isinstance(row, dict):
        return Message("not a JSON object")
    for column, kind in columns.items():
        if column not in row:
            return Message("column {column} is missing", column=column)
        if not isinstance(row[column], kind):
            return Message("column {column} is no {name}", column=column, name=kind.__name__)
    if isinstance(row.get("choices"), dict):
        choices = row["choices"]
        if not isinstance(choices.get("text"), list) or not isinstance(choices.get("label"), list):
            return Message("choices is no object of the lists text and label")
        if row["answerKey"] not in choices["label"]:
            return Message(
                "answerKey {answerKey} is none of the labels", answerKey=row["answerKey"]
            )
    return ""


def _write_yaml(path: Path, config: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        (home / "mmlu").mkdir()
        row = '{"question": "1 + 1?", "choices": ["1", "2", "3", "4"], "answer": 1}\n'
        (home / "mmlu" / "anatomy.jsonl").write_text(row)
        write_overlays(["mmlu"], home, home / "made", None)
        print((home / "made" / "mmlu_anatomy.yaml").read_text())
    print("=== 自测通过 ===")
