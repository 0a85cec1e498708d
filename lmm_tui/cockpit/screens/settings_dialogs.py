"""Loading settings into the form and saving them: the source or the name is asked for.

The form opens without what its dialogs need.
"""

from __future__ import annotations

from textual.screen import Screen

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.language import tr
from lmm_tui.planning.candidates import settings_candidates


class SettingsFiles(Screen[RunConfig | None]):
    """For the screen of the form, which says what is filled in."""

    @property
    def config(self) -> RunConfig:
        """The values of the form."""
        raise NotImplementedError

    def fill_in(self, config: RunConfig) -> None:
        raise NotImplementedError

    def action_load(self) -> None:
        """Ask where settings are, and fill in all of them."""
        from lmm_tui.cockpit.screens.pick_dialog import PickDialog
        from lmm_tui.planning.settings_files import load_settings

        loaded: list[RunConfig] = []

        def judge(source: str) -> str:
            try:
                loaded.append(load_settings(source, self.config.runs_dir))
            except ConfigError as error:
                return str(error)
            return ""

        dialog = PickDialog(
            tr("load settings"),
            lambda: settings_candidates(self.config.runs_dir),
            typed=True,
            judge=judge,
        )
        self.app.push_screen(dialog, lambda source: self.fill_in(loaded[-1]) if source else None)

    def action_save(self) -> None:
        """Ask for the name of a new file, and write the settings there."""
        from lmm_tui.cockpit.screens.dialogs import AskDialog
        from lmm_tui.planning.settings_files import save_settings

        def judge(target: str) -> str:
            try:
                written = save_settings(target, self.config)
                self.notify(tr("written to {file}", file=written), markup=False)
            except ConfigError as error:
                return str(error)
            return ""

        name = self.config.name or f"{self.config.stage}-{self.config.model.preset}"
        dialog = AskDialog(tr("save settings"), tr("To a new file:"), f"{name}.toml", judge)
        self.app.push_screen(dialog)


if __name__ == "__main__":
    print(*settings_candidates("runs")[:5], sep="\n")
    print("=== 自测通过 ===")
