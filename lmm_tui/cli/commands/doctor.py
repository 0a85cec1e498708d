"""`lmm-tui doctor`: check the machine, the installation and the terminal."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from lmm_tui.cli.options import echo_json, json_option, runs_dir_option
from lmm_tui.terminal import capabilities
from lmm_tui.terminal.safe_text import clean


@click.command("doctor")
@json_option
@runs_dir_option
def command(as_json: bool, runs_dir: Path) -> int:
    """Check devices, versions, terminal and folders, and say what to do about problems.

    Exits with 1 where there is a problem.
    """
    from lmm_tui.cli.doctor_checks import examine, report

    results = examine(runs_dir)
    problem = any(result.verdict == "problem" for result in results)
    if as_json:
        echo_json([asdict(result) for result in results])
        return int(problem)
    click.echo(clean(report(results, capabilities.size().columns - 1), newlines="keep"))
    return int(problem)


if __name__ == "__main__":
    print([parameter.name for parameter in command.params])
    print("=== 自测通过 ===")
