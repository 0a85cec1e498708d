"""The training record: what a loop tells it between two commits becomes one row.

Rows go to metrics.jsonl, flushed line by line, and a copy to TensorBoard. Works beside any
training script; knows no model, no schedule and no reader. A row of thirty scalars costs about
30 µs; numbers that are still on a device are fetched together, at the commit.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from lmm_tui.errors import LmmError
from lmm_tui.metrics import names
from lmm_tui.metrics.values import perplexity, strict
from lmm_tui.metrics.writers.line_file import LineFile
from lmm_tui.metrics.writers.tensorboard_mirror import TensorBoardMirror

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)

Scalar: TypeAlias = "float | Tensor"
"""A number, or a 0-d tensor on any device."""

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_DIR = "tensorboard"


class TrackerError(LmmError):
    """A log directory that cannot be written."""


class Ema:
    """Debiased exponential moving average: m = βm + (1-β)x, read as m / (1 - β^t).

    The correction is Adam's (arXiv 1412.6980, section 3): a constant is itself from the first
    value on. What is not finite is left out and counted.
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta
        self.mean = 0.0
        self.count = 0
        self.nonfinite = 0

    def add(self, x: float) -> bool:
        """Whether `x` was taken in."""
        if not math.isfinite(x):
            self.nonfinite += 1
            return False
        self.mean = self.beta * self.mean + (1 - self.beta) * x
        self.count += 1
        return True

    @property
    def value(self) -> float:
        """NaN before the first finite value."""
        return self.mean / (1 - self.beta**self.count) if self.count else math.nan


class ClipWindow:
    """How often and how much the last `size` steps were clipped; norms that are not finite
    belong to no clipped gradient and are left out.
    """

    def __init__(self, size: int) -> None:
        self._clipped: deque[int] = deque(maxlen=size)
        self._ratios: deque[float] = deque(maxlen=size)

    def add(self, norm: float, max_norm: float) -> bool:
        """Whether `norm` was taken in."""
        if not math.isfinite(norm):
            return False
        self._clipped.append(int(norm > max_norm))
        self._ratios.append(min(1.0, max_norm / (norm + 1e-6)))
        return True

    @property
    def rate(self) -> float:
        """Share of steps whose norm exceeded the threshold, 0 to 1; NaN before the first."""
        return sum(self._clipped) / len(self._clipped) if self._clipped else math.nan

    @property
    def ratio(self) -> float:
        """Mean factor put on the gradients, 1 where nothing was clipped; NaN before the first."""
        return sum(self._ratios) / len(self._ratios) if self._ratios else math.nan

    def state_dict(self) -> dict[str, list[Any]]:
        return {"clipped": list(self._clipped), "ratios": list(self._ratios)}

    def load_state_dict(self, state: Mapping[str, list[Any]]) -> None:
        self._clipped.extend(state["clipped"])
        self._ratios.extend(state["ratios"])


