"""What the header says of a run: state, verdict and name, progress and ETA.

All texts of the run are cleaned before they reach the terminal.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from lmm_tui.cockpit.widgets.styled_line import Part, spread
from lmm_tui.engine.run.reader import LOG_FILE, RunView
from lmm_tui.i18n.language import listed, tr
from lmm_tui.i18n.number_format import age, count, duration
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics.health.verdict import Verdict, headline_of
from lmm_tui.runs.status_text import time_text
from lmm_tui.terminal.safe_text import clean

BADGES = {
    "starting": ("○", "$accent"),
    "running": ("●", "$success"),
    "paused": ("‖", "$warning"),
    "stopping": ("◐", "$warning"),
    "restarting": ("◐", "$warning"),
    "finished": ("✓", "$success"),
    "stopped": ("■", "$secondary"),
    "failed": ("×", "$error"),
    "crashed": ("×", "$error"),
    "stale": ("?", "$warning"),
    "broken": ("×", "$error"),
    LOG_FILE: ("≡", "$secondary"),
}
"""A sign and a theme colour for each state of a run."""


VERDICT_SIGNS = {
    "ok": ("✓", "$text-success"),
    "unknown": ("?", "$foreground 70%"),
    "notice": ("●", "$accent"),
    "warning": ("▲", "$text-warning"),
    "error": ("✗", "$text-error"),
}
"""A sign and a style for each level of a verdict."""


_SHORTEST_BAR, _LONGEST_BAR = 8, 40
_SHORTEST_NAME = 10


def run_line(
    width: int,
    view: RunView,
    verdict: Verdict | None,
    *,
    pending: Sequence[str] = (),
    unreadable: int = 0,
    loading: bool = False,
) -> Content:
    """The line for so many cells.

    `pending` are unanswered commands, `unreadable` counts lines that cannot be parsed.
    """
    now, facts = _activity(view, pending, unreadable, loading), _facts(view)
    left = [badge(view.state, verdict), *verdict_badge(verdict, view.state)]
    room = _room(width, left, now)
    if room < cell_len(facts[0]) + 2 and not (verdict and verdict.is_trouble):
        # That nothing is wrong needs no words where there is room for few.
        left = left[:1]
        room = _room(width, left, now)
    while len(facts) > 1 and _length(facts) > room:
        # The share is dropped first; then the time that is left, and the steps stay.
        del facts[1]
    name = clean(view.info.name)
    room -= _length(facts) - _SHORTEST_NAME
    shown = Content(name).truncate(max(room - 2, 1), ellipsis=True).plain
    left.append((f" {shown} ", "bold"))
    room -= cell_len(shown) + 2
    for text in map(clean, _details(view)):
        if text and cell_len(text) + 2 + _SHORTEST_BAR <= room:
            left.append((f" {text} ", "$foreground 70%"))
            room -= cell_len(text) + 2
    red = is_red(view.state, verdict)
    right = [*now, *_progress(view, room, facts, red=red)]
    return spread(width, left, right)


def _activity(view: RunView, pending: Sequence[str], unreadable: int, loading: bool) -> list[Part]:
    parts: list[Part] = []
    if unreadable:
        one = unreadable == 1
        text = tr(
            "{count} unreadable line" if one else "{count} unreadable lines",
            count=unreadable,
        )
        parts.append((f" {text} ", "$warning"))
    if view.state == LOG_FILE:
        written = age(time.time() - view.status.heartbeat)
        parts.append((f" {tr('last written {time} ago', time=written)} ", "$foreground 80%"))
    elif view.log_format and view.status.error:
        parts.append((f" {clean(translate_message(view.status.error))} ", "$error"))
    if view.state == "stale":
        silence = duration(time.time() - max(view.status.heartbeat, view.info.started))
        parts.append((f" {tr('no heartbeat for {time}', time=silence)} ", "$warning"))
        if view.status.activity:  # What it was at, or why a run elsewhere is not heard of.
            now = clean(translate_message(view.status.activity))
            parts.append((f" {now} ", "$warning"))
    elif loading:
        parts.append((f" {tr('reading…')} ", "$accent"))
    elif view.active and view.status.activity:
        parts.append((f" {clean(translate_message(view.status.activity))} ", "$accent"))
    if pending:
        commands = listed(map(tr, pending))
        parts.append((f" {tr('queued: {commands}', commands=commands)} ", "$warning"))
    return parts


def _room(width: int, left: Sequence[Part], right: Sequence[Part]) -> int:
    """Cells that are left, without those of the name."""
    return width - sum(cell_len(text) for text, _ in (*left, *right)) - _SHORTEST_NAME


def is_red(state: str, verdict: Verdict | None) -> bool:
    return state in ("crashed", "failed") or (verdict is not None and verdict.level == "error")


def _details(view: RunView) -> tuple[str, ...]:
    """What it trains, on what; the first ones are kept on a short line."""
    info = view.info
    stage = info.stage
    if info.parent:
        stage = tr("{stage} from {parent}", stage=info.stage, parent=info.parent)
    return (
        stage,
        " ".join(filter(None, (info.model, parameters(info.parameters)))),
        tr(view.log_format) if view.log_format else "",
        " ".join(filter(None, (info.device, info.precision))),
        tr("pid {pid} on {host}", pid=info.pid, host=info.host) if info.pid else "",
    )


def _facts(view: RunView) -> list[str]:
    """Steps, share and time: only what is known."""
    status, total = view.status, view.status.total_steps
    steps = f"{status.step:,}" + (f" / {total:,}" if total else "")
    share = f"{view.progress:.0%}" if view.progress < 1 or view.state == "finished" else "99%"
    if view.log_format:
        took = [tr("ran {time}", time=duration(view.spent_s))] if view.spent_s else []
        return [steps, *([share] if total else []), *took]
    return [steps, share, *_time(view)]


def _time(view: RunView) -> list[str]:
    if not view.active:
        took = time_text(view.info, view.status)
        return [tr("ran {time}", time=took)] if took else []
    eta = view.status.eta_s
    return [tr("ETA {time}", time="–" if eta is None else duration(eta))]


def _length(facts: Sequence[str]) -> int:
    return sum(cell_len(fact) + 2 for fact in facts)


def _progress(view: RunView, room: int, facts: Sequence[str], *, red: bool) -> list[Part]:
    """A bar in the colour of the state, or `red`, if there is room, then the facts."""
    first, *others = facts
    parts: list[Part] = []
    if room > _SHORTEST_BAR and view.status.total_steps:
        _, colour = BADGES.get(view.state, ("", "$warning"))
        colour = "$error" if red else colour
        parts = [*bar(min(room - 1, _LONGEST_BAR), view.progress, colour), (" ", "")]
    parts.append((f" {first} ", "bold"))
    return parts + [(f" {fact} ", "$foreground 80%") for fact in others]


def bar(width: int, share: float, colour: str) -> list[Part]:
    """A bar of `width` cells, `share` of it in `colour`, in steps of half a cell."""
    halves = round(share * width * 2)
    done = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return [(done, colour), ("─" * (width - len(done)), "$foreground 20%")]


def badge(state: str, verdict: Verdict | None = None) -> Part:
    """The state as coloured text; red where the verdict is an error, however the run ended."""
    sign, colour = BADGES.get(state, ("?", "$warning"))
    if verdict is not None and verdict.level == "error":
        colour = "$error"
    return f" {sign} {tr(state.upper())} ", f"bold {colour} reverse"


def verdict_badge(verdict: Verdict | None, state: str) -> list[Part]:
    """The verdict beside the state, such as ` ✗ diverged at step 88 `, in its colour."""
    if verdict is None:
        return []
    level, step, headline = verdict.level, verdict.step, verdict.headline
    if headline == state:  # Said already; what came before it is not.
        if len(verdict.findings) < 2:
            return []
        before = verdict.findings[1].alert
        level, step, headline = before.severity, before.step, headline_of(before.rule)
    sign, colour = VERDICT_SIGNS[level]
    text = tr(headline)
    if step is not None:
        text = tr("{what} at step {step:,}", what=text, step=step)
    return [(f" {sign} {text} ", f"bold {colour}" if verdict.is_trouble else colour)]


def parameters(number: int) -> str:
    """`0.49M`, or nothing if unknown."""
    if not number:
        return ""
    return f"{number / 1e6:.2f}M" if number < 1e6 else count(number)


if __name__ == "__main__":
    from lmm_tui.engine.run.run_records import RunInfo, RunStatus

    info = RunInfo("小兔\x1b[31m子", "pretrain", 0, 0, "box", 7, 0.0, "cpu", "fp32", "nano")
    status = RunStatus("running", 420, 1000, activity="sampling", eta_s=133)
    shown = RunView(info, status, "running")
    for columns in (140, 80, 60):
        print(run_line(columns, shown, None))
        assert run_line(columns, shown, None).cell_length == columns
    print("=== 自测通过 ===")
