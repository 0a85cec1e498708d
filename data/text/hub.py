"""Datasets by name: from the Hugging Face caches, else from the Hub; and other remote files.

What is remote is copied to this machine first, and read like any other file. Only data files are
fetched; a dataset that is made by a script is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.containers import format_of
from lmm_tui.data.text.dataset_folder import choose
from lmm_tui.data.text.hub_cache import NAME, keep_listing
from lmm_tui.data.text.source import Source
from lmm_tui.message import Message
from lmm_tui.user_folders import user_cache

_HUB = re.compile(r"hf://datasets/([^/@]+/[^/@]+)/?")
_PROTOCOLS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "https", "http", "hf", "file", "memory")
_FORMATS_TOLD = "parquet, arrow, JSON lines, CSV or text"


class HubUnreachableError(DataError):
    """Nothing can be said of a dataset by its name: there is no network, or no Hub."""


def is_remote(path: str) -> bool:
    return "://" in path


def is_dataset_url(path: str) -> bool:
    """`hf://datasets/owner/name`, which is the same as the name."""
    return bool(_HUB.fullmatch(path))


def looks_like_a_name(path: str) -> bool:
    """`owner/name`, as on the Hub, rather than a file that is not there."""
    return bool(NAME.fullmatch(path)) and not format_of(path)


def download(source: Source, formats: Sequence[str]) -> tuple[list[Path], tuple[str, ...]]:
    """The files of a dataset on the Hub, and what to say of the choice; DataError says why not."""
    match = _HUB.fullmatch(source.path)
    name = match[1] if match else source.path
    try:
        import huggingface_hub as hub

        files = hub.HfApi().list_repo_files(name, repo_type="dataset")
        names = [file for file in files if format_of(file) in formats]
        if not names:
            scripted = any(file.endswith(".py") for file in files)
            raise DataError(
                Message(
                    "data.source: the dataset {name} on the Hub is made by a script, "
                    "and scripts are not run; give a dataset of files",
                    name=name,
                )
                if scripted
                else Message(
                    "data.source: the dataset {name} on the Hub has no {formats_told} file",
                    name=name,
                    formats_told=_FORMATS_TOLD,
                )
            )
        readme = ""
        if "README.md" in files:
            path = hub.hf_hub_download(name, "README.md", repo_type="dataset")
            readme = Path(path).read_text("utf-8", "replace")[: 1 << 20]
        chosen = choose(name, names, readme, source.config, source.split)
        paths = []
        for file in chosen.names:
            paths.append(Path(hub.hf_hub_download(name, file, repo_type="dataset")))
            if len(paths) == 1:  # Before the others: they may be cut short.
                keep_listing(_snapshot(paths[0], file), files)
    except DataError:
        raise
    except Exception as error:  # Which one differs between versions and what they stand on.
        raise _explained(name, error) from None
    return paths, chosen.notes


def _snapshot(path: Path, file: str) -> Path:
    """The folder of the commit that a file of a dataset is in."""
    return path.parents[file.count("/")]


def fetch(url: str, formats: Sequence[str]) -> list[Path]:
    """Copies of remote files: one, a folder or a glob of them, by fsspec."""
    protocol = url.partition("://")[0]
    if protocol not in _PROTOCOLS or "::" in url:
        raise DataError(
            "data.source: {url}: {protocol}:// is not read; give one of {one}",
            url=url,
            protocol=protocol,
            one=[f"{one}://" for one in _PROTOCOLS[:7]],
        )
    if protocol == "hf" and not url.startswith("hf://datasets/"):
        raise DataError(
            "data.source: {url} is no dataset; write hf://datasets/OWNER/NAME, or a file of it",
            url=url,
        )
    try:
        import fsspec

        files, root = fsspec.url_to_fs(url)
        if files.isdir(root):
            found = files.find(root)
        elif any(mark in root for mark in "*?["):
            found = files.glob(root)
        else:
            found = [root]
        wanted = sorted(one for one in found if format_of(str(one)) in formats)
        if not wanted:
            raise DataError(
                "data.source: {url} holds no {formats_told} file",
                url=url,
                formats_told=_FORMATS_TOLD,
            )
        return [_copy(files, protocol, one) for one in wanted]
    except DataError:
        raise
    except ImportError as error:
        raise DataError(
            "data.source: {url}: a package for {protocol}:// is missing ({error}); install it",
            url=url,
            protocol=protocol,
            error=error,
        ) from None
    except Exception as error:  # Whatever a file system of fsspec raises.
        if protocol == "hf":
            raise _explained("/".join(url.split("/")[3:5]), error.__cause__ or error) from None
        what = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataError(
            "data.source: {url} cannot be read ({what}); check the address, the "
            "access and the network",
            url=url,
            what=what,
        ) from None


def _copy(files: Any, protocol: str, remote: str) -> Path:
    """A copy in the cache, made anew where the remote file has changed."""
    told = files.info(remote)
    marks = [str(told.get(key)) for key in ("size", "ETag", "etag", "mtime", "LastModified")]
    key = hashlib.blake2b("\n".join([protocol, remote, *marks]).encode(), digest_size=12)
    target = user_cache() / "remote" / key.hexdigest() / Path(remote).name
    if not target.exists():
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as aside:
            try:
                with files.open(remote, "rb") as far:
                    shutil.copyfileobj(far, aside, 1 << 20)
                aside.flush()
                Path(aside.name).replace(target)
            except BaseException:
                Path(aside.name).unlink(missing_ok=True)
                raise
    return target


def _explained(name: str, error: BaseException) -> DataError:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        return DataError(
            "data.source: the dataset {name} on the Hub is gated; accept its "
            "terms on its page and log in with `hf auth login`",
            name=name,
        )
    if "RepositoryNotFoundError" in kinds or "HFValidationError" in kinds:
        return DataError(
            "data.source: {name!r} is no file or folder here, and no dataset of "
            "the Hub that you may read; check the name, and log in with `hf auth "
            "login` where it is private",
            name=name,
        )
    what = " ".join(str(error).split())[:120] or type(error).__name__
    return HubUnreachableError(
        "data.source: {name!r} is no file or folder here and not whole in the Hugging "
        "Face cache, and the Hub cannot be reached ({what}); give a local path, "
        "or connect to the network",
        name=name,
        what=what,
    )


if __name__ == "__main__":
    print(looks_like_a_name("owner/name"), looks_like_a_name("data/file.jsonl"))
    try:
        fetch("zip://a.txt::file://b.zip", (".txt",))
    except DataError as refusal:
        print(refusal)
    import fsspec

    with fsspec.open("memory://demo/a.txt", "wb") as there:
        there.write(b"one")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        assert [path.read_text("utf-8") for path in fetch("memory://demo", (".txt",))] == ["one"]
    print("=== 自测通过 ===")
