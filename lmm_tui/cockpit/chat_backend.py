"""Models that a screen can chat with: the live model of a run, or one of its checkpoints.

Both answer the commands `talk` and `read` of `engine.chat.chat_model`. A checkpoint is loaded by a
worker process, which the first command starts. Every call blocks: screens call from a thread.
"""

from __future__ import annotations

import json
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from lmm_tui.child_process import start_python
from lmm_tui.engine.run.checkpoint_names import checkpoint_step, list_checkpoints
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.control_protocol import ControlError, decode_reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import record_from
from lmm_tui.i18n.language import mark, tr
from lmm_tui.message import Message

_MOST_HISTORY = 24_000
"""Bytes of the chat history in a command, so that it fits into a line of the control socket
(64 KiB at most, with up to 12 bytes for a character)."""

Turns = list[list[str]]
"""[role, text] each, the oldest first."""


class ChatBackend(ABC):
    """A model that answers commands."""

    name: str
    """`live model`, or the name of a checkpoint."""

    @abstractmethod
    def ask(self, command: str, args: Mapping[str, Any]) -> Reply:
        """Run a command; a failure is a Reply that is not ok and says why."""

    @abstractmethod
    def close(self) -> None:
        """Release the worker process, if any; may be called from any thread."""


class LiveBackend(ChatBackend):
    """The model as it is between two steps; training keeps running."""

    name = mark("live model")

    def __init__(self, session: Reader) -> None:
        self._session = session

    def ask(self, command: str, args: Mapping[str, Any]) -> Reply:
        return shaped(command, self._session.send(command, args))

    def close(self) -> None:
        """Nothing to release."""


class CheckpointBackend(ChatBackend):
    """The weights of a checkpoint, loaded by a worker process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.computes_on = ""
        """As `cuda:0 bf16`, once it has answered."""
        self._worker: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, command: str, args: Mapping[str, Any]) -> Reply:
        with self._lock:
            if self._worker is None and not self._closed:
                self._worker = _start(self.path)
                ready = self._read_reply()
                if not ready.ok:
                    self._kill()
                    return ready
                self.computes_on = str(ready.data.get("computes_on", ""))
            if self._worker is None or self._worker.stdin is None:
                return Reply(False, Message("{name}: closed", name=self.name))
            try:
                self._worker.stdin.write(json.dumps({"command": command, "args": args}) + "\n")
                self._worker.stdin.flush()
            except (OSError, ValueError):
                self._kill()
                return Reply(
                    False, Message("{name}: its process has ended; ask again", name=self.name)
                )
            return shaped(command, self._read_reply())

    def close(self) -> None:
        self._closed = True
        self._kill()

    def _read_reply(self) -> Reply:
        worker = self._worker
        line = "" if worker is None or worker.stdout is None else worker.stdout.readline()
        try:
            return decode_reply(line.encode())
        except ControlError:
            self._kill()
            return Reply(False, Message("{name}: its process has ended; ask again", name=self.name))

    def _kill(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
            worker.wait()


@dataclass(frozen=True)
class _Talked:
    """The data of a reply to `talk`."""

    ids: list[int]
    text: str
    ended: bool


@dataclass(frozen=True)
class _Read:
    """The data of a reply to `read`: of each token its text, its loss, the likeliest there."""

    tokens: list[str]
    losses: list[float | None]
    top: list[list[list[Any]]]


def shaped(command: str, reply: Reply) -> Reply:
    """`reply`, or a failed one where its data, from another machine maybe, cannot be shown."""
    if not reply.ok or command not in ("talk", "read"):
        return reply
    if command == "talk":
        fits = record_from(reply.data, _Talked) is not None
    else:
        read = record_from(reply.data, _Read)
        fits = read is not None and len(read.tokens) == len(read.losses) == len(read.top)
        fits = fits and read is not None and all(map(_is_likely, chain.from_iterable(read.top)))
    if fits:
        return reply
    return Reply(
        False,
        Message(
            "what came as the answer to {command} is none; update lmm-tui there", command=command
        ),
    )


def _is_likely(pair: list[Any]) -> bool:
    return len(pair) == 2 and isinstance(pair[0], str) and type(pair[1]) in (int, float)


@dataclass(frozen=True)
class SamplingOptions:
    """How tokens are sampled; None means the setting of the run."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None

    @property
    def for_talk(self) -> dict[str, float]:
        """The arguments of the command `talk`."""
        given = {"temperature": self.temperature, "top_p": self.top_p}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def for_sample(self) -> dict[str, float]:
        """The arguments of the command `sample`."""
        return self.for_talk | ({} if self.max_tokens is None else {"max_tokens": self.max_tokens})

    def __str__(self) -> str:
        return " ".join(f"{name}={value:g}" for name, value in self.for_sample.items())


