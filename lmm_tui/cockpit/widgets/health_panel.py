"""The health of a run: the verdict, then open alerts with advice, then those that have ended."""

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
    """Shows a verdict and alerts; the rules are in `lmm_tui.metrics.health`."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(tr("health"), tr("Nothing was measured yet."), id)

    def show(
        self,
        verdict: str,
        ongoing: Sequence[Alert],
        alerts: Sequence[Alert],
        *,
        judged: bool = True,
    ) -> None:
        """`ongoing` are those of `alerts` that have not ended, the most severe first."""
        style = _STYLES[ongoing[0].severity] if ongoing else "$text-success"
        # Without alerts the verdict names the last step: the text would change at every step.
        worded = clean(translate_message(verdict))
        line = worded if alerts or not judged else tr("healthy so far")
        if not judged:
            self.set_text(Content(line), tr("not judged"))
            return
        lines = [Content.styled(line, style)]
        lines += [_ongoing_line(alert) for alert in ongoing]
        ended = [alert for alert in reversed(alerts) if alert not in ongoing][:_MOST_SHOWN]
        lines += [_ended_line(alert) for alert in ended]
        state = tr("{count} open", count=len(ongoing)) if ongoing else tr("ok")
        if ended:
            state += tr(", {count} over", count=len(ended))
        self.set_text(Content("\n").join(lines), state)


def _ongoing_line(alert: Alert) -> Content:
    return Content.assemble(
        ("▸ ", _STYLES[alert.severity]),
        (tr(clean(alert.advice)), ""),
        (
            "  (" + tr("{rule}, since step {step:,}", rule=alert.rule, step=alert.step) + ")",
            "$foreground 60%",
        ),
    )


def _ended_line(alert: Alert) -> Content:
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
    lines = [_ongoing_line(spike), _ended_line(spike)]
    print(*lines, sep="\n")
    assert "\x1b" not in str(lines[1]) and "since step 120" in str(lines[0])
    print("=== 自测通过 ===")
