"""The panel that says what a configuration comes to before it is started.

Pure drawing of an `Outlook`: a table where there is room for one, three sentences where there is
not. It counts nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from engine.config import RunConfig
from lmm_tui.estimate import Estimate, exact
from lmm_tui.summary import count, duration
from lmm_tui.text import clean
from lmm_tui.units import size

LABEL_WIDTH = 13
METER_WIDTH = 16
TIGHT = 0.7
"""Share of a memory above which the first-order estimate may turn out too small."""

_AIMS = {
    "pretrain": "to continue text",
    "sft": "to answer",
    "dpo": "to prefer better answers",
    "grpo": "to earn rewards",
    "distill": "to follow a teacher",
}


@dataclass(frozen=True)
class Outlook:
    """What is known about a run that has not begun."""

    config: RunConfig
    estimate: Estimate
    data: str
    """The text in a few words, such as `3 files, 12 MB`."""
    device: str
    """The device in a few words, such as `cuda:0, NVIDIA H100`."""
    memory_total: int | None
    """Bytes of that device's memory, None while that is not known."""
    seconds_a_step: float | None = None
    """Measured in a trial, None where there was none."""

    @property
    def memory_share(self) -> float | None:
        return self.estimate.memory / self.memory_total if self.memory_total else None

    @property
    def verdict(self) -> tuple[str, str]:
        """Whether the run fits into memory, and the colour of that."""
        share = self.memory_share
        if share is None:
            return "", ""
        if share > 1:
            return "does not fit", "$error"
        return ("tight", "$warning") if share > TIGHT else ("fits", "$success")


class EstimatePanel(Widget):
    """Shows one `Outlook`; `compact` is for a terminal of 80 columns."""

    DEFAULT_CSS = """
    EstimatePanel { height: auto; }
    """

    outlook: reactive[Outlook | None] = reactive(None, layout=True)
    compact: reactive[bool] = reactive(False, layout=True)

    def __init__(self, *, compact: bool) -> None:
        super().__init__()
        self.set_reactive(EstimatePanel.compact, compact)

    def render(self) -> Content:
        if self.outlook is None:
            return Content()
        return sentences(self.outlook) if self.compact else table(self.outlook)


def table(outlook: Outlook) -> Content:
    """A row a figure, for a panel of 48 columns or more."""
    config, sized = outlook.config, outlook.estimate
    shape = sized.shape
    layers = count(shape.num_layers * shape.layer_parameters)
    rows: list[tuple[str, str]] = [
        (config.stage, f"{_origin(config)}, {_AIMS[config.stage]}"),
        ("data", outlook.data),
        ("device", outlook.device),
        ("", ""),
        ("parameters", f"{count(shape.parameters)}, {layers} of them in layers"),
        ("layers", f"{shape.num_layers} of width {shape.hidden_size}"),
        ("attention", f"{shape.num_heads} heads over {shape.num_kv_heads} of keys and values"),
        ("vocabulary", f"{exact(shape.vocab_size)} tokens"),
        ("", ""),
        ("a step", _a_step(outlook)),
        ("in all", _in_all(outlook)),
        ("epochs", _epochs(sized) or "known once the data is"),
        ("time", _time(outlook) or "ctrl+t tries a few steps"),
        ("", ""),
        ("memory", f"about {size(sized.memory)}{_of_total(outlook)}"),
        ("", "METER"),
        ("disk", _checkpoints(sized)),
        ("folder", folder(config)),
    ]
    lines = []
    for label, value in rows:
        shown = _meter(outlook) if value == "METER" else Content(clean(value))
        lines.append(Content.assemble((label.ljust(LABEL_WIDTH), "$foreground-muted"), shown))
    return Content("\n").join(lines)


