"""What a model believes and how it represents: nine numbers from a sample of one batch.

Attaches from outside, by forward hooks, to any `nn.Module`; the model never learns of it and
trains to the same bit. Knows no loop, no schedule and no file. A full probe is worth about 1 %
of a training step (512 tokens in fp32, one copy from the device at the end).
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lmm_tui.errors import LmmError
from lmm_tui.metrics.layers import group_by_layer, strip_wrappers
from lmm_tui.metrics.names import OUTPUT_PROBES, REPRESENTATION_PROBES

IGNORE_INDEX = -100
_MAX_SEQUENCES = 64
_TOP_K = 10
_SHIFT_SUSPECT_NATS = 1.0
_TINY = torch.finfo(torch.float32).tiny


class ProbeError(LmmError):
    """A layer that does not exist, or whose output is nothing that can be probed."""


@dataclass(frozen=True)
class _Rows:
    """Which rows of a flattened (B*T, D) tensor are looked at, and which sequence each is of."""

    index_N: Tensor
    sequence_N: Tensor
    sequences: int


class ModelProbe:
    """Reads output distribution and representations of the batch that went through last.

    At most `max_tokens` positions are looked at, and always the same ones for a batch of the
    same shape, so that two readings differ by the model, not by the draw.
    """

    def __init__(self, max_tokens: int = 512, seed: int = 0) -> None:
        self._max_tokens = max_tokens
        self._seed = seed
        self._layers: dict[str, nn.Module] = {}
        self._hooks: list[RemovableHandle] = []
        self._mask_BxT: Tensor | None = None
        self._captured: dict[str, tuple[Tensor, _Rows]] = {}
        self._unsuitable: dict[str, str] = {}
        self._rows: dict[tuple[int, int], _Rows] = {}
        self._warned_of_shift = False

    @property
    def layers(self) -> tuple[str, ...]:
        """Short names of the attached layers, as they stand in keys: `layers.3`."""
        return tuple(self._layers)

    def attach(self, model: nn.Module, layer_names: Sequence[str]) -> None:
        """Choose the modules whose outputs, (B, T, D) or a tuple that starts so, are probed.

        Names are those of `model.named_modules()`; what DDP and torch.compile put before them
        may be left out. A compiled model is compiled once more for its hooks: better send the
        probed batch through the plain one. Raises ProbeError for a name that is not there.
        """
        modules = {strip_wrappers(name): module for name, module in model.named_modules() if name}
        wanted = [strip_wrappers(name) for name in layer_names]
        for name in wanted:
            if name not in modules:
                raise ProbeError(f"no layer {name!r} in the model; {_near(name, modules)}")
        self.deactivate()
        labels = group_by_layer(wanted)
        if len(set(labels.values())) < len(labels):
            labels = {name: name for name in wanted}
        self._layers = {labels[name]: modules[name] for name in wanted}

    def activate(self, mask: Tensor | None = None) -> None:
        """Watch the next forward pass: of several, the first counts.

        `mask` (B, T) is true where a token is real; without it all positions are.
        """
        self.deactivate()
        self._mask_BxT = mask
        for label, module in self._layers.items():
            self._hooks.append(module.register_forward_hook(self._hook(label)))

    def deactivate(self) -> None:
        """Remove all hooks and let go of what was captured."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._captured.clear()
        self._unsuitable.clear()
        self._rows.clear()
        self._mask_BxT = None

    @torch.no_grad()
    def compute_output_distribution(
        self, logits: Tensor, labels: Tensor, shift: bool = True
    ) -> dict[str, float]:
        """The six output numbers, means over a sample of the tokens that carry a label.

        `logits` (B, T, V), `labels` (B, T) with -100 where there is none. With `shift` labels
        are the input ids, as Hugging Face has it: position t is judged by label t+1. Without,
        they are next tokens already, and (N, V) with (N,) will do as well. Warns once where the
        labels of a shifted call look shifted already. Raises ProbeError for shapes that differ.

        Also `n_tokens`, the rows used, and `nonfinite_logits`, the rows dropped, if any. With
        no row left there is no other key.
        """
        if logits.shape[:-1] != labels.shape or (shift and labels.dim() != 2):
            raise ProbeError(
                f"logits {tuple(logits.shape)} do not fit labels {tuple(labels.shape)}; give "
                "(B, T, V) and (B, T), or (N, V) and (N,) with shift=False"
            )
        if shift:
            logits, targets, unshifted = logits[:, :-1], labels[:, 1:], labels[:, :-1]
        else:
            targets = unshifted = labels
        valid = (targets != IGNORE_INDEX).flatten().nonzero().squeeze(1)
        rows = valid[self._choose(len(valid)).to(valid.device)]
        if not len(rows):
            return {"n_tokens": 0.0}
        at = torch.unravel_index(rows, targets.shape)
        with torch.autocast(logits.device.type, enabled=False):
            values = _output_numbers(logits[at].float(), targets[at], unshifted[at])
        n_tokens, dropped, nll, nll_unshifted, *numbers = values.tolist()
        if shift and nll - nll_unshifted > _SHIFT_SUSPECT_NATS and not self._warned_of_shift:
            self._warned_of_shift = True
            warnings.warn(
                f"labels look shifted already: the loss is {nll:.2f} nats with the shift and "
                f"{nll_unshifted:.2f} without; pass shift=False if they are next tokens",
                stacklevel=3,
            )
        found = {"n_tokens": n_tokens}
        if dropped:
            found["nonfinite_logits"] = dropped
        if n_tokens:
            found.update(zip(OUTPUT_PROBES, numbers, strict=True))
        return found

    @torch.no_grad()
    def compute_representation_diversity(self) -> dict[str, float]:
        """The three representation numbers of the watched pass, from a sample of its tokens.

        A plain key such as `participation_ratio` is the mean over the attached layers,
        `layers.3/participation_ratio` the layer's own. A number that the batch does not define
        (nothing captured, one sequence for `cosine_sim_inter`, fewer than two tokens) is left
        out. `nonfinite_hidden` counts, over all layers, the rows dropped, if any. Raises
        ProbeError where an attached layer gives no (B, T, D) tensor.
        """
        for label, found in self._unsuitable.items():
            raise ProbeError(f"layer {label} gives {found}; a probe needs (batch, tokens, hidden)")
        if not self._captured:
            return {}
        labels = list(self._captured)
        values = []
        for h_NxD, rows in self._captured.values():
            with torch.autocast(h_NxD.device.type, enabled=False):
                values.append(_representation_numbers(h_NxD.float(), rows))
        dropped, *columns = zip(*torch.stack(values).tolist(), strict=True)
        means: dict[str, float] = {}
        by_layer: dict[str, float] = {}
        for name, column in zip(REPRESENTATION_PROBES, columns, strict=True):
            defined = {k: v for k, v in zip(labels, column, strict=True) if not math.isnan(v)}
            by_layer.update({f"{label}/{name}": value for label, value in defined.items()})
            if defined:
                means[name] = sum(defined.values()) / len(defined)
        lost = {"nonfinite_hidden": sum(dropped)} if any(dropped) else {}
        return means | by_layer | lost

    def _hook(self, label: str) -> Callable[[nn.Module, object, object], None]:
        def capture(module: nn.Module, args: object, output: object) -> None:
            # Activation checkpointing runs the forward again inside backward: the first counts.
            if label in self._captured:
                return
            hidden = output[0] if isinstance(output, tuple | list) and output else output
            if not isinstance(hidden, Tensor) or hidden.dim() != 3:
                found = tuple(hidden.shape) if isinstance(hidden, Tensor) else type(hidden)
                self._unsuitable[label] = str(found)
                return
            rows = self._rows_of(hidden)
            kept = hidden.detach().flatten(0, 1).index_select(0, rows.index_N)
            self._captured[label] = (kept, rows)

        return capture

    def _rows_of(self, hidden_BxTxD: Tensor) -> _Rows:
        """Up to `max_tokens` real positions, spread evenly over the sequences of the batch."""
        batch, length, _ = hidden_BxTxD.shape
        if (batch, length) not in self._rows:
            chosen = self._choose(batch, _MAX_SEQUENCES)
            scores = torch.rand(len(chosen), length, generator=self._generator())
            if self._mask_BxT is not None:
                scores[~self._mask_BxT.cpu().bool()[chosen]] = -1.0
            per_sequence = min(length, max(self._max_tokens // max(len(chosen), 1), 1))
            top = scores.topk(per_sequence, dim=1)
            index = (top.indices + chosen[:, None] * length)[top.values >= 0]
            device = hidden_BxTxD.device
            self._rows[batch, length] = _Rows(
                index.to(device), (index // length).to(device), sequences=batch
            )
        return self._rows[batch, length]

    def _choose(self, n: int, limit: int | None = None) -> Tensor:
        """Up to `limit` (else `max_tokens`) of the numbers 0 .. n-1, on the CPU."""
        limit = self._max_tokens if limit is None else limit
        if n <= limit:
            return torch.arange(n)
        return torch.randperm(n, generator=self._generator())[:limit]

    def _generator(self) -> torch.Generator:
        """Fresh each time: neither training nor an earlier reading has a say in the draw."""
        return torch.Generator().manual_seed(self._seed)


def participation_ratio(x_NxD: Tensor, weight_N: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """How many directions the rows really use: tr(C)² / ‖C‖² of their covariance C, 0 to D.

    Returns the plain estimate and the one freed of its bias by few rows. For N Gaussian rows
    E‖C_N‖² = ‖C‖² + tr(C)²/N (arXiv 2509.26560), hence 1/PR = 1/PR_N - 1/N; where that leaves
    nothing positive the plain estimate stands. Constant rows give 0, fewer than two NaN.
    `weight_N` is 1 for rows that count and 0 for others.
    """
    weight_N = torch.ones_like(x_NxD[:, 0]) if weight_N is None else weight_N
    n = weight_N.sum()
    x_NxD = x_NxD * weight_N[:, None]
    x_NxD = x_NxD / x_NxD.abs().amax().clamp_min(_TINY)
    centred = (x_NxD - x_NxD.sum(0) / n) * weight_N[:, None]
    trace = centred.square().sum()
    # What rounding leaves of constant rows is no variance.
    constant = trace <= 1e-12 * x_NxD.square().sum()
    centred = centred / trace.sqrt().clamp_min(_TINY)
    rows, columns = centred.shape
    gram = centred @ centred.T if rows < columns else centred.T @ centred
    plain = torch.where(constant, 0.0, 1.0 / gram.square().sum())
    inverse = 1.0 / plain - 1.0 / n
    corrected = torch.where(inverse > 0, 1.0 / inverse, plain).clamp_max(columns)
    few = n < 2
    return plain.masked_fill(few, torch.nan), corrected.masked_fill(few, torch.nan)


def _output_numbers(z_NxV: Tensor, y_N: Tensor, unshifted_N: Tensor) -> Tensor:
    """Rows used, rows dropped, loss, loss of the unshifted labels, then OUTPUT_PROBES."""
    # A row is finite where its extremes are; thirty times faster than asking every logit.
    finite_N = torch.isfinite(z_NxV.amax(-1)) & torch.isfinite(z_NxV.amin(-1))
    n = finite_N.sum()
    logp = torch.log_softmax(z_NxV, -1)
    p = logp.exp()

    def mean(values_N: Tensor, counted_N: Tensor = finite_N) -> Tensor:
        return torch.where(counted_N, values_N, 0.0).sum() / counted_N.sum()

    def loss(label_N: Tensor) -> Tensor:
        labelled = label_N != IGNORE_INDEX
        picked = logp.gather(1, label_N.clamp_min(0)[:, None]).squeeze(1)
        return -mean(picked, finite_N & labelled)

    top_p, top = p.topk(min(_TOP_K, p.shape[1]), dim=-1)
    hit = top == y_N[:, None]
    runner_up = top_p[:, 1] if top_p.shape[1] > 1 else torch.zeros_like(top_p[:, 0])
    numbers = [
        n,
        len(z_NxV) - n,
        loss(y_N),
        loss(unshifted_N),
        mean(-(p * logp).sum(-1)),
        mean(hit[:, :1].any(-1).float()),
        mean(hit[:, :5].any(-1).float()),
        mean(top_p[:, 0] - runner_up),
        mean(top_p.sum(-1)),
        mean(p.gather(1, y_N[:, None]).squeeze(1)),
    ]
    return torch.stack([number.float() for number in numbers])


def _representation_numbers(h_NxD: Tensor, rows: _Rows) -> Tensor:
    """Rows dropped, then REPRESENTATION_PROBES; NaN where a number is not defined."""
    finite_N = torch.isfinite(h_NxD).all(-1)
    weight_N = finite_N.float()
    h_NxD = h_NxD.masked_fill(~finite_N[:, None], 0.0)
    _, ratio = participation_ratio(h_NxD, weight_N)
    largest_N = h_NxD.abs().amax(-1, keepdim=True)
    unit_NxD = nn.functional.normalize(h_NxD / largest_N.clamp_min(_TINY), dim=-1)

    def by_sequence(values_NxM: Tensor) -> Tensor:
        sums = values_NxM.new_zeros(rows.sequences, values_NxM.shape[1])
        return sums.index_add_(0, rows.sequence_N, values_NxM)

    # The sum over all pairs of u·v is the squared length of the sum of u: no N x N matrix.
    count_S = by_sequence(weight_N[:, None]).squeeze(1)
    sum_SxD = by_sequence(unit_NxD)
    self_S = by_sequence(unit_NxD.square().sum(-1, keepdim=True)).squeeze(1)
    square_S = sum_SxD.square().sum(-1)
    intra_S = (square_S - self_S) / (count_S * (count_S - 1)).clamp_min(1)
    paired_S = count_S > 1
    intra = (intra_S * paired_S).sum() / paired_S.sum()
    inter = (sum_SxD.sum(0).square().sum() - square_S.sum()) / (
        count_S.sum().square() - count_S.square().sum()
    )
    inter = inter.masked_fill((count_S > 0).sum() < 2, torch.nan)
    return torch.stack([len(h_NxD) - weight_N.sum(), intra, inter, ratio])


def _near(name: str, known: dict[str, nn.Module]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    close += [other for other in known if other.endswith(f".{name}") and other not in close][:3]
    if close:
        return "did you mean " + ", ".join(close[:3]) + "?"
    blocks = [other for other in known if other.rpartition(".")[2].isdigit()]
    return "it has " + ", ".join(blocks[:3] or list(known)[:3]) + ", …"


if __name__ == "__main__":
    torch.manual_seed(0)
    tiny = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 16), nn.Linear(16, 50))
    ids = torch.randint(0, 50, (4, 32))
    probe = ModelProbe()
    probe.attach(tiny, ["0", "1"])
    probe.activate()
    scores = tiny(ids)
    output = probe.compute_output_distribution(scores, ids)
    diversity = probe.compute_representation_diversity()
    probe.deactivate()
    for key, number in {**output, **diversity}.items():
        print(f"{key:>24}  {number:.4f}")
    uniform = probe.compute_output_distribution(torch.zeros(4, 32, 6400), ids)
    assert abs(uniform["entropy"] - 8.764053) < 1e-5
    assert not any(module._forward_hooks for module in tiny.modules())
    print("=== 自测通过 ===")
