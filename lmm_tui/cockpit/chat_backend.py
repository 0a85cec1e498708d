"""Whom a screen can ask to talk and to read: the live model of a run, or one of its checkpoints.

Both answer the same questions, `talk` and `read` of `engine.chat.chat`; a checkpoint has a process
of its own, started by the first question. Every call blocks: screens ask from a thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmm_tui
from lmm_tui.engine.run.checkpoint_names import checkpoint_step, list_checkpoints
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import mark, tr
from lmm_tui.runs.session import RunSession

_ROOT = Path(lmm_tui.__file__).parents[1]
_MOST_HISTORY = 24_000
"""Characters of a talk that are handed over; the oldest turns go first. A line of the control
socket has 64 KiB at most, and a character as many as 12 bytes there."""

Turns = list[list[str]]
"""[role, text] each, the oldest first."""


class ChatBackend(ABC):
    """Somebody who answers."""

    name: str
    """`live model`, or the name of a checkpoint."""

    @abstractmethod
    def ask(self, command: str, args: Mapping[str, Any]) -> Reply:
        """A failure is a Reply that says why."""

    @abstractmethod
    def close(self) -> None:
        """Give back what answering took; may be called from any thread."""


class LiveBackend(ChatBackend):
    """The model as it is between two steps: training goes on while it talks."""

    name = mark("live model")

    def __init__(self, session: RunSession) -> None:
        self._session = session

    def ask(self, command: str, args: Mapping[str, Any]) -> Reply:
        return self._session.send(command, args)

    def close(self) -> None:
        """Nothing was taken."""


class CheckpointBackend(ChatBackend):
    """Weights at rest, read by a child process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self._child: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()
        self._closed = False

    def ask(self, command: str, args: Mapping[str, Any]) -> Reply:
        with self._one_at_a_time:
            if self._child is None and not self._closed:
                self._child = _start(self.path)
                ready = self._hear()
                if not ready.ok:
                    self._end()
                    return ready
            if self._child is None or self._child.stdin is None:
                return Reply(False, f"{self.name}: closed")
            try:
                self._child.stdin.write(json.dumps({"command": command, "args": args}) + "\n")
                self._child.stdin.flush()
            except (OSError, ValueError):
                self._end()
                return Reply(False, f"{self.name}: its process has ended; ask again")
            return self._hear()

    def close(self) -> None:
        self._closed = True
        self._end()

    def _hear(self) -> Reply:
        child = self._child
        line = "" if child is None or child.stdout is None else child.stdout.readline()
        try:
            return Reply(**json.loads(line))
        except (ValueError, TypeError):
            self._end()
            return Reply(False, f"{self.name}: its process has ended; ask again")

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()


@dataclass(frozen=True)
class Manner:
    """How is spoken; None leaves it to the settings of the run."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None

    @property
    def drawing(self) -> dict[str, float]:
        """What `talk` takes of it."""
        given = {"temperature": self.temperature, "top_p": self.top_p}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def options(self) -> dict[str, float]:
        """What `sample` takes of it."""
        return self.drawing | ({} if self.max_tokens is None else {"max_tokens": self.max_tokens})

    def __str__(self) -> str:
        return " ".join(f"{name}={value:g}" for name, value in self.options.items())


def read_manner(text: str) -> Manner:
    """`temperature=0.7 top_p=0.9 max_tokens=200`, any of them; ValueError says what is wrong."""
    found: dict[str, Any] = {}
    for word in text.replace(",", " ").split():
        name, equals, value = word.partition("=")
        kind = {"temperature": float, "top_p": float, "max_tokens": int}.get(name)
        if kind is None or not equals:
            raise ValueError(
                tr("{word}: expected temperature=X, top_p=X or max_tokens=N", word=word)
            )
        try:
            found[name] = kind(value)
        except ValueError:
            raise ValueError(tr("{word}: {value!r} is no number", word=word, value=value)) from None
    manner = Manner(**found)
    if manner.temperature is not None and not 0 <= manner.temperature <= 10:
        raise ValueError(tr("temperature is from 0, the likeliest word always, to 10"))
    if manner.top_p is not None and not 0 < manner.top_p <= 1:
        raise ValueError(tr("top_p is above 0 and at most 1"))
    if manner.max_tokens is not None and not 1 <= manner.max_tokens <= 4096:
        raise ValueError(tr("max_tokens is from 1 to 4096"))
    return manner


def reply_to(
    partner: ChatBackend,
    turns: Turns,
    manner: Manner,
    *,
    seed: int,
    stopped: Callable[[], bool],
    longest: int = 256,
    piece: int = 8,
) -> Iterator[Reply]:
    """The reply to `turns` as it grows, `piece` tokens at a time; the last one may be a refusal."""
    kept = recent(turns)
    so_far: list[int] = []
    most = manner.max_tokens or longest
    while len(so_far) < most and not stopped():
        args = {
            "turns": kept,
            "so_far": so_far,
            "tokens": min(piece, most - len(so_far)),
            "seed": seed,
            **manner.drawing,
        }
        reply = partner.ask("talk", args)
        yield reply
        if not reply.ok or reply.data.get("ended", True):
            return
        so_far = reply.data["ids"]


def recent(turns: Turns) -> Turns:
    """As many of the last turns as may be handed over, one at least, whose text is cut."""
    kept: Turns = []
    room = _MOST_HISTORY // 6
    for role, text in reversed(turns):
        if kept and len(text) > room:
            break
        kept.insert(0, [role, text[-room:]])
        room -= len(text)
    while len(kept) > 1 and kept[0][0] == "assistant":
        kept.pop(0)
    return kept


def backends(run: RunDir) -> list[ChatBackend]:
    """All of a run, the best first: the live model, then checkpoints, the newest first.

    Raises LmmError where the run has gone.
    """
    session = RunSession(run.path)
    live: list[ChatBackend] = [LiveBackend(session)] if session.view.active else []
    saved = reversed(list_checkpoints(run.checkpoints))
    return live + [CheckpointBackend(path.resolve()) for path in saved]


def label_of(partner: ChatBackend) -> str:
    """As a person calls it."""
    if isinstance(partner, CheckpointBackend):
        return tr("step {step:,}", step=checkpoint_step(partner.path))
    return tr(partner.name)


def _start(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        # -P: a file in the working directory must not pass for one of our modules.
        [sys.executable, "-P", "-m", "lmm_tui.engine.chat.chat_worker", str(path)],
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


if __name__ == "__main__":
    nobody = CheckpointBackend(Path("/nowhere/checkpoints/step-000000001"))
    print(nobody.ask("talk", {"prompt": "hello"}), label_of(nobody))
    nobody.close()
    print(read_manner("temperature=0.5 max_tokens=20"))
    try:
        read_manner("top_p=2")
    except ValueError as error:
        print(error)
    print("=== 自测通过 ===")
