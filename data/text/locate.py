"""The files that a source means: a file, a folder, a glob, a dataset by name, or remote files."""

from __future__ import annotations

import glob
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmm_tui.data.errors import DataError
from lmm_tui.data.text import hub
from lmm_tui.data.text.containers import COMPRESSED, PACKED, TABLES, TEXT_FORMATS, format_of, named
from lmm_tui.data.text.dataset_folder import choose, split_of
from lmm_tui.data.text.hub_cache import cached, listing
from lmm_tui.data.text.source import Source
from lmm_tui.guarded_files import read_text
from lmm_tui.message import Message, os_reason

_README = 1 << 20
_RECORDS = ("dataset_info.json", "dataset_dict.json", "state.json", "dataset_infos.json")


@dataclass(frozen=True)
class Located:
    """Files, sorted, and what to say about how they were chosen."""

    paths: list[Path]
    notes: tuple[str, ...] = ()


def find(source: str | Source, formats: tuple[str, ...] = TEXT_FORMATS) -> list[Path]:
    """The files alone."""
    return locate(source, formats).paths


def locate(source: str | Source, formats: tuple[str, ...] = TEXT_FORMATS) -> Located:
    """The files of these formats. Raises DataError where there are none.

    Folders and globs give their files, hidden ones left out. Of a Hugging Face dataset, and where a
    split is named, those of one split.
    """
    source = Source.parse(source)
    if not source.path.strip():
        raise DataError(
            "data.source: is empty; give 'builtin', {kinds} files, a folder or a glob of them",
            kinds=named(formats),
        )
    if hub.is_remote(source.path) and not hub.is_dataset_url(source.path):
        return _chosen(source, hub.fetch(source.path, formats), Path("/"), "")
    given = Path(source.path.removeprefix("hf://datasets/")).expanduser()
    try:
        matches, folder = _matches(given)
    except OSError as error:
        raise DataError(
            "data.source: {source!r} cannot be read ({error})",
            source=str(source),
            error=os_reason(error),
        ) from None
    if not matches and folder is None:
        return _by_name(source, given, formats)
    if folder is not None and (saved := _saved(source, folder)) is not None:
        return saved
    found = sorted({path for path in matches if format_of(path) in formats})
    if not found:
        raise _nothing(source, given, matches, formats)
    if folder is None:
        return (
            _chosen(source, found, Path("/"), "")
            if source.split or source.config
            else (Located(found))
        )
    readme = _read(folder / "README.md")
    is_dataset = (
        readme.startswith("---\n")
        or any((folder / name).exists() for name in _RECORDS)
        or (all(format_of(path) in TABLES for path in found) and any(map(_split, found)))
    )
    unread = _unread_note(folder, matches, formats)
    if not (is_dataset or source.split or source.config):
        return Located(found, unread)
    found = [path for path in found if not path.name.startswith("cache-")]  # Of `datasets`' map.
    chosen = _chosen(source, found, folder, readme)
    return replace(chosen, notes=chosen.notes + unread)


def is_cached(source: Source, formats: tuple[str, ...]) -> bool:
    """Whether a dataset by name can be read without the Hub. Raises DataError as `locate` does."""
    return isinstance(_from_cache(source, Path(source.path), formats), Located)


def _by_name(source: Source, given: Path, formats: tuple[str, ...]) -> Located:
    """A dataset from the caches where they have all that is asked for, else from the Hub."""
    found = _from_cache(source, given, formats)
    if isinstance(found, Located):
        return found
    if not hub.looks_like_a_name(str(given)):
        raise found or _nothing(source, given, [], formats)
    try:
        paths, notes = hub.download(source, formats)
    except hub.HubUnreachableError as unreachable:
        raise found or unreachable from None
    return Located(sorted(paths), notes)


def _from_cache(
    source: Source, given: Path, formats: tuple[str, ...]
) -> Located | DataError | None:
    """None, or why not, where the Hub has to be asked; DataError where it was and has it not."""
    folder = cached(str(given), source.config)
    if folder is None:
        return None
    listed = listing(folder)
    files = [path for path in listed or _inside(folder) if not path.name.startswith("cache-")]
    found = [path for path in files if format_of(path) in formats]
    if folder.parent.name != "snapshots":
        source = replace(source, config="")  # The folder is of that configuration.
    try:
        if not found:
            raise _nothing(source, given, files, formats)
        made = _saved(source, folder) or _chosen(source, found, folder, _read(folder / "README.md"))
    except DataError as error:
        if listed:
            raise
        return error
    return made if all(path.is_file() for path in made.paths) else None


def _chosen(source: Source, found: Sequence[Path], root: Path, readme: str) -> Located:
    names = {path.absolute().relative_to(root.absolute()).as_posix(): path for path in found}
    if not (source.split or source.config or readme or root != Path("/")):
        return Located(list(found))
    made = choose(source.path, list(names), readme, source.config, source.split)
    return Located([names[name] for name in made.names], made.notes)


