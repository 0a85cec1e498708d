"""The runs of several machines as one folder, over one ssh a machine; a run that is opened is
mirrored whole, as `mirror` does it.

A machine that cannot be reached is tried again; what was known of its runs stays. It is never asked
for a password: a terminal has no place for the questions of several.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lmm_tui.engine.run.run_dir import RUNS_DIR, RunDir
from lmm_tui.errors import LmmError
from lmm_tui.message import Message, os_reason
from lmm_tui.runs.fleets import OPEN, RunDetail
from lmm_tui.runs.remote.messages import (
    FromFolder,
    InfoUpdate,
    ListEnd,
    Refusal,
    RunGone,
    RunUpdate,
    WireError,
    from_folder,
)
from lmm_tui.runs.remote.mirror import SSH, RunMirror
from lmm_tui.runs.remote.protocol import Receiver
from lmm_tui.runs.remote.ssh_process import SshProcess
from lmm_tui.terminal.safe_text import clean

_FOLDER = re.compile(r"(?P<host>(?:[\w.+][\w.+-]*@)?[\w.][\w.-]*):(?P<path>.*)")
_FIRST_S = 10.0
_LONGEST_PAUSE_S = 15.0
_LONGEST_WORDS = 300
_MOST_FOLLOWED = 8


class Fleet:
    """The machines, and where their runs are listed."""

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self._hosts = [_Host(name, folder) for name in names]
        shared = Counter(host.label for host in self._hosts)
        for host in self._hosts:
            if shared[host.label] > 1:  # Two folders of one machine.
                host.label += f"-{Path(host.path).name}"
        self._followed: dict[Path, RunMirror] = {}

    @property
    def away(self) -> dict[str, str]:
        """The machines that are not connected now, by name, with why."""
        return {host.label: host.trouble for host in self._hosts if host.trouble}

    def open(self, early: Sequence[int] = ()) -> None:
        """Connect, and wait until every machine has listed its runs or has been given up."""
        for host in self._hosts:
            host.start()
        deadline = time.monotonic() + _FIRST_S
        while not all(host.listed.is_set() for host in self._hosts):
            if early:
                raise SystemExit(128 + early[0])
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)

    def detail(self, run: Path) -> RunDetail | None:
        label, _, name = run.name.partition(":")
        host = next((one for one in self._hosts if one.label == label), None)
        return host.details.get(name) if host is not None else None

    def follow(self, run: Path) -> None:
        """Mirror a listed run whole; its commands then go to its machine. Raises RemoteError.

        It may take seconds. Of many the one that was followed first is no longer.
        """
        if run in self._followed:
            return
        host, _, name = run.name.partition(":")
        owner = next(one for one in self._hosts if one.label == host)
        owner.skipped = owner.skipped | {name}
        mirror = RunMirror(owner.host, f"{owner.path}/{name}", RunDir(run), quiet=True)
        try:
            mirror.open(())
        except LmmError:
            mirror.close()
            owner.skipped = owner.skipped - {name}
            raise
        self._followed[run] = mirror
        if len(self._followed) > _MOST_FOLLOWED:
            self._followed.pop(next(iter(self._followed))).close()

    def close(self) -> None:
        for mirror in self._followed.values():
            mirror.close()
        for host in self._hosts:
            host.close()


class _Host:
    """Lists the runs of one machine in the folder, as `HOST:RUN`."""

    def __init__(self, name: str, folder: Path) -> None:
        given = _FOLDER.fullmatch(name)
        assert given is not None
        self.host, self.path = given["host"], given["path"].rstrip("/") or RUNS_DIR
        self.label = self.host.rpartition("@")[2]
        self.trouble = ""
        self.skipped: frozenset[str] = frozenset()
        """Runs that are mirrored, and so written by their mirror."""
        self.details: dict[str, RunDetail] = {}
        self.listed = threading.Event()
        self._folder = folder
        self._ended = threading.Event()
        self._starting = threading.Lock()
        self._ssh: SshProcess | None = None
        self._thread = threading.Thread(target=self._stay_connected, name="fleet", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        with self._starting:
            ssh = self._ssh
        if ssh is not None:
            ssh.end()
        self._thread.join(2.0)

    def _stay_connected(self) -> None:
        pause = 0.5
        while not self._ended.is_set():
            why = self._connect()
            self.trouble = clean(why)[:_LONGEST_WORDS] or Message("the connection ended")
            self.listed.set()
            self._ended.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _connect(self) -> str:
        """Take what one connection brings, until it ends; returns the reason."""
        target = [self.host, f"lmm-tui serve-run --list {shlex.quote(self.path)}"]
        try:
            with self._starting:
                if self._ended.is_set():
                    return ""
                self._ssh = ssh = SshProcess([*SSH, "-o", "BatchMode=yes", "--", *target])
        except OSError as error:
            return Message("ssh cannot be started ({error}); install it", error=os_reason(error))
        try:
            for line in Receiver(ssh.output):
                message = from_folder(line)
                if isinstance(message, Refusal):
                    return message.error
                self._take(message)
        except WireError as error:
            return Message("the far end sent {error}; update lmm-tui on both machines", error=error)
        except (LmmError, OSError) as error:
            return str(error)
        finally:
            ssh.end()
        return ssh.last_words()

    def _take(self, message: FromFolder) -> None:
        match message:
            case ListEnd():
                self.trouble = ""
                self.listed.set()
            case RunDetail(name):
                self.details[name] = message
            case RunGone(name):
                self.details.pop(name, None)
                if name not in self.skipped:
                    shutil.rmtree(self._local(name).path, ignore_errors=True)
            case RunUpdate(name, update) if name not in self.skipped:
                run = self._local(name)
                run.create()
                if isinstance(update, InfoUpdate):
                    run.write_info(replace(update.info, socket=""))
                else:
                    status = update.status
                    # One that has ended keeps the time at which it did.
                    beat = status.heartbeat or time.time() - update.age
                    run.write_status(replace(status, heartbeat=beat))

    def _local(self, name: str) -> RunDir:
        return RunDir(self._folder / f"{self.label}:{name}")


def is_fleet(names: Sequence[str]) -> bool:
    """Whether these are machines with folders, such as `hostA: hostB:runs`, not one run."""
    remote = [_FOLDER.fullmatch(name) is not None and not Path(name).exists() for name in names]
    return all(remote) and (len(names) > 1 or (len(names) == 1 and names[0].endswith((":", "/"))))


@contextmanager
def fleet(names: Sequence[str], early: Sequence[int] = ()) -> Iterator[Path]:
    """List the runs of the machines in a folder that is there within the block."""
    with tempfile.TemporaryDirectory(prefix="lmm-fleet-") as place:
        made = Fleet(list(dict.fromkeys(names)), Path(place))
        OPEN[made.folder] = made
        try:
            made.open(early)
            yield made.folder
        finally:
            del OPEN[made.folder]
            made.close()


if __name__ == "__main__":
    for shown in (["boxA:", "boxB:runs"], ["boxA:"], ["boxA:runs/mine"], ["mine"]):
        print(shown, is_fleet(shown))
    assert is_fleet(["boxA:", "me@boxB:runs"]) and not is_fleet(["boxA:runs/mine"])
    print("=== 自测通过 ===")
