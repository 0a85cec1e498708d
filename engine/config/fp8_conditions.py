"""What `train.fp8` needs of a run, whatever the card: asked before training, and by the plan."""

from __future__ import annotations

from collections.abc import Mapping

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.message import Message

_STAGES = ("pretrain", "sft", "distill")
_MULTIPLE = 16
"""Of which the sides of a matrix are, for the kernels."""


def refuse_fp8(config: RunConfig, precision: str, alone: bool) -> None:
    """ConfigError where `train.fp8` cannot be honoured; `alone`: whether there is one rank."""
    reason = _why_not(config, precision, alone)
    if reason is not None:
        raise ConfigError("train.fp8: {reason}; leave it out", reason=reason)


def refuse_sides(matrices: Mapping[str, tuple[int, ...]]) -> None:
    """ConfigError where a matrix, (rows, columns), has a side that the kernels don't take."""
    for name, sides in matrices.items():
        if any(side % _MULTIPLE for side in sides):
            raise ConfigError(
                "train.fp8: {name} is {rows} × {columns}, and sides must be multiples of "
                "{multiple}; leave it out, or change the sizes of the model",
                name=name,
                rows=sides[0],
                columns=sides[1],
                multiple=_MULTIPLE,
            )


def _why_not(config: RunConfig, precision: str, alone: bool) -> str | None:
    if precision != "bf16":
        return Message(
            "the rest computes in bf16, here train.precision is {precision}", precision=precision
        )
    if not alone:
        return Message("it is for one rank, the scales of several would differ")
    if config.stage not in _STAGES:
        return Message(
            "it is for {stages}, where no pass without gradients, in bf16, is compared with one "
            "that has them",
            stages=[*_STAGES],
        )
    if config.lora.rank:
        return Message("adapters are too small to gain from it")
    return None


if __name__ == "__main__":
    try:
        refuse_sides({"q_proj": (48, 20)})
    except ConfigError as error:
        print(error)
    refuse_fp8(RunConfig(), "bf16", alone=True)
    print("=== 自测通过 ===")
