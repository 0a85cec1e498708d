"""Training tracker: collects the scalars of a step and commits them as one row.

Rows go to metrics.jsonl, flushed line by line, and a copy to TensorBoard. It works in any training
script. A row of thirty scalars costs about 30 µs; scalars that are still on a device are fetched
together, at the commit.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import make_private
from lmm_tui.message import os_reason
from lmm_tui.metrics import names
from lmm_tui.metrics.running_averages import CLIP_WINDOW, ClipWindow, Ema
from lmm_tui.metrics.values import perplexity, strict
from lmm_tui.metrics.writers.line_file import LineFile, NoFile
from lmm_tui.metrics.writers.mirror import RowMirror
from lmm_tui.metrics.writers.tensorboard_mirror import TensorBoardMirror

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)

Scalar: TypeAlias = "float | Tensor"
"""A number, or a 0-d tensor on any device."""

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_DIR = "tensorboard"


class TrackerError(LmmError):
    """A log directory that cannot be written to."""


class TrainingTracker:
    """Collects scalars and commits them as rows of `log_dir`/metrics.jsonl.

    A commit writes what was updated since the last one; a metric that was not measured is not in
    the row. Committing a step twice adds to its row, and committing an earlier step supersedes the
    rows from there on: readers keep the last row of a step. Not thread-safe.

    >>> tracker = TrainingTracker(log_dir="logs/run_name")
    >>> for batch in batches:
    ...     tracker.update_loss(train_step(batch))
    ...     tracker.log_to_tensorboard()
    >>> tracker.close()
    """

    def __init__(
        self,
        log_dir: Path | str | None,
        *,
        tensorboard: bool = True,
        ema_beta: float = 0.98,
        clip_window: int = CLIP_WINDOW,
        likelihood: bool = True,
    ) -> None:
        """Open the record in `log_dir`, or append to it; None: nothing is written.

        `ema_beta` smooths the train loss, `clip_window` is in steps. `likelihood=False`: the loss
        is not in nats per token, so no perplexity is derived. Raises TrackerError if the directory
        cannot be written to.
        """
        # The script may change its directory.
        self.log_dir = Path(log_dir or ".").absolute()
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
        self._file: LineFile | NoFile = NoFile()
        try:
            if log_dir is not None:
                make_private(self.log_dir)
                self._file = LineFile(self.log_dir / METRICS_FILE)
        except OSError as error:
            raise TrackerError(
                "{log_dir}: cannot be written ({error}); choose another log_dir",
                log_dir=self.log_dir,
                error=os_reason(error),
            ) from None
        self._mirrors: list[RowMirror] = []
        if tensorboard and log_dir is not None:
            self._mirrors.append(TensorBoardMirror(self.log_dir / TENSORBOARD_DIR))

    def add_mirror(self, mirror: RowMirror) -> None:
        """Give it a copy of each row from now on, and close it with the record."""
        self._mirrors.append(mirror)

    @property
    def lost_rows(self) -> int:
        """Rows that were dropped because the disk stayed full or did not answer."""
        return self._file.lost

    @property
    def waiting_rows(self) -> int:
        """Rows kept in memory until the disk accepts them."""
        return self._file.waiting

    @property
    def trouble(self) -> str:
        """The system's reason why rows are waiting; empty if none are."""
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
        """Mean loss in nats per token.

        Each `train` loss also updates the moving average; the perplexity is derived from the loss
        unless it is given.
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
        """Global norm before clipping, and the clipping threshold."""
        norm = _own(norm)
        self._pending[names.GRAD_NORM] = norm
        self._norms.append((norm, max_norm))

    def update_layer_norms(self, norms: Mapping[str, Scalar]) -> None:
        """Gradient norm of each layer, as `LayerNorms.by_layer` returns them."""
        for layer, norm in norms.items():
            self.update(names.GRAD_LAYER + layer, norm)

    def update_tokens(self, n: int) -> None:
        """Count `n` more tokens as seen."""
        self.tokens += n

    def update_speed(
        self, steps_per_s: float | None, tokens_per_s: float | None, mfu: float | None = None
    ) -> None:
        """Speed as measured by `SpeedMeter`; None means not measured."""
        speed = {names.STEPS_PER_S: steps_per_s, names.TOKENS_PER_S: tokens_per_s, names.MFU: mfu}
        self._pending.update({name: value for name, value in speed.items() if value is not None})

    def log_probe_metrics(
        self, distribution: Mapping[str, float], representation: Mapping[str, float]
    ) -> None:
        """The results of the two `compute_…` methods of a `ModelProbe`."""
        for name, value in {**distribution, **representation}.items():
            self.update(names.PROBE + name, value)

    def log_to_tensorboard(self, step: int | None = None) -> dict[str, float]:
        """Commit a row; the same as `log`, under the name that training scripts use."""
        return self.log(step)

    def log(
        self, step: int | None = None, tokens: int | None = None, epoch: float | None = None
    ) -> dict[str, float]:
        """Commit what was updated as the row of `step`, by default the step after the last.

        `tokens` is the number of tokens seen so far, `epoch` the number of passes over the data.
        Returns the new scalars as plain numbers.
        """
        step = self.step + 1 if step is None else step
        self.tokens = self.tokens if tokens is None else tokens
        scalars = self._take_pending()
        if scalars:
            # Readers keep the last row of a step, so it repeats what the step's row already had.
            repeated = self._last_row if step == self.step else {}
            self._last_row = {**repeated, **scalars}
            now = time.time()
            self._write(_line(step, now, self.tokens, epoch, self._last_row))
            for mirror in self._mirrors:
                mirror.write(step, now, scalars)
        self.step = step
        return scalars

    def log_late(self, step: int) -> dict[str, float]:
        """Commit what was updated to the row of an earlier step, which later rows outlast.

        For what is measured later than the step it belongs to, as by an evaluation of a
        checkpoint. Readers join it with the row of that step.
        """
        scalars = self._take_pending()
        if scalars:
            now = time.time()
            self._write(_line(step, now, 0, None, scalars, late=True))
            for mirror in self._mirrors:
                mirror.write(step, now, scalars, late=True)
        return scalars

    def discard(self) -> None:
        """Forget what was updated since the last commit."""
        for pending in (self._pending, self._splits, self._train_losses, self._norms):
            pending.clear()

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs to continue its curves, in plain numbers and lists."""
        return {
            "step": self.step,
            "tokens": self.tokens,
            "loss_ema": self.loss_ema.mean,
            "ema_count": self.loss_ema.count,
            "nonfinite_losses": self.loss_ema.nonfinite,
            "clip_window": self._clips.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step, self.tokens = state["step"], state["tokens"]
        self.loss_ema.count = state["ema_count"]
        if "ema_mean" in state:  # Of an older version, which corrected the bias when reading.
            beta, count = self.loss_ema.beta, self.loss_ema.count
            self.loss_ema.mean = state["ema_mean"] / (1 - beta**count) if count else 0.0
        else:
            self.loss_ema.mean = state["loss_ema"]
        self.loss_ema.nonfinite = state["nonfinite_losses"]
        self._clips.load_state_dict(state["clip_window"])

    def settle(self) -> None:
        """Wait without limit until every row is in metrics.jsonl or was refused by the disk."""
        self._file.settle()

    def close(self) -> None:
        """Close metrics.jsonl and the mirrors; drops what was not committed."""
        self._file.close()
        for mirror in self._mirrors:
            mirror.end()
        for mirror in self._mirrors:
            mirror.close()

    def _take_pending(self) -> dict[str, float]:
        """All pending scalars as numbers, with the derived ones, and clear them."""
        # One list, so that all that are on a device come in one copy.
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
        self.discard()
        return scalars

    def _write(self, line: bytes) -> None:
        had_trouble = bool(self._file.trouble)
        self._file.append(line)
        if self._file.trouble and not had_trouble:
            _log.warning(
                "%s: a row could not be written (%s); rows wait in memory until it can",
                self.log_dir / METRICS_FILE,
                self._file.trouble,
            )


def _line(
    step: int,
    now: float,
    tokens: int,
    epoch: float | None,
    scalars: Mapping[str, float],
    late: bool = False,
) -> bytes:
    """A row as strict JSON: non-finite numbers become strings that `float` reads back."""
    row: dict[str, Any] = {"step": step, "time": round(now, 3)}
    if tokens:
        row["tokens"] = tokens
    if epoch is not None:
        row["epoch"] = round(epoch, 6)
    if late:
        row["late"] = True
    for name, value in scalars.items():
        row[name] = strict(value)
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _own(value: Scalar) -> Scalar:
    """The present value: a number if that needs no device sync, else a copy on its device."""
    if not hasattr(value, "detach"):
        return float(value)
    tensor = value.detach()
    return float(tensor) if tensor.device.type == "cpu" else tensor.clone()


def _fetch(values: Sequence[Scalar]) -> list[float]:
    """All values as numbers, those on a device in one copy."""
    on_device = [value for value in values if not isinstance(value, float)]
    if not on_device:
        return [float(value) for value in values]
    import torch

    fetched = iter(torch.stack([tensor.float() for tensor in on_device]).tolist())
    return [value if isinstance(value, float) else next(fetched) for value in values]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder, TrainingTracker(folder) as tracker:
        for loss in (6.9, float("nan")):
            tracker.update_loss(loss)
            tracker.log_to_tensorboard()
        print((Path(folder) / METRICS_FILE).read_text())
    print("=== 自测通过 ===")
