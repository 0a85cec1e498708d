"""The deep probes of our own loop: which the configuration wants, and where in a step each looks.

They are taken with the probe that is due anyway; a step without a probe costs nothing more. What
each measures stands in `metrics/`; training is the same to the bit with them and without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lmm_tui.engine.model.decoder import Decoder
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
    """What the deep probes of one step found, until `take` collects it."""

    def __init__(self, model: Decoder, section: ProbeConfig) -> None:
        """Once the model's parameters are what will be trained."""
        self._section = section
        self._model = model
        parts = [part for part in PARTS if getattr(section, part)]
        self._probe = DeepProbe(model, parts) if parts else None
        self._ratios = UpdateRatios(model.named_parameters()) if section.updates else None
        self._noise = NoiseScale()
        self._moved: Tensor | None = None
        self._first: tuple[Tensor, int] | None = None
        self._gradients: tuple[Tensor, int, int] | None = None
        self._normaliser: Tensor | None = None

    def watching(self) -> AbstractContextManager[None]:
        """Watch the forward pass inside."""
        return nullcontext() if self._probe is None else self._probe.watching()

    @torch.no_grad()
    def see_logits(self, logits_NxV: Tensor) -> None:
        """Of the tokens that the probe sampled."""
        if self._section.calibration:
            self._normaliser = log_normaliser(logits_NxV)

    @torch.no_grad()
    def see_first_gradient(self, weight: int) -> None:
        """After the backward pass of the first micro-batch of a step, which weighs `weight`."""
        if self._section.noise:
            grads = [p.grad for p in self._model.parameters() if p.grad is not None]
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
            self._first = norm, weight

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Watch the optimiser step inside."""
        if self._ratios is None:
            yield
            return
        self._ratios.before()
        yield
        self._moved = self._ratios.after()

    def see_gradient(self, norm: Tensor, weight: int) -> None:
        """The whole gradient's norm before clipping, of micro-batches that weigh `weight`."""
        if self._first is not None and self._first[1] < weight:
            small_norm, small = self._first
            # Each micro-batch's gradient is divided by the weight of all.
            small_norm = small_norm * (weight / small)
            self._gradients = torch.stack([small_norm.float(), norm.float()]), small, weight
        self._first = None

    def take(self) -> dict[str, float]:
        """All that was found since, by name of series; waits for the device."""
        found = {} if self._probe is None else self._probe.read()
        if self._normaliser is not None:
            found[LOG_NORMALISER] = float(self._normaliser)
        if self._moved is not None and self._ratios is not None:
            layers = zip(self._ratios.layers, self._moved.tolist(), strict=True)
            found.update({f"{DEEP}update_ratio/{layer}": value for layer, value in layers})
        self._normaliser = self._moved = None
        return found | self._take_noise()

    def _take_noise(self) -> dict[str, float]:
        if self._gradients is None:
            return {}
        norms, small, big = self._gradients
        self._gradients = None
        small_square, big_square = (norm**2 for norm in norms.tolist())
        scale = self._noise.add(small_square, small, big_square, big)
        return {} if scale is None else {NOISE_SCALE: scale}

    @torch.no_grad()
    def calibrate(self, batch: MicroBatch) -> dict[str, float]:
        """The calibration error on a held-out batch: one more forward pass of its first rows."""
        if not self._section.calibration:
            return {}
        hidden_BxTxD = batch.hidden(self._model)
        labels_N = batch.labels_BxT.flatten()
        rows_N = (labels_N >= 0).nonzero().squeeze(1)[:_CALIBRATION_TOKENS]
        if not len(rows_N):
            return {}
        logits_NxV = self._model.head(hidden_BxTxD.flatten(0, 1)[rows_N])
        return {VAL_ECE: float(expected_calibration_error(logits_NxV, labels_N[rows_N]))}

    def state_dict(self) -> dict[str, Any]:
        return self._noise.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._noise.load_state_dict(state)


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.config.sections.probe_config import ProbeConfig

    decoder = Decoder(ModelShape(50, 16, 2, 2, 1, 8, 32))
    decoder.init_weights(0)
    wanted = ProbeConfig(**dict.fromkeys(ProbeConfig.model_fields, True))
    watch = DeepProbes(decoder, wanted)
    ids = torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(0))
    with watch.watching():
        scores = decoder(ids)
    watch.see_logits(scores.flatten(0, 1))
    numbers = watch.take() | watch.calibrate(MicroBatch(ids, ids.roll(-1, 1), 32, 32))
    print(numbers)
    assert f"{DEEP}attn_logit_max/layers.1" in numbers and VAL_ECE in numbers
    print("=== 自测通过 ===")
