"""Writes a model as one GGUF file, which llama.cpp and Ollama load.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Names of keys and tensors,
and the blocks of quantised weights, are those of the `gguf` package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import gguf
from gguf import GGMLQuantizationType as Kind
from torch import Tensor

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.gguf_architectures import GgufModel, gguf_model
from lmm_tui.engine.checkpoints.gguf_tokenizer import add_tokenizer

Quantisation = Literal["f32", "f16", "q8_0", "q4_0"]
"""Bits a weight: 32, 16, 8.5 and 4.5."""
_MATRICES = {"f32": Kind.F32, "f16": Kind.F16, "q8_0": Kind.Q8_0, "q4_0": Kind.Q4_0}
_FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}
_COARSEST_ENDS = Kind.Q8_0
"""Embedding and head lose most by few bits; llama.cpp keeps them finer than 4 bits, too."""


def write_gguf(
    file: Path,
    model: GgufModel,
    tensors: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    *,
    name: str,
    quantisation: Quantisation,
    chat_template: str | None,
    end_of_turn: int,
) -> str:
    """Write the weights of `model`, fp32 under transformers' names, to a new `file`.

    Vectors, positions and routers stay fp32. A matrix whose rows are no whole number of blocks of
    32 is written as fp16, as llama.cpp does. `end_of_turn` is where a chat stops. Raises
    WeightsError for a tokenizer that llama.cpp cannot follow; returns a sentence where it follows
    with a difference, else ''.
    """
    writer = gguf.GGUFWriter(file, model.name)
    writer.add_name(name)
    writer.add_file_type(_FILE_TYPES[quantisation])
    model.describe(writer)
    note = add_tokenizer(writer, tokenizer, model.config.vocab_size, end_of_turn)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    for name_there, tensor in model.tensors(tensors).items():
        kind = _kind(name_there, tensor, _MATRICES[quantisation])
        writer.add_tensor(name_there, gguf.quants.quantize(tensor.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return note


def _kind(name: str, tensor: Tensor, matrices: Kind) -> Kind:
    if tensor.ndim < 2 or name.startswith("position_embd") or "ffn_gate_inp" in name:
        return Kind.F32
    if name in ("token_embd.weight", "output.weight") and matrices is Kind.Q4_0:
        matrices = _COARSEST_ENDS
    block, _ = gguf.GGML_QUANT_SIZES[matrices]
    return Kind.F16 if tensor.shape[-1] % block else matrices


def described(file: Path) -> dict[str, Any]:
    """The keys of a GGUF file with their values, without its vocabulary; for tests and people."""
    reader = gguf.GGUFReader(file)
    return {
        key: field.contents()
        for key, field in reader.fields.items()
        if not key.startswith(("GGUF.", "tokenizer.ggml.tokens", "tokenizer.ggml.merges"))
    }


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    words = Tokenizer.train(["the cat sat on the mat"] * 9, 280)
    tiny = Decoder(ModelShape(words.vocab_size, 32, 2, 4, 2, 8, 64))
    tiny.init_weights(0)
    with tempfile.TemporaryDirectory() as place:
        target = Path(place, "tiny.gguf")
        write_gguf(
            target,
            gguf_model(tiny.shape, None, target),
            tiny.state_dict(),
            words,
            name="tiny",
            quantisation="q8_0",
            chat_template=None,
            end_of_turn=words.eos_id,
        )
        print(json.dumps(described(target), indent=1, default=str)[:300])
    print("=== 自测通过 ===")
