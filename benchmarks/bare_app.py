"""The baseline of screens: a Textual app with a single widget, run by `python -m`.

It paints one braille character, and another one after every key. `poll` has a timer four times a
second that does nothing, `repaint HZ` fills the terminal with new text so many times a second,
and after every key. `train FOLDER` trains `nano` in the same process, as the
launcher does.
"""

from __future__ import annotations

import sys

from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Static


class BareApp(App[None]):
    def __init__(self, *, polls_per_s: float = 0, repaints_per_s: float = 0) -> None:
        super().__init__()
        self._polls_per_s = polls_per_s
        self._repaints_per_s = repaints_per_s
        self._count = 0
        self._text = Static("⠿")

    def compose(self) -> ComposeResult:
        yield self._text

    def on_mount(self) -> None:
        if self._polls_per_s:
            self.set_interval(1 / self._polls_per_s, lambda: None)
        if self._repaints_per_s:
            self._text.styles.height = "100%"
            self.set_interval(1 / self._repaints_per_s, self._repaint)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        if self._repaints_per_s:
            self._repaint()
            return
        self._count += 1
        self._text.update(chr(0x2801 + self._count % 255))

    def on_resize(self) -> None:
        if self._repaints_per_s:
            self._repaint()

    def _repaint(self) -> None:
        """New characters at every place."""
        self._count += 1
        columns, lines = self.size
        line = "".join(chr(0x2801 + (self._count + at) % 255) for at in range(columns))
        self._text.update("\n".join([line] * lines))


def train(folder: str) -> None:
    """The app in a process that trains, with the settings of the launcher."""
    from lmm_tui.cli.launcher import BESIDE_SCREEN, SWITCH_INTERVAL_S
    from lmm_tui.engine.config.resolve import resolve
    from lmm_tui.engine.training.run_host import EngineHost
    from lmm_tui.terminal.capture import Terminal

    settings = {"runs_dir": folder, "name": "bare", "device": "cpu", "model.preset": "nano"}
    with Terminal() as terminal:
        host = EngineHost(resolve(assignments={**settings, "train.steps": 1_000_000}))
        terminal.redirect(host.run_dir.output)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        host.start(nice=BESIDE_SCREEN)
        BareApp().run()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["poll"]:
            BareApp(polls_per_s=4).run()
        case ["repaint", per_second]:
            BareApp(repaints_per_s=float(per_second)).run()
        case ["train", folder]:
            train(folder)
        case _:
            BareApp().run()
