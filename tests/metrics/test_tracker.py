"""The record: a strict JSON row a commit, one curve over a resume, TensorBoard equal to it."""

import json
import logging
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import full
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.metrics.probes import ModelProbe
from lmm_tui.metrics.readers.json_lines import MetricsFollower
from lmm_tui.metrics.running_averages import ClipWindow, Ema
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.metrics.step.grad_norms import GradNorms
from lmm_tui.metrics.tracker import TrackerError, TrainingTracker
from lmm_tui.metrics.values import perplexity


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def rows_of(log_dir: Path) -> list[dict[str, Any]]:
    lines = (log_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def followed(log_dir: Path) -> SeriesStore:
    store = SeriesStore()
    follower = MetricsFollower(log_dir / "metrics.jsonl", store)
    follower.poll()
    assert follower.bad_lines == 0
    return store


def quiet(log_dir: Path, **settings: Any) -> TrainingTracker:
    return TrainingTracker(log_dir, tensorboard=False, **settings)


class TestEma:
    def test_four_then_two(self) -> None:
        ema = Ema(0.9)
        ema.add(4.0)
        assert ema.value == pytest.approx(4.0)
        ema.add(2.0)
        assert ema.value == pytest.approx(2.947, abs=5e-4)

    @given(x=st.floats(-1e6, 1e6), beta=st.floats(0, 0.999), n=st.integers(1, 50))
    def test_a_constant_is_itself_from_the_first_value(self, x: float, beta: float, n: int) -> None:
        ema = Ema(beta)
        for _ in range(n):
            ema.add(x)
            assert ema.value == pytest.approx(x, rel=1e-9, abs=1e-9)

    @given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
    def test_lies_between_the_extremes(self, values: list[float]) -> None:
        ema = Ema(0.98)
        for value in values:
            ema.add(value)
        assert min(values) - 1e-9 <= ema.value <= max(values) + 1e-9

    def test_skips_and_counts_what_is_not_finite(self) -> None:
        ema = Ema(0.9)
        ema.add(math.nan)
        assert math.isnan(ema.value)
        for x in (3.0, math.inf, 3.0, math.nan):
            ema.add(x)
        assert ema.value == pytest.approx(3.0) and ema.nonfinite == 3


class TestClipWindow:
    def test_oracle(self) -> None:
        window = ClipWindow(100)
        for norm in (0.5, 2.0, 4.0):
            window.add(norm, 1.0)
        assert window.rate == pytest.approx(2 / 3)
        assert window.ratio == pytest.approx(0.5833, abs=1e-4)

    def test_forgets_what_left_the_window(self) -> None:
        window = ClipWindow(2)
        for norm in (9.0, 9.0, 0.5, 0.5):
            window.add(norm, 1.0)
        assert (window.rate, window.ratio) == (0.0, 1.0)

    def test_a_norm_that_is_not_finite_is_no_clipped_step(self) -> None:
        window = ClipWindow(4)
        window.add(math.nan, 1.0)
        assert math.isnan(window.rate) and math.isnan(window.ratio)


@pytest.mark.parametrize(
    ("loss", "expected"), [(0.0, 1.0), (math.log(6400), 6400.0), (50.0, math.exp(20))]
)
def test_perplexity(loss: float, expected: float) -> None:
    assert perplexity(loss) == pytest.approx(expected)


class TestRows:
    def test_five_lines_in_anyones_script(self, tmp_path: Path) -> None:
        tracker = TrainingTracker(log_dir=str(tmp_path / "logs" / "run_name"))
        for loss in (3.0, 2.0):
            tracker.update_loss(loss, "train")
            tracker.update_ppl(perplexity(loss), "train")
            tracker.update_lr(1e-3)
            tracker.log_to_tensorboard()
        tracker.close()
        first, second = rows_of(tmp_path / "logs" / "run_name")
        assert (first["step"], second["step"]) == (1, 2)
        assert second["train/loss"] == 2.0 and second["train/lr"] == 1e-3
        assert second["train/ppl"] == pytest.approx(math.exp(2.0))

    def test_a_row_says_where_it_is_first(self, tmp_path: Path) -> None:
        tracker = quiet(tmp_path)
        tracker.update_loss(3.0)
        tracker.log(step=7, tokens=4096)
        (row,) = rows_of(tmp_path)
        assert list(row)[:3] == ["step", "time", "tokens"]
        assert (row["step"], row["tokens"]) == (7, 4096)

    def test_what_was_not_measured_is_absent(self, tmp_path: Path) -> None:
        tracker = quiet(tmp_path)
        tracker.update_loss(3.0)
        tracker.update_speed(None, 100.0)
        tracker.log()
        tracker.update_loss(2.5, "val")
        tracker.log()
        first, second = rows_of(tmp_path)
        assert first.keys() - {"step", "time"} == {
            "train/loss",
            "train/loss_ema",
            "train/ppl",
            "train/tokens_per_s",
        }
        assert second.keys() - {"step", "time"} == {"val/loss", "val/ppl"}

    def test_nothing_updated_is_no_row(self, tmp_path: Path) -> None:
        tracker = quiet(tmp_path)
        assert tracker.log(step=3) == {}
        assert rows_of(tmp_path) == [] and tracker.step == 3

    def test_a_step_committed_twice_is_one_row_for_readers(self, tmp_path: Path) -> None:
        tracker = quiet(tmp_path)
        tracker.update_loss(3.0)
        tracker.log(step=5)
        tracker.update_loss(2.5, "val")
        tracker.log(step=5)
        last = rows_of(tmp_path)[-1]
        assert (last["train/loss"], last["val/loss"]) == (3.0, 2.5)
        assert len(followed(tmp_path)) == 1

    @given(value=st.floats(allow_nan=True, allow_infinity=True))
    def test_every_value_survives_strict_json(
        self, tmp_path_factory: pytest.TempPathFactory, value: float
    ) -> None:
        folder = tmp_path_factory.mktemp("row")
        with quiet(folder) as tracker:
            tracker.update("mine/score", value)
            tracker.log()
        read = float(rows_of(folder)[0]["mine/score"])
        assert read == value or (math.isnan(read) and math.isnan(value))

    def test_a_diverged_step_is_seen_as_one(self, tmp_path: Path) -> None:
        tracker = quiet(tmp_path)
        for loss, norm in ((2.0, 1.0), (math.nan, math.inf)):
            tracker.update_loss(loss)
            tracker.update_grad_norm(norm, 1.0)
            tracker.log()
        row = rows_of(tmp_path)[1]
        assert (row["train/loss"], row["train/grad_norm"]) == ("NaN", "Infinity")
        assert not {"train/loss_ema", "train/clip_rate", "train/clip_ratio"} & row.keys()
        store = followed(tmp_path)
        loss_series = store.get("train/loss")
        assert loss_series is not None and math.isnan(loss_series.values[1])

    def test_losses_between_commits_all_count_in_the_average(self, tmp_path: Path) -> None:
        every, third = quiet(tmp_path / "every"), quiet(tmp_path / "third")
        for step in range(1, 10):
            for tracker in (every, third):
                tracker.update_loss(10.0 / step)
                tracker.update_grad_norm(3.0 / step, 1.0)
            every.log()
            if step % 3 == 0:
                third.log(step)
        last, last_of_third = rows_of(tmp_path / "every")[-1], rows_of(tmp_path / "third")[-1]
        del last["time"], last_of_third["time"]
        assert last == last_of_third

    def test_tokens_are_counted_or_given(self, tmp_path: Path) -> None:
        tracker = quiet(tmp_path)
        for _ in range(2):
            tracker.update_tokens(100)
            tracker.update_loss(1.0)
            tracker.log()
        tracker.update_loss(1.0)
        tracker.log(tokens=1000)
        assert [row["tokens"] for row in rows_of(tmp_path)] == [100, 200, 1000]

    def test_tensors_are_read_as_they_were(self, tmp_path: Path) -> None:
        tracker, running = quiet(tmp_path), torch.tensor(2.5, requires_grad=True)
        tracker.update_loss(running)
        with torch.no_grad():
            running.zero_()
        tracker.update("mine/half", torch.tensor(0.5, dtype=torch.bfloat16))
        assert tracker.log()["train/loss"] == 2.5
        assert rows_of(tmp_path)[0]["mine/half"] == 0.5

    def test_tensors_on_a_device_are_fetched_together(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No GPU here, so the CPU plays one: nothing is read before the commit."""
        monkeypatch.setattr("lmm_tui.metrics.tracker._own", lambda value: value)
        tracker = quiet(tmp_path)
        tracker.update_loss(torch.tensor(2.0))
        tracker.update_lr(0.1)
        tracker.update_grad_norm(torch.tensor(4.0), 1.0)
        tracker.log()
        (row,) = rows_of(tmp_path)
        assert (row["train/loss"], row["train/lr"]) == (2.0, 0.1)
        assert (row["train/loss_ema"], row["train/clip_rate"]) == (pytest.approx(2.0), 1.0)

    def test_probes_and_layer_norms_have_their_names(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 20))
        probe, grads = ModelProbe(), GradNorms(model.named_parameters())
        probe.attach(model, ["0"])
        probe.activate()
        labels = torch.randint(0, 20, (2, 6))
        logits = model(torch.randn(2, 6, 8))
        logits.sum().backward()
        tracker = quiet(tmp_path)
        tracker.update_layer_norms(grads.measure().by_layer())
        tracker.log_probe_metrics(
            probe.compute_output_distribution(logits, labels),
            probe.compute_representation_diversity(),
        )
        probe.deactivate()
        tracker.log_to_tensorboard(step=10)
        (row,) = rows_of(tmp_path)
        assert {"grad/0", "grad/1", "probe/entropy", "probe/participation_ratio"} <= row.keys()
        assert "probe/0/participation_ratio" in row


def run_steps(tracker: TrainingTracker, first: int, last: int) -> None:
    for step in range(first, last + 1):
        tracker.update_loss(5.0 / step if step % 7 else math.nan)
        tracker.update_grad_norm(0.2 * step, 1.0)
        tracker.log(step=step, tokens=step * 64)


class TestResume:
    def test_one_curve_to_the_last_bit(self, tmp_path: Path) -> None:
        with quiet(tmp_path / "whole", clip_window=5) as tracker:
            run_steps(tracker, 1, 20)
        with quiet(tmp_path / "parts", clip_window=5) as tracker:
            run_steps(tracker, 1, 10)
            state = json.loads(json.dumps(tracker.state_dict(), allow_nan=False))
            run_steps(tracker, 11, 13)
        with quiet(tmp_path / "parts", clip_window=5) as tracker:
            tracker.load_state_dict(state)
            assert (tracker.step, tracker.tokens) == (10, 640)
            run_steps(tracker, 11, 20)
            assert tracker.loss_ema.nonfinite == 2
        whole, parts = followed(tmp_path / "whole"), followed(tmp_path / "parts")
        assert whole.names() == parts.names()
        for name in whole.names():
            a, b = whole.get(name), parts.get(name)
            assert a is not None and b is not None
            assert a.steps.tolist() == b.steps.tolist()
            assert [repr(x) for x in a.values] == [repr(x) for x in b.values]

    def test_a_torn_last_line_is_ended_first(self, tmp_path: Path) -> None:
        with quiet(tmp_path) as tracker:
            run_steps(tracker, 1, 2)
        with (tmp_path / "metrics.jsonl").open("ab") as file:
            file.write(b'{"step":3,"ti')
        with quiet(tmp_path) as tracker:
            run_steps(tracker, 3, 3)
        store = SeriesStore()
        follower = MetricsFollower(tmp_path / "metrics.jsonl", store)
        follower.poll()
        assert (len(store), store.last_step, follower.bad_lines) == (3, 3, 1)

    def test_a_whole_last_line_is_left_alone(self, tmp_path: Path) -> None:
        for step in (1, 2):
            with quiet(tmp_path) as tracker:
                run_steps(tracker, step, step)
        assert len(rows_of(tmp_path)) == 2

    def test_rows_are_there_when_the_process_is_killed(self, tmp_path: Path) -> None:
        script = (
            "import os, signal, sys\n"
            "from lmm_tui.metrics.tracker import TrainingTracker\n"
            "tracker = TrainingTracker(sys.argv[1])\n"
            "tracker.update_loss(1.5)\n"
            "tracker.log()\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
        assert rows_of(tmp_path)[0]["train/loss"] == 1.5


class TestTrouble:
    def test_a_log_dir_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("")
        with pytest.raises(TrackerError, match="cannot be written"):
            TrainingTracker(tmp_path / "taken")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_disk_does_not_end_the_run(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        tracker = quiet(tmp_path)
        with full(tmp_path / "metrics.jsonl"):
            run_steps(tracker, 1, 3)
            assert (tracker.waiting_rows, tracker.lost_rows) == (3, 0)
            tracker.close()
        assert tracker.lost_rows == 3
        assert len(caplog.records) == 1 and "could not be written" in caplog.text

    def test_a_missing_tensorboard_costs_the_mirror_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
        with caplog.at_level(logging.WARNING), TrainingTracker(tmp_path) as tracker:
            run_steps(tracker, 1, 50)
        assert len(rows_of(tmp_path)) == 50
        assert "no TensorBoard mirror" in caplog.text and len(caplog.records) == 1

    def test_importing_the_tracker_imports_no_heavy_library(self) -> None:
        script = (
            "import sys, lmm_tui.metrics.tracker, lmm_tui.metrics.step.speed, "
            "lmm_tui.metrics.layers\n"
            "heavy = {'torch', 'tensorboard', 'matplotlib', 'numpy', 'pydantic'}\n"
            "sys.exit(', '.join(heavy & sys.modules.keys()) or None)\n"
        )
        subprocess.run([sys.executable, "-c", script], check=True)


def events_of(log_dir: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard's own reader finds, superseded points dropped."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(log_dir / "tensorboard"), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        tag: {event.step: event.value for event in accumulator.Scalars(tag)}
        for tag in accumulator.Tags()["scalars"]
    }


def assert_mirrored(log_dir: Path) -> None:
    store, events = followed(log_dir), events_of(log_dir)
    assert set(events) == set(store.names())
    for name, points in events.items():
        series = store.get(name)
        assert series is not None
        assert list(points) == series.steps.tolist()
        assert list(points.values()) == pytest.approx(series.values.tolist(), rel=1e-6, nan_ok=True)


class TestTensorBoard:
    def test_events_equal_the_record(self, tmp_path: Path) -> None:
        with TrainingTracker(tmp_path) as tracker:
            run_steps(tracker, 1, 30)
            tracker.update_loss(1.0, "val")
            tracker.log(step=30)
        assert_mirrored(tmp_path)

    def test_superseded_steps_are_dropped_there_too(self, tmp_path: Path) -> None:
        with TrainingTracker(tmp_path) as tracker:
            run_steps(tracker, 1, 10)
            state = tracker.state_dict()
            run_steps(tracker, 11, 19)
        with TrainingTracker(tmp_path) as tracker:
            tracker.load_state_dict(state)
            run_steps(tracker, 11, 15)
        assert_mirrored(tmp_path)

    def test_going_back_within_a_process_supersedes_too(self, tmp_path: Path) -> None:
        with TrainingTracker(tmp_path) as tracker:
            run_steps(tracker, 1, 10)
            run_steps(tracker, 5, 7)
        assert_mirrored(tmp_path)

    def test_a_script_that_forgets_to_close_loses_nothing(self, tmp_path: Path) -> None:
        script = (
            "import sys\n"
            "from lmm_tui.metrics.tracker import TrainingTracker\n"
            "tracker = TrainingTracker(sys.argv[1])\n"
            "for step in range(100):\n"
            "    tracker.update_loss(1.0 / (step + 1))\n"
            "    tracker.log_to_tensorboard()\n"
        )
        subprocess.run([sys.executable, "-c", script, tmp_path], check=True)
        assert_mirrored(tmp_path)

    def test_no_rows_are_no_event_file(self, tmp_path: Path) -> None:
        TrainingTracker(tmp_path).close()
        assert not (tmp_path / "tensorboard").exists()
