"""Reads a model of transformers: any causal language model in a folder, a GGUF file, peft adapters.

Weights come under the names of the model in transformers, as fp32. What cannot be trained is
refused by a sentence that names it; code of a folder is never run, and nothing is unpickled but
tensors.
"""

from __future__ import annotations

import io
import json
import logging
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from lmm_tui.engine.checkpoints.claimed_size import refuse_more_than_file
from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.checkpoints.pth_weights import code_in_pickle
from lmm_tui.engine.library_import import import_quietly
from lmm_tui.engine.model.architecture import refuse_sizes, transformers_config
from lmm_tui.engine.model.hf_model import HfModel
from lmm_tui.errors import LmmError
from lmm_tui.message import Message

_TOLERANCE = 1e-3
_COMPUTED = re.compile(r"(inv_freq|masked_bias|attn\.bias|position_ids)$")
"""Tables that older files have and models compute."""
_VOCABULARIES = ("tokenizer.model", "vocab.json", "spiece.model", "vocab.txt", "tekken.json")
"""Files of a vocabulary that transformers makes a tokenizer.json of."""


@dataclass(frozen=True)
class ForeignWeights:
    architecture: dict[str, Any]
    """Its config.json."""
    model: HfModel
    tensors: dict[str, Tensor]
    """Without second names of tied ones."""
    tokenizer: Path | None
    """A folder with its tokenizer.json."""
    notes: tuple[str, ...]
    kept: tempfile.TemporaryDirectory[str] | None = None
    """Holds `tokenizer` where it had to be written anew."""


_FURTHER_SENSES = ("vision_config", "audio_config")
_WEIGHT_FILES = ("*.safetensors", "*.bin")
_SIZES_IN_GGUF = {"block_count": "num_hidden_layers", "vocab_size": "vocab_size"}
_WEIGHTS_A_BYTE = 8
"""The most that a quantised tensor can hold."""
_TRAINABLE = ("F64", "F32", "F16", "BF16")

_PROBLEMS = {
    "missing_keys": Message("is missing"),
    "mismatched_keys": Message("has another size than config.json says"),
    "unexpected_keys": Message("has no place in it"),
}
"""What transformers says of tensors that do not fit, in words."""


def read_foreign(path: Path, config: Mapping[str, Any], gguf: str | None = None) -> ForeignWeights:
    """Read the folder `path`, whose config.json is `config`, or the GGUF file in it.

    Raises WeightsError.
    """
    origin = path / gguf if gguf else path
    if not gguf:
        _refuse(config, origin)
        _refuse_more_than_files(config, path)
    hf = _load(path, gguf, origin)
    architecture = _architecture(hf)
    if gguf:
        architecture.pop("quantization_config", None)  # It is read as full numbers.
    _refuse(architecture, origin)
    kind = hf.config.model_type
    if not getattr(hf.config.get_text_config(decoder=True), "num_attention_heads", None):
        raise WeightsError(
            "{origin}: a {kind} model has no attention, and only models with it can be trained",
            origin=origin,
            kind=kind,
        )
    try:
        model = HfModel.of(hf)
        difference = model.differs()
    except Exception as error:
        raise WeightsError(
            "{origin}: a {model_type} model cannot be trained here ({reason})",
            origin=origin,
            model_type=hf.config.model_type,
            reason=_reason(error),
        ) from None
    if difference > _TOLERANCE:
        raise WeightsError(
            "{origin}: a {model_type} model computes its logits in a way that is "
            "not known here (they differ by {difference:.1g} of the largest); it "
            "cannot be trained",
            origin=origin,
            model_type=hf.config.model_type,
            difference=difference,
        )
    tensors = {name: t for name, t in model.state_dict().items() if name not in model.aliases}
    tokenizer, kept = _tokenizer(path, gguf)
    return ForeignWeights(architecture, model, tensors, tokenizer, (), kept)


