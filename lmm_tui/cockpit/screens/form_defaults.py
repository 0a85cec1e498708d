"""What an option without a value amounts to, as the dimmed text of its field."""

from __future__ import annotations

from dataclasses import asdict

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.model_shape import PRESETS
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.language import tr
from lmm_tui.planning.command_line import run_name


def effective_values(config: RunConfig) -> dict[str, str]:
    """By key, the text for a field that is empty."""
    nothing = tr("none")
    texts = {
        "name": run_name(config),
        "start_from": tr("none: random weights"),
        "data.more": nothing,
        "data.kinds": tr("all kinds"),
        "data.tokenizer": tr("from the start model, or trained on the data"),
        "data.cache_dir": tr("the user's cache folder"),
        "train.epochs": tr("as many as the steps make"),
        "train.threads": tr("all cores"),
        "train.freeze": nothing,
        "log.prompts": tr("what suits the stage"),
        "eval.data_dir": nothing,
        "health.rules": tr("built-in rules"),
        "grpo.weights": tr("all alike"),
        "distill.teacher": tr("required: a run, a checkpoint or a folder"),
    }
    texts |= {
        f"health.{name}": nothing
        for name in ("thresholds", "pause", "checkpoint", "rollback", "webhook", "command")
    }
    return texts | _of_preset(config)


def _of_preset(config: RunConfig) -> dict[str, str]:
    """The shape, whose sizes follow from the preset and from each other."""
    preset = config.model.preset
    try:
        shape, peak = asdict(config.model.shape()), config.peak_lr
    except ConfigError:
        shape, peak = asdict(PRESETS[preset]), None
    texts = {
        f"model.{name}": f"{_shown(shape[name])}  ({preset})"
        for name in shape
        if getattr(config.model, name, "") is None
    }
    if peak is not None:
        texts["optim.lr"] = tr("{lr} for this model size", lr=f"{peak:.2g}")
    return texts


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return tr("yes") if value else tr("no")
    return f"{value:,.10g}" if isinstance(value, int | float) else str(value)


if __name__ == "__main__":
    texts = effective_values(RunConfig())
    print(*(f"{key:24} {text}" for key, text in texts.items()), sep="\n")
    assert texts["model.hidden_size"].startswith("96 ")
    print("=== 自测通过 ===")
