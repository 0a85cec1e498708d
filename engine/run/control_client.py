"""Commands to a run in another process, over its control socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.control_protocol import (
    MAX_LINE,
    MAX_REPLY,
    ControlError,
    decode_reply,
    encode_command,
)
from lmm_tui.engine.run.peer_credentials import is_own
from lmm_tui.message import os_reason


def send(
    path: Path,
    command: str,
    args: Mapping[str, Any] | None = None,
    timeout_s: float = 60.0,
    *,
    by: str = "",
) -> Reply:
    """Send one command to the run that listens at `path` and wait for its reply.

    Raises ControlError if no process listens there or no reply arrives in time.
    """
    line = encode_command(command, args, by)
    deadline = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(os.fspath(path))
            if not is_own(connection):
                raise ControlError("{path}: another user listens there", path=path)
            connection.sendall(line)
            answer = bytearray()
            while not answer.endswith(b"\n"):
                if len(answer) > MAX_REPLY:
                    raise ControlError(
                        "{command}: an answer of more than {max_reply} bytes",
                        command=command,
                        max_reply=MAX_REPLY,
                    )
                connection.settimeout(max(deadline - time.monotonic(), 0.01))
                part = connection.recv(MAX_LINE)
                if not part:
                    raise ControlError("the run ended before it answered")
                answer += part
        except TimeoutError:
            raise ControlError(
                "{command}: no answer within {timeout_s:.0f} s",
                command=command,
                timeout_s=timeout_s,
            ) from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise ControlError("the run is not active: nobody listens on its socket") from None
        except OSError as error:
            raise ControlError("{path}: {error}", path=path, error=os_reason(error)) from None
    return decode_reply(bytes(answer))


if __name__ == "__main__":
    try:
        send(Path("/nowhere/control.sock"), "pause")
    except ControlError as error:
        print(error)
    print("=== 自测通过 ===")
