"""The tables of docs/data.md, made of what the stages do with data in every container and by every
name. `python tests/support/data_tables.py` writes them anew."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from containers import COMPRESS, TEXTUAL, WRITERS, Rows, lines, textual
from fsspec.implementations.memory import MemoryFileSystem
from repository import ROOT
from small_runs import SMALLEST, silent

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.stages.base import load_stage
from lmm_tui.errors import LmmError

PAGES = ("data.md", "data.zh.md")
YES, NO = "✓", "✗"
_COUNT = 16
_PAIR: Callable[[int], dict[str, Any]] = lambda n: {  # noqa: E731
    "prompt": f"{n} + 1?", "chosen": f"{n + 1}", "rejected": "no",
}  # fmt: skip
ROWS: dict[str, Rows] = {
    stage: [row(n) for n in range(_COUNT)]
    for stage, row in {
        "pretrain": lambda n: {"text": f"Story {n}, “quoted”,\nof two lines and 中文. " * 3},
        "sft": lambda n: {
            "messages": [
                {"role": "user", "content": f"{n} + 1?"},
                {"role": "assistant", "content": f"{n + 1}"},
            ]
        },
        "dpo": _PAIR,
        "reward": _PAIR,
        "kto": lambda n: {"prompt": f"{n}?", "completion": f"{n + 1}", "label": n % 2 == 0},
        "grpo": lambda n: {"prompt": f"What is {n}?", "answer": f"{n}"},
    }.items()
}
_ASKED = {
    "pretrain": "text", "sft": "messages", "dpo": "prompt", "reward": "prompt", "kto": "prompt",
    "grpo": "prompt",
}  # fmt: skip
"""The column that `#column` names."""

Settings = dict[str, Any]
Table = dict[str, dict[str, str]]
"""What is said of each stage, by the name of a row."""


class Trial:
    """Loads stages on data in a scratch folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        texts = [json.dumps(rows, ensure_ascii=False) for rows in ROWS.values()]
        Tokenizer.train(texts, 300).save(folder / "tokenizer")
        self.plain = {
            stage: str(textual(self.made(f"plain/{stage}"), rows, ".jsonl", ""))
            for stage, rows in ROWS.items()
        }
        self._expected = {
            stage: self.read(stage, {"data.source": path}) for stage, path in self.plain.items()
        }

    def made(self, name: str) -> Path:
        (self.folder / name).mkdir(parents=True)
        return self.folder / name

    def read(self, stage: str, settings: Settings) -> str:
        """What a stage has read, for comparison; LmmError where it refuses to."""
        config = resolve(assignments={
            **SMALLEST, "stage": stage, "device": "cpu", "train.batch_size": 2,
            "data.tokenizer": str(self.folder / "tokenizer"), "data.val_fraction": 0.1,
            "data.cache_dir": str(self.folder / f"cache-{stage}"),
            "grpo.group": 2, "grpo.max_tokens": 4, **settings,
        })  # fmt: skip
        loaded = load_stage(config, torch.device("cpu"), silent)
        if stage == "pretrain":  # Its fingerprint is of the files.
            return str([batch.ids_BxT.tolist() for batch in loaded.micro_batches(0)])
        return loaded.data_fingerprint

    def outcome(self, stage: str, settings: Settings, alike: bool = True) -> str:
        """Whether a stage reads this, and where `alike` the same as in lines of JSON."""
        try:
            found = self.read(stage, settings)
        except LmmError:
            return NO
        assert not alike or found == self._expected[stage], (stage, settings)
        return YES


def containers(trial: Trial) -> Table:
    """Stages by container; a text format stands for itself and for each compression of it.

    A stage reads each format plain and in one compression; `data/text/test_containers.py` all.
    """
    found: Table = {".txt": {}} | {name: {} for name in (*TEXTUAL, *WRITERS)}
    plain, *packed = COMPRESS
    for stage, rows in ROWS.items():
        folder = trial.made(f"containers/{stage}")
        text = "\n<|endoftext|>\n".join(str(row.get("text", "x")) for row in rows).encode()
        for number, (name, table) in enumerate(found.items(), start=[*ROWS].index(stage)):
            ways = plain, packed[number % len(packed)]
            if name in WRITERS:
                paths = [WRITERS[name](folder, rows)]
            elif name in TEXTUAL:
                paths = [textual(folder, rows, name, suffix) for suffix in ways]
            else:
                paths = [folder / f"rows.txt{suffix}" for suffix in ways]
                for path, suffix in zip(paths, ways, strict=True):
                    path.write_bytes(COMPRESS[suffix](text.strip()))
            outcomes = {trial.outcome(stage, {"data.source": str(path)}, name != ".txt")
                        for path in paths}  # fmt: skip
            (table[stage],) = outcomes
    return found


