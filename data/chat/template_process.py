"""A chat template in a process of its own, with limits on time and memory.

`JinjaTemplate` without them runs for ever on three nested loops, and fills the memory with one
multiplication. Many conversations go in one request, so that the way there and back costs little.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lmm_tui.child_process import start_confined
from lmm_tui.message import Message, with_messages

if TYPE_CHECKING:
    from lmm_tui.data.chat.template_jinja import ChatMessage

_PROGRAM = "from lmm_tui.data.chat.template_child import main; main()"
_LONGEST_S = 10.0
"""For one conversation; the longest of a million takes milliseconds."""
_START_S = 60.0
"""A machine under load may need long to start Python."""
_LOOK_S = 0.25
_MOST_MEMORY = 1 << 30
_MOST_ANSWER = 1 << 27


class TemplateRefusal(ValueError):
    """A template that is none, that refuses a conversation, or that exceeds its limits."""


class WrittenTalk(NamedTuple):
    text: str
    learnt: list[tuple[int, int]]
    """Where what is learnt starts and stops in the text."""


class TemplateProcess:
    """One template; safe to use from any thread and after a fork."""

    def __init__(self, source: str, variables: Mapping[str, str], controls: str) -> None:
        """`variables` as for JinjaTemplate, `controls` a pattern of the tokenizer's control tokens.

        Raises TemplateRefusal where `source` is no template.
        """
        first = {"source": source, "variables": dict(variables), "controls": controls}
        self._first = json.dumps(first).encode() + b"\n"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._ask([])

    @property
    def pid(self) -> int | None:
        """Of the process, while it runs."""
        return None if self._process is None else self._process.pid

    def write_all(
        self, talks: Sequence[tuple[Sequence[ChatMessage], Any, Sequence[int]]]
    ) -> list[WrittenTalk | TemplateRefusal]:
        """Each conversation: its messages, tools, and the numbers of messages that are not learnt.

        Raises TemplateRefusal where the time is over.
        """
        wanted = [
            {"messages": said, "tools": tools, "as": "talk", "shown": shown}
            for said, tools, shown in talks
        ]
        return [
            TemplateRefusal(found["error"])
            if "error" in found
            else WrittenTalk(found["text"], [(start, stop) for start, stop in found["learnt"]])
            for found in self._ask(wanted)
        ]

    def write_prompt(self, messages: Sequence[ChatMessage], tools: Any) -> str:
        """With what opens the next answer. Raises TemplateRefusal."""
        return self._text({"messages": messages, "tools": tools, "as": "prompt"})

    def write_text(self, messages: Sequence[ChatMessage], tools: Any) -> str:
        """The conversation alone. Raises TemplateRefusal."""
        return self._text({"messages": messages, "tools": tools, "as": "text"})

    def _text(self, wanted: Mapping[str, Any]) -> str:
        [found] = self._ask([wanted])
        if "error" in found:
            raise TemplateRefusal(found["error"])
        return str(found["text"])

    def _ask(self, wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        with self._lock:
            if self._process is None or self._owner != os.getpid():
                self._process, self._owner = self._started(), os.getpid()
                self._exchange(b"", 1, _START_S)
                [begun] = self._exchange(self._first, 1, _LONGEST_S)
                if "error" in begun:
                    self._end()
                    raise TemplateRefusal(begun["error"])
            if not wanted:
                return []
            line = json.dumps(wanted, default=str).encode() + b"\n"
            return self._exchange(line, len(wanted), _LONGEST_S)

    def _started(self) -> subprocess.Popen[bytes]:
        process = start_confined(
            ["-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        weakref.finalize(self, _end, process, os.getpid())
        return process

    def _exchange(self, line: bytes, count: int, longest_s: float) -> list[dict[str, Any]]:
        process = self._process
        assert process is not None and process.stdin
        try:
            process.stdin.write(line)
            process.stdin.flush()
            return [
                with_messages(json.loads(answer)) for answer in _lines(process, count, longest_s)
            ]
        except TemplateRefusal:
            self._end()
            raise
        except (OSError, ValueError):
            self._end()
            raise TemplateRefusal(Message("its process has ended")) from None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _end(process, self._owner)


def _lines(process: subprocess.Popen[bytes], count: int, longest_s: float) -> list[bytes]:
    """Its answers; raises TemplateRefusal where one takes too long, or too much memory."""
    assert process.stdout
    deadline = time.monotonic() + longest_s
    received = bytearray()
    found: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(found) < count:
            if not selector.select(_LOOK_S):
                if time.monotonic() > deadline:
                    raise TemplateRefusal(
                        Message("it takes more than {longest_s:.0f} s", longest_s=longest_s)
                    )
                if _memory(process.pid) > _MOST_MEMORY:
                    raise TemplateRefusal(
                        Message(
                            "it needs more than {most_memory} MB of memory",
                            most_memory=_MOST_MEMORY >> 20,
                        )
                    )
                continue
            part = os.read(process.stdout.fileno(), 1 << 20)
            if not part or len(received) > _MOST_ANSWER:
                raise ValueError
            received += part
            if b"\n" in part:
                *whole, rest = received.split(b"\n")
                found += map(bytes, whole)
                received = bytearray(rest)
                deadline = time.monotonic() + longest_s
    return found


def _memory(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if owner != os.getpid():
        return  # A fork has its parent's streams, not its children.
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.close()
    process.kill()
    process.wait()


if __name__ == "__main__":
    source = "{% for m in messages %}[{{ m.content }}]{% endfor %}"
    shown = TemplateProcess(source, {}, "]")
    said = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "you"}]
    print(shown.write_all([(said, None, [])]), shown.write_prompt(said, None))
    for bomb in ("{{ 'a' * 5000000000 }}", "{{ '%1000000000000d' % 1 }}", "{% if %}"):
        try:
            raise AssertionError(TemplateProcess(bomb, {}, "]").write_prompt([], None))
        except TemplateRefusal as refused:
            print(refused)
    print("=== 自测通过 ===")