class TrainingTracker:
    """Collects scalars and commits them as rows of `log_dir`/metrics.jsonl.

    A commit writes what was updated since the last one; what was not measured is not in the row.
    Committing a step twice adds to its row, and committing an earlier step again supersedes the
    rows from there on: readers keep the last row of a step. Not thread-safe.

    >>> tracker = TrainingTracker(log_dir="logs/run_name")
    >>> for batch in batches:
    ...     tracker.update_loss(train_step(batch))
    ...     tracker.log_to_tensorboard()
    >>> tracker.close()
    """

    def __init__(
        self,
        log_dir: Path | str,
        *,
        tensorboard: bool = True,
        ema_beta: float = 0.98,
        clip_window: int = 100,
        likelihood: bool = True,
    ) -> None:
        """Opens, or goes on with, the record in `log_dir`. `ema_beta` smooths the train loss,
        `clip_window` is in steps; without `likelihood` the loss isn't nats per token, and no
        perplexity follows from it. Raises TrackerError where the directory cannot be written.
        """
        self.log_dir = Path(log_dir)
        self.step = 0
        """The step committed last."""
        self.tokens = 0
        self.loss_ema = Ema(ema_beta)
        self._clips = ClipWindow(clip_window)
        self._likelihood = likelihood
        self._pending: dict[str, Scalar] = {}
        self._splits: set[str] = set()
        self._train_losses: list[Scalar] = []
        self._norms: list[tuple[Scalar, float]] = []
        self._last_row: dict[str, float] = {}
        try:
            self.log_dir.mkdir(parents=True, exist_ok=True)
            self._file = LineFile(self.log_dir / METRICS_FILE)
        except OSError as error:
            raise TrackerError(
                f"{self.log_dir}: cannot be written ({error.strerror}); choose another log_dir"
            ) from None
        self._mirror = TensorBoardMirror(self.log_dir / TENSORBOARD_DIR) if tensorboard else None

    @property
    def lost_rows(self) -> int:
        """Rows that were never written, as on a disk that stays full; they stopped no training."""
        return self._file.lost

    @property
    def waiting_rows(self) -> int:
        """Rows in memory that are written once the disk takes them again."""
        return self._file.waiting

    @property
    def trouble(self) -> str:
        """Why rows wait, in the system's words; empty while they are written."""
        return self._file.trouble

    def __enter__(self) -> TrainingTracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def update(self, name: str, value: Scalar) -> None:
        """Any scalar under its slash name, such as `system/memory_gb`."""
        self._pending[name] = _own(value)

    def update_loss(self, loss: Scalar, split: str = "train") -> None:
        """Mean loss in nats per token. That of `train` also goes into the moving average, each
        time that it is given; the perplexity follows from the loss where it is not given too.
        """
        loss = _own(loss)
        self._pending[f"{split}/loss"] = loss
        self._splits.add(split)
        if split == "train":
            self._train_losses.append(loss)

    def update_ppl(self, ppl: Scalar, split: str = "train") -> None:
        self.update(f"{split}/ppl", ppl)

    def update_lr(self, lr: Scalar) -> None:
        self.update(names.LR, lr)

    def update_grad_norm(self, norm: Scalar, max_norm: float = math.inf) -> None:
        """Global norm before clipping, and the threshold it is clipped at."""
        norm = _own(norm)
        self._pending[names.GRAD_NORM] = norm
        self._norms.append((norm, max_norm))

    def update_layer_norms(self, norms: Mapping[str, Scalar]) -> None:
        """Gradient norm of each layer, as `GradNorms` gives them."""
        for layer, norm in norms.items():
            self.update(names.GRAD_LAYER + layer, norm)

    def update_tokens(self, n: int) -> None:
        """Count `n` more tokens as seen."""
        self.tokens += n

    def update_speed(
        self, steps_per_s: float | None, tokens_per_s: float | None, mfu: float | None = None
    ) -> None:
        """Speed as `SpeedMeter` gives it; None is not measured."""
        speed = {names.STEPS_PER_S: steps_per_s, names.TOKENS_PER_S: tokens_per_s, names.MFU: mfu}
        self._pending.update({name: value for name, value in speed.items() if value is not None})

    def log_probe_metrics(
        self, distribution: Mapping[str, float], representation: Mapping[str, float]
    ) -> None:
        """What the two `compute_…` calls of a `ModelProbe` returned."""
        for name, value in {**distribution, **representation}.items():
            self.update(names.PROBE + name, value)

    def log_to_tensorboard(self, step: int | None = None) -> dict[str, float]:
        """Commit under the name by which training scripts know it; the same as `log`."""
        return self.log(step)

    def log(
        self, step: int | None = None, tokens: int | None = None, epoch: float | None = None
    ) -> dict[str, float]:
        """Commit what was updated as the row of `step`, by default the step after the last.

        `tokens` is how many were seen so far, `epoch` how often the data were. Returns the new
        scalars as plain numbers.
        """
        step = self.step + 1 if step is None else step
        self.tokens = self.tokens if tokens is None else tokens
        scalars = self._take_pending()
        if scalars:
            again = self._last_row if step == self.step else {}
            self._last_row = {**again, **scalars}
            now = time.time()
            self._write(_line(step, now, self.tokens, epoch, self._last_row))
            if self._mirror is not None:
                self._mirror.write(step, now, scalars)
        self.step = step
        return scalars

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on with the same curves, in plain numbers and lists."""
        return {
            "step": self.step,
            "tokens": self.tokens,
            "ema_mean": self.loss_ema.mean,
            "ema_count": self.loss_ema.count,
            "nonfinite_losses": self.loss_ema.nonfinite,
            "clip_window": self._clips.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step, self.tokens = state["step"], state["tokens"]
        self.loss_ema.mean = state["ema_mean"]
        self.loss_ema.count = state["ema_count"]
        self.loss_ema.nonfinite = state["nonfinite_losses"]
        self._clips.load_state_dict(state["clip_window"])

    def settle(self) -> None:
        """Wait until each row is in metrics.jsonl or refused, however long that takes."""
        self._file.settle()

    def close(self) -> None:
        """Finish the TensorBoard mirror and close the file; what was not committed is dropped."""
        self._file.close()
        if self._mirror is not None:
            self._mirror.close()

    def _take_pending(self) -> dict[str, float]:
        """All pending scalars as numbers, and what follows from them."""
        waiting = [*self._pending.values(), *self._train_losses, *(norm for norm, _ in self._norms)]
        numbers = iter(_fetch(waiting))
        scalars = {name: next(numbers) for name in self._pending}
        losses = [next(numbers) for _ in self._train_losses]
        norms = [(next(numbers), max_norm) for _, max_norm in self._norms]
        for split in self._splits if self._likelihood else ():
            scalars.setdefault(f"{split}/ppl", perplexity(scalars[f"{split}/loss"]))
        if [loss for loss in losses if self.loss_ema.add(loss)]:
            scalars[names.TRAIN_LOSS_EMA] = self.loss_ema.value
        if [norm for norm, max_norm in norms if self._clips.add(norm, max_norm)]:
            scalars[names.CLIP_RATE] = self._clips.rate
            scalars[names.CLIP_RATIO] = self._clips.ratio
        for taken in (self._pending, self._splits, self._train_losses, self._norms):
            taken.clear()
        return scalars

    def _write(self, line: bytes) -> None:
        was_well = not self._file.trouble
        self._file.append(line)
        if was_well and self._file.trouble:
            _log.warning(
                "%s: a row could not be written (%s); rows wait in memory until it can",
                self.log_dir / METRICS_FILE,
                self._file.trouble,
            )


def _line(
    step: int, now: float, tokens: int, epoch: float | None, scalars: Mapping[str, float]
) -> bytes:
    """Strict JSON: what is not finite becomes a string that `float` reads back."""
    row: dict[str, Any] = {"step": step, "time": round(now, 3)}
    if tokens:
        row["tokens"] = tokens
    if epoch is not None:
        row["epoch"] = round(epoch, 6)
    for name, value in scalars.items():
        row[name] = strict(value)
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _own(value: Scalar) -> Scalar:
    """The value as it is now: a number where that costs no wait, else a copy on its device."""
    if not hasattr(value, "detach"):
        return float(value)
    tensor = value.detach()
    return float(tensor) if tensor.device.type == "cpu" else tensor.clone()


def _fetch(values: Sequence[Scalar]) -> list[float]:
    """All values as numbers, those still on a device in one copy."""
    on_device = [value for value in values if not isinstance(value, float)]
    if not on_device:
        return [float(value) for value in values]
    import torch

    fetched = iter(torch.stack([tensor.float() for tensor in on_device]).tolist())
    return [value if isinstance(value, float) else next(fetched) for value in values]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder, TrainingTracker(folder) as tracker:
        for loss in (6.9, float("nan"), 6.5):
            tracker.update_loss(loss)
            tracker.update_grad_norm(2.0, max_norm=1.0)
            tracker.update_tokens(4096)
            tracker.log_to_tensorboard()
        rows = (Path(folder) / METRICS_FILE).read_bytes().splitlines()
        print("\n".join(row.decode() for row in rows))
        assert orjson.loads(rows[1])["train/loss"] == "NaN" and tracker.loss_ema.nonfinite == 1
    print("=== 自测通过 ===")
