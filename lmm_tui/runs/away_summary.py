"""What a run did since it was last seen: steps, the best loss, alerts and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import duration, figure
from lmm_tui.metrics import names

if TYPE_CHECKING:
    from lmm_tui.engine.run.reader import Reader


@dataclass(frozen=True)
class LastSeen:
    """When a run was last on the screen, in unix seconds, and at which step it was."""

    time: float
    step: int


def away_summary(session: Reader, seen: LastSeen, now: float) -> str:
    """As a sentence; empty where nothing has happened since."""
    steps = session.view.status.step - seen.step
    if steps <= 0:
        return ""
    parts = [tr("1 step") if steps == 1 else tr("{count:,} steps", count=steps)]
    val = session.series.get(names.VAL_LOSS)
    best = val.best("lower") if val is not None else None
    if best is not None and best.step > seen.step:
        parts.append(
            tr("new best val {value} at step {step:,}", value=figure(best.value), step=best.step)
        )
    kinds = [
        event.kind
        for event in session.events
        if event.time > seen.time and (event.kind != "alert" or event.level != "info")
    ]
    for kind, one, many in (
        ("alert", tr("1 alert"), tr("{count} alerts", count=kinds.count("alert"))),
        (
            "checkpoint",
            tr("1 checkpoint"),
            tr("{count} checkpoints", count=kinds.count("checkpoint")),
        ),
    ):
        if kinds.count(kind):
            parts.append(one if kinds.count(kind) == 1 else many)
    if not session.view.active:
        parts.append(tr("now {state}", state=tr(session.view.state)))
    return tr(
        "While you were away ({time}): {what}",
        time=duration(now - seen.time),
        what=tr(", ").join(parts),
    )


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.run.reader import Reader

    with tempfile.NamedTemporaryFile("w", suffix=".log", buffering=1) as log:
        log.write("".join(f"step: {at}, loss: 2.5\n" for at in range(1, 102)))
        session = Reader(log.name)
        session.poll()
        session.poll()
        print(away_summary(session, LastSeen(0.0, 40), 3600.0))
        assert not away_summary(session, LastSeen(0.0, 101), 3600.0)
    print("=== 自测通过 ===")
