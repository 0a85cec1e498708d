"""Exports of the dashboard into the folder of plots of its run: all plots as _PNG, the screen as
_SVG, the curves that are shown as CSV.

PNG and CSV are written by a worker process, so that no training feels it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmm_tui.charts.chart import Chart
from lmm_tui.cockpit.messages import ExportDone
from lmm_tui.cockpit.screens.dialogs import Choice, ChoiceDialog
from lmm_tui.cockpit.screens.run_commands import RunCommands
from lmm_tui.guarded_files import free_path, make_folder, replace_text
from lmm_tui.i18n.language import listed, mark, tr
from lmm_tui.runs.worker_jobs import export_in_background, tabulate_in_background
from lmm_tui.terminal.safe_text import clean

_PNG, _SVG, _CSV = "png", "svg", "csv"
_CHOICES = (
    Choice(_PNG, "p", mark("Plots of the whole run (PNG)")),
    Choice(_SVG, "s", mark("This screen (SVG)")),
    Choice(_CSV, "c", mark("The curves shown here (CSV)")),
)

_LONGEST_NAME = 40


class ViewExport(RunCommands):
    """For screens with the export commands of the bindings of `dashboard`."""

    def shown_title(self) -> str:
        """The title of the page or of the only chart that is shown."""
        raise NotImplementedError

    def action_export(self) -> None:
        self._export(lambda: export_in_background(self.session.run_dir.path))

    def action_export_shown(self) -> None:
        text = tr(
            "Files are written to {folder}; existing files are kept.",
            folder=self.session.run_dir.plots,
        )
        dialog = ChoiceDialog(tr("export"), text, _CHOICES, first=_PNG)
        self.app.push_screen(dialog, self._export_chosen)

    def _export_chosen(self, kind: str | None) -> None:
        if kind == _PNG:
            self.action_export()
        elif kind == _SVG:
            # The dialog is still on the screen.
            self.call_after_refresh(self._export_screen)
        elif kind == _CSV:
            self._export_curves()

    def _export_screen(self) -> None:
        picture = self.app.export_screenshot(title=clean(self.session.view.info.name))
        self._export(lambda: [_write_picture(self.session.run_dir.plots, picture)])

    def _export_curves(self) -> None:
        curves = Curves.of([chart for chart in self.query(Chart) if chart.is_on_screen])
        if curves is None:
            self.toast(tr("No curve on this page; ] shows the next one"), "export")
            return
        title, run = self.shown_title(), self.session.run_dir

        def write() -> list[Path]:
            make_folder(run.plots, run.path)
            target = curves.file(run.plots, title)
            tabulate_in_background(run.path, target, curves.metrics, curves.first, curves.last)
            return [target]

        self._export(write)

    def _export(self, write: Callable[[], list[Path]]) -> None:
        if self.begin("export"):
            self.in_background(
                "export",
                lambda: ExportDone(tuple(map(str, write()))),
                refused=lambda why: ExportDone((), why),
            )

    def on_export_done(self, message: ExportDone) -> None:
        self.end("export")
        text = message.error or tr("wrote {files}", files=listed(message.paths))
        self.toast(text, "export", severe=bool(message.error))
        self.note("export", text, "warning" if message.error else "info")
        self.show()


@dataclass(frozen=True)
class Curves:
    """Metrics, and the steps from `first` to `last` that are shown of them."""

    metrics: tuple[str, ...]
    first: int
    last: int

    @classmethod
    def of(cls, charts: Sequence[Chart]) -> Curves | None:
        """All that any of these charts shows; None where none shows a curve."""
        seen = [(chart, whole) for chart in charts if (whole := chart.whole)]
        metrics = dict.fromkeys(
            metric for chart, _ in seen for metric in chart.metrics if chart.store.get(metric)
        )
        if not metrics:
            return None
        edges = [
            chart.store.translate(edge, chart.view.axis, "step")
            for chart, whole in seen
            for edge in chart.view.span(whole)
        ]
        return cls(tuple(metrics), math.ceil(min(edges)), math.floor(max(edges)))

    def file(self, folder: Path, page: str) -> Path:
        """A free name made of the title of the page and the steps."""
        words = "-".join(re.findall(r"[a-z0-9]+", page.casefold()))[:_LONGEST_NAME]
        return free_path(folder / f"{words or 'curves'}-{self.first}-{self.last}.{_CSV}")


def _write_picture(folder: Path, picture: str) -> Path:
    """Write an SVG of the screen under the time of day. Raises OSError."""
    make_folder(folder, folder.parent)
    path = free_path(folder / time.strftime(f"screen-%Y%m%d-%H%M%S.{_SVG}"))
    replace_text(path, picture, folder.parent)
    return path


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        print([_write_picture(Path(place) / "plots", "<svg/>").name for _ in range(2)])
    print(Curves(("train/loss",), 10, 20).file(Path("plots"), "losses 1/2"))
    print("=== 自测通过 ===")