def parse_sampling(text: str) -> SamplingOptions:
    """Parse `temperature=0.7 top_p=0.9 max_tokens=200`, any of them. Raises ValueError."""
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
            raise ValueError(
                tr("{word}: {value!r} is not a number", word=word, value=value)
            ) from None
    options = SamplingOptions(**found)
    if options.temperature is not None and not 0 <= options.temperature <= 10:
        raise ValueError(tr("temperature must be from 0 (greedy) to 10"))
    if options.top_p is not None and not 0 < options.top_p <= 1:
        raise ValueError(tr("top_p must be above 0 and at most 1"))
    if options.max_tokens is not None and not 1 <= options.max_tokens <= 4096:
        raise ValueError(tr("max_tokens must be from 1 to 4096"))
    return options


def reply_to(
    backend: ChatBackend,
    turns: Turns,
    options: SamplingOptions,
    *,
    seed: int,
    stopped: Callable[[], bool],
    longest: int = 256,
    piece: int = 8,
) -> Iterator[Reply]:
    """The reply to `turns` as it grows, `piece` tokens at a time; the last one may be an error."""
    kept = recent(turns)
    so_far: list[int] = []
    most = options.max_tokens or longest
    while len(so_far) < most and not stopped():
        args = {
            "turns": kept,
            "so_far": so_far,
            "tokens": min(piece, most - len(so_far)),
            "seed": seed,
            **options.for_talk,
        }
        reply = backend.ask("talk", args)
        yield reply
        if not reply.ok or reply.data.get("ended", True):
            return
        if len(reply.data["ids"]) <= len(so_far):
            return
        so_far = reply.data["ids"]


def recent(turns: Turns) -> Turns:
    """The last turns that fit into a command: at least one, cut if it is too long."""
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
    """The live model if the run is active, then its checkpoints, the newest first.

    Raises LmmError if the run does not exist any more.
    """
    session = Reader(run.path)
    live: list[ChatBackend] = [LiveBackend(session)] if session.view.active else []
    saved = reversed(list_checkpoints(run.checkpoints))
    return live + [CheckpointBackend(path.resolve()) for path in saved]


def label_of(backend: ChatBackend) -> str:
    """Its name on the screen."""
    if isinstance(backend, CheckpointBackend):
        step = tr("step {step:,}", step=checkpoint_step(backend.path))
        return f"{step} · {backend.computes_on}" if backend.computes_on else step
    return tr(backend.name)


def _start(path: Path) -> subprocess.Popen[str]:
    return start_python(
        ["-m", "lmm_tui.engine.chat.chat_worker", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    closed = CheckpointBackend(Path("/nowhere/checkpoints/step-000000001"))
    closed.close()
    print(reply := closed.ask("talk", {"prompt": "hello"}), label_of(closed))
    assert not reply.ok
    print(parsed := parse_sampling("temperature=0.5 max_tokens=20"))
    assert parsed == SamplingOptions(0.5, None, 20)
    print("=== 自测通过 ===")
