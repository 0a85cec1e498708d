"""What an agent may do to runs: start, resume, and the commands of a live run, each with its name.

An agent chooses numbers, switches and choices; it names no file, no command and no function: data,
weights and rewards are those of a run that is there, or built in. Every action is answered with
what happened, and is an event of the run that says who asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm_tui.agents.run_access import AgentError, RunAccess
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.message import Message
from lmm_tui.runs import detached

if TYPE_CHECKING:
    from lmm_tui.engine.config.run_config import RunConfig

Settings = Mapping[str, Any]

_TEXTS = ("device", "name", "log.prompts", "data.kinds", "train.freeze", "lora.targets", "group")
"""Settings of free text that an agent may choose; other texts name files, commands or functions."""
_MOST_SETTINGS = 50
_LIVE_COMMANDS = ("pause", "resume", "stop", "checkpoint", "set")
_ANSWER_S = 120.0


class Steering:
    """The actions of one agent on the runs of one folder."""

    def __init__(self, access: RunAccess) -> None:
        self._access = access
        self._started: list[int] = []

    @property
    def runs_dir(self) -> Path:
        return self._access.runs_dir

    def start(
        self, settings: Settings, like: str, start_from: str, checkpoint: str, by: str
    ) -> dict[str, Any]:
        """Start a run: defaults or the settings of the run `like`, then `settings`.

        `start_from` names a run whose weights it begins with, `checkpoint` one of its checkpoints.
        """
        engine = detached.start(self.settings(settings, like, start_from, checkpoint))
        self.adopt(engine.pid)
        self._tell(engine.run, Message("started by an agent"), settings, by)
        return {"run": engine.run.name, "pid": engine.pid, "message": "training"}

    def settings(
        self, settings: Settings, like: str, start_from: str, checkpoint: str
    ) -> RunConfig:
        """The configuration of a new run, as `start` describes it."""
        from lmm_tui.engine.config.resolve import resolve
        from lmm_tui.engine.config.run_settings import settings_of
        from lmm_tui.engine.config.trust import refuse_untrusted

        self.check(settings)
        base = settings_of(self._access.run_dir(like)).model_dump(exclude_none=True) if like else {}
        base.pop("name", None)
        assigned = {**settings, "runs_dir": str(self._access.runs_dir)}
        if checkpoint and not start_from:
            raise AgentError("checkpoint: of which run? name it as start_from")
        if start_from:
            assigned["start_from"] = self._weights(start_from, checkpoint)
        config = resolve(assignments=assigned, base=base)
        if like:
            refuse_untrusted(config, [self._access.run_dir(like).path])
        return config

    def adopt(self, pid: int) -> None:
        """Reap a process of ours once it has ended."""
        self._started.append(pid)

    def resume(self, name: str, settings: Settings, by: str) -> dict[str, Any]:
        """Continue an ended run from its last intact checkpoint, or a paused one where it is."""
        run = self._access.run_dir(name)
        if Reader(run.path).view.active:
            if settings:
                raise AgentError("{name}: is live; change it with set_settings", name=name)
            return self.command(name, "resume", {}, by)
        from lmm_tui.engine.config.resolve import with_changes
        from lmm_tui.engine.config.run_settings import may_change, settings_of
        from lmm_tui.engine.config.trust import refuse_untrusted

        self.check(settings)
        for key in settings:
            if not may_change(key):
                raise AgentError(
                    "{key}: cannot change when a run is resumed; start a new one", key=key
                )
        config = with_changes(settings_of(run), settings)
        refuse_untrusted(config, [run.path])
        engine = detached.start(config, run)
        self.adopt(engine.pid)
        self._tell(run, Message("resumed by an agent"), settings, by)
        return {"run": name, "pid": engine.pid, "message": "training"}

    def command(self, name: str, command: str, arguments: Settings, by: str) -> dict[str, Any]:
        """Send a command to a live run and wait until it is done, at most two minutes."""
        if command not in _LIVE_COMMANDS:
            raise AgentError(
                "{command}: choose from {live_commands}",
                command=command,
                live_commands=[*_LIVE_COMMANDS],
            )
        detached.reap(self._started)
        session = Reader(self._access.run_dir(name).path)
        reply: Reply = session.send(command, arguments, _ANSWER_S, by=by)
        if not reply.ok:
            raise AgentError(reply.message)
        return {"run": name, "step": reply.step, "message": reply.message}

    def check(self, settings: Settings) -> None:
        """Raise AgentError for the first setting that an agent may not choose."""
        from lmm_tui.engine.config.options import options_by_key

        if len(settings) > _MOST_SETTINGS:
            raise AgentError(
                "settings: at most {most_settings} at a time", most_settings=_MOST_SETTINGS
            )
        known = options_by_key()
        for key, value in settings.items():
            option = known.get(key)
            if option is None or key in _TEXTS or option.kind not in (str, list):
                continue  # An unknown one is refused by name, with what it may have meant.
            if option.choices and (value in option.choices or not option.open):
                continue  # An open one takes the name of a file, too.
            if key == "data.source" and value == "builtin":
                continue
            raise AgentError(
                "{key}: names files, commands or functions, which an agent does "
                "not choose; start with like=RUN to use those of a run",
                key=key,
            )

    def _weights(self, name: str, checkpoint: str) -> str:
        run = self._access.run_dir(name)
        if not checkpoint:
            return str(run.path)
        names = [path.name for path in list_checkpoints(run.checkpoints)]
        if checkpoint not in names:
            raise AgentError(
                "{checkpoint}: {name} has no such checkpoint; it has {names}",
                checkpoint=checkpoint[:80],
                name=name,
                names=names,
            )
        return str(run.checkpoints / checkpoint)

    def _tell(self, run: RunDir, what: Message, settings: Settings, by: str) -> None:
        events = EventLog(run)
        step = run.read_status().step
        events.write("command", what, step=step, args=dict(settings), by=by)
        events.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        steering = Steering(RunAccess(Path(folder)))
        for wrong in ({"health.command": "rm"}, {"data.source": "/etc/passwd"}):
            try:
                steering.start(wrong, "", "", "", "agent")
                raise AssertionError
            except AgentError as refusal:
                print(refusal)
    print("=== 自测通过 ===")
