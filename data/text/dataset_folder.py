"""Which files of a Hugging Face dataset belong to a configuration and a split.

A dataset is told by its file names and by the front matter of its README.md, whether it lies in a
folder, in a cache or on the Hub. Scripts of datasets are never run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

import yaml

from lmm_tui.data.errors import DataError
from lmm_tui.message import Message

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_WORD = re.compile(rf"(?:^|[-._ /])({'|'.join(_SPLITS)})(?=[-._ /\d]|$)", re.IGNORECASE)
_SHARD = re.compile(r"(?P<before>.*?)-?(?P<at>\d{5})-of-(?P<count>\d{5})(?P<after>\..*|-.*)?")


@dataclass(frozen=True)
class Chosen:
    """The files of a split, and what to say about the choice."""

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose(dataset: str, names: Sequence[str], readme: str, config: str, split: str) -> Chosen:
    """Of a dataset's data files those to read; without a split, `train` where there are several.

    `names` are relative to the dataset. Raises DataError where there is no such configuration or
    split, where one has to be named, or where shards are missing.
    """
    splits = _splits_of(dataset, names, _configs(readme), config)
    told = ", ".join(splits)
    notes: tuple[str, ...] = ()
    if split:
        if split not in splits:
            raise DataError(
                "data.source: {dataset} has no split {split!r}; it has {told}",
                dataset=dataset,
                split=split,
                told=told,
            )
    elif len(splits) == 1:
        split = next(iter(splits))
    elif "train" in splits:
        split = "train"
        others = ", ".join(name for name in splits if name != "train")
        notes = (
            Message(
                "of {dataset} the split {split} is read, and not {others}",
                dataset=dataset,
                split=split,
                others=others,
            ),
        )
    else:
        raise DataError(
            "data.source: {dataset} has several splits; name one, such as {dataset}@{next}: {told}",
            dataset=dataset,
            next=next(iter(splits)),
            told=told,
        )
    found = sorted(set(splits[split]))
    _refuse_missing_shards(dataset, found)
    return Chosen(tuple(found), notes)


def split_of(name: str) -> str:
    """The split that a file's name, or a folder in its path, tells; empty where none does."""
    path = PurePosixPath(name)
    if shard := _SHARD.fullmatch(path.name):
        words = [word for word in shard["before"].split("-") if word]
        if words and words[-1] not in ("data", "part", "shard", "chunk"):
            return _SPLITS.get(words[-1].lower(), words[-1])
    found = _WORD.findall(str(path.with_name(path.name.split(".")[0])))
    return _SPLITS[found[-1].lower()] if found else ""


def _splits_of(
    dataset: str, names: Sequence[str], configs: dict[str, Any], config: str
) -> dict[str, list[str]]:
    """The files of each split of a configuration."""
    if not configs:
        return _by_name(dataset, names, config)
    if not config:
        default = [name for name, given in configs.items() if given.get("default")]
        config = next((name for name in (*default, "default") if name in configs), "")
        if not config and len(configs) > 1:
            listed = ", ".join(configs)
            raise DataError(
                "data.source: {dataset} has several configurations; name one, "
                "such as {dataset}:{next}: {listed}",
                dataset=dataset,
                next=next(iter(configs)),
                listed=listed,
            )
        config = config or next(iter(configs))
    if config not in configs:
        listed = ", ".join(configs)
        raise DataError(
            "data.source: {dataset} has no configuration {config!r}; it has {listed}",
            dataset=dataset,
            config=config,
            listed=listed,
        )
    given = configs[config]
    folder = str(given.get("data_dir") or "").strip("/")
    inside = [name for name in names if not folder or name.startswith(f"{folder}/")]
    patterns = given.get("data_files")
    if not patterns:
        return _by_name(dataset, inside, "")
    splits: dict[str, list[str]] = {}
    for split, pattern in _patterns(patterns):
        fitting = [name for name in inside if fnmatchcase(name, pattern)]
        splits.setdefault(split, []).extend(fitting)
    splits = {split: found for split, found in splits.items() if found}
    if not splits:
        raise DataError(
            "data.source: {dataset} has no file of the configuration {config!r}",
            dataset=dataset,
            config=config,
        )
    return splits


def _by_name(dataset: str, names: Sequence[str], config: str) -> dict[str, list[str]]:
    """By the words in their names; files that tell no split are of `train`."""
    if config:
        names = [name for name in names if config in PurePosixPath(name).parts[:-1]]
        if not names:
            raise DataError(
                "data.source: {dataset} has no configuration {config!r}: neither "
                "its README.md nor a folder has the name",
                dataset=dataset,
                config=config,
            )
    splits: dict[str, list[str]] = {}
    for name in names:
        splits.setdefault(split_of(name) or "train", []).append(name)
    return splits


def _configs(readme: str) -> dict[str, dict[str, Any]]:
    """`configs` of the front matter, by name; empty where there is none."""
    parts = readme.split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        found = yaml.safe_load(parts[1])
    except (yaml.YAMLError, RecursionError):
        return {}
    listed = found.get("configs") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        return {}
    return {str(one.get("config_name", "default")): one for one in listed if isinstance(one, dict)}


def _patterns(given: Any) -> list[tuple[str, str]]:
    """(split, pattern) of `data_files` in each of its forms."""
    found: list[tuple[str, str]] = []
    for one in given if isinstance(given, list) else [given]:
        if isinstance(one, dict):
            split, paths = str(one.get("split", "train")), one.get("path", [])
        else:
            split, paths = "train", one
        for path in paths if isinstance(paths, list) else [paths]:
            found.append((split, str(path).removeprefix("./")))
    return found


def _refuse_missing_shards(dataset: str, names: Sequence[str]) -> None:
    shards: dict[tuple[str, str], set[int]] = {}
    for name in names:
        if shard := _SHARD.fullmatch(name):
            at = (f"{shard['before']}{shard['after'] or ''}", shard["count"])
            shards.setdefault(at, set()).add(int(shard["at"]))
    for (name, count), found in shards.items():
        if missing := sorted(set(range(int(count))) - found):
            raise DataError(
                "data.source: {dataset}: of {count} shards of {name} {missing} are missing, the "
                "first is number {at} (from 0); download the dataset anew",
                dataset=dataset,
                count=int(count),
                name=name,
                missing=len(missing),
                at=missing[0],
            )


if __name__ == "__main__":
    listing = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
    made = choose("demo", [*listing, "data/test-00000-of-00001.parquet"], "", "", "")
    print(made)
    assert made.names == tuple(listing)
    assert [split_of(name) for name in ("a/valid.jsonl", "x_dev.csv", "news.txt")] == [
        *("validation", "validation", "")
    ]
    print("=== 自测通过 ===")
