"""The nodes of a run meet in a store before any rank starts: same version, same run directory.

The first node says where the run is and leaves a token there; the others look for it, so that a
folder which is not shared is found before a step is lost.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from lmm_tui import __version__
from lmm_tui.engine.parallel.rank_store import KeyStore
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.guarded_files import read_bytes, replace_text
from lmm_tui.message import Message, with_messages, with_parts
from lmm_tui.runs.ranks.open_run import RanksError

_LOOK_EVERY_S = 0.2
_SHARED_AFTER_S = 20.0
"""File systems over a network show a new file some seconds late."""
_PREFIX = "lmm-tui/meeting/"


class Meeting:
    """`names` are the members, the first of which opens the run; this one is `names[index]`."""

    def __init__(
        self,
        store: KeyStore,
        names: tuple[str, ...],
        index: int,
        timeout_s: float,
        version: str = __version__,
        shared_after_s: float = _SHARED_AFTER_S,
        attempt: int = 0,
    ) -> None:
        self._store = store
        self._names = names
        self._index = index
        self._timeout_s = timeout_s
        self._version = version
        self._shared_after_s = shared_after_s
        self._prefix = f"{_PREFIX}{attempt}/"

    def wait_for_all(self) -> None:
        """On the first: until all others are here. Raises RanksError that names who is not."""
        self._collect("hello")

    def opened_before(self) -> RunDir | None:
        """On the first: the run of the first attempt, where this is a later one."""
        key = f"{_PREFIX}0/run"
        if self._prefix == f"{_PREFIX}0/" or not self._store.check([key]):
            return None
        return RunDir(json.loads(self._store.get(key))["path"])

    def announce(self, run: RunDir) -> None:
        """On the first: say where the run is, and wait until all others see it there.

        Raises RanksError with what one of them refused.
        """
        token = secrets.token_hex(8)
        replace_text(run.ranks / "token", token, run.path)
        self.say("run", {"path": str(run.path.absolute()), "token": token})
        self._collect("seen")

    def refuse(self, sentence: str) -> None:
        """On the first: the run cannot be opened, and why."""
        self.say("run", {"error": sentence})

    def follow(self) -> RunDir:
        """On the others: the directory of the run, once the first has opened it.

        Raises RanksError if it refused, does not answer, or its directory is not this node's.
        """
        self.say(f"hello-{self._index}", {"version": self._version})
        found = self._wait_for("run")
        if found is None:
            raise RanksError(
                "{node} did not say within {seconds:.0f} s where the run is; look at its output",
                node=self._names[0],
                seconds=self._timeout_s,
            )
        if "error" in found:
            raise RanksError(found["error"])
        run = RunDir(found["path"])
        if not self.sees(run, found["token"]):
            refusal = Message(
                "{path}: {node} does not see there what {first} writes; put runs_dir on a file "
                "system that all nodes share",
                path=run.path,
                node=self._names[self._index],
                first=self._names[0],
            )
            self.say(f"seen-{self._index}", {"error": refusal})
            raise RanksError(refusal)
        self.say(f"seen-{self._index}", {})
        return run

    def _collect(self, what: str) -> None:
        deadline = time.monotonic() + self._timeout_s
        waiting = dict(enumerate(self._names))
        waiting.pop(self._index)
        while waiting:
            for index in [*waiting]:
                if self._store.check([f"{self._prefix}{what}-{index}"]):
                    self._check(self._read(f"{what}-{index}"), waiting.pop(index))
            if waiting and time.monotonic() > deadline:
                raise RanksError(
                    "{nodes} did not come within {seconds:.0f} s (parallel.timeout_s); see whether "
                    "lmm-tui was started there, and whether its network reaches {first}",
                    nodes=", ".join(waiting.values()),
                    seconds=self._timeout_s,
                    first=self._names[0],
                )
            if waiting:
                time.sleep(_LOOK_EVERY_S)

    def _check(self, said: Mapping[str, Any], name: str) -> None:
        if "error" in said:
            raise RanksError(said["error"])
        if (theirs := said.get("version", self._version)) != self._version:
            raise RanksError(
                "{node} has lmm-tui {theirs}, {first} has {ours}; install one version on all nodes",
                node=name,
                theirs=theirs,
                first=self._names[0],
                ours=self._version,
            )

    def sees(self, run: RunDir, token: str) -> bool:
        deadline = time.monotonic() + self._shared_after_s
        while True:
            try:
                if read_bytes(run.ranks / "token", run.path, 64).decode() == token:
                    return True
            except (OSError, UnicodeDecodeError):
                pass
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_EVERY_S)

    def _wait_for(self, key: str) -> Mapping[str, Any] | None:
        deadline = time.monotonic() + self._timeout_s
        while not self._store.check([self._prefix + key]):
            if time.monotonic() > deadline:
                return None
            time.sleep(_LOOK_EVERY_S)
        return self._read(key)

    def say(self, key: str, record: Mapping[str, Any]) -> None:
        self._store.set(self._prefix + key, json.dumps(with_parts(record)))

    def _read(self, key: str) -> Mapping[str, Any]:
        return with_messages(json.loads(self._store.get(self._prefix + key)))


if __name__ == "__main__":
    import tempfile
    from threading import Thread

    from lmm_tui.engine.parallel.rank_store import MemoryStore

    with tempfile.TemporaryDirectory() as folder:
        store, run = MemoryStore(), RunDir(folder)
        run.ranks.mkdir()
        first, second = (Meeting(store, ("node1", "node2"), index, 5.0) for index in (0, 1))
        other = Thread(target=lambda: print(second.follow()))
        other.start()
        first.wait_for_all()
        first.announce(run)
        other.join()
    print("=== 自测通过 ===")
