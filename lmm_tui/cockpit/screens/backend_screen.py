"""The base of the screens that ask a model of the run: the choice of the model that answers."""

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
    """`backend` is the live model or else the newest checkpoint, until another one is chosen."""

    TAB = "samples"
    LOOK_EVERY_S = 5.0

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self.run_dir = run
        self.backend: ChatBackend | None = None

    def backend_changed(self) -> None:
        """Called when another model answers from now on."""

    def look(self) -> None:
        """While there is no backend, look for one."""
        if self.backend is None and (found := self._backends()):
            self._take(found[0])

    def _backends(self) -> list[ChatBackend]:
        try:
            return backends(self.run_dir)
        except (LmmError, OSError):
            return []

    def action_choose(self) -> None:
        found = self._backends()[:_MOST_OFFERED]
        if not found:
            hint = tr("This run is not live and has no checkpoint; 2 lists all runs")
            self.toast(hint, "Choose model")
            return
        choices = [
            Choice(str(number), str(number), label_of(one)) for number, one in enumerate(found, 1)
        ]

        def chosen(answer: str | None) -> None:
            if answer:
                self._take(found[int(answer) - 1])

        question = ChoiceDialog(
            tr("Choose model"),
            tr(
                "The live model answers between two of its steps; a checkpoint is read by a "
                "process of its own, on the CPU while the run trains, else on the run's device."
            ),
            choices,
            first="1",
        )
        self.app.push_screen(question, chosen)

    def _take(self, backend: ChatBackend) -> None:
        if self.backend is not None:
            self.backend.close()
        self.backend = backend
        self.backend_changed()

    @property
    def backend_name(self) -> str:
        """The name of the backend."""
        if self.backend is None:
            return tr("no model")
        return label_of(self.backend)

    def no_backend_hint(self) -> Content:
        """The hint to show while there is no backend."""
        return Content.assemble(
            tr("No model to talk to: the run is not live and has no checkpoint.") + "\n",
            (tr("2 lists all runs; R there resumes an ended one."), "dim"),
        )

    def on_unmount(self) -> None:
        if isinstance(self.backend, CheckpointBackend):
            self.backend.close()


if __name__ == "__main__":
    alone = BackendScreen(RunDir("runs/demo"))
    alone.look()
    print(alone.backend, alone.backend_name, alone.no_backend_hint().plain)
    print("=== 自测通过 ===")
