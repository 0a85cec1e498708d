"""Model shapes: the presets, and the parameters, FLOPs and memory that a shape needs.

Pure arithmetic on integers; torch is not imported, so that the configure screen can show a live
estimate before it is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

_LOGITS = {False: 2**23, True: 2**26}
"""Of a chunk of the loss: on a CPU, where fp32 is usual, and on a GPU."""
_BYTES_PER_LOGIT = 9


def qwen3_fields(shape: ModelShape) -> dict[str, Any]:
    """What config.json says of a Qwen3 of transformers, dense or a mixture of experts."""
    return {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.max_positions,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "rms_norm_eps": shape.rms_eps,
        "tie_word_embeddings": shape.tie_embeddings,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "bos_token_id": None,
    }


@dataclass(frozen=True)
class ModelShape:
    """The integers that define a Qwen3-style decoder, dense or a mixture of experts."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    max_positions: int = 32768
    rope_theta: float = 1e6
    rms_eps: float = 1e-6
    tie_embeddings: bool = True
    num_experts: int = 0
    """Of a mixture of experts (MoE), each an MLP of `intermediate_size`; 0 is one dense MLP."""
    experts_per_token: int = 0

    @property
    def embedding_parameters(self) -> int:
        return self.vocab_size * self.hidden_size

    @property
    def layer_parameters(self) -> int:
        attention = self.hidden_size * self.head_dim * 2 * (self.num_heads + self.num_kv_heads)
        mlp = self._mlp_parameters(self.num_experts)
        norms = 2 * self.hidden_size + 2 * self.head_dim
        return attention + mlp + norms

    def _mlp_parameters(self, experts: int) -> int:
        router = self.hidden_size * self.num_experts
        return 3 * self.hidden_size * self.intermediate_size * max(1, experts) + router

    @property
    def parameters(self) -> int:
        """All trainable parameters; a tied head counts once."""
        heads = 1 if self.tie_embeddings else 2
        return (
            heads * self.embedding_parameters
            + self.num_layers * self.layer_parameters
            + self.hidden_size
        )

    @property
    def layer_matrices(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of the matrices of a dense layer."""
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        wide, narrow = self.intermediate_size, self.hidden_size
        return {
            "q_proj": (queries, narrow),
            "k_proj": (keys, narrow),
            "v_proj": (keys, narrow),
            "o_proj": (narrow, queries),
            "gate_proj": (wide, narrow),
            "up_proj": (wide, narrow),
            "down_proj": (narrow, wide),
        }

    def flops_per_token(self, seq_len: int) -> float:
        """Training FLOPs a token (forward and backward) at mean causal context seq_len / 2.

        6 N for the matrix products (the head included, the embedding look-up not) and
        12 L H d T for attention with T = seq_len / 2 (PaLM, arXiv 2204.02311, appendix B).
        """
        unused = self._mlp_parameters(self.num_experts) - self._mlp_parameters(
            self.experts_per_token
        )
        matmul = self.num_layers * (self.layer_parameters - unused) + self.embedding_parameters
        attention = 12 * self.num_layers * self.num_heads * self.head_dim * (seq_len / 2)
        return 6.0 * matmul + attention

    def training_bytes(
        self,
        batch_size: int,
        seq_len: int,
        *,
        half_precision: bool = False,
        optimizer_values: float = 2,
        accumulates: bool = False,
    ) -> int:
        """A first answer to how much memory a step takes, in bytes, where there is no time for
        `engine.simulation`, which holds it in a test to within 15 % of what it counts.

        Weights and `optimizer_values` moments in fp32, and the larger of two moments: at the loss
        what the layers keep for the backward pass, and a chunk of logits; after it the gradients.
        """
        tokens = batch_size * seq_len
        heads = self.num_heads + self.num_kv_heads
        inner = self.intermediate_size * max(1, self.experts_per_token)
        if half_precision:  # Activations in 16 bits; a copy of the weights.
            per_token = 10 * self.hidden_size + 8 * inner + 6 * heads * self.head_dim
            copies = 2 * self.parameters
        else:
            per_token = 16 * self.hidden_size + 16 * inner + 12 * heads * self.head_dim
            copies = 0
        if self.num_experts:  # As transformers writes norms, router and the way to the experts.
            per_token += 30 * self.hidden_size
        kept = self.num_layers * tokens * (per_token + 6 * heads) + copies
        logits = min(tokens * self.vocab_size, _LOGITS[half_precision])
        at_loss = kept + logits * _BYTES_PER_LOGIT + 4 * self.embedding_parameters
        at_loss += (accumulates * self.parameters + 5 * tokens * self.hidden_size) * 4
        after = 4 * self.parameters + 8 * self.embedding_parameters
        return round(self.parameters * 4 * (1 + optimizer_values)) + max(at_loss, after)


def _shape(vocab: int, hidden: int, layers: int, heads: int, kv: int, inner: int) -> ModelShape:
    return ModelShape(vocab, hidden, layers, heads, kv, hidden // heads, inner)


PRESETS: dict[str, ModelShape] = {
    "nano": _shape(1024, 96, 4, 4, 2, 256),
    "tiny": _shape(4096, 256, 4, 4, 2, 704),
    "minimind-26m": _shape(6400, 512, 8, 8, 2, 1408),
    "minimind-64m": _shape(6400, 768, 8, 8, 4, 2432),
    "minimind-104m": _shape(6400, 768, 16, 8, 2, 2048),
    "minimind-moe": replace(_shape(6400, 768, 8, 8, 4, 2432), num_experts=4, experts_per_token=1),
}
"""From 0.5M to 198M parameters, of which a token meets 64M in `minimind-moe`; the vocabulary is
what a built-in tokenizer is trained to."""


if __name__ == "__main__":
    for name, shape in PRESETS.items():
        print(f"{name:>14}  {shape.parameters / 1e6:7.2f}M parameters")
    assert abs(PRESETS["minimind-26m"].parameters / 1e6 - 25.8) < 0.1
    print("=== 自测通过 ===")
