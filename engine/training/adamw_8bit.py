"""AdamW whose moments are kept in 8 bits: 2 bytes a weight in the place of 8.

Blocks of 256 values share a scale, and each value is one of 256 numbers that are denser near zero
(arXiv 2110.02861); the step itself is in fp32. Torch has no optimiser state of fewer bits than the
weights, and that of torchao is a tensor of its own kind, which checkpoints here could not copy, and
cannot skip a step on the device. State, scales included, is plain tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

_BLOCK = 256
_SMALLEST = 4096
"""Values from which a moment is kept in 8 bits; gains of norms stay in fp32."""
_CHUNK = 2**24
"""Values that are worked on at a time: what is computed in between is fp32."""
_MOMENTS = ("exp_avg", "exp_avg_sq")


class AdamW8bit(torch.optim.Optimizer):
    """arXiv 1711.05101. Where `found_inf`, a 0-d tensor, is 1, the step changes nothing, and the
    host need not know."""

    def __init__(self, params: Any, *, lr: float, betas: tuple[float, float], eps: float) -> None:
        # `capturable`: torch keeps the count of steps on the device where it loads a state.
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0, "capturable": True}
        super().__init__(params, options)
        self.found_inf: Tensor | None = None
        self._levels: dict[str, Tensor] = {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for state in self.state.values():  # Torch gave them the type of the weights.
            for name in _MOMENTS:
                if f"{name}_scale" in state:
                    state[name] = state[name].to(torch.uint8)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        skip = None if self.found_inf is None else self.found_inf.bool()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_one(parameter, group, skip)

    def _step_one(self, parameter: Tensor, group: dict[str, Any], skip: Tensor | None) -> None:
        state = self._state_of(parameter)
        state["step"] += 1 if skip is None else ~skip
        # At least one step: before the first there is nothing to correct, and nothing moves.
        count = state["step"].clamp(min=1)
        beta1, beta2 = group["betas"]
        lr = group["lr"]
        rate, root = lr / (1 - beta1**count), (1 - beta2**count).sqrt()
        assert parameter.grad is not None
        for weight, grad, first, second in self._chunks(parameter, parameter.grad, state):
            mean = first.read().lerp_(grad.float(), 1 - beta1)
            square = second.read().lerp_(grad.float().square(), 1 - beta2)
            moved = weight * (1 - lr * group["weight_decay"])
            moved -= mean * rate / (square.sqrt() / root + group["eps"])
            weight.copy_(moved if skip is None else torch.where(skip, weight, moved))
            first.write(mean, skip)
            second.write(square, skip)

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            in_8_bits = parameter.numel() >= _SMALLEST and parameter.numel() % _BLOCK == 0
            for name in _MOMENTS:
                if not in_8_bits:
                    state[name] = torch.zeros_like(parameter)
                    continue
                state[name] = torch.zeros_like(parameter, dtype=torch.uint8)
                blocks = parameter.numel() // _BLOCK
                state[f"{name}_scale"] = torch.zeros(blocks, device=parameter.device)
        return state

    def _chunks(
        self, parameter: Tensor, grad: Tensor, state: dict[str, Tensor]
    ) -> Iterator[tuple[Tensor, Tensor, Moment, Moment]]:
        """Weights, gradients and both moments of some of its values."""
        weights, grads = parameter.view(-1), grad.reshape(-1)
        for start in range(0, parameter.numel(), _CHUNK):
            part = slice(start, start + _CHUNK)
            moments = (Moment.of(state, name, part, self._levels_of) for name in _MOMENTS)
            yield weights[part], grads[part], next(moments), next(moments)

    def _levels_of(self, name: str, device: torch.device) -> Tensor:
        if name not in self._levels:
            self._levels[name] = levels(signed=name == "exp_avg").to(device)
        return self._levels[name]


class Moment:
    """Some values of a moment: themselves, or one of 256 levels each and a scale for each block."""

    def __init__(self, values: Tensor, scales: Tensor | None, of: Tensor | None) -> None:
        self._values, self._scales, self._levels = values, scales, of

    @classmethod
    def of(
        cls,
        state: dict[str, Tensor],
        name: str,
        part: slice,
        levels_of: Callable[[str, torch.device], Tensor],
    ) -> Moment:
        values, scales = state[name].view(-1)[part], state.get(f"{name}_scale")
        if scales is None:
            return cls(values, None, None)
        blocks = slice(part.start // _BLOCK, part.stop // _BLOCK)
        return cls(values, scales[blocks], levels_of(name, values.device))

    def read(self) -> Tensor:
        """A copy, fp32."""
        if self._scales is None or self._levels is None:
            return self._values.float().clone()
        found = self._levels[self._values.int()].view(-1, _BLOCK)
        return found.mul_(self._scales.unsqueeze(1)).view(-1)

    def write(self, values: Tensor, skip: Tensor | None) -> None:
        """Keep the nearest levels of new values; nothing where `skip` is true."""
        if self._scales is None or self._levels is None:
            self._values.copy_(values if skip is None else torch.where(skip, self._values, values))
            return
        blocks = values.view(-1, _BLOCK)
        scales = blocks.abs().amax(1).clamp(min=1e-12)
        between = (self._levels[:-1] + self._levels[1:]) / 2
        found = torch.bucketize(blocks / scales.unsqueeze(1), between, out_int32=True).view(-1)
        codes = found.to(torch.uint8)
        if skip is not None:
            codes = torch.where(skip, self._values, codes)
            scales = torch.where(skip, self._scales, scales)
        self._values.copy_(codes)
        self._scales.copy_(scales)


def levels(signed: bool) -> Tensor:
    """The 256 numbers of the dynamic data type of arXiv 2110.02861, ascending, from -1 or 0 to 1.

    Seven powers of ten, 1e-6 to 1, each with twice as many fractions between 0.1 and 1 as the one
    below; 0 and 1 besides.
    """
    found = [0.0, 1.0]
    for power in range(7):
        fractions = torch.linspace(0.1, 1, 2 ** (power + (not signed)) + 1)
        middles = 10.0 ** (power - 6) * (fractions[:-1] + fractions[1:]) / 2
        found += middles.tolist() + (-middles).tolist() * signed
    return torch.tensor(sorted(found))


if __name__ == "__main__":
    pair = [torch.nn.Parameter(torch.ones(64, 64)) for _ in range(2)]
    options: dict[str, Any] = {"lr": 0.1, "betas": (0.9, 0.95), "eps": 1e-8}
    optimizers = AdamW8bit(pair[:1], **options), torch.optim.AdamW(pair[1:], **options)
    for optimizer, weight in zip(optimizers, pair, strict=True):
        weight.grad = torch.linspace(-1, 1, 4096).view(64, 64)
        optimizer.param_groups[0]["weight_decay"] = 0.1
        optimizer.step()
    print((pair[0] - pair[1]).abs().max().item())
    assert torch.allclose(pair[0], pair[1], atol=1e-6)
    print("=== 自测通过 ===")
