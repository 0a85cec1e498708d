"""The wire format of the control socket: one JSON object a line, in both directions.

A command is `{"command": "set", "args": {"lr": 1e-4}}`, its answer
`{"ok": true, "step": 12, "message": "…", "data": {…}}`. A command may say who asked, as
`"by": "agent claude"`, which goes into the events.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.run_records import record_from
from lmm_tui.errors import LmmError
from lmm_tui.message import with_parts

MAX_LINE = 64 * 1024
"""Bytes of a command line."""
MAX_ASKER = 80
"""Characters of who asked."""
MAX_REPLY = 16 * 1024 * 1024
"""Bytes of a reply; the largest, a text of 1,024 tokens with its likeliest ones, has 200 kB."""


class ControlError(LmmError):
    """A command that could not be delivered or understood."""


def encode_command(command: str, args: Mapping[str, Any] | None, by: str = "") -> bytes:
    message: dict[str, Any] = {"command": command, "args": dict(args or {})}
    return json.dumps(message | ({"by": by} if by else {})).encode() + b"\n"


def decode_command(line: bytes) -> tuple[str, dict[str, Any], str]:
    """The command, its arguments and who asked; ControlError if the line is anything else."""
    try:
        message = json.loads(line)
        command, args = message["command"], message.get("args", {})
        by = message.get("by", "")
        if not (isinstance(command, str) and isinstance(args, dict) and isinstance(by, str)):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ControlError('expected {"command": NAME, "args": {…}} on one line') from None
    return command, args, by[:MAX_ASKER]


def encode_reply(reply: Reply) -> bytes:
    try:
        line = json.dumps(with_parts(asdict(reply)), ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):
        return encode_reply(replace(reply, ok=False, data={}))
    return line.encode("utf-8", "replace") + b"\n"


def decode_reply(line: bytes) -> Reply:
    """ControlError if the line is no reply."""
    try:
        reply = record_from(json.loads(line), Reply)
    except (ValueError, RecursionError):
        reply = None
    if reply is None:
        raise ControlError("the run answered what is no reply; is it of this version of lmm-tui?")
    return reply


if __name__ == "__main__":
    sent = encode_command("set", {"lr": 1e-4})
    print(sent, encode_reply(Reply(True, "lr 0.0001", step=12)))
    assert decode_command(sent) == ("set", {"lr": 1e-4}, "")
    print("=== 自测通过 ===")
