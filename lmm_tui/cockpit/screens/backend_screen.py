"""A screen that asks a model of the run something: which one it asks, and asking in a thread."""

from __future__ import annotations

from textual.content import Content

from lmm_tui.cockpit.chat_backend import ChatBackend, CheckpointBackend, backends, label_of
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.screens.dialogs import Choice, ChoiceDialog
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr

_MOST_OFFERED = 9


class BackendScreen(BaseScreen):
    """Has a `partner`, the best that there is unless somebody chose; None where nobody answers."""

    TAB = "samples"
    LOOK_EVERY_S = 5.0

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self.run_dir = run
        self.partner: ChatBackend | None = None

    def partner_changed(self) -> None:
        """Somebody else answers from now on."""

    def look(self) -> None:
        """As long as nobody answers, look whether somebody could."""
        if self.partner is None and (found := self._found()):
            self._take(found[0])

    def _found(self) -> list[ChatBackend]:
        try:
            return backends(self.run_dir)
        except (LmmError, OSError):
            return []

    def action_choose(self) -> None:
        found = self._found()[:_MOST_OFFERED]
        if not found:
            said = tr("the run is not live and has no checkpoint; 2 lists the other runs")
            self.toast(said, "who answers")
            return
        choices = [
            Choice(str(number), str(number), label_of(one)) for number, one in enumerate(found, 1)
        ]

        def chosen(answer: str | None) -> None:
            if answer:
                self._take(found[int(answer) - 1])

        question = ChoiceDialog(
            tr("who answers"),
            tr(
                "The live model answers between two of its steps; a checkpoint is read by a "
                "process of its own, on the CPU."
            ),
            choices,
            first="1",
        )
        self.app.push_screen(question, chosen)

    def _take(self, partner: ChatBackend) -> None:
        if self.partner is not None:
            self.partner.close()
        self.partner = partner
        self.partner_changed()

    @property
    def who(self) -> str:
        """Who answers, in a few words."""
        if self.partner is None:
            return tr("nobody answers")
        return label_of(self.partner)

    def nobody(self) -> Content:
        """What to do where nobody answers."""
        return Content.assemble(
            tr("Nobody answers: the run is not live and has saved nothing.") + "\n",
            (tr("2 lists the other runs; R there goes on with one that ended."), "dim"),
        )

    def on_unmount(self) -> None:
        if isinstance(self.partner, CheckpointBackend):
            self.partner.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        alone = BackendScreen(RunDir(place))
        alone.look()
        print(alone.who, "|", alone.nobody().plain.splitlines()[0])
        assert alone.partner is None
    print("=== 自测通过 ===")
