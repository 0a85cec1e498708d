"""The tabs of the configuration form: every option is on one of them."""

from __future__ import annotations

from lmm_tui.engine.config.options import options
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.language import mark
from lmm_tui.metrics.stages.built_in import BUILT_IN

ESSENTIALS = mark("basic")
FORM = (
    "stage",
    "device",
    "name",
    "start_from",
    "model.preset",
    "data.source",
    "data.tokenizer",
    "data.seq_len",
    "train.steps",
    "train.batch_size",
    "train.grad_accum",
    "optim.lr",
    "optim.schedule",
)
"""The most important options, on the first tab."""

_STAGED = tuple(stage for stage in BUILT_IN if stage in RunConfig.model_fields)
_SECTIONS = {
    mark("stage"): ("lora", *_STAGED),
    mark("model"): ("model",),
    mark("data"): ("data",),
    mark("training"): ("train", "parallel", ""),
    mark("optimizer"): ("optim",),
    mark("logging & probes"): ("log", "probe"),
    mark("evaluation"): ("eval",),
    mark("health"): ("health", "notify"),
}
TABS = (ESSENTIALS, *_SECTIONS)
OF_THE_STAGE = "stage"
"""The tab that has the options of a stage of somebody's own, too."""


def keys_of(tab: str) -> list[str]:
    """The options of a tab, in the order of the configuration."""
    if tab == ESSENTIALS:
        return list(FORM)
    keys = [option.key for option in options() if option.key not in FORM]
    sections = _SECTIONS[tab]
    return [key for key in keys if section_of(key) in sections]


def section_of(key: str) -> str:
    """The section of the configuration that an option is in; empty for the top level."""
    return key.partition(".")[0] if "." in key else ""


def matters(key: str, stage: str) -> bool:
    """Whether an option has an effect in a stage."""
    section = section_of(key)
    if section == "own":
        return stage not in BUILT_IN
    return section not in _STAGED or section == stage


if __name__ == "__main__":
    for name in TABS:
        print(name, keys_of(name))
    placed = [key for name in TABS for key in keys_of(name)]
    assert sorted(placed) == sorted(option.key for option in options())
    assert matters("lora.rank", "sft") and not matters("dpo.beta", "sft")
    print("=== 自测通过 ===")