def sentences(outlook: Outlook) -> Content:
    """The same in a few lines."""
    sized = outlook.estimate
    shape = sized.shape
    verdict, colour = outlook.verdict
    epochs = _epochs(sized)
    lines = [
        Content(
            f"{count(shape.parameters)} parameters in {shape.num_layers} layers of width "
            f"{shape.hidden_size}, {exact(shape.vocab_size)} tokens in the vocabulary"
        ),
        Content(
            f"{_a_step(outlook)} a step"
            + (f", {exact(sized.total_tokens)} in all" if sized.total_tokens else "")
            + (f", epochs: {epochs}" if epochs else "")
            + (f", {_time(outlook)}" if outlook.seconds_a_step else "")
        ),
        Content.assemble(
            f"memory about {size(sized.memory)}{_of_total(outlook)}",
            (f" ({verdict})" if verdict else "", colour),
            f" · disk {_checkpoints(sized)}",
        ),
        Content(
            clean(
                f"{outlook.device} · {outlook.data} · {_origin(outlook.config)} · "
                f"{folder(outlook.config)}"
            )
        ),
    ]
    return Content("\n").join(lines)


def run_name(config: RunConfig) -> str:
    """What the run will be called, as far as that is known before it starts."""
    return config.name or f"{config.stage}-{config.model.preset}-<date>"


def folder(config: RunConfig) -> str:
    """Where the run will be written."""
    return str(Path(config.runs_dir) / run_name(config))


def _origin(config: RunConfig) -> str:
    return f"from {config.start_from}" if config.start_from else "from scratch"


def _meter(outlook: Outlook) -> Content:
    share = outlook.memory_share
    if share is None:
        return Content()
    verdict, colour = outlook.verdict
    full = min(max(round(share * METER_WIDTH), 1), METER_WIDTH)
    return Content.assemble(
        ("━" * full, colour),
        ("─" * (METER_WIDTH - full), "$foreground-disabled"),
        (f" {verdict}", colour),
    )


def _of_total(outlook: Outlook) -> str:
    return f" of {size(outlook.memory_total)}" if outlook.memory_total else ""


def _a_step(outlook: Outlook) -> str:
    config = outlook.config
    things = exact(config.train.batch_size * config.train.grad_accum)
    if config.stage == "dpo":
        return f"{things} pairs"
    if config.stage == "grpo":
        return f"{things} prompts, {config.grpo.group} answers each"
    return f"{exact(outlook.estimate.tokens_per_step)} tokens"


def _in_all(outlook: Outlook) -> str:
    sized = outlook.estimate
    if not sized.total_tokens:
        return f"{exact(outlook.config.train.steps)} steps"
    return f"{exact(sized.total_tokens)} tokens, {_operations(sized.flops)}"


def _epochs(sized: Estimate) -> str:
    if sized.epochs is None:
        return ""
    shown = f"{sized.epochs:.2g}" if sized.epochs < 100 else f"{sized.epochs:,.0f}"
    return f"about {shown} of about {count(sized.corpus_tokens or 0)} tokens"


def _time(outlook: Outlook) -> str:
    if outlook.seconds_a_step is None:
        return ""
    seconds = outlook.seconds_a_step * outlook.config.train.steps
    return f"about {duration(seconds)} at {outlook.seconds_a_step:.3g} s a step"


def _checkpoints(sized: Estimate) -> str:
    each = size(sized.checkpoint)
    if sized.checkpoints == 1:
        return f"about {each}, 1 checkpoint"
    return f"about {size(sized.checkpoint * sized.checkpoints)}, {sized.checkpoints} x {each}"


def _operations(flops: float) -> str:
    for name, unit in (("exa", 1e18), ("peta", 1e15), ("tera", 1e12)):
        if flops >= unit:
            return f"{flops / unit:.3g} {name}FLOP"
    return f"{flops / 1e9:.3g} gigaFLOP"


if __name__ == "__main__":
    from lmm_tui.estimate import estimate

    shown = RunConfig.model_validate({"model": {"preset": "minimind-26m"}})
    example = Outlook(
        shown, estimate(shown, corpus_bytes=6_000_000), "built in, 6 MB", "cpu", 16_000_000_000
    )
    print(table(example).plain)
    print(sentences(example).plain)
    assert example.verdict[0] == "fits"
    print("=== 自测通过 ===")
