"""The door: inside a trusted folder no link is followed, and only regular files are opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lmm_tui import guarded_files
from lmm_tui.guarded_files import (
    UnsafeFileError,
    appending,
    files_below,
    list_folder,
    make_folder,
    make_private,
    name_for_library,
    open_file,
    read_bytes,
    read_text,
    remove,
    rename,
    replace_text,
    replacing,
    version_of,
)

Use = Callable[[Path, Path], object]

USES: dict[str, Use] = {
    "read": read_bytes,
    "append": lambda path, root: appending(path),
    "write": lambda path, root: open_file(path, os.O_RDWR | os.O_CREAT, inside=root),
    "library": lambda path, root: name_for_library(path, root).__enter__(),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("precious")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def untouched(root: Path) -> bool:
    outside = root.parent / "outside"
    return [path.name for path in outside.iterdir()] == ["file"] and (
        outside / "file"
    ).read_text() == "precious"


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("target", ["file", "missing", "/dev/zero"])
def test_a_link_is_not_opened(root: Path, use: Use, target: str) -> None:
    (root / "entry").symlink_to(root.parent / "outside" / target)
    with pytest.raises(UnsafeFileError, match=r"entry: is a symbolic link, which is not followed"):
        use(root / "entry", root)
    assert untouched(root)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_pipe_is_refused_at_once(root: Path, use: Use) -> None:
    os.mkfifo(root / "entry")
    with pytest.raises(UnsafeFileError, match=r"entry: is a pipe, socket or device"):
        use(root / "entry", root)


def test_a_folder_on_the_way_is_no_link(root: Path) -> None:
    (root / "plots").symlink_to(root.parent / "outside")
    inside = root / "plots" / "file"
    tries: list[Callable[[], object]] = [
        lambda: read_bytes(inside, root),
        lambda: replace_text(inside, "mine", root),
        lambda: make_folder(root / "plots", root),
        lambda: make_folder(root / "plots" / "new", root),
        lambda: list_folder(root / "plots", root),
        lambda: files_below(root, root),
        lambda: remove(inside, root),
        lambda: rename(inside, root / "taken", root),
    ]
    for attempt in tries:
        with pytest.raises(UnsafeFileError):
            attempt()
    assert untouched(root)


@pytest.mark.parametrize("name", ["../outside/file", "a/../../outside/file", "/etc/hostname"])
def test_a_name_does_not_lead_out(root: Path, name: str) -> None:
    with pytest.raises(UnsafeFileError, match="is outside"):
        read_bytes(root / name, root)


def test_the_trusted_folder_itself_may_be_a_link(root: Path) -> None:
    (root / "note").write_text("mine")
    link = root.parent / "link"
    link.symlink_to(root)
    assert read_text(link / "note", link) == "mine"


def test_a_path_that_the_user_named_may_be_a_link_to_a_regular_file(root: Path) -> None:
    (root / "log").symlink_to(root.parent / "outside" / "file")
    (root / "zero").symlink_to("/dev/zero")
    assert read_text(root / "log") == "precious"
    with pytest.raises(UnsafeFileError, match="device"):
        read_text(root / "zero")


def test_a_file_is_not_read_beyond_its_limit(root: Path) -> None:
    (root / "large").write_bytes(bytes(3 << 20))
    with pytest.raises(UnsafeFileError, match=r"larger than 2 MiB"):
        read_bytes(root / "large", root, limit=2 << 20)
    assert len(read_bytes(root / "large", root, limit=3 << 20)) == 3 << 20


def test_a_file_of_holes_is_not_opened(root: Path) -> None:
    with (root / "sparse").open("wb") as file:
        file.truncate(50 << 30)
    with pytest.raises(UnsafeFileError, match="sparse"):
        open_file(root / "sparse", inside=root)


def test_a_file_with_a_second_name_is_read_but_not_written(root: Path) -> None:
    (root / "twin").hardlink_to(root.parent / "outside" / "file")
    with pytest.raises(UnsafeFileError, match="hard link"):
        appending(root / "twin")
    assert read_text(root / "twin", root) == "precious"
    replace_text(root / "twin", "mine", root)
    assert untouched(root)


def test_a_link_is_replaced_and_not_what_it_points_to(root: Path) -> None:
    (root / "entry").symlink_to(root.parent / "outside" / "file")
    replace_text(root / "entry", "mine", root)
    assert not (root / "entry").is_symlink() and (root / "entry").read_text() == "mine"
    assert untouched(root)


def test_removing_follows_no_link(root: Path) -> None:
    (root / "tree").mkdir()
    (root / "tree" / "link").symlink_to(root.parent / "outside")
    remove(root / "tree", root)
    (root / "link").symlink_to(root.parent / "outside")
    remove(root / "link", root)
    assert untouched(root) and not list(root.iterdir())


def test_a_replacement_that_fails_leaves_the_old_file_and_nothing_else(root: Path) -> None:
    replace_text(root / "entry", "old", root)
    before = version_of(root / "entry")
    with pytest.raises(RuntimeError), replacing(root / "entry", root) as file:
        file.write(b"half")
        raise RuntimeError
    assert [path.name for path in root.iterdir()] == ["entry"]
    assert version_of(root / "entry") == before and (root / "entry").read_text() == "old"


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_what_is_made_is_for_its_user_only(root: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_private(root / "caches" / "tokens")
        make_folder(root / "plots" / "below", root)
        replace_text(root / "text", "one", root)
        appending(root / "lines").close()
    finally:
        os.umask(before)
    made = [path for path in root.rglob("*") if path != root]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made}
    assert {name: mode for name, mode in modes.items() if mode & 0o077} == {}


def test_no_file_stays_open(root: Path) -> None:
    (root / "link").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    replace_text(root / "text", "one", root)
    handle = os.open(root, os.O_RDONLY)
    os.close(handle)
    for name in ("link", "pipe", "text", "missing", "../x"):
        try:
            read_bytes(root / name, root)
            list_folder(root / name, root)
        except OSError:
            pass
    again = os.open(root, os.O_RDONLY)
    os.close(again)
    assert again == handle


def test_guarded_files_has_no_other_way_to_open() -> None:
    """`Path.open` and `read_text` would follow links."""
    source = Path(guarded_files.__file__).read_text(encoding="utf-8")
    assert ".open(" not in source.replace("os.open(", "")
