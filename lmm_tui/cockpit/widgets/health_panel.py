"""The health of a run: the verdict, then open alerts with advice, then those that have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from lmm_tui.cockpit.widgets.feed import Feed
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics.health.verdict import Repeats, repeats_of
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.metrics.health.alert import Alert
    from lmm_tui.metrics.health.verdict import Verdict

VERDICT_STYLES = {
    "error": "$text-error",
    "warning": "$text-warning",
    "notice": "$accent",
    "ok": "$text-success",
    "unknown": "$foreground 70%",
}
"""The style of each level of a verdict."""
_STATES = {"ok": mark("ok"), "unknown": mark("not judged")}
_MOST_SHOWN = 100


class HealthPanel(Feed):
    """Shows a verdict and alerts; the rules are in `lmm_tui.metrics.health`."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(tr("health"), tr("Nothing was measured yet."), id)

    def show(self, verdict: Verdict, alerts: Sequence[Alert]) -> None:
        """`alerts` are all of the run; the verdict says which are open."""
        # Of a healthy run the verdict names the last step: the text would change at every step.
        calm = verdict.level == "ok" and not alerts
        line = tr("healthy so far") if calm else clean(translate_message(verdict.text))
        lines = [Content.styled(line, VERDICT_STYLES[verdict.level])]
        ongoing: list[Alert] = []
        for found in verdict.findings:
            lines.append(_ongoing_line(found.alert))
            if found.consequences:
                lines.append(_consequences_line(found.consequences))
            ongoing += [found.alert, *found.consequences]
        ended = [alert for alert in alerts if alert not in ongoing]
        lines += [_ended_line(it) for it in repeats_of(ended)[: -_MOST_SHOWN - 1 : -1]]
        state = tr("{count} open", count=len(ongoing)) if ongoing else tr(_STATES[verdict.level])
        if ended:
            state += tr(", {count} over", count=len(ended))
        self.set_text(Content("\n").join(lines), state)


def _ongoing_line(alert: Alert) -> Content:
    return Content.assemble(
        ("▸ ", VERDICT_STYLES[alert.severity]),
        (tr(clean(alert.advice)), ""),
        (
            "  (" + tr("{rule}, since step {step:,}", rule=alert.rule, step=alert.step) + ")",
            "$foreground 60%",
        ),
    )


def _consequences_line(alerts: Sequence[Alert]) -> Content:
    """What the finding above brings with it."""
    listed = ", ".join(dict.fromkeys(alert.rule for alert in alerts))
    return Content.styled("  " + tr("with it: {rules}", rules=listed), "$foreground 60%")


def _ended_line(repeats: Repeats) -> Content:
    alert = repeats.last
    times = tr("  ({count} times)", count=repeats.count) if repeats.count > 1 else ""
    return Content.assemble(
        (f"{alert.step:>6,}  ", "$foreground 70%"),
        (
            tr(
                "{what}; suspect {suspect}",
                what=clean(translate_message(alert.what)),
                suspect=tr(clean(alert.suspect)),
            )
            + times,
            "$foreground 80%",
        ),
    )


if __name__ == "__main__":
    from lmm_tui.metrics.health.alert import Alert

    spike = Alert(120, "loss_spike", "warning", "loss \x1b[2Jis 9", "a bad batch", "look at it", {})
    lines = [_ongoing_line(spike), _ended_line(Repeats(spike, spike, 3))]
    print(*lines, sep="\n")
    assert "\x1b" not in str(lines[1]) and "since step 120" in str(lines[0])
    print("=== 自测通过 ===")
