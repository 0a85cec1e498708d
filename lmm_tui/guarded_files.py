"""The one door to files that may come from a stranger, and the one way to replace a file.

`inside` names the folder that is trusted, such as the directory of a run: its own path may lead
over links, but below it no link is followed, neither for reading nor for writing. Without `inside`
the user named the path, and links are followed. Only regular files are opened, so that nothing
hangs on a pipe or reads a device for ever. What is made is for its user only, whatever the umask.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from itertools import chain, count
from pathlib import Path
from typing import IO

from lmm_tui.errors import LmmError
from lmm_tui.message import Message

PRIVATE, SHARED = 0o600, 0o666
"""Modes of new files: those of a run, and those that the user named; of these the umask decides."""

TEXT_LIMIT = 16 << 20
"""Bytes of a file that is read as a whole, such as a configuration or a record."""

_BASE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
_SPARSE_FROM = 1 << 30


class UnsafeFileError(LmmError, OSError):
    """A file that is not opened: a link, a pipe or device, too large, or outside."""

    def __init__(self, number: int, what: Message, path: str) -> None:
        OSError.__init__(self, number, what, path)
        self.message = Message("{path}: {what}", path=path, what=what)


def open_file(path: Path, flags: int = os.O_RDONLY, *, inside: Path | None = None) -> int:
    """The descriptor of a regular file. Raises OSError."""
    if inside is None:
        return _checked(os.open(path, flags | (_BASE & ~os.O_NOFOLLOW), PRIVATE), path)
    if path.parent == inside:  # The usual case, in one call.
        handle = _checked(_opened(path, flags, path), path)
    else:
        with open_folder(path.parent, inside) as folder:
            handle = _checked(_opened(path.name, flags, path, folder), path)
    if flags & (os.O_WRONLY | os.O_RDWR) and os.fstat(handle).st_nlink > 1:
        os.close(handle)
        raise _unsafe(errno.EMLINK, Message("has a second name (a hard link), not written"), path)
    return handle


def reading(path: Path, inside: Path | None = None) -> FileIO:
    """An unbuffered binary file."""
    return open(open_file(path, inside=inside), "rb", buffering=0)


def appending(path: Path) -> FileIO:
    """An unbuffered file to append to, made if it does not exist; no link itself."""
    handle = open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, inside=path.parent)
    return open(handle, "ab", buffering=0)  # noqa: PTH123


@contextmanager
def name_for_library(path: Path, inside: Path | None = None) -> Iterator[str]:
    """A name of the opened file, for libraries that open files by name."""
    handle = open_file(path, inside=inside)
    try:
        yield f"/dev/fd/{handle}"
    finally:
        os.close(handle)


def read_bytes(path: Path, inside: Path | None = None, limit: int = TEXT_LIMIT) -> bytes:
    """All of a file of at most `limit` bytes."""
    with reading(path, inside) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise _unsafe(
                errno.EFBIG,
                Message("is larger than {limit} MiB, not read", limit=limit >> 20),
                path,
            )
        parts: list[bytes] = []
        left = limit  # A file may grow while it is read.
        while left and (part := file.read(left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


def read_text(path: Path, inside: Path | None = None, limit: int = TEXT_LIMIT) -> str:
    """As `read_bytes`, decoded; UnicodeDecodeError where it is not UTF-8."""
    return read_bytes(path, inside, limit).decode("utf-8")


@contextmanager
def open_folder(path: Path, inside: Path, *, make: bool = False) -> Iterator[int]:
    """The descriptor of a folder in `inside`; with `make` it is made, and those above it."""
    handle = os.open(inside, _FOLDER)
    try:
        for name in _steps(path, inside):
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=handle)
            try:
                below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
            except OSError as error:
                raise _explained(error, name, handle, path) from None
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def make_folder(path: Path, inside: Path) -> None:
    """Make a folder unless it exists; a link in its place is refused."""
    with open_folder(path, inside, make=True):
        pass


def make_private(path: Path) -> None:
    """Make a folder that the user named, and those above it; new ones are for its user only."""
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)


def list_folder(path: Path, inside: Path) -> dict[str, int]:
    """The names in a folder and their types, as of `stat.S_IFMT`, 0 for others than files, folders
    and links; empty if the folder does not exist."""
    try:
        with open_folder(path, inside) as handle, os.scandir(handle) as found:
            return {entry.name: _type_of(entry) for entry in found}
    except FileNotFoundError:
        return {}


def files_below(path: Path, inside: Path) -> list[Path]:
    """All files below a folder, sorted. Raises UnsafeFileError for anything but files in it."""
    found: list[Path] = []
    for name, kind in sorted(list_folder(path, inside).items()):
        if kind == stat.S_IFDIR:
            found += files_below(path / name, inside)
        elif kind == stat.S_IFREG:
            found.append(path / name)
        else:
            raise _unsafe(
                errno.ELOOP, Message("is a link, a pipe or a device, not a file"), path / name
            )
    return found


def kind_of(path: Path, inside: Path) -> int | None:
    """The type of what stands at a path, as of `stat.S_IFMT`; None if nothing does."""
    try:
        with open_folder(path.parent, inside) as folder:
            return stat.S_IFMT(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return None


def refuse_unsafe(folder: Path, files: Iterable[str], folders: Iterable[str]) -> None:
    """Raise UnsafeFileError if something else than a file, or a folder, has one of these names in
    `folder`; they need not exist."""
    with suppress(FileNotFoundError, NotADirectoryError), open_folder(folder, folder) as handle:
        for name in files:
            found = _status(name, handle)
            if found and not stat.S_ISREG(found.st_mode):
                raise _other_than(stat.S_IFREG, found, folder / name)
            if found and found.st_size > _SPARSE_FROM:
                os.close(open_file(folder / name, inside=folder))
        for name in folders:
            found = _status(name, handle)
            if found and not stat.S_ISDIR(found.st_mode):
                raise _other_than(stat.S_IFDIR, found, folder / name)


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _other_than(kind: int, found: os.stat_result, path: Path) -> UnsafeFileError:
    if stat.S_ISLNK(found.st_mode):
        return _link(path)
    if kind == stat.S_IFREG:
        return _unsafe(errno.EINVAL, Message("is not a file"), path)
    return _unsafe(errno.EINVAL, Message("is not a folder"), path)


def is_file(path: Path, inside: Path) -> bool:
    """Whether a regular file, no link, stands at a path."""
    return kind_of(path, inside) == stat.S_IFREG


@contextmanager
def replacing(path: Path, inside: Path | None = None, mode: int = PRIVATE) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` when the block ends well.

    A reader sees the old version or the new one; after an exception nothing is left of the new
    one. A link at `path` is replaced, not what it points to. `file.name` is a path for libraries
    that take no file.
    """
    aside = path.with_name(f".{path.name[:200]}.{os.urandom(6).hex()}")
    with open_folder(path.parent, path.parent if inside is None else inside) as folder:
        made = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(aside.name, made, mode, dir_fd=folder)
        try:
            with open(aside, "w+b", opener=lambda name, flags: handle) as file:
                yield file
            os.rename(aside.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(aside.name, dir_fd=folder)
            raise


def replace_text(path: Path, text: str, inside: Path | None = None, mode: int = PRIVATE) -> None:
    """Replace a text file."""
    with replacing(path, inside, mode) as file:
        file.write(text.encode("utf-8"))


def rename(path: Path, target: Path, inside: Path) -> None:
    """Move an entry to another folder in `inside`, or to another name."""
    with open_folder(path.parent, inside) as source, open_folder(target.parent, inside) as there:
        os.rename(path.name, target.name, src_dir_fd=source, dst_dir_fd=there)


def remove(path: Path, inside: Path) -> None:
    """Delete a file, a link itself, or a folder with all that is in it; no link is followed."""
    with open_folder(path.parent, inside) as folder:
        found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(path.name, dir_fd=folder)
        else:
            os.unlink(path.name, dir_fd=folder)


def version_of(path: Path) -> tuple[int, int, int] | None:
    """A value that changes whenever a file is replaced or grows; None if it does not exist."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def free_path(path: Path) -> Path:
    """The path, numbered where a file is there already."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(one for one in chain([path], numbered) if not one.exists())


def _type_of(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFREG if entry.is_file(follow_symlinks=False) else 0


def _steps(path: Path, inside: Path) -> tuple[str, ...]:
    """The names that lead from `inside` to `path`."""
    if path == inside:
        return ()
    try:
        steps = path.relative_to(inside).parts
    except ValueError:
        steps = ("..",)
    if ".." in steps:
        raise _unsafe(errno.EPERM, Message("is outside {inside}", inside=inside), path)
    return steps


def _opened(name: Path | str, flags: int, path: Path, folder: int | None = None) -> int:
    try:
        return os.open(name, flags | _BASE, PRIVATE, dir_fd=folder)
    except OSError as error:
        raise _explained(error, name, folder, path) from None


def _checked(handle: int, path: Path) -> int:
    """The descriptor, if it is of a regular file."""
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise _device(path)
    if _is_sparse(handle, found):
        os.close(handle)
        raise _unsafe(errno.EINVAL, Message("is a sparse file, nearly all of it holes"), path)
    return handle


def _is_sparse(handle: int, found: os.stat_result) -> bool:
    if found.st_size <= _SPARSE_FROM or found.st_blocks * 512 * 16 >= found.st_size:
        return False
    try:  # Some file systems report no blocks at all.
        return os.lseek(handle, 0, os.SEEK_HOLE) < found.st_size
    except OSError:
        return False
    finally:
        os.lseek(handle, 0, os.SEEK_SET)


def _explained(error: OSError, name: Path | str, folder: int | None, path: Path) -> OSError:
    """The error, or that a link, a pipe or a device stands there."""
    with suppress(OSError):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISLNK(found):
            return _link(path)
        if error.errno in (errno.ENXIO, errno.EOPNOTSUPP):
            return _device(path)
    error.filename = str(path)
    return error


def _link(path: Path) -> UnsafeFileError:
    return _unsafe(errno.ELOOP, Message("is a symbolic link, which is not followed"), path)


def _device(path: Path) -> UnsafeFileError:
    return _unsafe(errno.EINVAL, Message("is a pipe, socket or device, not a file"), path)


def _unsafe(number: int, what: Message, path: Path) -> UnsafeFileError:
    return UnsafeFileError(number, what, str(path))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        make_folder(root / "plots", root)
        replace_text(root / "plots" / "note.txt", "one", root)
        (root / "plots" / "link").symlink_to(root / "plots" / "note.txt")
        print(read_text(root / "plots" / "note.txt", root), version_of(root / "plots"))
        try:
            read_text(root / "plots" / "link", root)
        except UnsafeFileError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
