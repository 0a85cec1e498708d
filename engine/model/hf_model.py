"""Any causal language model of transformers behind the contract of `engine.model.language_model`.

Its modules keep their names, so that parameters, checkpoints and adapters are those of the model
in transformers. Packed rows are kept apart by our attention where the model takes it, else each
sequence gets a row of its own; which of them gives what single sequences give is tried once. Code
of a model's folder is never run. Dimensions in names are those of `engine.model.decoder`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lmm_tui.engine.model import hf_attention
from lmm_tui.engine.model.foreign_shape import ForeignShape, foreign_shape
from lmm_tui.engine.model.hf_attention import Packing, UnknownAttention
from lmm_tui.engine.model.hf_cache import HfCache
from lmm_tui.engine.model.hf_parts import aliases_of, block_names_of, hf_of, logit_factor
from lmm_tui.engine.model.language_model import Cache, LanguageModel
from lmm_tui.engine.model.layout import Segments
from lmm_tui.engine.model.router_loss import router_loss
from lmm_tui.engine.transfer import to_device

_TOLERANCE = 1e-4
"""How far logits may differ, as a share of the largest, that are computed in two ways."""

Hidden = Callable[[Tensor, Tensor | None, Segments], Tensor]
"""(ids, positions, segments) -> last hidden states of packed rows."""


class HfModel(LanguageModel):
    """Made of a configuration of transformers; the weights are for `load_state_dict`."""

    hf: Any
    shape: ForeignShape

    def __init__(self, config: Any, seed: int | None = None) -> None:
        """Weights are drawn with `seed`, as transformers does; without they are uninitialised."""
        super().__init__()
        hf_attention.register()
        self.wrap(hf_of(config, seed))

    @classmethod
    def of(cls, hf: Any) -> HfModel:
        """Around a model that exists."""
        hf_attention.register()
        model = cls.__new__(cls)
        LanguageModel.__init__(model)
        model.wrap(hf)
        return model

    def wrap(self, hf: Any) -> None:
        # Not as a module: its children are ours, under their own names.
        object.__setattr__(self, "hf", hf)
        for name, child in hf.named_children():
            self.add_module(name, child)
        self._text_config = hf.config.get_text_config(decoder=True)
        self._base_name: str = hf.base_model_prefix
        self.aliases = aliases_of(hf)
        self.shape = foreign_shape(hf, bool(self.aliases))
        self.block_names = block_names_of(hf, self.shape.num_layers)
        self.softcap = getattr(self._text_config, "final_logit_softcapping", None)
        self._factor = logit_factor(self._text_config)
        self.packs_by_mask = False
        """Whether packed rows stay rows, as on a GPU and in a compiled model."""
        self._packed: Hidden | None = None
        self._compiled = False
        _set_attention(hf, hf_attention.NAME)
        self.register_load_state_dict_pre_hook(_fill_aliases)

    @property
    def embedding_module(self) -> nn.Module:
        return self.hf.get_input_embeddings()

    @property
    def head_weight(self) -> Tensor:
        weight: Tensor = self.hf.get_output_embeddings().weight
        return weight

    def projection(self, hidden_BxTxD: Tensor) -> tuple[Tensor, Tensor]:
        hidden_BxTxD, head_VxD = super().projection(hidden_BxTxD)
        if self._factor != 1:
            hidden_BxTxD = hidden_BxTxD * self._factor
        bias = getattr(self.hf.get_output_embeddings(), "bias", None)
        if bias is None:
            return hidden_BxTxD, head_VxD
        one_BxTx1 = torch.ones_like(hidden_BxTxD[..., :1])
        return torch.cat([hidden_BxTxD, one_BxTx1], -1), torch.cat([head_VxD, bias[:, None]], -1)

    def read(
        self,
        ids_BxT: Tensor,
        positions: Tensor | None = None,
        cache: Cache | None = None,
        segments: Segments | None = None,
    ) -> Tensor:
        assert cache is None or isinstance(cache, HfCache)
        if segments is not None:
            return self._read_packed(ids_BxT, positions, segments)
        try:
            return self._read(ids_BxT, positions, cache)
        except UnknownAttention:
            self.hf.set_attn_implementation("eager")
            if cache is not None:  # The first pass of a cache; some of it is in there.
                cache.inner = cache.fresh()
            return self._read(ids_BxT, positions, cache)

    def _read(self, ids_BxT: Tensor, positions: Tensor | None, cache: HfCache | None) -> Tensor:
        if cache is None:
            return self._hidden(ids_BxT, position_ids=_rows(positions))
        new = ids_BxT.shape[1]
        hidden_BxTxD = self._hidden(
            ids_BxT,
            position_ids=cache.positions(new, ids_BxT.device),
            attention_mask=cache.is_text(new),
            cache=cache.inner,
            use_cache=True,
        )
        cache.length += new
        return hidden_BxTxD

    def new_cache(
        self, batch: int, capacity: int, device: torch.device, starts_B: Tensor | None = None
    ) -> HfCache:
        return HfCache(self._text_config, starts_B)

    def compile_backbone(self) -> None:
        self._compiled = self.packs_by_mask = True
        if getattr(self._base, "_can_record_outputs", None):
            _hook_now(self._base)
        self._base.compile()

    def recompute_activations(self) -> None:
        self.hf.gradient_checkpointing_enable({"use_reentrant": False})

    def blank(self) -> HfModel:
        return HfModel(self.hf.config)

    def save(self, folder: Path, ids: Mapping[str, int]) -> None:
        """Write config.json, with these ids of tokens, and the weights as transformers does."""
        from transformers.utils import logging as messages

        self.hf.config.update(dict(ids))
        bars = messages.is_progress_bar_enabled()
        messages.disable_progress_bar()
        try:
            self.hf.save_pretrained(folder)
        finally:
            if bars:
                messages.enable_progress_bar()

    def without_dropout(self) -> None:
        for module in self.modules():
            for name, value in vars(module).items():
                if "drop" in name and type(value) is float:
                    setattr(module, name, 0.0)
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    @torch.no_grad()
    def differs(self) -> float:
        """How far our logits are from those of the model in transformers, relative to the largest.

        Whole, and token by token after padding on the left. That shows a model that computes
        logits, or remembers, in a way that this contract does not know.
        """
        with self._at_rest():
            ids_2xT = _probe_ids(self)
            found = self.head(self.read(ids_2xT))
            wanted = self.hf(input_ids=ids_2xT, use_cache=False).logits
            whole = _difference(found, wanted)
            starts = torch.tensor([0, 2], device=ids_2xT.device)
            shifted = torch.stack([ids_2xT[0], ids_2xT[1].roll(2)])
            cache = self.new_cache(2, ids_2xT.shape[1], ids_2xT.device, starts)
            parts = (shifted[:, :-2], shifted[:, -2:-1], shifted[:, -1:])
            last = [self.head(self.read(part, cache=cache)[:, -1]) for part in parts]
            padded = max(
                _difference(last[2][0], wanted[0, -1]), _difference(last[2][1], wanted[1, -3])
            )
        return max(whole, padded)

    @property
    def _base(self) -> Any:
        return getattr(self, self._base_name)

    def _hidden(self, ids_BxT: Tensor, text_N: Tensor | None = None, **about: Any) -> Tensor:
        """The base model's last hidden states; `text_N` marks the tokens that are no padding."""
        coefficient = getattr(self._text_config, "router_aux_loss_coef", None) or 0.0
        balancing = coefficient and torch.is_grad_enabled()
        about = {name: value for name, value in about.items() if value is not None}
        if balancing:
            about["output_router_logits"] = True
        # Only a call is compiled, `forward` is not: texts that are generated have all lengths.
        run = self._base if self._compiled and torch.is_grad_enabled() else self._base.forward
        found = run(ids_BxT, **({"use_cache": False} | about))
        if balancing:
            uneven = router_loss(found.router_logits, self._text_config, text_N)
            self.router_loss = coefficient * uneven
        hidden_BxTxD: Tensor = found.last_hidden_state
        return hidden_BxTxD

    def keeps_packed_apart_by(self) -> str:
        """ "attention", or "rows": each sequence gets a row of its own."""
        return "rows" if self._packing() == self._one_by_one else "attention"

    def _packing(self) -> Hidden:
        if self._packed is None:
            self._packed = self._find_packing()
        return self._packed

    def _read_packed(self, ids_BxT: Tensor, positions: Tensor | None, segments: Segments) -> Tensor:
        return self._packing()(ids_BxT, _rows(positions), segments)

    def _find_packing(self) -> Hidden:
        """The fastest way to read packed rows that gives what single sequences give."""
        by_lengths = self.head_weight.is_cpu and not self.packs_by_mask
        ways: list[Hidden] = [self._joined if by_lengths else self._masked, self._one_by_one]
        with self._at_rest(), _short_windows(self), torch.no_grad():
            ids = _probe_ids(self)
            first = ids.shape[1] // 2
            packed = ids.reshape(1, -1)
            lengths = torch.tensor([first, ids.numel() - first], device=ids.device)
            numbers = torch.arange(2, device=ids.device).repeat_interleave(lengths).unsqueeze(0)
            segments = Segments.of(numbers)
            positions = torch.cat([torch.arange(int(n), device=ids.device) for n in lengths])
            wanted = torch.cat([self.read(packed[:, :first]), self.read(packed[:, first:])], dim=1)
            for way in ways:
                with _refusals_pass():
                    found = way(packed, positions.unsqueeze(0), segments)
                    if _difference(found, wanted) < _TOLERANCE:
                        return way
        raise NotImplementedError(
            f"a {self.hf.config.model_type} model cannot keep packed sequences apart"
        )

    def _joined(self, ids_BxT: Tensor, positions: Tensor | None, segments: Segments) -> Tensor:
        """All rows as one, and attention within each sequence: nothing is computed to be masked."""
        hidden_1xNxD = self._hidden(
            ids_BxT.reshape(1, -1),
            segments.text.rows_N,
            position_ids=None if positions is None else positions.reshape(1, -1),
            attention_mask=_no_mask(ids_BxT),
            packing=Packing(segments.flat),
        )
        return hidden_1xNxD.view(*ids_BxT.shape, -1)

    def _masked(self, ids_BxT: Tensor, positions: Tensor | None, segments: Segments) -> Tensor:
        return self._hidden(
            ids_BxT,
            segments.text.rows_N,
            position_ids=positions,
            attention_mask=_no_mask(ids_BxT),
            packing=Packing(segments_BxT=segments.numbers_BxT),
        )

    def _one_by_one(self, ids_BxT: Tensor, positions: Tensor | None, segments: Segments) -> Tensor:
        """A row for each sequence, padded on the right, which a causal model does not see."""
        lengths, pad = segments.flat, partial(nn.utils.rnn.pad_sequence, batch_first=True)
        rows = [pad(list(x.flatten().split(lengths))) for x in (ids_BxT, segments.numbers_BxT)]
        hidden_SxLxD = self._hidden(rows[0], (rows[1] > 0).flatten())
        text_SxL = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
        places_N = to_device(text_SxL.flatten().nonzero().squeeze(1), ids_BxT.device)
        return hidden_SxLxD.flatten(0, 1).index_select(0, places_N).view(*ids_BxT.shape, -1)

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Without dropout and in full precision."""
        training = [module for module in self.modules() if module.training]
        self.eval()
        was = self.hf.training
        self.hf.eval()
        try:
            with torch.autocast(self.head_weight.device.type, enabled=False):
                yield
        finally:
            self.hf.training = was
            for module in training:
                module.training = True


def _set_attention(hf: Any, name: str) -> None:
    """Our attention where the model takes one from outside, else transformers' own."""
    taken = bool(getattr(hf, "_supports_attention_backend", False))
    hf.set_attn_implementation(name if taken else "eager")


