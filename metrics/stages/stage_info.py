"""What a stage says of itself: words for people, its metrics, and its chart on the dashboard.

A stage of a user's own has one in its class; those of this package are in the files beside this
one, because screens and reports read them without the code of a stage, which needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lmm_tui.metrics.metric_name import MetricName

TraceKind = Literal["line", "marks"]


@dataclass(frozen=True)
class StageTrace:
    """A curve in the chart of a stage."""

    metric: str
    label: str
    color: str
    kind: TraceKind = "line"
    """Values that are rare, as those of validation, are marks."""


@dataclass(frozen=True)
class StageInfo:
    """What a stage says of itself; all text is English."""

    name: str
    """Its metrics are called `name/…`, and its section of the configuration is too."""
    aim: str = ""
    """What a model is trained to do, such as `to answer`."""
    metrics: Mapping[str, MetricName] = field(default_factory=dict)
    """By name, the metrics that only this stage has."""
    chart: str = ""
    """The title of its chart; none: that of the perplexity."""
    traces: tuple[StageTrace, ...] = ()
    chart_first: bool = False
    """Whether it has the largest panel, because the loss says little."""
    summary: tuple[str, ...] = ()
    """The metrics that sum up a run of it, where the loss says little."""
    likelihood: bool = False
    """Whether its loss is that of the text, so that perplexity means something."""
    text: bool = False
    """Whether it reads plain text; else rows of conversations, pairs or prompts."""
    step: str = "{count} tokens"
    """What a step works on: `count` micro-batches of rows, or tokens where these are known."""
    step_values: Mapping[str, str] = field(default_factory=dict)
    """Further names in `step`, each the key of an option."""
    tokens_known: bool = True
    """Whether the tokens of a step follow from the configuration."""

    @property
    def numbers(self) -> tuple[str, ...]:
        """The metrics in the panel of numbers."""
        return tuple(metric for metric in self.metrics if metric.startswith(f"{self.name}/"))

    def record(self) -> dict[str, Any]:
        """As JSON, as a run of a stage of a user's own keeps it; `from_record` reads it."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Any) -> StageInfo | None:
        """None where it is no record of a stage."""
        try:
            given = {key: record[key] for key in ("name", "aim", "chart")}
            flags = {key: record[key] for key in ("chart_first", "likelihood", "text")}
            traces = tuple(StageTrace(**trace) for trace in record["traces"])
            metrics = {name: MetricName(**it) for name, it in record["metrics"].items()}
            summary = tuple(record["summary"])
        except (KeyError, TypeError, AttributeError):
            return None
        words = [*given.values(), *summary, *metrics, *(it.title for it in metrics.values())]
        words += [word for it in traces for word in (it.metric, it.label, it.color, it.kind)]
        if not all(isinstance(word, str) for word in words):
            return None
        return cls(metrics=metrics, traces=traces, summary=summary, **given, **flags)


if __name__ == "__main__":
    info = StageInfo("mine", "to sort", {"mine/x": MetricName("x")}, summary=("mine/x",))
    assert StageInfo.from_record(info.record()) == info and StageInfo.from_record({}) is None
    print(info.numbers)
    print("=== 自测通过 ===")
