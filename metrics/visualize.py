"""Plots of a run: one page of all its curves, from a run, a TensorBoard folder or a log file.

    python metrics/visualize.py --log-dir runs/demo --output demo.png
    python metrics/visualize.py --json-log metrics.jsonl --output demo.png

Without arguments it runs its self-test. Drawing takes a second or two of pure Python: never do it
in a training thread. matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import PRIVATE, SHARED, make_folder, replacing
from lmm_tui.message import os_reason
from lmm_tui.metrics.plots.plot_source import PlotSource, of_json_log, of_log_dir, of_run
from lmm_tui.metrics.printable import printable
from lmm_tui.metrics.series.series import SeriesStore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lmm_tui.metrics.plots.comparison_page import ComparisonPage

_DPI = 150
_FORMATS = (".png", ".pdf", ".svg")


class VisualizeError(LmmError):
    """A plot that cannot be drawn or written."""


def draw_page(
    series: SeriesStore,
    baselines: Mapping[str, float],
    output: Path,
    title: str,
    resumed_steps: Sequence[int] = (),
) -> list[Path]:
    """Draw all metrics on one page, as PNG, PDF or SVG by the suffix of `output`.

    What does not fit there is drawn on `NAME-2.png` and so on; returns the files. Of thousands of
    metrics the last are on no page: see `curves_left_out`.

    `baselines` are loss levels in nats to draw as lines, `resumed_steps` the steps from which the
    run was resumed. An existing file is replaced atomically. Raises VisualizeError if nothing was
    measured or `output` cannot be written.
    """
    source = PlotSource(series, title, baselines=baselines, resumed=resumed_steps)
    return _draw_all(output, source)


def curves_left_out(series: SeriesStore) -> int:
    """How many curves `draw_page` has no room for."""
    from lmm_tui.metrics.plots.page_layout import left_out

    return left_out(PlotSource(series, ""))


def export_plots(run_path: Path | str) -> list[Path]:
    """Draw plots/training.png and plots/probes.png of a run directory; returns their paths.

    Raises an LmmError if the run has no metrics yet or cannot be written to.
    """
    run = Path(run_path)
    source = of_run(run)
    training, probes = run / "plots" / "training.png", run / "plots" / "probes.png"
    _draw("training", training, source, inside=run)
    _draw("probes", probes, source, inside=run)
    return [training, probes]


def _draw_all(output: Path, source: PlotSource) -> list[Path]:
    from lmm_tui.metrics.plots.page_layout import page_count

    count = page_count(source)
    numbered = {at: output.with_stem(f"{output.stem}-{at}") for at in range(2, count + 1)}
    files = {1: output, **numbered}
    for number, file in files.items():
        _draw("whole", file, source, number)
    return list(files.values())


def draw_comparison(output: Path, page: ComparisonPage) -> None:
    """Draw several runs on one page, as PNG, PDF or SVG by the suffix of `output`.

    An existing file is replaced atomically. Raises VisualizeError if it cannot be written.
    """

    def draw() -> Figure:
        from lmm_tui.metrics.plots import comparison_page

        return comparison_page.draw(page)

    _save(draw, output)


def _draw(
    page: Literal["whole", "training", "probes"],
    output: Path,
    source: PlotSource,
    number: int = 1,
    inside: Path | None = None,
) -> None:
    """`inside`: the directory of a run, if `output` is a file of it."""
    if not source.store.names():
        raise VisualizeError("{title}: nothing was measured yet", title=source.title)

    def draw() -> Figure:
        from lmm_tui.metrics.plots import page_layout

        return page_layout.draw(page, source, number)

    _save(draw, output, inside)


def _save(draw: Callable[[], Figure], output: Path, inside: Path | None = None) -> None:
    if output.suffix.lower() not in _FORMATS:
        raise VisualizeError(
            "{output}: give a name that ends in {formats}", output=output, formats=[*_FORMATS]
        )
    import matplotlib as mpl

    from lmm_tui.metrics.plots import plot_style

    # A title may have characters that no installed font has: boxes are drawn, without a warning.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with mpl.rc_context(plot_style.settings()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure = draw()
        try:
            drawn = io.BytesIO()
            figure.savefig(drawn, dpi=_DPI, format=output.suffix[1:].lower())
            content = drawn.getvalue()
            if output.suffix.lower() == ".svg":  # Names of metrics are whatever a log has.
                content = printable(content.decode("utf-8", "replace")).encode()
            if inside is None:
                output.parent.mkdir(parents=True, exist_ok=True)
            else:
                make_folder(output.parent, inside)
            with replacing(output, inside, SHARED if inside is None else PRIVATE) as file:
                file.write(content)
        except OSError as error:
            raise VisualizeError(
                "{output}: cannot be written ({error})", output=output, error=os_reason(error)
            ) from None


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code, 2 if the input cannot be used."""
    parser = argparse.ArgumentParser(description="Draw all curves of a run on one page.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--log-dir", type=Path, help="a run directory or TensorBoard folder")
    where.add_argument("--json-log", type=Path, help="a metrics.jsonl")
    parser.add_argument("--output", type=Path, required=True, help="a .png, .pdf or .svg file")
    given = parser.parse_args(arguments)
    try:
        source = of_log_dir(given.log_dir) if given.log_dir else of_json_log(given.json_log)
        files = _draw_all(given.output, source)
    except LmmError as error:
        print(printable(str(error)), file=sys.stderr)
        return 2
    print(*files, sep="\n")
    if count := curves_left_out(source.store):
        print(f"{count} curves are left out: there is no room for them", file=sys.stderr)
    return 0


def _self_test() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log, page = Path(folder) / "metrics.jsonl", Path(folder) / "page.png"
        log.write_text("".join(f'{{"step": {n}, "train/loss": {9 / n}}}\n' for n in range(1, 99)))
        assert main(["--json-log", str(log), "--output", str(page)]) == 0
        print(f"{page.stat().st_size / 1e3:.0f} kB")
    print("=== 自测通过 ===")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(sys.argv[1:]))
    _self_test()