def _refuse(config: Mapping[str, Any], origin: Path) -> None:
    """Raise WeightsError for what is known from its config.json not to be trainable."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise WeightsError("{origin}: config.json has no model_type", origin=origin)
    if kind not in CONFIG_MAPPING:
        if "auto_map" in config:
            raise WeightsError(
                "{origin}: is a {kind} model, which transformers does not know; it brings code of "
                "its own, which is never run",
                origin=origin,
                kind=kind,
            )
        raise WeightsError(
            "{origin}: is a {kind} model, which transformers does not know",
            origin=origin,
            kind=kind,
        )
    if config.get("is_encoder_decoder", CONFIG_MAPPING[kind].is_encoder_decoder):
        raise WeightsError(
            "{origin}: a {kind} model is an encoder and a decoder; only models "
            "that continue a text can be trained",
            origin=origin,
            kind=kind,
        )
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise WeightsError(
            "{origin}: a {kind} model does not continue texts; nothing to train",
            origin=origin,
            kind=kind,
        )
    if further := [name for name in _FURTHER_SENSES if config.get(name)]:
        raise WeightsError(
            "{origin}: a {kind} model reads more than text ({further}); give the folder of a "
            "model of text alone",
            origin=origin,
            kind=kind,
            further=further,
        )
    of_mlx = config.get("quantization")
    if quantised := config.get("quantization_config") or of_mlx:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        if of_mlx:
            method = "MLX"
        raise WeightsError(
            "{origin}: its weights are quantised ({method}) and cannot be "
            "trained; give the model's original folder, or a GGUF file",
            origin=origin,
            method=method or "quantization_config",
        )


def _refuse_more_than_files(config: Mapping[str, Any], path: Path) -> None:
    held = sum(file.stat().st_size for kind in _WEIGHT_FILES for file in path.glob(kind))
    if not held:
        return
    try:
        with _quiet():
            known = transformers_config(config)
    except LmmError as error:
        raise WeightsError("{origin}: {error}", origin=path, error=error) from None
    except Exception:  # Numbers that contradict each other are told by who loads the model.
        return
    with _quiet():
        refuse_more_than_file(known, path, held, most=held)  # No type has less than a byte.


def _gguf_config(file: Path) -> Any:
    """The configuration of a GGUF file, as far as it can be read. Raises WeightsError."""
    import gguf

    import_quietly("transformers.modeling_utils")
    from transformers import AutoConfig

    try:
        reader = gguf.GGUFReader(file)
        refuse_sizes(
            {
                name: int(field.contents())
                for end, name in _SIZES_IN_GGUF.items()
                for key, field in reader.fields.items()
                if key.endswith(f".{end}")
            }
        )
        with _quiet():
            config = AutoConfig.from_pretrained(
                str(file.parent), gguf_file=file.name, local_files_only=True
            )
        for name in ("qwen3", "qwen3moe"):  # Of these transformers takes it to be 128.
            if (length := reader.get_field(f"{name}.attention.key_length")) is not None:
                config.head_dim = int(length.contents())
    except LmmError as error:
        raise WeightsError("{origin}: {error}", origin=file, error=error) from None
    except Exception as error:  # Of many kinds, by what is damaged or unknown.
        raise _unreadable(file, error) from None
    held = file.stat().st_size
    with _quiet():
        refuse_more_than_file(config, file, held, most=_WEIGHTS_A_BYTE * held)
    return config


def _unreadable(origin: Path, error: Exception) -> WeightsError:
    reason = code_in_pickle(error) or _reason(error)
    return WeightsError("{origin}: cannot be read ({reason})", origin=origin, reason=reason)


def _load(path: Path, gguf: str | None, origin: Path) -> Any:
    """The model; WeightsError where tensors are missing, left over or of another size."""
    import_quietly("transformers.modeling_utils")
    from transformers import AutoModelForCausalLM

    source = {"gguf_file": gguf, "config": _gguf_config(origin)} if gguf else {}
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(path),
                dtype=torch.float32,
                attn_implementation="eager",
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **source,
            )
            hf, about = loaded
    except Exception as error:  # Of many kinds, by what is damaged or unknown.
        raise _unreadable(origin, error) from None
    if not gguf:
        _refuse_other_numbers(path)
    about = {what: _names(keys) for what, keys in about.items() if what.endswith("_keys")}
    kind = hf.config.model_type
    for what, problem in _PROBLEMS.items():
        if names := about[what]:
            raise WeightsError(
                "{origin}: tensor {name} of this {kind} model {problem} ({count} in all)",
                origin=origin,
                name=names[0],
                kind=kind,
                problem=problem,
                count=len(names),
            )
    return hf.train()


def _refuse_other_numbers(path: Path) -> None:
    """Integers and 8-bit floats are quantised weights, whatever config.json says."""
    for file in sorted(path.glob("model*.safetensors")):
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                kind = opened.get_slice(name).get_dtype()
                if name.endswith("weight") and kind not in _TRAINABLE:
                    raise WeightsError(
                        "{path}: tensor {name} is of type {kind}; give weights in float32, "
                        "bfloat16 or float16",
                        path=file,
                        name=name,
                        kind=kind,
                    )


def _names(keys: Iterable[Any]) -> list[str]:
    found = (key if isinstance(key, str) else key[0] for key in keys)
    return sorted(name for name in found if not _COMPUTED.search(name))


def _architecture(hf: Any) -> dict[str, Any]:
    """The config.json, without what only described the files."""
    found: dict[str, Any] = json.loads(hf.config.to_json_string(use_diff=False))
    for name in ("_name_or_path", "auto_map", "dtype", "torch_dtype", "transformers_version"):
        found.pop(name, None)
    return found


def _tokenizer(
    path: Path, gguf: str | None
) -> tuple[Path | None, tempfile.TemporaryDirectory[str] | None]:
    """A folder with a tokenizer.json; where there is none, one is made of what lies there."""
    if not gguf and (path / "tokenizer.json").is_file():
        return path / "tokenizer.json", None
    if not gguf and not any((path / name).is_file() for name in _VOCABULARIES):
        return None, None
    from transformers import AutoTokenizer

    source = {"gguf_file": gguf} if gguf else {}
    kept = tempfile.TemporaryDirectory(prefix="lmm-tokenizer-")
    try:
        with _quiet():
            found = AutoTokenizer.from_pretrained(
                str(path), trust_remote_code=False, local_files_only=True, **source
            )
            found.save_pretrained(kept.name)
    except Exception as error:
        logging.getLogger("engine").warning("%s: no tokenizer (%s)", path, _reason(error))
    made = Path(kept.name) / "tokenizer.json"
    return (made, kept) if made.is_file() else (None, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and tables that transformers prints."""
    from transformers.utils import logging as messages

    level, bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    try:
        # Its bar for a GGUF file heeds no setting.
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        messages.set_verbosity(level)
        if bars:
            messages.enable_progress_bar()


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


if __name__ == "__main__":
    from transformers import GPT2Config, GPT2LMHeadModel

    with tempfile.TemporaryDirectory() as place:
        tiny = GPT2Config(
            vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=32,
            bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        GPT2LMHeadModel(tiny).save_pretrained(place)
        found = read_foreign(Path(place), json.loads((Path(place) / "config.json").read_text()))
        print(found.model.shape, len(found.tensors), found.tokenizer)
    print("=== 自测通过 ===")
