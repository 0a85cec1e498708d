"""The state of a run as text or JSON: `lmm-tui status`, `lmm-tui runs`, and parts of both.

Pure formatting of a `RunSummary`; the only code that reads files is `RunSummary.of`.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RUNS_DIR
from lmm_tui.engine.run.run_records import LIKELIHOOD_STAGES, RunInfo, RunStatus
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.metric_titles import title_of
from lmm_tui.i18n.number_format import NOTHING, count, duration, number
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics.health.verdict import Level, Verdict
from lmm_tui.metrics.values import MAX_PPL, is_cut_off, perplexity, strict
from lmm_tui.runs.run_verdict import NOT_JUDGED, verdict_on
from lmm_tui.terminal.safe_text import clean, fit
from lmm_tui.terminal.safe_text import right as align_right

RUNS_HEAD = ("NAME", "STATE", "HEALTH", "STAGE", "MODEL", "STEP", "LOSS", "VAL", "TOK/S", "STARTED")
STATUS_FORMAT = 1
"""Version of `status_record`; within a version keys are only added."""


@dataclass(frozen=True)
class RunSummary:
    """A snapshot of a run; `state` may also be `stale`, `crashed` or `restarting`."""

    path: Path
    info: RunInfo
    status: RunStatus
    state: str
    verdict: Verdict = NOT_JUDGED
    label: str = ""
    """Its name in a list, where that is not the name of its folder."""
    log_format: str = ""
    """Of a log of another program: what it is read as."""

    @property
    def name(self) -> str:
        return self.label or self.path.name

    @classmethod
    def of(cls, run: Reader) -> RunSummary:
        """A snapshot of a run directory as its reader has looked at it last."""
        view = run.view
        verdict = verdict_on(run.run_dir, view.status, view.state)
        return cls(run.run_dir.path, view.info, view.status, view.state, verdict)


def run_argument(path: Path) -> str:
    """The RUN argument for `lmm-tui`: a name in the default folder, else a quoted path."""
    return path.name if path.parent == Path(RUNS_DIR) else shlex.quote(str(path))


def lineage(info: RunInfo) -> str:
    """Where the initial weights came from, such as `base, step-000000600 (pretrain)`."""
    stage = f" ({info.parent_stage})" if info.parent_stage else ""
    return tr(", ").join(filter(None, (info.parent, info.parent_checkpoint))) + stage


def status_record(run: RunSummary) -> dict[str, Any]:
    """The object that `lmm-tui status --json` prints, version `STATUS_FORMAT`.

    Times are unix seconds, durations seconds, losses nats per token; null means "not known". A
    non-finite loss is the string "NaN", "Infinity" or "-Infinity", as in metrics.jsonl.
    """
    info, status = run.info, run.status
    record: dict[str, Any] = {
        "format": STATUS_FORMAT,
        "name": info.name,
        "path": str(run.path.resolve()),
        "state": run.state,
        "activity": status.activity,
        "error": status.error,
        "verdict": run.verdict.record(),
        "stage": info.stage,
        "group": info.group,
        "parent": info.parent,
        "parent_checkpoint": info.parent_checkpoint,
        "parent_stage": info.parent_stage,
        "command": info.command,
        "git": info.git,
        "versions": info.versions,
        "model": info.model,
        "parameters": info.parameters,
        "device": info.device,
        "precision": info.precision,
        "step": status.step,
        "total_steps": status.total_steps,
        "tokens": status.tokens,
        "total_tokens": status.total_tokens,
        "loss": status.loss,
        "val_loss": status.val_loss,
        "numbers": status.numbers,
        "tokens_per_s": status.tokens_per_s,
        "eta_s": status.eta_s,
        "seconds": info.seconds_at(status.heartbeat),
        "created": info.created,
        "started": info.started,
        "heartbeat": status.heartbeat,
        "host": info.host,
        "pid": info.pid,
        "references": dict(info.references),
    }
    return {key: strict(value) for key, value in record.items()}


def status_sheet(run: RunSummary) -> str:
    """The text that `lmm-tui status` prints: one label and value per line."""
    info, status = run.info, run.status
    rows = {
        mark("run"): info.name,
        mark("state"): state_text(run),
        mark("error"): translate_message(status.error),
        mark("health"): translate_message(run.verdict.text),
        mark("model"): tr(
            "{model}, {count} parameters, {stage}",
            model=info.model,
            count=count(info.parameters),
            stage=info.stage,
        )
        if info.parameters
        else tr(", ").join((info.model, info.stage)),
        mark("from"): lineage(info),
        mark("device"): tr(", ").join(filter(None, (info.device, info.precision))),
        mark("result" if status.numbers else "loss"): _losses(run),
        mark("baselines"): tr(", ").join(
            f"{name} {level:.2f}" for name, level in info.references.items()
        ),
        mark("tokens"): tr(
            "{part} of {all}", part=count(status.tokens), all=count(status.total_tokens)
        )
        if status.total_tokens
        else "",
        mark("speed"): f"{count(status.tokens_per_s)} {tr('tokens/s')}"
        if status.tokens_per_s
        else "",
        mark("time"): time_text(info, status),
        mark("process"): tr("pid {pid} on {host}", pid=info.pid, host=info.host),
        mark("command"): shlex.join(info.command),
        mark("git"): git_text(info),
        mark("folder"): str(run.path),
    }
    return aligned_rows(rows)


def git_text(info: RunInfo) -> str:
    """Commit and branch of the folder a run was started in, and how much was changed there."""
    commit = info.git.get("commit", "")
    if not commit:
        return ""
    changed = [
        line
        for line in info.git.get("diff", "").splitlines()
        if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")
    ]
    state = tr("{count:,} changed lines", count=len(changed)) if changed else tr("no changes")
    return tr(", ").join((f"{commit[:12]} ({info.git.get('branch', '')})", state))


def runs_table(runs: Sequence[RunSummary], now: float | None = None) -> str:
    """The table that `lmm-tui runs` prints: one line per run, in the order given."""
    now = time.time() if now is None else now
    head = tuple(map(tr, RUNS_HEAD))
    rows = [
        (
            run.name,
            tr(run.state),
            verdict_text(run.verdict),
            tr(run.log_format) if run.log_format else run.info.stage,
            run.info.model,
            steps_text(run),
            result_text(run.info, run.status, few=True),
            number(run.status.val_loss, 3),
            count(run.status.tokens_per_s) if run.status.tokens_per_s else NOTHING,
            tr("{time} ago", time=duration(now - run.info.started)),
        )
        for run in runs
    ]
    return table_text([head, *(tuple(map(clean, row)) for row in rows)], right={5, 6, 7, 8, 9})


VERDICT_SIGNS: dict[Level, str] = {
    "ok": "✓",
    "unknown": "?",
    "notice": "●",
    "warning": "▲",
    "error": "✗",
}


def verdict_text(verdict: Verdict) -> str:
    """The verdict in a few words, such as `✗ diverged @88`."""
    at = "" if verdict.step is None else f" @{verdict.step:,}"
    return f"{VERDICT_SIGNS[verdict.level]} {tr(verdict.headline)}{at}"


def steps_text(run: RunSummary) -> str:
    """`120/1000`; only the step where a log does not say how many there will be."""
    if run.log_format and not run.status.total_steps:
        return f"{run.status.step}" if run.status.step else NOTHING
    return f"{run.status.step}/{run.status.total_steps}"


def state_text(run: RunSummary) -> str:
    """State, activity, progress and time left, such as `running, step 9 of 90 (10%), 8 s to go`."""
    status = run.status
    doing = translate_message(status.activity)
    state = tr(run.state) + (f" ({doing})" if doing else "")
    parts = [doing if run.state == "restarting" and doing else state]
    if status.total_steps:
        share = status.step / status.total_steps
        parts.append(
            tr(
                "step {step} of {all} ({share:.0%})",
                step=status.step,
                all=status.total_steps,
                share=share,
            )
        )
    if status.eta_s is not None and run.state == "running":
        parts.append(tr("{time} to go", time=duration(status.eta_s)))
    return tr(", ").join(parts)


def time_text(info: RunInfo, status: RunStatus) -> str:
    """How long a run has taken, all its sessions together; empty where that is not known."""
    total = info.seconds_at(status.heartbeat)
    if not total:
        return ""
    last = status.heartbeat - info.started
    if info.earlier_s and last > 0:
        return tr(
            "{time}, {part} of it since the resume", time=duration(total), part=duration(last)
        )
    return duration(total)


def result_text(info: RunInfo, status: RunStatus, *, few: bool = False) -> str:
    """What a run has come to: its loss, or the numbers of its stage, as `reward 0.312`.

    `few` is for a narrow column: one number, which comes first, and a loss without perplexity.
    """
    if status.numbers:
        shown = [(title_of(name), number(it, 3)) for name, it in status.numbers.items()]
        if few:
            title, value = shown[0]
            return f"{value} {title}"
        return tr(", ").join(f"{title} {value}" for title, value in shown)
    if few or status.loss is None:
        return number(status.loss, 3)
    return _with_ppl(status.loss, info.stage)


def _losses(run: RunSummary) -> str:
    if run.status.loss is None:
        return ""
    return result_text(run.info, run.status) + validation_text(run)


def validation_text(run: RunSummary) -> str:
    """`, validation 4.500 (PPL 90.0)`; empty without a validation loss."""
    loss = run.status.val_loss
    return "" if loss is None else tr(", validation {loss}", loss=_with_ppl(loss, run.info.stage))


def _with_ppl(loss: float, stage: str) -> str:
    """A loss, with its perplexity for the stages whose loss is a negative log-likelihood."""
    if not math.isfinite(loss) or stage not in LIKELIHOOD_STAGES:
        return number(loss, 3)
    return f"{loss:.3f} (PPL {ppl_text(perplexity(loss))})"


def ppl_text(ppl: float) -> str:
    """A perplexity; one that is cut off says so, as `> 4.85e8`."""
    if is_cut_off(ppl):
        return f"> {MAX_PPL:.3g}".replace("e+0", "e")
    return count(ppl) if ppl >= 999.5 else f"{ppl:.3g}"


def aligned_rows(rows: Mapping[str, str]) -> str:
    """Translated labels and their values in two columns; rows without a value are left out."""
    width = max(map(cell_len, map(tr, rows))) + 2
    return "\n".join(
        f"{fit(tr(label), width)}{clean(text)}" for label, text in rows.items() if text
    )


def table_text(rows: Sequence[Sequence[str]], right: set[int]) -> str:
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            align_right(cell, width) if index in right else fit(cell, width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    info = RunInfo("小兔子", "pretrain", 0.0, 0.0, "box", 1, 0.0, model="nano")
    status = RunStatus("running", 120, 1000, 491_520, 4_096_000, eta_s=130.0, loss=4.2)
    shown = RunSummary(Path("runs/小兔子"), info, status, "running")
    print(status_sheet(shown), runs_table([shown]), sep="\n")
    print("=== 自测通过 ===")