def _unread_note(folder: Path, files: Sequence[Path], formats: tuple[str, ...]) -> tuple[str, ...]:
    """What to say of files of a folder that are in no format; what only describes it counts not."""
    others = sorted(
        path
        for path in files
        if format_of(path) not in formats
        and path.suffix.lower() not in (".md", ".lock")
        and path.stem.upper() not in ("LICENSE", "LICENCE", "NOTICE", "README")
    )
    if not others:
        return ()
    names = [path.name for path in others[:3]] + ["…"] * (len(others) > 3)
    told = Message(
        "not read of {folder}: {names}; only {kinds} files are",
        folder=folder,
        names=", ".join(names),
        kinds=named(formats),
    )
    return (told,)


def _split(path: Path) -> str:
    return split_of(path.name)


def _matches(given: Path) -> tuple[list[Path], Path | None]:
    """All files of a path or glob, and the folder where it is one."""
    try:
        if given.is_file():
            return [given], None
        if given.is_dir():
            return _inside(given), given
    except ValueError:  # A NUL byte.
        return [], None
    matches: list[Path] = []
    for match in map(Path, glob.glob(str(given), recursive=True)):  # noqa: PTH207
        matches += _inside(match) if match.is_dir() else [match]
    return matches, None


def _saved(source: Source, folder: Path) -> Located | None:
    """What `save_to_disk` wrote: a dataset, or a folder of its splits."""
    splits = _record(folder / "dataset_dict.json").get("splits")
    if isinstance(splits, list) and splits:
        names = [str(name) for name in splits if Path(str(name)).name == name]
        split = source.split or ("train" if "train" in names else "")
        if split not in names:
            what = Message(
                "has no split {split!r}" if split else "has several splits; name one", split=split
            )
            raise DataError(
                "data.source: {path} {what}: {names}", path=source.path, what=what, names=[*names]
            )
        found = _saved(Source(source.path), folder / split)
        others = [name for name in names if name != split]
        if found is None or source.split or not others:
            return found
        told = Message(
            "of {dataset} the split {split} is read, and not {others}",
            dataset=source.path,
            split=split,
            others=", ".join(others),
        )
        return Located(found.paths, (told,))
    state = _record(folder / "state.json")
    listed = state.get("_data_files")
    if not isinstance(listed, list):
        return None
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise DataError(
            "data.source: {folder} selects rows by indices; call "
            "flatten_indices() before save_to_disk",
            folder=folder,
        )
    if source.split and source.split != state.get("_split"):
        raise DataError(
            "data.source: {path} has no split {split!r}; it was saved of {state}",
            path=source.path,
            split=source.split,
            state=state.get("_split"),
        )
    names = [str(one.get("filename")) for one in listed if isinstance(one, dict)]
    paths = [folder / Path(name).name for name in names]
    for path in paths:
        if not path.is_file():
            raise DataError(
                "{path}: is missing, and state.json lists it; copy the whole folder", path=path
            )
    if not paths:
        raise DataError(
            "data.source: {source!r} holds no rows; give files that do", source=source.path
        )
    return Located(paths)


def _record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_read(path) or "{}")
    except (ValueError, RecursionError):
        raise DataError("{path}: is no JSON; save the dataset anew", path=path) from None
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> str:
    try:
        return read_text(path, limit=_README)
    except (OSError, UnicodeDecodeError):
        return ""


def _nothing(
    source: Source, given: Path, matches: list[Path], formats: tuple[str, ...]
) -> DataError:
    kinds = named(formats)
    shown = source.path
    if any(path.suffix == ".py" for path in matches) and given.is_dir():
        problem = Message(
            "the folder {source!r} holds a script and no data; scripts are not run", source=shown
        )
    elif given.is_dir():
        problem = Message("the folder {source!r} holds no {kinds} file", source=shown, kinds=kinds)
    elif matches and all(path.suffix.lower() in PACKED for path in matches):
        return DataError(
            "data.source: {source!r} is packed in a way that is not read; unpack it ({read} around "
            "text formats are read as they are)",
            source=shown,
            read=" / ".join(COMPRESSED),
        )
    elif matches:
        problem = Message("{source!r} is no {kinds} file", source=shown, kinds=kinds)
    else:
        problem = Message("no file, folder or glob matches {source!r}", source=shown)
    return DataError(
        "data.source: {problem}; give 'builtin', {kinds} files, a folder or a glob of them",
        problem=problem,
        kinds=kinds,
    )


def _inside(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for at in ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet"):
            Path(scratch, at).touch()
        print(locate(scratch).notes)
        assert [path.name[:4] for path in find(f"{scratch}@test")] == ["test"]
        try:
            find(f"{scratch}/*.txt")
        except DataError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
