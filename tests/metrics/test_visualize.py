"""Pictures: all that was measured is on them, what was not is said, bad input is a sentence."""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.figure import Figure
from matplotlib.image import imread

from lmm_tui.metrics import names
from lmm_tui.metrics.plots import page_layout, panels, plot_style
from lmm_tui.metrics.plots.plot_source import PlotSource, of_log_dir
from lmm_tui.metrics.plots.plotted_curve import COLUMNS, Curve, StepWindow
from lmm_tui.metrics.readers.event_files import find_event_files, read_event_files
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.metrics.tracker import TrainingTracker
from lmm_tui.metrics.visualize import draw_page, export_plots, main

BASELINES = {"ln V": 6.93, "unigram": 5.5, "bigram": 3.6}


def measured(
    steps: int = 300, nan_from: int | None = None, spike_at: int | None = None
) -> SeriesStore:
    """A run that looks like one, as the rows that its tracker would write."""
    store = SeriesStore()
    rng = np.random.default_rng(0)
    for step in range(1, steps + 1):
        loss = 2.6 + 4.3 * math.exp(-step / 60) + rng.normal(0, 0.05)
        norm = 0.5 + 2 * math.exp(-step / 20) + rng.random() * 0.1
        if step == spike_at:
            loss, norm = loss + 40, norm * 500
        if nan_from and step >= nan_from:
            loss = norm = math.nan
        row = {
            "step": step,
            "time": 1e9 + step,
            "tokens": step * 4096,
            names.TRAIN_LOSS: loss,
            names.TRAIN_LOSS_EMA: 2.6 + 4.3 * math.exp(-step / 60),
            names.TRAIN_PPL: math.exp(min(loss, 20.0)),
            names.LR: 1e-3 * min(step / 20, 1),
            names.GRAD_NORM: norm,
            names.CLIP_RATE: 0.25,
            names.CLIP_RATIO: 0.9,
            names.TOKENS_PER_S: 4e4,
            names.MFU: 0.4,
        }
        row |= {f"grad/{layer}": norm for layer in ("embed", "layers.0", "layers.1", "norm")}
        if step % 20 == 0:
            row |= {names.VAL_LOSS: loss + 0.1, names.VAL_PPL: math.exp(min(loss + 0.1, 20.0))}
            row |= {names.PROBE + probe: 0.1 + step / 1000 for probe in names.PROBES}
            row |= {"probe/layers.0/participation_ratio": 0.2}
        store.append(row)
    return store


def texts_of(figure: Figure) -> str:
    """All that is written on a page, headings included."""
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


def page(store: SeriesStore, *, seen: bool = False, **about: object) -> Figure:
    """`seen`: drawn, too, which takes as long as all the rest."""
    with rc_context(plot_style.settings()):
        figure = page_layout.draw("whole", PlotSource(store, "demo", baselines=BASELINES, **about))
        if seen:
            figure.canvas.draw()
    return figure


def axes_of(figure: Figure, title: str) -> Axes:
    for ax in figure.axes:
        if any(text.get_text().startswith(title) for text in ax.texts):
            return ax
    raise AssertionError(f"no panel {title!r}")


@pytest.fixture(scope="module")
def healthy() -> Figure:
    return page(measured(), seen=True, about="pretrain nano", resumed=(120,))


