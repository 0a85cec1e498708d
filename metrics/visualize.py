"""Pictures of a run: one page of all its curves, from a run, a TensorBoard folder or a log file.

    python metrics/visualize.py --log-dir runs/demo --output demo.png
    python metrics/visualize.py --json-log metrics.jsonl --output demo.png

Without arguments it tests itself. Drawing takes a second or two of pure Python: never call it
from a training thread. matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from lmm_tui.errors import LmmError
from lmm_tui.metrics.plots.plot_source import PlotSource, of_json_log, of_log_dir, of_run
from lmm_tui.metrics.series.series import SeriesStore

_DPI = 150
_FORMATS = (".png", ".pdf", ".svg")


class VisualizeError(LmmError):
    """A picture that cannot be drawn or written."""


def draw_page(
    series: SeriesStore,
    references: Mapping[str, float],
    output: Path,
    title: str,
    resumed_steps: Sequence[int] = (),
) -> None:
    """Draw all that was measured on one page, as PNG, PDF or SVG by the suffix of `output`.

    `references` are loss levels in nats to draw as lines, `resumed_steps` where the run went on
    from a checkpoint. An existing picture is replaced, never left half-written. Raises
    VisualizeError where nothing was measured or `output` cannot be written.
    """
    subject = PlotSource(series, title, references=references, resumed=resumed_steps)
    _draw("whole", output, subject)


def export_plots(run_path: Path | str) -> list[Path]:
    """Draw plots/training.png and plots/probes.png of a run directory; returns their paths.

    Raises an LmmError where the run has no metrics yet or cannot be written to.
    """
    run = Path(run_path)
    subject = of_run(run)
    training, probes = run / "plots" / "training.png", run / "plots" / "probes.png"
    _draw("training", training, subject)
    _draw("probes", probes, subject)
    return [training, probes]


def _draw(page: Literal["whole", "training", "probes"], output: Path, subject: PlotSource) -> None:
    if output.suffix.lower() not in _FORMATS:
        raise VisualizeError(f"{output}: give a name that ends in {', '.join(_FORMATS)}")
    if not subject.store.names():
        raise VisualizeError(f"{subject.title}: nothing was measured yet")
    import matplotlib as mpl

    from lmm_tui.metrics.plots import page_layout, plot_style

    aside = output.with_name(f".{os.getpid()}.{output.name}")
    # A name in a script that no installed font has, or has in bold, is drawn as well as it goes.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with mpl.rc_context(plot_style.settings()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure = page_layout.draw(page, subject)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(aside, dpi=_DPI)
            aside.replace(output)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise VisualizeError(f"{output}: cannot be written ({error.strerror})") from None


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code, 2 where the input was no good."""
    parser = argparse.ArgumentParser(description="Draw all curves of a run on one page.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--log-dir", type=Path, help="a run directory or TensorBoard folder")
    source.add_argument("--json-log", type=Path, help="a metrics.jsonl")
    parser.add_argument("--output", type=Path, required=True, help="a .png, .pdf or .svg file")
    given = parser.parse_args(arguments)
    try:
        subject = of_log_dir(given.log_dir) if given.log_dir else of_json_log(given.json_log)
        _draw("whole", given.output, subject)
    except LmmError as error:
        print(error, file=sys.stderr)
        return 2
    print(given.output)
    return 0


def _self_test() -> None:
    import math
    import tempfile

    from lmm_tui.metrics.tracker import TrainingTracker

    with tempfile.TemporaryDirectory() as folder:
        with TrainingTracker(folder, tensorboard=False) as tracker:
            for step in range(1, 301):
                tracker.update_loss(3.0 + 4.0 * math.exp(-step / 60) + 0.1 * math.sin(step))
                tracker.update_grad_norm(1.0 + 1.0 / step, max_norm=1.0)
                tracker.update_layer_norms({"layers.0": 0.5, "layers.1": 0.8})
                tracker.log(step)
        picture = Path(folder) / "page.png"
        assert main(["--log-dir", folder, "--output", str(picture)]) == 0
        print(f"{picture.stat().st_size / 1e3:.0f} kB")
        assert main(["--log-dir", folder + "/nowhere", "--output", str(picture)]) == 2
    print("=== 自测通过 ===")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(sys.argv[1:]))
    _self_test()
