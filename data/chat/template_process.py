"""A chat template in a process of its own, with limits on time and memory.

`JinjaTemplate` without them runs for ever on three nested loops, and fills the memory with one
multiplication. A round trip costs about as much as writing a short conversation does.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmm_tui

if TYPE_CHECKING:
    from lmm_tui.data.chat.template_jinja import Message, Written

_PROGRAM = "from lmm_tui.data.chat.template_child import main; main()"
_LONGEST_S = 10.0
"""For one conversation; the longest of a million takes milliseconds."""
_START_S = 60.0
"""A machine under load may need long to start Python."""
_LOOK_S = 0.25
_MOST_MEMORY = 1 << 30
_MOST_ANSWER = 1 << 27
_KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT")


class TemplateRefusal(ValueError):
    """A template that is none, that refuses a conversation, or that exceeds its limits."""


class TemplateProcess:
    """Writes messages as `JinjaTemplate` does; safe to call from any thread and after a fork."""

    def __init__(self, source: str, variables: Mapping[str, str]) -> None:
        """Raises TemplateRefusal where `source` is no template."""
        self._first = {"source": source, "variables": dict(variables)}
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self.marks_answers = bool(self._ask(None)["marks_answers"])

    def write(
        self, messages: Sequence[Message], tools: Sequence[Any] | None, add_generation_prompt: bool
    ) -> Written:
        """Raises TemplateRefusal."""
        from lmm_tui.data.chat.template_jinja import Written

        request = {
            "messages": messages,
            "tools": tools,
            "add_generation_prompt": add_generation_prompt,
        }
        answer = self._ask(request)
        return Written(answer["text"], [(start, stop) for start, stop in answer["marked"]])

    def _ask(self, request: Mapping[str, Any] | None) -> dict[str, Any]:
        with self._lock:
            if self._process is None or self._owner != os.getpid():
                self._process, self._owner = self._started(), os.getpid()
                answer = self._exchange(self._process, self._first, _START_S)
                if request is None:
                    return answer
            return self._exchange(self._process, request or self._first, _LONGEST_S)

    def _started(self) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            env={**kept, "PYTHONPATH": str(Path(lmm_tui.__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        weakref.finalize(self, _end, process, os.getpid())
        return process

    def _exchange(
        self, process: subprocess.Popen[bytes], request: Mapping[str, Any], longest_s: float
    ) -> dict[str, Any]:
        assert process.stdin
        answer: dict[str, Any] | None = None
        why = "its process has ended"
        try:
            process.stdin.write(json.dumps(request, default=str).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(_line(process, longest_s))
        except TemplateRefusal as error:
            why = str(error)
        except (OSError, ValueError):
            pass
        if not isinstance(answer, dict):
            _end(process, os.getpid())
            self._process = None
            raise TemplateRefusal(why)
        if "error" in answer:
            raise TemplateRefusal(answer["error"])
        return answer


def _line(process: subprocess.Popen[bytes], longest_s: float) -> bytes:
    """Its answer; raises TemplateRefusal where it takes too long, or too much memory."""
    assert process.stdout
    deadline = time.monotonic() + longest_s
    parts: list[bytes] = []
    room = _MOST_ANSWER
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not parts or not parts[-1].endswith(b"\n"):
            if not selector.select(_LOOK_S):
                if time.monotonic() > deadline:
                    raise TemplateRefusal(f"it takes more than {longest_s:.0f} s")
                if _memory(process.pid) > _MOST_MEMORY:
                    raise TemplateRefusal(f"it needs more than {_MOST_MEMORY >> 20} MB of memory")
                continue
            part = os.read(process.stdout.fileno(), 1 << 16)
            room -= len(part)
            if not part or room < 0:
                raise ValueError
            parts.append(part)
    return b"".join(parts)


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
    shown = TemplateProcess("{% for m in messages %}[{{ m.content }}]{% endfor %}", {})
    print(shown.write([{"role": "user", "content": "hello"}], None, False))
    for bomb in ("{{ 'a' * 5000000000 }}", "{{ '%1000000000000d' % 1 }}", "{% if %}"):
        try:
            raise AssertionError(TemplateProcess(bomb, {}).write([], None, False))
        except TemplateRefusal as refused:
            print(refused)
    print("=== 自测通过 ===")
