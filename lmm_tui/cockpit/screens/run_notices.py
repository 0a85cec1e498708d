"""The sentences of the dashboard about the state of a run: why it failed, what comes next.

Pure functions of a session or its files.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmm_tui.engine.run.events import RunEvent
from lmm_tui.engine.run.reader import Reader, RunView
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.setting_changes import settings_table
from lmm_tui.guarded_files import list_folder
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs import crash_advice


def problem(session: Reader) -> tuple[str, str] | None:
    """What ended the run and what to do about it; None where nothing went wrong."""
    view = session.view
    if view.state == "failed":
        details = _last_traceback(session.events)
        error = view.status.error or (details or tr("the run failed")).splitlines()[-1]
        return translate_message(error), crash_advice.for_failure(error, bool(details))
    if view.state == "crashed":
        checkpoints = session.run_dir.checkpoints
        saved = bool(list_folder(checkpoints, session.run_dir.path))
        return crash_advice.for_crash(view.info.pid, saved)
    return None


def next_step(view: RunView) -> tuple[str, str]:
    """For a live run without any values: what is being done, and what comes then."""
    if view.state == "starting":
        return (
            translate_message(view.status.activity) or tr("loading torch"),
            tr("Training starts next. ? shows the keys, q quits."),
        )
    return tr("Running the first step"), tr("Charts appear after the first step.")


def announced(run: RunDir) -> tuple[str, ...]:
    """The kinds of events that the settings of a run have the terminal announce; none for a run
    without settings, which a script of someone's own has written."""
    try:
        found = settings_table(run)
        wanted = found.get("notify", {})
        kinds = wanted.get("on", ("end", "alert", "target"))
        return tuple(map(str, kinds)) if found and wanted.get("terminal", True) else ()
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return ()


def first_probe(run: RunDir) -> str:
    """When the settings of a run have it probed first."""
    try:
        every = int(settings_table(run)["log"]["probe_every"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        every = 0
    if not every:
        return tr("Press p to probe now.")
    return tr("First probe at step {step:,}. Press p to probe now.", step=every)


def _last_traceback(events: Sequence[RunEvent]) -> str:
    for event in reversed(events):
        if event.kind == "error" and event.details.get("traceback"):
            return str(event.details["traceback"]).strip()
    return ""


if __name__ == "__main__":
    print(sentence := first_probe(RunDir("/nowhere")))
    details = {"traceback": "Traceback\nOSError: full "}
    traced = [RunEvent(3, "error", "full", details=details), RunEvent(4, "eval", "")]
    print(_last_traceback(traced).splitlines()[-1])
    assert "Press p" in sentence and _last_traceback(traced).endswith("full")
    print("=== 自测通过 ===")
