"""The second line of the dashboard: progress, speed and remaining time of the run."""

from __future__ import annotations

from textual.content import Content

from lmm_tui.cockpit.widgets.run_header import BADGES
from lmm_tui.cockpit.widgets.styled_line import Part, StyledLine
from lmm_tui.engine.run.reader import RunView
from lmm_tui.engine.run.run_records import RunStatus
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import count, duration
from lmm_tui.runs.status_text import time_text

_SHORTEST_BAR = 8


class RunProgress(StyledLine):
    """A bar in the colour of the state, then steps, share, tokens, speed and ETA."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._view: RunView | None = None

    def show(self, view: RunView) -> None:
        self._view = view
        self.reword()

    def compose_line(self, width: int) -> Content:
        if self._view is None:
            return Content()
        facts = _facts(self._view)
        text = _joined(facts)
        while len(facts) > 2 and text.cell_length + _SHORTEST_BAR > width:
            # Tokens are left out first, then the speed; steps and ETA always stay.
            del facts[2]
            text = _joined(facts)
        if self._view.log_format and not self._view.status.total_steps:
            return text  # How far that is, nobody knows.
        _, colour = BADGES.get(self._view.state, ("", "$warning"))
        return Content.assemble(
            " ", *bar(max(width - text.cell_length - 2, 0), self._view.progress, colour), " ", text
        )


def bar(width: int, share: float, colour: str) -> list[Part]:
    """A bar of `width` cells, `share` of it in `colour`, in steps of half a cell."""
    halves = round(share * width * 2)
    done = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return [(done, colour), ("─" * (width - len(done)), "$foreground 20%")]


def _facts(view: RunView) -> list[str]:
    status = view.status
    if view.log_format:
        return _facts_of_log(view)
    return [
        f"{status.step:,} / {status.total_steps:,}",
        f"{view.progress:.0%}" if view.progress < 1 or view.state == "finished" else "99%",
        tr("{count} tokens", count=count(status.tokens)),
        *([f"{count(status.tokens_per_s)} {tr('tok/s')}"] if status.tokens_per_s else []),
        *_time(view, status),
    ]


def _facts_of_log(view: RunView) -> list[str]:
    """Only what a log of another program says."""
    status, known = view.status, view.status.total_steps
    return [
        f"{status.step:,}" + (f" / {known:,}" if known else ""),
        *([f"{view.progress:.0%}"] if known else []),
        *([tr("{count} tokens", count=count(status.tokens))] if status.tokens else []),
        *([tr("took {time}", time=duration(view.spent_s))] if view.spent_s else []),
    ]


def _time(view: RunView, status: RunStatus) -> list[str]:
    if not view.active:
        took = time_text(view.info, status)
        return [tr("took {time}", time=took)] if took else []
    return [tr("ETA {time}", time="–" if status.eta_s is None else duration(status.eta_s))]


def _joined(facts: list[str]) -> Content:
    first, *others = facts
    return Content.assemble(
        (f" {first}", "bold"), *((f"  {fact}", "$foreground 80%") for fact in others), " "
    )


if __name__ == "__main__":
    from lmm_tui.engine.run.run_records import RunInfo

    info = RunInfo("demo", "pretrain", 0, 0, "box", 7, 0.0)
    line = RunProgress()
    line._view = RunView(info, RunStatus("running", 420, 1000, eta_s=133), "running")
    print(line.compose_line(80))
    print("=== 自测通过 ===")
