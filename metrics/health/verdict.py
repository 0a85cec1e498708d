"""The verdict on a run: one short line for lists and headers, and the findings behind it.

It is the only place that turns alerts and the state of a run into a verdict. The causes come first:
what a diverged loss brings with it (spikes, gradients, a rise) is folded under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from lmm_tui.message import Message
from lmm_tui.metrics.health.alert import SEVERITIES, Alert

if TYPE_CHECKING:
    from lmm_tui.metrics.health.alerts import Health

Level = Literal["ok", "unknown", "notice", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "unknown", "notice", "warning", "error")

_OF_LOSS = frozenset(
    {"loss_spike", "grad_spike", "loss_risen", "layer_loud", "overfit", "collapse"}
)
_CONSEQUENCES: Mapping[str, frozenset[str]] = {
    "non_finite": _OF_LOSS | {"diverged", "layer_zero"},
    "diverged": _OF_LOSS | {"stuck_at_uniform", "stuck_at_unigram", "non_finite"},
    "too_good": frozenset({"near_zero"}),
}
"""What a rule's finding explains, if it was there at the same time."""

_BAD_WEIGHTS = frozenset({"diverged", "non_finite"})
"""Rules whose finding is cured by earlier weights and a lower learning rate."""

_TITLES = {
    "non_finite": "NaN or Inf",
    "first_loss_high": "first loss too high",
    "first_loss_low": "first loss too low",
    "too_good": "loss too good",
    "near_zero": "loss near zero",
    "layer_zero": "layer gradient zero",
    "layer_loud": "layer gradient high",
    "overfit": "overfitting",
    "collapse": "collapsed",
}


_FEW = 6
"""So many metrics are named where none can be judged."""


@dataclass(frozen=True)
class Repeats:
    """All alerts of one rule, in one layer or for the whole run."""

    first: Alert
    last: Alert
    count: int


def repeats_of(alerts: Iterable[Alert]) -> list[Repeats]:
    """The alerts of a run by what they say, in the order of their last steps."""
    found: dict[tuple[str, str], Repeats] = {}
    for alert in alerts:
        key = alert.rule, alert.where
        before = found.pop(key, None)
        found[key] = Repeats(
            before.first if before else alert, alert, before.count + 1 if before else 1
        )
    return [*found.values()]


@dataclass(frozen=True)
class Finding:
    """An open alert, and those that it explains."""

    alert: Alert
    consequences: tuple[Alert, ...] = ()

    @property
    def alerts(self) -> tuple[Alert, ...]:
        return self.alert, *self.consequences

    @property
    def sound_before(self) -> int:
        """Weights of this step, or of a later one, may be bad.

        A loss has been bad for some rows until a rule says so, and spikes may come before it; the
        loss of a step is that of the weights of the step before.
        """
        begun = [alert.values.get("since", alert.step) for alert in self.alerts]
        window = self.alert.values.get("window_start", self.alert.step)
        return int(min(window, *begun)) - 1


