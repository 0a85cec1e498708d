"""The panel with the estimate of a run before it starts: size, tokens, time, memory, disk.

An `Outlook` is drawn as a table, or as four lines on a small terminal. The figures come from
`lmm_tui.planning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from lmm_tui.engine.config.options import lookup
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import NOTHING, count, duration, size
from lmm_tui.metrics.stages.built_in import info_of
from lmm_tui.planning.command_line import run_name
from lmm_tui.planning.estimate import Estimate, exact
from lmm_tui.terminal.safe_text import clean, fit

LABEL_WIDTH = 13
METER_WIDTH = 16
TIGHT = 0.7
"""Share of the memory above which a first-order estimate may be too small."""


@dataclass(frozen=True)
class Outlook:
    """The estimate of a run, and where it would run."""

    config: RunConfig
    estimate: Estimate
    data: str
    """A summary such as `3 files, 12 MB`."""
    device: str
    """A summary such as `cuda:0, NVIDIA H100`."""
    memory_total: int | None
    """Bytes of memory of the device, None if unknown."""
    model_known: bool = True
    """Whether the estimate is of the model that is trained, not of settings that weights to start
    from replace."""
    simulated: bool = False
    """Whether the memory was simulated; else it is a first answer."""
    seconds_a_step: float | None = None
    """Measured by the step benchmark, None before."""

    @property
    def memory_share(self) -> float | None:
        if not self.memory_total or not self.model_known:
            return None
        return self.estimate.memory / self.memory_total

    @property
    def verdict(self) -> tuple[str, str]:
        """Whether the run fits into memory, and its colour."""
        share = self.memory_share
        if share is None:
            return "", ""
        if share > 1:
            return tr("does not fit"), "$error"
        return (tr("tight"), "$warning") if share > TIGHT else (tr("fits"), "$success")


class EstimatePanel(Widget):
    """Shows an `Outlook`; `compact` is for terminals of 80 columns."""

    DEFAULT_CSS = """
    EstimatePanel { height: auto; }
    """

    outlook: reactive[Outlook | None] = reactive(None)
    compact: reactive[bool] = reactive(False, layout=True)

    def __init__(self, *, compact: bool) -> None:
        super().__init__()
        self.set_reactive(EstimatePanel.compact, compact)

    def watch_outlook(self) -> None:
        """Other figures in as many lines move nothing."""
        if _lines(self.render(), self) != self.size.height:
            self.refresh(layout=True)

    def render(self) -> Content:
        if self.outlook is None:
            return Content()
        return sentences(self.outlook, self.size.width) if self.compact else table(self.outlook)


class CommandLine(Static):
    """The command that starts the run; as long a one in other words moves nothing."""

    def say(self, text: str) -> None:
        content = Content(text)
        self.update(content, layout=_lines(content, self) != self.size.height)


def _lines(content: Content, within: Widget) -> int:
    """Lines of a text at the width of a widget; -1 before that is known."""
    return content.get_height({}, within.size.width) if within.size.width else -1


def table(outlook: Outlook) -> Content:
    """A row for each figure, for a panel of at least 48 columns."""
    config, sized = outlook.config, outlook.estimate
    shape = sized.shape
    parameters = tr(
        "{count}, {layers} of them in layers",
        count=count(shape.parameters),
        layers=count(shape.num_layers * shape.layer_parameters),
    )
    layers = tr("{count} of width {width}", count=shape.num_layers, width=shape.hidden_size)
    heads = tr(
        "{heads} query heads, {kv_heads} KV heads",
        heads=shape.num_heads,
        kv_heads=shape.num_kv_heads,
    )
    rows: list[tuple[str, str]] = [
        (config.stage_name, tr(", ").join(_origin_and_aim(config))),
        (tr("data"), outlook.data),
        (tr("device"), outlook.device),
        ("", ""),
        *_if_known(
            outlook,
            [
                (tr("parameters"), parameters),
                (tr("layers"), layers),
                (tr("attention"), heads),
                (tr("vocabulary"), tr("{count} tokens", count=exact(shape.vocab_size))),
            ],
        ),
        ("", ""),
        (tr("per step"), _a_step(outlook)),
        (tr("total"), _in_all(outlook)),
        (tr("epochs"), _epochs(sized) or tr("unknown until the data is loaded")),
        (tr("time"), _time(outlook) or tr("ctrl+t benchmarks")),
        ("", ""),
        (tr("memory"), _memory(outlook)),
        ("", "METER"),
        (tr("disk"), _checkpoints(outlook)),
        (tr("folder"), folder(config)),
    ]
    lines = []
    for label, value in rows:
        shown = _meter(outlook) if value == "METER" else Content(clean(value))
        lines.append(Content.assemble((fit(label, LABEL_WIDTH), "$foreground-muted"), shown))
    return Content("\n").join(lines)


def sentences(outlook: Outlook, width: int) -> Content:
    """The same in four lines; what has no room is left out."""
    sized = outlook.estimate
    shape = sized.shape
    verdict, colour = outlook.verdict
    steps = [tr("{things} a step", things=_a_step(outlook))]
    if sized.total_tokens:
        steps.append(tr("{count} in all", count=exact(sized.total_tokens)))
    if outlook.seconds_a_step:
        steps.append(_time(outlook))
    if epochs := _epochs(sized):
        steps.append(tr("epochs: {count}", count=epochs))
    lines = [
        Content(
            _not_known()
            if not outlook.model_known
            else tr(
                "{parameters} parameters in {layers} layers of width {width}, {vocabulary} tokens "
                "in the vocabulary",
                parameters=count(shape.parameters),
                layers=shape.num_layers,
                width=shape.hidden_size,
                vocabulary=exact(shape.vocab_size),
            )
        ),
        Content(_fitting(steps, tr(", "), width)),
        Content.assemble(
            f"{tr('memory')} {_memory(outlook)}",
            (tr(" ({verdict})", verdict=verdict) if verdict else "", colour),
            f" · {tr('disk')} {_checkpoints(outlook)}",
        ),
        Content(
            _fitting(
                [
                    clean(outlook.device),
                    clean(outlook.data),
                    clean(_origin(outlook.config)),
                    clean(folder(outlook.config)),
                ],
                " · ",
                width,
            )
        ),
    ]
    return Content("\n").join(lines)


def _fitting(parts: Sequence[str], between: str, width: int) -> str:
    """As many of the parts as fit into a line; the first one always."""
    line, *others = parts
    for part in others:
        if cell_len(longer := f"{line}{between}{part}") > width:
            break
        line = longer
    return line


def promise(outlook: Outlook) -> str:
    """What Start does, such as `trains 1,000 steps, about 5 min here`."""
    config, steps = outlook.config, outlook.estimate.steps
    if steps is None:
        length = tr("trains {count} epochs", count=f"{config.train.epochs:g}")
    else:
        length = tr(
            "trains {count} step" if steps == 1 else "trains {count} steps", count=exact(steps)
        )
    if outlook.seconds_a_step is None or steps is None:
        return length
    return tr(
        "{length}, about {time} here",
        length=length,
        time=duration(outlook.seconds_a_step * steps),
    )


def folder(config: RunConfig) -> str:
    """The folder of the run."""
    return str(Path(config.runs_dir) / run_name(config))


def _origin(config: RunConfig) -> str:
    if config.start_from:
        return tr("from {source}", source=config.start_from)
    return tr("from scratch")


def _not_known() -> str:
    return tr("not known yet")


def _if_known(outlook: Outlook, rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The rows on a model, without values where it is another one than the settings say."""
    if outlook.model_known:
        return rows
    return [(label, _not_known() if not at else NOTHING) for at, (label, _) in enumerate(rows)]


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


