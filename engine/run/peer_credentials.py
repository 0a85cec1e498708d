"""The user at the other end of a Unix socket, on Linux, macOS and the BSDs."""

from __future__ import annotations

import os
import socket
import struct
import sys

# <sys/un.h> of macOS and the BSDs; Python has no names for them.
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1


def is_own(connection: socket.socket) -> bool:
    """Whether the peer process belongs to the same user as this one.

    The socket's mode already restricts access; this also holds after a change of permissions.
    """
    return peer_uid(connection) == os.geteuid()


def peer_uid(connection: socket.socket) -> int:
    """The user id that the kernel recorded when the peer connected; raises OSError."""
    if sys.platform == "linux":
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _, uid, _ = struct.unpack("3i", found)
    else:
        found = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 8)
        _, uid = struct.unpack("2I", found)
    return int(uid)


if __name__ == "__main__":
    left, right = socket.socketpair()
    print(peer_uid(left))
    assert is_own(left) and is_own(right)
    print("=== 自测通过 ===")
