"""Writes a model as a Hugging Face folder, MiniMind's `.pth`, or GGUF.

`lmm-tui convert` calls it. In a folder weights are copied unchanged, so logits stay equal; a .pth
is fp16, a GGUF file as fine as it was asked for. What lies beside them (tokenizer, chat template,
stop tokens, rope theta, eps, context length) is written, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lmm_tui.data.chat.chatml import CHAT_TEMPLATE
from lmm_tui.data.chat.spans import ChatTemplate
from lmm_tui.data.chat.template import CHATML, stop_ids
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.tokenizing.tokenizer import END_OF_TEXT, IM_END, IM_START, Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.checkpoints.checked_weights import Weights
from lmm_tui.engine.checkpoints.gguf_architectures import gguf_model
from lmm_tui.engine.checkpoints.gguf_file import Quantisation, write_gguf
from lmm_tui.engine.checkpoints.hf_config import WeightsError, hf_config, named_ids
from lmm_tui.engine.checkpoints.moe_tensors import minimind_shape, unstacked
from lmm_tui.engine.checkpoints.ollama_file import FILE, modelfile, turn_forms
from lmm_tui.engine.checkpoints.pth_weights import SIDECAR_FIELDS, sidecar
from lmm_tui.engine.checkpoints.reward_model import as_classifier
from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.model.hf_model import HfModel
from lmm_tui.guarded_files import SHARED, replace_text, replacing
from lmm_tui.message import Message

_OTHER_FILES = {".ggml", ".safetensors", ".bin", ".pt", ".ckpt", ".onnx", ".npz", ".h5"}
_HEAD = "lm_head.weight"
_EMBEDDING = "model.embed_tokens.weight"


def convert(
    source: Path, target: Path, *, merge: bool = False, quantisation: Quantisation = "f16"
) -> Weights:
    """Write the model at `source` to `target`: a new `.pth` or `.gguf`, or a Hugging Face folder.

    LoRA adapters become part of the weights with `merge`. Raises WeightsError where the source
    cannot be read, has adapters and `merge` is not set, or where the target exists or is named as
    a file of another format.
    """
    if target.suffix.lower() in _OTHER_FILES:
        raise WeightsError(
            "{target}: a {suffix} file cannot be written; give a name that ends "
            "in .pth or .gguf, or that of a new folder",
            target=target,
            suffix=target.suffix,
        )
    weights = read_weights(source)
    if weights.merged and not merge:
        raise WeightsError(
            "{origin}: has LoRA adapters; --merge adds them to the weights, --adapter writes them "
            "alone, as peft loads them",
            origin=weights.origin,
        )
    _refuse_other_models(weights, target)
    if target.exists():
        raise WeightsError(
            "{target}: exists already; nothing was overwritten, give another name", target=target
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".pth":
        weights = _write_pth(weights, target)
    elif target.suffix == ".gguf":
        weights = _write_gguf(weights, target, quantisation)
    else:
        _write_hf(weights, target)
    return weights


def _refuse_other_models(weights: Weights, target: Path) -> None:
    """Raise WeightsError for a file format that has no place for the architecture."""
    if weights.reward_head is not None and target.suffix in (".gguf", ".pth"):
        raise WeightsError(
            "{origin}: is a reward model, and a {suffix} file has no place for its head; give the "
            "name of a new folder",
            origin=weights.origin,
            suffix=target.suffix,
        )
    kind = str((weights.architecture or {}).get("model_type") or "qwen3_moe")
    if target.suffix == ".pth" and minimind_shape(weights.shape, weights.architecture) is None:
        raise WeightsError(
            "{origin}: a {kind} model is none of MiniMind's, and a .pth holds "
            "only those; give the name of a new folder",
            origin=weights.origin,
            kind=kind,
        )


def _tokenizer(weights: Weights, wanted_by: str) -> Tokenizer:
    if weights.tokenizer is None:
        raise WeightsError(
            "{origin}: no tokenizer.json beside it, and a {wanted_by} needs one; "
            "put the model's tokenizer.json there",
            origin=weights.origin,
            wanted_by=wanted_by,
        )
    return Tokenizer.load(weights.tokenizer)


def _write_hf(weights: Weights, folder: Path) -> None:
    tokenizer = _tokenizer(weights, "Hugging Face folder")
    template, jinja = _template(weights, tokenizer)
    tokenizer = _stopping(weights, tokenizer, template)
    folder.mkdir()
    tokenizer.save(folder, jinja, SHARED)
    if weights.reward_head is not None:
        config, tensors = as_classifier(weights, tokenizer)
        _write_json(folder / "config.json", config)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    model = None if _is_ours(weights) else weights.model()
    if isinstance(model, HfModel):
        model.save(folder, named_ids(tokenizer))
    else:
        _write_json(folder / "config.json", hf_config(weights.shape, tokenizer))
        save_file(weights.tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(
        folder / "generation_config.json",
        {
            **named_ids(tokenizer),
            "eos_token_id": sorted(stop_ids(tokenizer, template)),
            "do_sample": False,
        },
    )


def _is_ours(weights: Weights) -> bool:
    return weights.architecture is None and not weights.shape.num_experts


def _write_gguf(weights: Weights, file: Path, quantisation: Quantisation) -> Weights:
    model = gguf_model(weights.shape, weights.architecture, weights.origin)
    tokenizer = _tokenizer(weights, "GGUF file")
    template, jinja = _template(weights, tokenizer)
    ends = [tokenizer.id_of(token) for token in template.turn_ends] if jinja is not None else []
    adds_bos = tokenizer.encode_as_input("")[:1] == [tokenizer.named_id("bos_token")]
    with replacing(file, mode=SHARED) as staging:
        note = write_gguf(
            Path(staging.name),
            model,
            weights.tensors,
            tokenizer,
            name=file.stem,
            quantisation=quantisation,
            chat_template=jinja,
            end_of_turn=next((end for end in ends if end is not None), tokenizer.eos_id),
        )
    bos = (tokenizer.settings.tokens.get("bos_token") or "") if adds_bos else ""
    stops = template.turn_ends if jinja is not None else ()
    forms = turn_forms(_writer(template), bos) if jinja is not None else None
    text = modelfile(file, forms, stops, model.config.max_position_embeddings, jinja is not None)
    notes = [note, _write_modelfile(file.with_name(FILE), text)]
    return weights.noting(*filter(None, notes))


def _write_modelfile(path: Path, text: str) -> str:
    """Written unless there is one, which the sentence says that is returned."""
    if path.exists():
        return Message("{path}: exists already, and stays as it is", path=path)
    replace_text(path, text, mode=SHARED)
    return ""


def _writer(template: ChatTemplate) -> Callable[[Sequence[Turn], bool], str]:
    def write(turns: Sequence[Turn], opened: bool) -> str:
        spans = template.prompt_spans(turns) if opened else template.spans(turns)
        return "".join(span.text for span in spans)

    return write


def _stopping(weights: Weights, tokenizer: Tokenizer, template: ChatTemplate) -> Tokenizer:
    """Tools that stop at the one eos_token stop at the end of an answer."""
    if weights.trained_template and template.turn_ends and _ends_as_a_document(tokenizer):
        return tokenizer.with_eos(template.turn_ends[0])
    return tokenizer


def _template(weights: Weights, tokenizer: Tokenizer) -> tuple[ChatTemplate, str | None]:
    """The chat template of the model, and the same as Jinja: None without ChatML's tokens."""
    if weights.has_own_template(tokenizer):
        assert weights.tokenizer is not None
        own = TokenizerTemplate.load(weights.tokenizer, tokenizer)
        return own, tokenizer.settings.chat_template
    has_chat_tokens = None not in (tokenizer.id_of(IM_START), tokenizer.id_of(IM_END))
    return CHATML, CHAT_TEMPLATE if has_chat_tokens else None


