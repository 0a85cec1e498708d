"""The built-in tasks as lm-eval YAML: the test questions of `data.builtin.tasks`.

`lmm_<kind>` generates an answer and compares its first line exactly; `lmm_choice` ranks the answer
against near misses by likelihood; `lmm_all` is all of them. lm-eval is not imported: any `lm_eval`
runs the written files by `--include_path`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import yaml

from lmm_tui.data import builtin
from lmm_tui.data.builtin.task import KINDS, Task
from lmm_tui.data.builtin.tasks import task, test_set

CHOICE = "lmm_choice"
ALL = "lmm_all"
NAMES = (*(f"lmm_{kind}" for kind in KINDS), CHOICE, ALL)
"""Values of `--tasks` that need neither files nor network."""

_VERSION = 1.0
_QUESTIONS = 200
"""Questions of each kind, and of lmm_choice, which mixes the kinds."""
_EXAMPLES = 50
_LONGEST_ANSWER = 64
"""Tokens; the longest answer has 32 characters."""


def write_tasks(folder: Path, place: Path | None = None) -> None:
    """Write every built-in task into `folder`: its YAML, and its questions as JSON lines.

    The YAML refers to the questions by absolute path; `place` is the final path of a folder that
    will be moved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = place or folder
    for kind in KINDS:
        _write_rows(folder / f"{kind}.jsonl", map(_question, test_set(kind, _QUESTIONS)))
        _write_rows(folder / f"{kind}.examples.jsonl", map(_question, _examples(kind)))
        _write_yaml(folder / f"lmm_{kind}.yaml", _generation_task(place, kind))
    share = _QUESTIONS // len(KINDS)
    mixed = [drawn for kind in KINDS for drawn in test_set(kind, share)]
    # Shuffled, so that the first questions of a limited evaluation cover every kind.
    Random("choice").shuffle(mixed)
    _write_rows(folder / "choice.jsonl", map(_choices, mixed))
    examples = [drawn for kind in KINDS for drawn in _examples(kind)[: _EXAMPLES // len(KINDS)]]
    _write_rows(folder / "choice.examples.jsonl", map(_choices, examples))
    _write_yaml(folder / f"{CHOICE}.yaml", _choice_task(place))
    members = [name for name in NAMES if name != ALL]
    _write_yaml(folder / f"{ALL}.yaml", {"group": ALL, "task": members})


def question_count(tasks: Sequence[str], limit: int | None) -> int | None:
    """How many questions these tasks ask; None where one is not built in and asks all it has."""
    asked = 0
    for name in tasks:
        members = [other for other in NAMES if other != ALL] if name == ALL else [name]
        for member in members:
            if member in NAMES:
                most = _QUESTIONS // len(KINDS) * len(KINDS) if member == CHOICE else _QUESTIONS
                asked += min(limit or most, most)
            elif limit is None:
                return None
            else:
                asked += limit
    return asked


def content_key() -> str:
    """8 hex digits that change with the questions: a hash of the code that writes them."""
    sources = sorted(Path(builtin.__file__).parent.iterdir())
    content = b"".join(
        source.read_bytes() for source in (*filter(Path.is_file, sources), Path(__file__))
    )
    return hashlib.blake2b(content, digest_size=4).hexdigest()


def _generation_task(place: Path, kind: str) -> dict[str, Any]:
    first_line = {"function": "regex", "regex_pattern": r"\s*(\S.*\S|\S)", "group_select": 0}
    return _common(place, kind) | {
        "task": f"lmm_{kind}",
        "output_type": "generate_until",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {
            "until": ["\n\n"],
            "max_gen_toks": _LONGEST_ANSWER,
            "do_sample": False,
        },
        "filter_list": [
            {"name": "first-line", "filter": [first_line, {"function": "take_first"}]},
        ],
        "metric_list": [_mean("exact_match")],
    }


def _choice_task(place: Path) -> dict[str, Any]:
    return _common(place, "choice") | {
        "task": CHOICE,
        "output_type": "multiple_choice",
        "doc_to_choice": "choices",
        "doc_to_target": "right",
        "metric_list": [_mean("acc"), _mean("acc_norm")],
    }


def _common(place: Path, name: str) -> dict[str, Any]:
    files = {"train": f"{name}.examples.jsonl", "test": f"{name}.jsonl"}
    return {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {split: str((place / file).resolve()) for split, file in files.items()}
        },
        "fewshot_split": "train",
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "target_delimiter": "\n",
        "metadata": {"version": _VERSION},
    }


def _mean(metric: str) -> dict[str, Any]:
    return {"metric": metric, "aggregation": "mean", "higher_is_better": True}


def _examples(kind: str) -> list[Task]:
    return [task("examples", index, "train", (kind,)) for index in range(_EXAMPLES)]


def _question(drawn: Task) -> dict[str, Any]:
    return {"question": drawn.question, "answer": drawn.answer}


def _choices(drawn: Task) -> dict[str, Any]:
    choices = [drawn.answer, *drawn.misses]
    Random(drawn.question).shuffle(choices)
    right = choices.index(drawn.answer)
    return {"question": drawn.question, "choices": choices, "right": right}


def _write_rows(path: Path, rows: Any) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")


def _write_yaml(path: Path, config: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        write_tasks(Path(scratch))
        print((Path(scratch) / "lmm_sums.yaml").read_text())
    print("=== 自测通过 ===")
