"""Machines that ssh reaches: real ones of sshd where it is installed, else a stand-in.

Each is this machine under another name. One that leaves refuses connections, and loses what it has.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from processes import PROGRAM, ROOT, fake_ssh, until

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


class StandIns:
    """An `ssh` that runs its command here."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.environment = fake_ssh(folder)
        self._folder = folder
        ssh = folder / "bin" / "ssh"
        gone = (
            f'case "$*" in *{name}*) echo $$ >> "{folder}/pids-{name}";'
            f' [ -e "{folder}/{name}-away" ] && echo "Connection refused" >&2 && exit 255;; esac'
            for name in names
        )
        ssh.write_text(ssh.read_text().replace("#!/bin/sh\n", "\n".join(["#!/bin/sh", *gone, ""])))

    def leave(self, name: str) -> None:
        (self._folder / f"{name}-away").touch()
        pids = self._folder / f"pids-{name}"
        for pid in pids.read_text().split() if pids.exists() else ():
            if psutil.pid_exists(int(pid)):
                os.kill(int(pid), signal.SIGKILL)

    def come_back(self, name: str) -> None:
        (self._folder / f"{name}-away").unlink()

    def close(self) -> None:
        pass


class RealMachines:
    """An sshd for each name, on a port of its own, with a key for this test."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        for key in ("key", "host_key"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(words, check=True, timeout=60)
        clients, here = folder / "bin", folder / "far"
        config = folder / "ssh_config"
        _script(clients / "ssh", f"exec {shutil.which('ssh')} -F '{config}' \"$@\"")
        _script(here / "lmm-tui", f"exec {PROGRAM[0]} -c '{PROGRAM[2]}' \"$@\"")
        path = f"{here}:{os.environ['PATH']}"
        far = {"PATH": path, "PYTHONPATH": ROOT, "XDG_CACHE_HOME": folder / "cache"}
        known = [f"UserKnownHostsFile {folder}/known", "StrictHostKeyChecking accept-new"]
        lines = [f"IdentityFile {folder}/key", "IdentitiesOnly yes", *known]
        for name in names:
            port = _free_port()
            lines += [f"Host {name}", "HostName 127.0.0.1", f"Port {port}"]
            options = ["ListenAddress 127.0.0.1", f"Port {port}", f"HostKey {folder}/host_key"]
            options += [f"AuthorizedKeysFile {folder}/key.pub", "StrictModes no", "PidFile none"]
            options += ["SetEnv " + " ".join(shlex.quote(f"{key}={far[key]}") for key in far)]
            (folder / f"sshd-{name}").write_text("\n".join(options) + "\n")
            self.come_back(name)
        config.write_text("\n".join(lines) + "\n")
        self.environment = {"PATH": f"{clients}:{os.environ['PATH']}"}

    def leave(self, name: str) -> None:
        server = self._servers.pop(name)
        for process in [*psutil.Process(server.pid).children(recursive=True), server]:
            process.kill()
        server.wait()

    def come_back(self, name: str) -> None:
        config = self._folder / f"sshd-{name}"
        self._servers[name] = subprocess.Popen(
            [str(SSHD), "-D", "-f", str(config)], stderr=subprocess.DEVNULL
        )
        port = int(config.read_text().split("Port ")[1].split()[0])
        until(lambda: _answers(port))

    def close(self) -> None:
        for name in [*self._servers]:
            self.leave(name)


@contextmanager
def machines(folder: Path, *names: str) -> Iterator[StandIns | RealMachines]:
    """Machines of these names."""
    usable = SSHD and os.geteuid() == 0 and Path("/run/sshd").is_dir()
    made = (RealMachines if usable else StandIns)(folder, names)
    try:
        yield made
    finally:
        made.close()


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