@pytest.mark.filterwarnings("error")
class TestPage:
    def test_every_panel_is_there_with_its_last_value(self, healthy: Figure) -> None:
        written = texts_of(healthy)
        for title in (
            "Loss, nats per token",
            "Perplexity",
            "Learning rate",
            "Gradient norm",
            "Tokens/s",
            "Gradient norm by layer",
            "Entropy, nats",
            "Effective rank (participation ratio)",
            "clip rate 25%",
            "ratio 0.9",
            "MFU 40%",
            "train 2.6",
            "val 2.7",
        ):
            assert title in written
        assert "logged" not in written and "NaN" not in written

    def test_header_says_how_far_the_run_is(self, healthy: Figure) -> None:
        title, summary = (text.get_text() for text in healthy.texts)
        assert title == "demo"
        for part in ("pretrain nano", "step 300", "1.23M tokens", "best val loss", "at 120"):
            assert part in summary

    def test_reference_levels_are_lines_with_names(self, healthy: Figure) -> None:
        loss = axes_of(healthy, "Loss")
        levels = {line.get_ydata()[0] for line in loss.lines if list(line.get_xdata()) == [0, 1]}
        assert levels == set(BASELINES.values())
        assert "unigram 5.5" in texts_of(healthy)

    def test_resumed_steps_are_marked(self, healthy: Figure) -> None:
        loss = axes_of(healthy, "Loss")
        assert any(list(line.get_xdata()) == [120, 120] for line in loss.lines)

    def test_what_was_not_logged_is_said_in_its_panel(self) -> None:
        store = SeriesStore()
        store.append({"step": 1, "mine/score": 2.0})
        written = texts_of(page(store, seen=True))
        for sentence in (
            "No loss was logged",
            "No perplexity was logged",
            "No learning rate was logged",
            "No gradient norm was logged",
            "No speed was logged",
            "No layer norms were logged",
            "This run was not probed",
        ):
            assert sentence in written
        assert "mine/score" in written

    def test_one_missing_probe_is_said_too(self) -> None:
        store = SeriesStore()
        store.append({"step": 1, names.PROBE + "entropy": 2.0})
        assert texts_of(page(store)).count("Not measured.") == 8

    def test_series_of_others_get_panels_of_their_own(self) -> None:
        store = measured(40)
        store.append({"step": 41, "system/memory": 812.0, "rewards/accuracy": 0.5})
        written = texts_of(page(store))
        assert "system/memory" in written and "rewards/accuracy" in written

    @pytest.mark.parametrize("steps", [1, 2, 5])
    def test_very_short_runs(self, steps: int) -> None:
        loss = axes_of(page(measured(steps), seen=steps == 1), "Loss")
        drawn = [line for line in loss.lines if line.get_marker() == "o"]
        assert len(drawn[0].get_xdata()) == steps

    def test_names_are_text_and_never_mathematics(self) -> None:
        store = measured(3)
        store.append({"step": 4, r"mine/$\frac$": 1.0})
        with rc_context(plot_style.settings()):
            figure = page_layout.draw("whole", PlotSource(store, "a $x_1 b\x1b[31m\n"))
            figure.canvas.draw()
        assert figure.texts[0].get_text() == "a $x_1 b\ufffd[31m "
        assert r"mine/$\frac$" in texts_of(figure)

    def test_a_long_run_is_drawn_with_few_points(self) -> None:
        store = SeriesStore()
        steps = np.arange(1, 200_001)
        values = np.sin(steps / 5000.0)
        store.extend(steps, {names.GRAD_NORM: (None, values), names.TRAIN_LOSS: (None, values)})
        drawn = page(store)
        for title in ("Gradient norm", "Loss"):
            ax = axes_of(drawn, title)
            assert max(len(line.get_xdata()) for line in ax.lines) <= COLUMNS
            for band in ax.collections:
                for path in band.get_paths():
                    assert len(path.vertices) <= 4 * COLUMNS


