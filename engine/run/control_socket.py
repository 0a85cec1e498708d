"""Where the control socket of a run is bound: in the run, or in the user's runtime folder."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from lmm_tui.engine.run.control_protocol import ControlError
from lmm_tui.engine.run.run_dir import SOCKET
from lmm_tui.message import Message, os_reason

_BACKLOG = 128


class NoSocketError(ControlError):
    """A place where no socket can be made, as on some network and user-space file systems."""

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def bind_socket(path: Path) -> socket.socket:
    """Bind a listening socket in place of a dead one; the caller holds the run's lock."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _no_socket(path, error) from None
    if path.name != SOCKET:
        _require_own(path.parent)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlError("{path}: exists and is not a socket; remove it", path=path)
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    except OSError as error:
        listener.close()
        raise _no_socket(path, error) from None
    finally:
        os.umask(previous)
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _require_own(folder: Path) -> None:
    """A folder outside of a run, such as in /tmp, where another user may have made it first."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ControlError(
            "{folder}: is not a folder that only you can write to, so no socket "
            "is made there; set XDG_RUNTIME_DIR to one, or choose a shorter "
            "--runs-dir",
            folder=folder,
        )


def _no_socket(path: Path, error: OSError) -> NoSocketError:
    reason = os_reason(error)
    return NoSocketError(
        Message(
            "{path}: no socket can be made there ({reason}); choose another --runs-dir",
            path=path,
            reason=reason,
        ),
        reason,
    )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        listening = bind_socket(Path(folder) / SOCKET)
        print(listening.getsockname())
        listening.close()
    print("=== 自测通过 ===")