def names(trial: Trial) -> Table:
    """Stages by how their data are named."""
    found: Table = {}
    for stage, rows in ROWS.items():
        for name, (settings, alike) in _named(trial, stage, rows).items():
            found.setdefault(name, {})[stage] = trial.outcome(stage, settings, alike)
    return found


def _named(trial: Trial, stage: str, rows: Rows) -> Mapping[str, tuple[Settings, bool]]:
    path, folder = trial.plain[stage], trial.made(f"names/{stage}")
    hub = folder / "repo"
    for name in ("en", "fr"):
        (hub / name).mkdir(parents=True)
        for split, part in {"train": rows, "test": rows[:1]}.items():
            pq.write_table(pa.Table.from_pylist(list(part)), hub / name / f"{split}.parquet")
    split = "[{split: train, path: fr/train*}, {split: test, path: fr/test*}]"
    configs = "- {config_name: en, data_files: en/train*}\n"
    configs += f"- {{config_name: fr, data_files: {split}}}"
    (hub / "README.md").write_text(f"---\nconfigs:\n{configs}\n---\n")
    kept = Path(os.environ["HF_HUB_CACHE"]) / f"datasets--me--{stage}"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("abc")
    (kept / "snapshots").mkdir()
    (kept / "snapshots" / "abc").symlink_to(hub)
    with fsspec.open(f"memory://{stage}/a.jsonl", "wb") as far:
        far.write(lines(rows))
    asked = _ASKED[stage]
    renamed = folder / "renamed.jsonl"
    given = [{("other" if key == asked else key): value for key, value in row.items()}
             for row in rows]  # fmt: skip
    renamed.write_bytes(lines(given))
    scored = folder / "scored.jsonl"
    scored.write_bytes(lines([*({**row, "score": 1} for row in rows), {**rows[0], "score": 0}]))
    half = folder / "half.jsonl"
    half.write_bytes(lines(rows[:8]))
    one: Callable[[str], tuple[Settings, bool]] = lambda typed: ({"data.source": typed}, True)  # noqa: E731
    return {
        "rows.jsonl": one(path),
        "folder": one(str(Path(path).parent)),
        "folder/*.jsonl": one(f"{Path(path).parent}/*.jsonl"),
        "rows.jsonl#column": one(f"{renamed}#other"),
        "folder:config": one(f"{hub}:en"),
        "folder:config@split": one(f"{hub}:fr@train"),
        "owner/name:config@split#column": one(f"me/{stage}:en@train#{asked}"),
        "hf://datasets/owner/name:config": one(f"hf://datasets/me/{stage}:en"),
        "s3://bucket/folder": one(f"s3://{stage}"),
        "--data A --data B": ({"data.source": path, "data.more": [str(half)]}, False),
        "data.columns": ({"data.source": str(renamed), f"data.columns.{asked}": "other"}, True),
        "[[data.sources]]": ({"data.sources": [{"path": path, "weight": 2}, {"path": str(half)}]},
                             False),
        "[[data.sources]] filter": ({"data.sources": [{"path": str(scored),
                                                       "filter": "score == 1"}]}, False),
        "data.stream": ({"data.source": path, "data.stream": True}, False),
    }  # fmt: skip


class _Bucket(MemoryFileSystem):
    """Stands for S3."""

    protocol = "s3"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("s3://").strip("/")


def made_tables(folder: Path) -> Iterator[tuple[str, str]]:
    """Each table as its name and its lines."""
    from fsspec.registry import _registry

    places = {"HF_HUB_CACHE": str(folder / "hub"), "XDG_CACHE_HOME": str(folder / "own")}
    with patch.dict(os.environ, places), patch.dict(_registry, {"s3": _Bucket}):
        trial = Trial(folder)
        yield "containers", as_markdown(containers(trial))
        yield "names", as_markdown(names(trial))


def as_markdown(table: Table) -> str:
    stages = list(ROWS)
    head = ["| | " + " | ".join(stages) + " |", "|---" * (len(stages) + 1) + "|"]
    body = (
        f"| `{name}` | " + " | ".join(said[stage] for stage in stages) + " |"
        for name, said in table.items()
    )
    return "\n".join([*head, *body])


def place_of(name: str) -> re.Pattern[str]:
    """Where the table stands in a page."""
    return re.compile(rf"(?<=<!-- table {name} -->\n).*?(?=\n<!-- end -->)", re.S)


def write_pages() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for name, table in made_tables(Path(scratch)):
            for page in PAGES:
                path = ROOT / "docs" / page
                path.write_text(place_of(name).sub(table, path.read_text("utf-8"), 1), "utf-8")


if __name__ == "__main__":
    write_pages()