class TestTrouble:
    def test_a_diverged_run_is_red_from_there_on(self) -> None:
        figure = page(measured(300, nan_from=200), seen=True)
        assert "NaN/Inf at 101 steps" in texts_of(figure)
        assert "train NaN" in texts_of(figure)
        with rc_context(plot_style.settings()):
            image = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
        loss = axes_of(figure, "Loss").get_window_extent()
        bottom = image.shape[0] - int(loss.y0) - 4
        row = image[bottom, int(loss.x0) + 4 : int(loss.x1) - 12]
        red = (row[:, 0] > 200) & (row[:, 1] < 60)
        assert red[int(len(row) * 0.72) :].all() and not red[: int(len(row) * 0.6)].any()

    @pytest.mark.parametrize("steps", [300, 20_000])
    def test_one_nan_step_among_many_is_seen(self, steps: int) -> None:
        store = measured(10)
        rest = np.arange(11, steps + 1)
        values = np.where(rest == steps // 2, np.nan, 3.0)
        store.extend(rest, {names.TRAIN_LOSS: (None, values)})
        series = store.get(names.TRAIN_LOSS)
        assert series is not None
        ((start, end),) = Curve.of(series, StepWindow.of(store)).broken
        assert start <= steps // 2 <= end and end - start >= steps / COLUMNS / 2

    def test_a_spike_is_cut_off_and_says_so(self) -> None:
        loss = axes_of(page(measured(300, spike_at=150), seen=True), "Loss")
        assert loss.get_ylim()[1] < 12
        ((x, marker),) = [
            (line.get_xdata(), line.get_marker())
            for line in loss.lines
            if line.get_marker() == "^" and len(line.get_xdata())
        ]
        assert (list(x), marker) == ([150.0], "^")

    def test_a_spike_between_columns_is_in_the_band(self) -> None:
        steps = np.arange(1, 40_001)
        values = np.where(steps == 12_345, 4.0, 2.0) + np.sin(steps) * 0.8
        store = SeriesStore()
        store.extend(steps, {names.GRAD_NORM: (None, values)})
        (band,) = (
            item
            for item in axes_of(page(store), "Gradient norm").collections
            if isinstance(item, FillBetweenPolyCollection)
        )
        assert max(path.vertices[:, 1].max() for path in band.get_paths()) > 3.0

    def test_a_norm_that_explodes_is_shown_on_a_log_scale(self) -> None:
        store = SeriesStore()
        for step in range(1, 301):
            norm = 0.5 if step < 240 else 0.5 * 10 ** ((step - 240) / 10)
            store.append({"step": step, names.GRAD_NORM: norm})
        assert axes_of(page(store, seen=True), "Gradient norm").get_yscale() == "log"

    def test_a_layer_without_gradient_is_grey(self) -> None:
        store = SeriesStore()
        for step in range(1, 30):
            store.append({"step": step, "grad/layers.0": 0.5, "grad/layers.1": 0.0})
        assert "grey: exactly 0" in texts_of(page(store))

    @settings(max_examples=12, deadline=None)
    @given(
        st.lists(st.floats(width=32), min_size=1, max_size=30),
        st.sampled_from([panels.draw_loss, panels.draw_grad_norm, panels.draw_ppl]),
    )
    def test_any_values_can_be_drawn(self, values: list[float], draw: object) -> None:
        store = SeriesStore()
        for step, value in enumerate(values):
            row = dict.fromkeys((names.TRAIN_LOSS, names.TRAIN_PPL, names.GRAD_NORM), value)
            store.append({"step": step, **row})
        ax = FigureCanvasAgg(Figure()).figure.add_subplot()
        baselines = (BASELINES,) if draw is panels.draw_loss else ()
        draw(ax, store, StepWindow.of(store), *baselines)  # type: ignore[operator]
        ax.figure.canvas.draw()
        assert np.isfinite(ax.get_ylim()).all()


class TestNumbers:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (2.53118, "2.531"),
            (3e-4, "3e-4"),
            (12_430.4, "12.43k"),
            (999_999.9, "1M"),
            (4.85e8, "485M"),
            (0.0, "0"),
            (-0.25, "-0.25"),
            (math.nan, "NaN"),
            (-math.inf, "-∞"),
        ],
    )
    def test_values_are_written_as_people_do(self, value: float, text: str) -> None:
        assert plot_style.number(value) == text

    def test_a_chinese_font_is_used_where_there_is_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        installed = font_manager.fontManager.ttflist
        chinese = replace(installed[0], name="Noto Sans CJK SC")
        monkeypatch.setattr(font_manager.fontManager, "ttflist", [*installed, chinese])
        *latin, last = plot_style.settings()["font.family"]
        assert latin and last == "Noto Sans CJK SC"


def write_run(folder: Path, *, tensorboard: bool = False, steps: int = 60) -> Path:
    with TrainingTracker(folder, tensorboard=tensorboard) as tracker:
        for step in range(1, steps + 1):
            tracker.update_loss(7.0 / step**0.3 if step != 30 else math.nan)
            tracker.update_grad_norm(1.0 / step, 0.1)
            tracker.log(step, tokens=step * 64)
    return folder


