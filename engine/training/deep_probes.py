"""The deep probes that the configuration chooses, and the moments of a step that each records.

They run with the regular probe, so a step without a probe costs nothing more. What each measures
is defined in `metrics/`. Training is the same to the bit with them and without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.metrics.deep.calibration import expected_calibration_error, log_normaliser
from lmm_tui.metrics.deep.deep_probe import PARTS, DeepProbe
from lmm_tui.metrics.names import DEEP, LOG_NORMALISER, NOISE_SCALE, VAL_ECE
from lmm_tui.metrics.step.noise_scale import NoiseScale
from lmm_tui.metrics.step.update_ratio import UpdateRatios

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from lmm_tui.engine.config.sections.probe_config import ProbeConfig

_CALIBRATION_TOKENS = 512


class DeepProbes:
    """Records during a step, and gives the results to `collect`."""

    def __init__(self, model: LanguageModel, section: ProbeConfig) -> None:
        """Make it after adapters were added and parameters frozen."""
        self._section = section
        self._model = model
        parts = [part for part in PARTS if getattr(section, part)]
        self._probe = DeepProbe(model, parts) if parts else None
        self._ratios = UpdateRatios(model.named_parameters()) if section.updates else None
        self._noise = NoiseScale()
        self._update_ratios: Tensor | None = None
        self._first_gradient: tuple[Tensor, int] | None = None
        self._gradient_norms: tuple[Tensor, int, int] | None = None
        self._normaliser: Tensor | None = None

    def record_forward(self) -> AbstractContextManager[None]:
        """Record the forward pass in the `with` block."""
        return nullcontext() if self._probe is None else self._probe.watching()

    @torch.no_grad()
    def record_logits(self, logits_NxV: Tensor) -> None:
        """Record logits of the tokens that the probe sampled."""
        if self._section.calibration:
            self._normaliser = log_normaliser(logits_NxV)

    @torch.no_grad()
    def record_first_gradient(self, weight: int) -> None:
        """Record the gradient of the first micro-batch of a step, which weighs `weight`."""
        if self._section.noise:
            grads = [p.grad for p in self._model.parameters() if p.grad is not None]
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
            self._first_gradient = norm, weight

    @contextmanager
    def record_update(self) -> Iterator[None]:
        """Record how far the update in the `with` block moves the weights."""
        if self._ratios is None:
            yield
            return
        self._ratios.before()
        yield
        self._update_ratios = self._ratios.after()

    def record_gradient(self, norm: Tensor, weight: int) -> None:
        """Record the norm of a step's whole gradient before clipping; the step weighs `weight`."""
        if self._first_gradient is not None and self._first_gradient[1] < weight:
            small_norm, small = self._first_gradient
            # Each micro-batch's gradient is divided by the weight of all.
            small_norm = small_norm * (weight / small)
            self._gradient_norms = torch.stack([small_norm.float(), norm.float()]), small, weight
        self._first_gradient = None

    def collect(self) -> dict[str, float]:
        """The metrics recorded since the last call, by name; waits for the device."""
        found = {} if self._probe is None else self._probe.read()
        if self._normaliser is not None:
            found[LOG_NORMALISER] = float(self._normaliser)
        if self._update_ratios is not None and self._ratios is not None:
            layers = zip(self._ratios.layers, self._update_ratios.tolist(), strict=True)
            found.update({f"{DEEP}update_ratio/{layer}": value for layer, value in layers})
        self._normaliser = self._update_ratios = None
        return found | self._collect_noise()

    def _collect_noise(self) -> dict[str, float]:
        if self._gradient_norms is None:
            return {}
        norms, small, big = self._gradient_norms
        self._gradient_norms = None
        small_square, big_square = (norm**2 for norm in norms.tolist())
        scale = self._noise.add(small_square, small, big_square, big)
        return {} if scale is None else {NOISE_SCALE: scale}

    @torch.no_grad()
    def calibrate(self, model: LanguageModel, batches: Iterator[MicroBatch]) -> dict[str, float]:
        """The calibration error on the first validation labels, by one more forward pass."""
        if not self._section.calibration:
            return {}
        logits: list[Tensor] = []
        labels: list[Tensor] = []
        missing = _CALIBRATION_TOKENS
        while missing and (batch := next(batches, None)) is not None:
            labels_N = batch.labels_BxT.flatten()
            rows_N = (labels_N >= 0).nonzero().squeeze(1)[:missing]
            hidden_MxD = batch.hidden(model).flatten(0, 1)
            logits.append(model.head(hidden_MxD[rows_N]))
            labels.append(labels_N[rows_N])
            missing -= len(rows_N)
        if missing == _CALIBRATION_TOKENS:
            return {}
        return {VAL_ECE: float(expected_calibration_error(torch.cat(logits), torch.cat(labels)))}

    def state_dict(self) -> dict[str, Any]:
        return self._noise.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._noise.load_state_dict(state)


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.config.sections.probe_config import ProbeConfig
    from lmm_tui.engine.model.decoder import Decoder

    decoder = Decoder(ModelShape(50, 16, 2, 2, 1, 8, 32))
    decoder.init_weights(0)
    probes = DeepProbes(decoder, ProbeConfig(attention=True))
    with probes.record_forward():
        decoder(torch.randint(0, 50, (2, 16)))
    print(probes.collect())
    print("=== 自测通过 ===")