def _fill_aliases(model: HfModel, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Let strict loading accept a state without second names."""
    for alias, name in model.aliases.items():
        if f"{prefix}{alias}" not in state and f"{prefix}{name}" in state:
            state[f"{prefix}{alias}"] = state[f"{prefix}{name}"]


def _rows(positions: Tensor | None) -> Tensor | None:
    return positions.unsqueeze(0) if positions is not None and positions.ndim == 1 else positions


def _no_mask(ids: Tensor) -> Tensor:
    """transformers takes a mask of four dimensions as it is; our attention knows better."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=ids.device)


def _probe_ids(model: HfModel) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    size = min(12, model.shape.max_positions)
    found = torch.randint(model.shape.vocab_size, (2, size), generator=generator)
    return found.to(model.head_weight.device)


@contextmanager
def _short_windows(model: HfModel) -> Iterator[None]:
    """Sliding windows that a short text shows: masks are made by those of the configuration, our
    attention goes by what each layer says."""
    places = [model._text_config, *model.modules()]
    own = [(x, x.sliding_window) for x in places if type(vars(x).get("sliding_window")) is int]
    try:
        for place, _ in own:
            place.sliding_window = 3
        yield
    finally:
        for place, window in own:
            place.sliding_window = window


def _hook_now(base: Any) -> None:
    """transformers hooks what it records, as a router's logits, in the first pass that asks for it:
    a compiled one would be broken into several graphs."""
    try:
        from transformers.utils.output_capturing import maybe_install_capturing_hooks
    except ImportError:  # An older transformers has no such hooks.
        return
    maybe_install_capturing_hooks(base)


def _difference(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-6))


@contextmanager
def _refusals_pass() -> Iterator[None]:
    """A model may refuse a way of reading by any error; the next way is tried then."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError):
        return


if __name__ == "__main__":
    from transformers import LlamaConfig

    demo = HfModel(
        LlamaConfig(
            vocab_size=64,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        ),
        seed=0,
    )
    print(demo.shape.parameters, demo.block_names, f"{demo.differs():.1e}", file=sys.stderr)
    assert demo.differs() < 1e-6
    print("=== 自测通过 ===")
