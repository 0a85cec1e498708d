"""Commands of the dashboard to its run: sent in a thread, listed as pending until they are
answered, then shown as a toast, and among the events where they failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from lmm_tui.cockpit.messages import CommandDone
from lmm_tui.cockpit.screens.polling_screen import PollingScreen
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.events import Level, RunEvent
from lmm_tui.engine.run.reader import Reader
from lmm_tui.i18n.language import tr
from lmm_tui.message import Message


class RunCommands(PollingScreen):
    """For screens with the run commands of the bindings of `dashboard`."""

    def __init__(self, session: Reader) -> None:
        super().__init__()
        self.session = session
        self._pending: list[str] = []
        self._notes: list[RunEvent] = []

    def show(self) -> None:
        """Show the run as it was read last, with what is pending."""
        raise NotImplementedError

    def action_probe(self) -> None:
        self._send("probe", "sample")

    def action_toggle_pause(self) -> None:
        self._send("resume" if self.session.view.state == "paused" else "pause")

    def action_checkpoint(self) -> None:
        self._send("checkpoint")

    def action_validate(self) -> None:
        self._send("evaluate")

    def action_spikes(self) -> None:
        from lmm_tui.cockpit.screens.spikes_screen import SpikesScreen

        folder, live = self.session.run_dir.spikes, self.session.view.active
        self.app.push_screen(SpikesScreen(folder, live=live), self._roll_back)

    def _roll_back(self, step: int | None) -> None:
        if step is not None and self.session.view.active:
            self._send("rollback", before=step)
        elif step is not None:
            self.start_before(step)

    def start_before(self, step: int) -> None:
        """Set up a new run from the checkpoint before a step of this one, which has ended."""
        raise NotImplementedError

    @property
    def pending(self) -> tuple[str, ...]:
        """Commands and exports that are not done yet."""
        return tuple(self._pending)

    def all_events(self) -> list[RunEvent]:
        """The events of the run and the notes of this screen, by time."""
        if not self._notes:
            return list(self.session.events)
        return sorted([*self.session.events, *self._notes], key=attrgetter("time"))

    def _send(self, *commands: str, **args: Any) -> None:
        """Send commands with these arguments one after the other, as long as each succeeds."""
        if self.begin(*commands):
            self.in_background(commands[0], partial(self._send_all, commands, args))

    def _send_all(self, commands: Sequence[str], args: Mapping[str, Any]) -> CommandDone:
        reply = Reply(True, "")
        for command in commands:
            if reply.ok:
                reply = self.session.send(command, args)
                done = CommandDone(command, reply)
            else:
                done = CommandDone(command, Reply(True, ""))
            if command != commands[-1]:
                self.post_message(done)
        return done

    def begin(self, *tasks: str) -> bool:
        """List tasks as pending; False, and said so, where one of them is already."""
        if any(task in self._pending for task in tasks):
            self.toast(tr("Already queued; it runs between two steps"), tasks[0])
            return False
        self._pending += tasks
        self.show()
        return True

    def end(self, task: str) -> None:
        """A pending task is done."""
        self._pending.remove(task)

    def on_command_done(self, message: CommandDone) -> None:
        self.end(message.command)
        reply = message.reply
        if reply.message:
            self.toast(reply.message, message.command, severe=not reply.ok)
        if not reply.ok:
            text = Message("{command}: {reply}", command=message.command, reply=reply.message)
            self.note("command", text, "warning")
        self.look()
        self.show()

    def note(self, kind: str, text: str, level: Level) -> None:
        """Add an event of this screen, which is not in the files of the run."""
        self._notes.append(RunEvent(self.session.view.status.step, kind, text, level))


if __name__ == "__main__":
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        screen = RunCommands(Reader(log.name))
    screen.note("command", "probe: nobody answered", "warning")
    print(screen.all_events(), screen.pending)
    print("=== 自测通过 ===")
