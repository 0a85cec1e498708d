"""The weights of a model as they were read: whole, of the right sizes, in fp32."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.model.architecture import build
from lmm_tui.engine.model.decoder import EMBEDDING, HEAD
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.errors import LmmError
from lmm_tui.message import Message

# DDP and torch.compile put these before names; MiniMind may save the rotary tables.
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")
_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_ROTARY_TABLES = re.compile(r"(.*\.)?(freqs_cos|freqs_sin|inv_freq)")


@dataclass(frozen=True)
class Weights:
    """fp32 tensors under the names of transformers, and the tokenizer if there is one."""

    shape: ModelShape
    tensors: dict[str, Tensor]
    tokenizer: Path | None
    origin: Path
    """The checkpoint, folder or file that was read."""
    merged: bool = False
    """Whether LoRA adapters were merged into the weights."""
    trained_template: str | None = None
    """`data.template` of the run, where it trained on conversations."""
    trained_precision: str | None = None
    """`train.precision` of the run."""
    trained_device: str | None = None
    """`device` of the run."""
    notes: tuple[str, ...] = ()
    """Sentences for people about what the source does not say, or says without effect."""
    architecture: Mapping[str, Any] | None = None
    """transformers' config.json of a model that is none of ours."""
    reward_head: Tensor | None = None
    """Of a reward model: (1, D)."""
    kept: object = None
    """Keeps files alive that had to be written anew, such as the tokenizer of a GGUF file."""

    def has_own_template(self, tokenizer: Tokenizer) -> bool:
        """Whether chats are in the template of its tokenizer, rather than in ChatML."""
        if self.trained_template is None:
            return tokenizer.settings.chat_template is not None
        return self.trained_template == "own"

    def noting(self, *notes: str) -> Weights:
        """The same with further notes."""
        return replace(self, notes=self.notes + notes)

    @property
    def notes_as_language_model(self) -> tuple[str, ...]:
        """Also of what a model lacks that is asked to continue text."""
        if self.reward_head is None:
            return self.notes
        note = Message(
            "{origin}: is a reward model; without its reward head it is a language model that was "
            "not trained to answer",
            origin=self.origin,
        )
        return (*self.notes, note)

    def model(self) -> LanguageModel:
        """A model with these weights, on the CPU."""
        model = build(self.shape, self.architecture)
        model.load_state_dict(self.tensors)
        return model


def blank_model(
    shape: ModelShape, architecture: Mapping[str, Any] | None, origin: Path
) -> LanguageModel:
    """A model without memory for its weights. WeightsError where none can be built."""
    try:
        with torch.device("meta"):
            return build(shape, architecture)
    except LmmError:
        raise
    except Exception as error:  # Of transformers, for a config.json that contradicts itself.
        raise WeightsError(
            "{origin}: no model can be built ({error})", origin=origin, error=error
        ) from None


def checked(
    shape: ModelShape,
    tensors: dict[str, Tensor],
    tokenizer: Path,
    origin: Path,
    architecture: Mapping[str, Any] | None = None,
) -> Weights:
    """The weights as fp32; WeightsError names the first tensor that does not fit the model."""
    if shape.tie_embeddings and architecture is None:
        head = tensors.get(HEAD)
        if head is not None and not torch.equal(head, tensors.get(EMBEDDING, head)):
            raise WeightsError(
                "{origin}: the head is tied to the embedding, but {head} is "
                "there and differs; set tie_word_embeddings to false in "
                "config.json to use it",
                origin=origin,
                head=HEAD,
            )
        tensors = {name: tensor for name, tensor in tensors.items() if name != HEAD}
    blank = blank_model(shape, architecture, origin)
    wanted = {name: of for name, of in blank.state_dict().items() if name not in blank.aliases}
    for name, tensor in wanted.items():
        if name not in tensors:
            raise WeightsError("{origin}: tensor {name} is missing", origin=origin, name=name)
        if tensors[name].shape != tensor.shape:
            raise WeightsError(
                "{origin}: tensor {name} is {shape}, the model's configuration says {shape2}",
                origin=origin,
                name=name,
                shape=str(tuple(tensors[name].shape)),
                shape2=str(tuple(tensor.shape)),
            )
    if extra := next((name for name in tensors if name not in wanted), None):
        raise WeightsError(
            "{origin}: tensor {extra} has no place in the model", origin=origin, extra=extra
        )
    note = _dtype_note(origin, tensors)
    fp32 = {name: tensor.float() for name, tensor in tensors.items()}
    weights = Weights(
        shape,
        fp32,
        tokenizer if tokenizer.is_file() else None,
        origin,
        architecture=architecture,
    )
    return weights.noting(note) if note else weights


def renamed(found: dict[str, Tensor], path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors under our names, without those that we compute, and sentences about both."""
    computed = [name for name in found if _ROTARY_TABLES.fullmatch(name)]
    names = {name: _WRAPPERS.sub("", name) for name in found if name not in computed}
    tensors = {own: found[name] for name, own in names.items()}
    notes = []
    if renamed := [name for name, own in names.items() if name != own]:
        notes.append(_renamed_note(path, len(renamed), renamed[0], names[renamed[0]]))
    if computed:
        notes.append(_computed_note(path, computed))
    return tensors, tuple(notes)


def _dtype_note(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Empty where the format always has this type; WeightsError for other numbers than floats."""
    kinds = {str(tensor.dtype).removeprefix("torch."): tensor.dtype for tensor in tensors.values()}
    for name, kind in kinds.items():
        if kind not in _FLOATS:
            raise WeightsError(
                "{path}: holds {name} tensors; give weights in float32, bfloat16 or float16",
                path=path,
                name=name,
            )
    usual = {"float32", "float16"} if path.suffix == ".pth" else {"float32"}
    other = sorted(kinds.keys() - usual)
    return (
        Message(
            "{path}: weights are {other}, read as float32", path=path, other=" and ".join(other)
        )
        if other
        else ""
    )


def _renamed_note(path: Path, count: int, first: str, own: str) -> str:
    return Message(
        "{path}: {count} tensors renamed, the first: {first} is {own}",
        path=path,
        count=count,
        first=first,
        own=own,
    )


def _computed_note(path: Path, names: list[str]) -> str:
    return Message(
        "{path}: tensors without effect, computed anew: {names}", path=path, names=[*names]
    )


if __name__ == "__main__":
    tiny = build(ModelShape(64, 32, 2, 4, 2, 8, 64), seed=0)
    tensors, notes = renamed({f"module.{n}": t for n, t in tiny.state_dict().items()}, Path("x"))
    read = checked(tiny.shape, tensors, Path("none"), Path("x.pth")).noting(*notes)
    print(read.notes)
    assert torch.equal(read.model()(torch.tensor([[1]])), tiny(torch.tensor([[1]])))
    print("=== 自测通过 ===")
