"""`lmm-tui health [RUN]`: run the health rules over a run or a log; as text or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmm_tui.cli.options import echo_json, json_option, runs_dir_option
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics.health.verdict import Repeats, repeats_of
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.metrics.health.alert import Alert
    from lmm_tui.metrics.health.alerts import Health
    from lmm_tui.metrics.health.verdict import Verdict


@click.command("health")
@click.argument("run", required=False)
@runs_dir_option
@json_option
@click.option(
    "--rules",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Switch off, tune or add rules; else the run's own are used",
)
def command(run: str | None, runs_dir: Path, as_json: bool, rules: Path | None) -> None:
    """Diagnose RUN (a name, a path or a foreign log; default: the newest).

    Prints a verdict, then every alert with its likely cause and what to try.
    """
    from lmm_tui.engine.run.reader import Reader
    from lmm_tui.metrics.health.rules_file import load_rules
    from lmm_tui.metrics.series.series import MOST_METRICS
    from lmm_tui.runs.run_health import judge

    session = Reader.find(run, runs_dir)
    session.poll()
    if session.foreign and not session.series.names():
        raise LmmError(session.nothing_read)
    health, verdict = judge(session, None if rules is None else load_rules(rules))
    if as_json:
        record = {"run": session.view.info.name, "state": session.view.state}
        record |= _record(health, verdict)
        echo_json(record)
    else:
        click.echo(_sheet(health.alerts, verdict))
        if session.series.full:
            click.echo(
                "\n" + tr("metrics beyond the first {count} are left out", count=MOST_METRICS)
            )


def _record(health: Health, verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": verdict.text,
        "level": verdict.level,
        "headline": verdict.headline,
        "step": health.last_step,
        "open": [found.alert.rule for found in verdict.findings],
        "consequences": {
            found.alert.rule: [alert.rule for alert in found.consequences]
            for found in verdict.findings
            if found.consequences
        },
        "alerts": [alert.record() for alert in health.alerts],
    }


def _sheet(alerts: Sequence[Alert], verdict: Verdict) -> str:
    """The verdict, what is open, causes first, and then what was before, in order."""
    lines = [clean(translate_message(verdict.text))]
    repeats = {(it.last.rule, it.last.where): it for it in repeats_of(alerts)}
    for found in verdict.findings:
        # That a run crashed is a finding, and no alert.
        known = repeats.pop((found.alert.rule, found.alert.where), None)
        lines += _paragraph(found.alert, known)
        lines += [
            clean(f"  {tr('with it')}: {tr('step')} {alert.step}  {_what(alert)}")
            for alert in found.consequences
        ]
        for alert in found.consequences:
            repeats.pop((alert.rule, alert.where), None)
    for before in repeats.values():
        lines += _paragraph(before.first, before)
    return "\n".join(lines)


def _paragraph(alert: Alert, repeats: Repeats | None) -> list[str]:
    times = ""
    if repeats is not None and repeats.count > 1:
        times = "  " + tr(
            "({count} times, the last at step {step})",
            count=repeats.count,
            step=repeats.last.step,
        )
    return [
        "",
        clean(f"{tr('step')} {alert.step}  {tr(alert.severity)}  {_what(alert)}{times}"),
        clean("  " + tr("likely cause: {what}", what=tr(alert.suspect))),
        clean("  " + tr("try: {what}", what=tr(alert.advice))),
    ]


def _what(alert: Alert) -> str:
    return f"{alert.rule}: {translate_message(alert.what)}"


if __name__ == "__main__":
    from lmm_tui.metrics.health.alerts import Health
    from lmm_tui.metrics.health.verdict import verdict_of

    demo = Health()
    for step, loss in enumerate((3.0, 2.9, float("nan")), start=1):
        demo.observe(step, {"train/loss": loss})
    print(_sheet(demo.alerts, verdict_of(demo)))
    print("=== 自测通过 ===")
