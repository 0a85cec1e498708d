"""`[model]`: a preset and the fields that override it."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

from pydantic import Field, field_validator

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.model_shape import PRESETS, ModelShape
from lmm_tui.engine.config.sections.section import Section
from lmm_tui.message import Message


class ModelConfig(Section):
    preset: str = Field(
        "nano",
        description="Model preset: " + ", ".join(PRESETS),
        json_schema_extra={"enum": [*PRESETS]},
    )
    vocab_size: int | None = Field(
        None, ge=260, le=1_000_000, description="Tokens in a vocabulary that we train ourselves"
    )
    hidden_size: int | None = Field(None, ge=8, le=16384, description="Width of the residual")
    num_layers: int | None = Field(None, ge=1, le=200, description="Decoder layers")
    num_heads: int | None = Field(None, ge=1, le=256, description="Attention heads")
    num_kv_heads: int | None = Field(None, ge=1, le=256, description="Key/value heads (GQA)")
    head_dim: int | None = Field(None, ge=2, le=512, description="Width of one head, even")
    intermediate_size: int | None = Field(None, ge=8, le=65536, description="Width of the MLP")
    max_positions: int | None = Field(
        None,
        ge=8,
        le=1_048_576,
        title="context length",
        description="Longest context, tokens",
    )
    rope_theta: float | None = Field(None, gt=0, description="Base of the rotary embedding")
    rms_eps: float | None = Field(None, gt=0, le=0.1, description="Epsilon of RMSNorm")
    tie_embeddings: bool | None = Field(None, description="Share input and output embeddings")

    num_experts: int | None = Field(
        None,
        ge=0,
        le=256,
        title="experts",
        description="MLPs of a mixture of experts (MoE); 0 is dense",
    )
    experts_per_token: int | None = Field(
        None, ge=0, le=256, title="experts per token", description="Experts that a token is sent to"
    )

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, value: str) -> str:
        if value not in PRESETS:
            raise ValueError(
                Message(
                    "unknown preset {value!r}; choose from {presets}",
                    value=value,
                    presets=[*PRESETS],
                )
            )
        return value

    def shape(self, vocab_size: int | None = None) -> ModelShape:
        """The preset with its overrides; `vocab_size` is the tokenizer's actual size.

        Raises ConfigError if the numbers contradict each other.
        """
        base = PRESETS[self.preset]
        changed = {
            field.name: getattr(self, field.name)
            for field in fields(ModelShape)
            if getattr(self, field.name, None) is not None
        }
        if vocab_size is not None:
            changed["vocab_size"] = vocab_size
        shape = replace(base, **changed)
        resized = {"hidden_size", "num_heads"} & changed.keys()
        if resized and "head_dim" not in changed:
            if shape.hidden_size % shape.num_heads:
                raise ConfigError(
                    "model.hidden_size: {hidden_size} is not a multiple of "
                    "model.num_heads {num_heads}; change one, or set "
                    "model.head_dim",
                    hidden_size=shape.hidden_size,
                    num_heads=shape.num_heads,
                )
            shape = replace(shape, head_dim=shape.hidden_size // shape.num_heads)
        if shape.num_heads % shape.num_kv_heads:
            raise ConfigError(
                "model.num_kv_heads: {num_kv_heads} does not divide model.num_heads {num_heads}",
                num_kv_heads=shape.num_kv_heads,
                num_heads=shape.num_heads,
            )
        if shape.head_dim % 2:
            raise ConfigError(
                "model.head_dim: {head_dim} is odd; rotary needs it even", head_dim=shape.head_dim
            )
        if shape.num_experts and not 1 <= shape.experts_per_token <= shape.num_experts:
            raise ConfigError(
                "model.experts_per_token: {experts_per_token} of {num_experts} "
                "experts; give a number from 1 to model.num_experts",
                experts_per_token=shape.experts_per_token,
                num_experts=shape.num_experts,
            )
        return shape

    @classmethod
    def of_shape(cls, shape: ModelShape, preset: str) -> ModelConfig:
        """`preset` with an override for every field of `shape` that differs from it."""
        base = asdict(PRESETS[preset])
        overrides = {
            name: value
            for name, value in asdict(shape).items()
            if name in cls.model_fields and value != base[name]
        }
        return cls(preset=preset, **overrides)


if __name__ == "__main__":
    tiny = ModelConfig(preset="tiny", num_layers=2)
    print(tiny.shape())
    assert ModelConfig.of_shape(tiny.shape(), "tiny") == tiny
    print("=== 自测通过 ===")