def _origin_and_aim(config: RunConfig) -> list[str]:
    aim = info_of(config.stage).aim
    return [_origin(config), tr(aim)] if aim else [_origin(config)]


def _memory(outlook: Outlook) -> str:
    if not outlook.model_known:
        return NOTHING
    needed = size(outlook.estimate.memory)
    if outlook.simulated and outlook.memory_total:
        return tr("{size} of {total}, simulated", size=needed, total=size(outlook.memory_total))
    if not outlook.memory_total:
        return tr("about {size}", size=needed)
    return tr("about {size} of {total}", size=needed, total=size(outlook.memory_total))


def _a_step(outlook: Outlook) -> str:
    config = outlook.config
    stage = info_of(config.stage)
    things = config.train.batch_size * config.train.grad_accum
    count = outlook.estimate.tokens_per_step if stage.tokens_known else things
    further = {name: lookup(config, key) for name, key in stage.step_values.items()}
    return tr(stage.step, count=exact(count), **further)


def _in_all(outlook: Outlook) -> str:
    sized = outlook.estimate
    if not sized.total_tokens:
        return _length(outlook)
    tokens = tr("{count} tokens", count=exact(sized.total_tokens))
    return tr(", ").join([tokens, _operations(sized.flops)]) if outlook.model_known else tokens


def _length(outlook: Outlook) -> str:
    if outlook.config.train.minutes is not None:
        return tr("{count} minutes", count=f"{outlook.config.train.minutes:g}")
    if outlook.estimate.steps is None and outlook.config.train.epochs is not None:
        return tr("epochs: {count}", count=f"{outlook.config.train.epochs:g}")
    return tr("{count} steps", count=exact(outlook.estimate.steps or 0))


def _epochs(sized: Estimate) -> str:
    if sized.epochs is None:
        return ""
    shown = f"{sized.epochs:.2g}" if sized.epochs < 100 else f"{sized.epochs:,.0f}"
    tokens = count(sized.corpus_tokens or 0)
    return tr("about {epochs} of about {tokens} tokens", epochs=shown, tokens=tokens)


def _time(outlook: Outlook) -> str:
    if outlook.seconds_a_step is None or outlook.estimate.steps is None:
        return ""
    seconds = outlook.seconds_a_step * outlook.estimate.steps
    return tr(
        "about {time} at {seconds:.3g} s a step",
        time=duration(seconds),
        seconds=outlook.seconds_a_step,
    )


def _checkpoints(outlook: Outlook) -> str:
    if not outlook.model_known:
        return NOTHING
    sized = outlook.estimate
    each = size(sized.checkpoint)
    if sized.checkpoints == 1:
        return tr("about {size}, 1 checkpoint", size=each)
    return tr(
        "about {size}, {count} x {each}",
        size=size(sized.checkpoint * sized.checkpoints),
        count=sized.checkpoints,
        each=each,
    )


def _operations(flops: float) -> str:
    for name, unit in (("exa", 1e18), ("peta", 1e15), ("tera", 1e12)):
        if flops >= unit:
            return f"{flops / unit:.3g} {name}FLOP"
    return f"{flops / 1e9:.3g} gigaFLOP"


if __name__ == "__main__":
    from lmm_tui.planning.estimate import estimate

    shown = estimate(RunConfig(), corpus_bytes=6_000_000)
    example = Outlook(RunConfig(), shown, "built in, 6 MB", "cpu", 16_000_000_000)
    print(table(example), sentences(example, 78), example.verdict, promise(example), sep="\n")
    print("=== 自测通过 ===")
