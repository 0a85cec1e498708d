"""Changing settings of the open run from the app: asked for in a dialog, sent, and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.notifications import SeverityLevel

from lmm_tui.cockpit.app_help import HelpfulApp
from lmm_tui.cockpit.messages import SettingsAnswered
from lmm_tui.cockpit.screens.background_thread import run_in_background
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.engine.run.reader import Reader


class SettingsApp(HelpfulApp):
    """Subclasses say which run is open."""

    @property
    def session(self) -> Reader | None:
        """The run that is open."""
        raise NotImplementedError

    def notify(self, message: str, *, title: str = "", **options: Any) -> None:
        """Also where a caller has not cleaned what a run or a library said."""
        super().notify(clean(message, newlines="keep"), title=clean(title), **options)

    def copy_to_clipboard(self, text: str) -> None:
        """Nothing in it is obeyed by the shell or the editor into which it is pasted."""
        super().copy_to_clipboard(clean(text))

    def say(self, text: str, title: str, severity: SeverityLevel) -> None:
        """Toast a message from below the cockpit: translated, cleaned and not as markup."""
        self.notify(clean(translate_message(text)), title=title, severity=severity, markup=False)

    def action_change_settings(self) -> None:
        """Ask for new values of settings of the open run, and change them there."""
        session = self.session
        if session is None or not session.view.active:
            self.notify(
                tr("This run has ended; only a live run can be changed."), title=tr("change")
            )
            return
        from lmm_tui.cockpit.screens.live_settings import LiveSettings, current_settings
        from lmm_tui.metrics import names

        rates = session.series.get(names.LR)
        present = rates.last_value if rates else None
        dialog = LiveSettings(current_settings(session.run_dir), present)
        self.push_screen(dialog, self.change_settings)

    def change_settings(self, changes: dict[str, float] | None) -> None:
        """Send changes to the open run, which answers after the step in progress."""
        session = self.session
        if changes and session is not None:
            run_in_background(
                self, "settings", lambda: SettingsAnswered(session.send("set", changes))
            )

    def on_settings_answered(self, message: SettingsAnswered) -> None:
        reply = message.reply
        self.say(reply.message, tr("change"), "information" if reply.ok else "warning")


if __name__ == "__main__":
    app = SettingsApp()
    app.notify = lambda text, **_: print(text)  # type: ignore[method-assign]
    app.say("refused\x1b[2J: [b]not live[/b]", "change", "warning")
    print("=== 自测通过 ===")