@dataclass(frozen=True)
class Verdict:
    """What is to be thought of a run."""

    level: Level
    headline: str
    """In a few words: `healthy`, `diverged`, `crashed`."""
    step: int | None
    """Where that began; None if it has no beginning."""
    text: str
    """As one sentence."""
    findings: tuple[Finding, ...] = ()
    """The causes first, then the most severe, then the oldest."""

    @property
    def is_trouble(self) -> bool:
        return self.level not in ("ok", "unknown")

    @property
    def sound_before(self) -> int | None:
        """Weights of this step, or of a later one, may be bad; None where the run has not diverged.

        The run is cured by weights from before it and a lower learning rate.
        """
        of_weights = (it for it in self.findings if it.alert.rule in _BAD_WEIGHTS)
        return next((it.sound_before for it in of_weights), None)

    def record(self) -> dict[str, str | int | None]:
        """As JSON; `from_record` reads it."""
        return {
            "level": self.level,
            "headline": self.headline,
            "step": self.step,
            "text": self.text,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Verdict | None:
        """None where it is no record of a verdict."""
        match record:
            case {"level": str(level), "headline": str(headline), "text": str(text)}:
                step = record.get("step")
                known = next((it for it in LEVELS if it == level), None)
                if known is not None:
                    return cls(known, headline, step if isinstance(step, int) else None, text)
        return None


def verdict_of(health: Health) -> Verdict:
    """The verdict on the rows that `health` has observed."""
    if findings := _folded(health):
        return _troubled(findings)
    text = _calm_words(health)
    if health.last_step is None:
        return Verdict("unknown", "no metrics", None, text)
    if not health.judged and not health.alerts:
        return Verdict("unknown", "not judged", None, text)
    return Verdict("ok", "healthy now" if health.alerts else "healthy", None, text)


def _calm_words(health: Health) -> str:
    """The sentence where nothing is wrong, or nothing is known."""
    if health.last_step is None:
        return Message("nothing measured yet")
    if not health.judged and not health.alerts:
        return Message(
            "nothing could be judged: no loss in this log; it has {first}, …"
            if len(health.measured) > _FEW
            else "nothing could be judged: no loss in this log; it has {first}",
            first=[*health.measured[:_FEW]],
        )
    if health.alerts:
        count, last = len(health.alerts), health.alerts[-1].step
        return Message(
            "healthy now, {count} alerts before (last: step {last})"
            if count > 1
            else "healthy now, {count} alert before (last: step {last})",
            count=count,
            last=last,
        )
    return Message("healthy up to step {last_step}", last_step=health.last_step)


def headline_of(rule: str) -> str:
    """What a rule has found, in a few words."""
    return _TITLES.get(rule, rule.replace("_", " "))


def with_end(verdict: Verdict, state: str, error: str, step: int) -> Verdict:
    """The verdict on a run that ended at a step: a crash or a failure is the first finding.

    `error` is what a failed run says of its end.
    """
    if state not in ENDS:
        return verdict
    whole = _troubled((Finding(_end(state, error, step)), *verdict.findings))
    if verdict.is_trouble and not verdict.findings:  # As it was recorded, without the alerts.
        return replace(whole, text=_before_that(whole.text, verdict.text))
    return whole


def _troubled(findings: tuple[Finding, ...]) -> Verdict:
    first = findings[0].alert
    more = len(findings) - 1 + sum(len(found.consequences) for found in findings)
    headline, text = headline_of(first.rule), _trouble_words(first, more)
    return Verdict(first.severity, headline, first.step, text, findings)


def _trouble_words(first: Alert, more: int) -> str:
    if more:
        return Message(
            "{severity}: {what}; likely cause: {suspect} (and {more} more)",
            severity=Message(first.severity),
            what=first.what,
            suspect=Message(first.suspect),
            more=more,
        )
    return Message(
        "{severity}: {what}; likely cause: {suspect}",
        severity=Message(first.severity),
        what=first.what,
        suspect=Message(first.suspect),
    )


def _before_that(end: str, trouble: str) -> str:
    return Message("{end}; before that, {trouble}", end=end, trouble=trouble)


ENDS: dict[str, tuple[str, str]] = {
    "crashed": ("killed, out of memory, or power loss",
                "check the end of the log (6), then resume from the last checkpoint"),
    "failed": ("see the error message", "fix it, then resume from the last checkpoint"),
}  # fmt: skip
"""Likely cause and advice where a run ended so."""


def _end(state: str, error: str, step: int) -> Alert:
    suspect, advice = ENDS[state]
    return Alert(step, state, "error", _end_words(state, error, step), suspect, advice, {})


def _end_words(state: str, error: str, step: int) -> str:
    if state == "failed":
        return Message("the run failed at step {step}: {error}", step=step, error=error)
    return Message("the process exited without a message at step {step}", step=step)


def _folded(health: Health) -> tuple[Finding, ...]:
    """The open alerts; those that others explain are under these."""
    rest = sorted(health.open_alerts, key=lambda it: (-SEVERITIES.index(it.severity), it.step))
    # Of two that explain each other, as NaN and a diverged loss, the older one is the cause.
    roots = sorted((it for it in rest if it.rule in _CONSEQUENCES), key=lambda it: it.step)
    under: dict[int, list[Alert]] = {}
    for root in roots:
        if root not in rest:
            continue
        explained = [it for it in rest if it is not root and it.rule in _CONSEQUENCES[root.rule]]
        under[id(root)] = explained
        rest = [it for it in rest if it not in explained]
    rest.sort(key=lambda it: (id(it) not in under, -SEVERITIES.index(it.severity), it.step))
    return tuple(Finding(alert, tuple(under.get(id(alert), ()))) for alert in rest)


if __name__ == "__main__":
    from lmm_tui.metrics.health.alerts import Health

    demo = Health(baselines={"ln V": 6.9})
    for step in range(1, 200):
        demo.observe(step, {"train/loss": 40.0 if step > 90 else 6.9})
    found = verdict_of(demo)
    print(found.text, with_end(found, "crashed", "", 199).headline, sep="\n")
    print("=== 自测通过 ===")
