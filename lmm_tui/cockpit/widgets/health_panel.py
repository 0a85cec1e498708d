"""Is this run healthy? One line first, then what is wrong, what to suspect and what to do.

It is given alerts and knows no rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from lmm_tui.cockpit.widgets.feed import Feed
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.metrics.health.alerts import Alert

_STYLES = {"error": "$text-error", "warning": "$text-warning", "notice": "$accent"}
_MOST_SHOWN = 100


class HealthPanel(Feed):
    """What goes on now comes first, with its advice; then what is over, the newest on top."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(tr("health"), tr("Nothing was measured yet."), id)

    def show(self, verdict: str, going_on: Sequence[Alert], alerts: Sequence[Alert]) -> None:
        """`going_on` are those of `alerts` whose episode has not ended, the gravest first."""
        style = _STYLES[going_on[0].severity] if going_on else "$text-success"
        # A verdict that names the last step would have the screen laid out anew at every step.
        line = clean(translate_message(verdict)) if alerts else tr("healthy so far")
        lines = [Content.styled(line, style)]
        lines += [_advice(alert) for alert in going_on]
        over = [alert for alert in reversed(alerts) if alert not in going_on][:_MOST_SHOWN]
        lines += [_past(alert) for alert in over]
        state = tr("{count} open", count=len(going_on)) if going_on else tr("ok")
        if over:
            state += tr(", {count} over", count=len(over))
        self.set_text(Content("\n").join(lines), state)


def _advice(alert: Alert) -> Content:
    return Content.assemble(
        ("▸ ", _STYLES[alert.severity]),
        (tr(clean(alert.advice)), ""),
        (
            "  (" + tr("{rule}, since step {step:,}", rule=alert.rule, step=alert.step) + ")",
            "$foreground 60%",
        ),
    )


def _past(alert: Alert) -> Content:
    return Content.assemble(
        (f"{alert.step:>6,}  ", "$foreground 70%"),
        (
            tr(
                "{what}; suspect {suspect}",
                what=clean(translate_message(alert.what)),
                suspect=tr(clean(alert.suspect)),
            ),
            "$foreground 80%",
        ),
    )


if __name__ == "__main__":
    from lmm_tui.metrics.health.alerts import Alert

    spike = Alert(120, "loss_spike", "warning", "loss \x1b[2Jis 9", "a bad batch", "look at it", {})
    lines = [_advice(spike), _past(spike)]
    print(*lines, sep="\n")
    assert "\x1b" not in str(lines[1]) and "since step 120" in str(lines[0])
    print("=== 自测通过 ===")