class TestFiles:
    def test_export_writes_two_pictures_a_person_can_read(self, tmp_path: Path) -> None:
        write_run(tmp_path)
        (tmp_path / "run.json").write_text(
            json.dumps({"name": "小故事", "references": BASELINES, "resumed_steps": [20]})
        )
        training, probes = export_plots(tmp_path)
        assert training == tmp_path / "plots" / "training.png"
        assert probes == tmp_path / "plots" / "probes.png"
        assert imread(training).shape[1] == imread(probes).shape[1] == 1950
        assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
            "probes.png",
            "training.png",
        ]

    def test_a_page_replaces_the_one_before(self, tmp_path: Path) -> None:
        output = tmp_path / "page.png"
        output.write_text("old")
        draw_page(measured(5), BASELINES, output, "demo")
        assert imread(output).ndim == 3

    @pytest.mark.parametrize(("suffix", "magic"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
    def test_other_formats(self, tmp_path: Path, suffix: str, magic: bytes) -> None:
        draw_page(measured(5), {}, tmp_path / f"page.{suffix}", "demo")
        assert (tmp_path / f"page.{suffix}").read_bytes().startswith(magic)

    def test_tensorboard_folder_and_run_directory_give_the_same(self, tmp_path: Path) -> None:
        write_run(tmp_path, tensorboard=True)
        run, events = of_log_dir(tmp_path), of_log_dir(tmp_path / "tensorboard")
        assert run.title == events.title == tmp_path.name
        assert set(run.store.names()) == set(events.store.names())
        for name in run.store.names():
            a, b = run.store.get(name), events.store.get(name)
            assert a is not None and b is not None
            assert a.steps.tolist() == b.steps.tolist()
            assert b.values == pytest.approx(a.values, rel=1e-6, nan_ok=True)

    def test_events_of_other_writers_are_read(self, tmp_path: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer = EventFileWriter(str(tmp_path))
        for step in (3, 1, 2):
            writer.add_event(Event(step=step, summary=scalar_pb("loss", step * 0.5)))
        writer.close()
        (path,) = find_event_files(tmp_path)
        with path.open("ab") as torn:
            torn.write(b"\x18\x00\x00")
        series = read_event_files([path]).get("loss")
        assert series is not None
        assert (series.steps.tolist(), series.values.tolist()) == ([1, 2, 3], [0.5, 1.0, 1.5])

    @pytest.mark.usefixtures("empty_pages")
    def test_command_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_run(tmp_path)
        for source in (
            ["--log-dir", str(tmp_path)],
            ["--json-log", str(tmp_path / "metrics.jsonl")],
        ):
            output = tmp_path / f"{source[0]}.png"
            assert main([*source, "--output", str(output)]) == 0
            assert tuple(capsys.readouterr()) == (f"{output}\n", "")
            assert imread(output).ndim == 3

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--log-dir", "nowhere"], "no such folder"),
            (["--log-dir", "empty"], "neither metrics.jsonl nor TensorBoard events"),
            (["--log-dir", "parent"], "parent/child has some"),
            (["--json-log", "nowhere.jsonl"], "no such file"),
            (["--json-log", "empty"], "no such file"),
            (["--json-log", "blank.jsonl"], "no metrics in it; wait for the first logged step"),
            (["--json-log", "garbage.jsonl"], "no metrics in it; 2 lines are not readable"),
            (["--json-log", "good.jsonl", "--output", "x.txt"], "give a name that ends in .png"),
            (["--json-log", "good.jsonl", "--output", "blank.jsonl/x.png"], "cannot be written"),
        ],
    )
    def test_bad_input_is_one_sentence(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: Sequence[str],
        sentence: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("empty").mkdir()
        Path("parent/child").mkdir(parents=True)
        Path("parent/child/events.out.tfevents.1").touch()
        Path("blank.jsonl").touch()
        Path("garbage.jsonl").write_bytes(b"\xff\xfe\x00\nnot json\n")
        Path("good.jsonl").write_text('{"step": 1, "train/loss": 1.0}\n')
        if "--output" not in arguments:
            arguments = [*arguments, "--output", "x.png"]
        assert main(arguments) == 2
        complaint = capsys.readouterr().err
        assert sentence in complaint and complaint.count("\n") == 1
        assert not list(tmp_path.glob("**/*.png"))

    @pytest.mark.usefixtures("empty_pages")
    def test_unreadable_lines_are_counted_and_the_rest_is_drawn(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        log = write_run(tmp_path) / "metrics.jsonl"
        log.write_bytes(log.read_bytes() + b"torn\n")
        assert main(["--json-log", str(log), "--output", str(tmp_path / "x.png")]) == 0
        assert "1 lines are not readable and were left out" in caplog.text

    def test_importing_it_imports_no_heavy_library(self) -> None:
        script = (
            "import sys, lmm_tui.metrics.visualize\n"
            "heavy = {'torch', 'tensorboard', 'matplotlib', 'pydantic', 'transformers'}\n"
            "sys.exit(', '.join(heavy & sys.modules.keys()) or None)\n"
        )
        subprocess.run([sys.executable, "-c", script], check=True)