def _ends_as_a_document(tokenizer: Tokenizer) -> bool:
    """Whether the eos_token ends documents, in a vocabulary that has a token for that alone."""
    return tokenizer.settings.tokens["eos_token"] == tokenizer.end_of_document == END_OF_TEXT


def _write_pth(weights: Weights, file: Path) -> Weights:
    """fp16 and with the tied head as a tensor of its own, since MiniMind loads strictly.

    What the tensors do not show is written beside it, and the tokenizer, unless there is one.
    """
    shape = asdict(minimind_shape(weights.shape, weights.architecture) or weights.shape)
    half = {name: tensor.half() for name, tensor in unstacked(weights.tensors).items()}
    half.setdefault(_HEAD, half[_EMBEDDING])
    said = {field: shape[field] for field in SIDECAR_FIELDS}
    _write_json(sidecar(file), {field: value for field, value in said.items() if value})
    with replacing(file, mode=SHARED) as staging:
        torch.save(half, staging)
    if weights.tokenizer is None:
        return weights
    tokenizer = Tokenizer.load(weights.tokenizer)
    template, jinja = _template(weights, tokenizer)
    beside = file.with_name("tokenizer.json")
    if not beside.exists():
        _stopping(weights, tokenizer, template).save(beside, jinja, SHARED)
    elif Tokenizer.load(beside).serialised != tokenizer.serialised:
        return replace(weights, notes=(*weights.notes, _other_note(beside, file)))
    return weights


def _other_note(beside: Path, file: Path) -> str:
    return Message(
        "{beside}: is the tokenizer of another model, and stays; the one of {name} is not written",
        beside=beside,
        name=file.name,
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    replace_text(path, text, mode=SHARED)


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.model.decoder import Decoder

    ids = torch.arange(12).reshape(1, 12)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        words = Tokenizer.train(["the cat sat on the mat"] * 9, 280)
        words.save(home / "tokenizer.json")
        tiny = Decoder(ModelShape(words.vocab_size, 32, 2, 4, 2, 8, 64))
        tiny.init_weights(0)
        halved = {name: tensor.half() for name, tensor in tiny.state_dict().items()}
        torch.save(halved, home / "pretrain_32.pth")
        tiny.load_state_dict({name: tensor.float() for name, tensor in halved.items()})
        convert(home / "pretrain_32.pth", home / "hf")
        (home / "back").mkdir()
        convert(home / "hf", home / "back" / "model.pth")
        again = read_weights(home / "back" / "model.pth")
        back = again.model()
        difference = (back(ids) - tiny(ids)).abs().max().item()
        print(f"{asdict(again.shape)}\n.pth -> HF -> .pth: logits differ by {difference}")
        assert difference == 0
    print("=== 自测通过 ===")
