"""A run in words: numbers for people, the status sheet, the table of runs, its last words.

It formats what it is handed and reads nothing; streams and colours are the caller's.
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

from lmm_tui.engine.run.run_dir import RUNS_DIR, RunDir
from lmm_tui.engine.run.run_records import LIKELIHOOD_STAGES, RunInfo, RunStatus
from lmm_tui.i18n.language import listed, mark, tr
from lmm_tui.i18n.number_format import figure
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics.values import perplexity, strict
from lmm_tui.terminal.safe_text import clean, fit

NOTHING = "-"
RUNS_HEAD = ("NAME", "STATE", "STAGE", "MODEL", "STEP", "LOSS", "VAL", "TOK/S", "STARTED")
STATUS_FORMAT = 1
"""Version of `status_record`; keys are only ever added to one version."""


@dataclass(frozen=True)
class RunSummary:
    """One run at one moment; `state` also knows `stale` and `crashed`."""

    path: Path
    info: RunInfo
    status: RunStatus
    state: str

    @classmethod
    def of(cls, run: RunDir) -> RunSummary:
        """Raises RunDirError where `run` is none."""
        info, status = run.read_info(), run.read_status()
        return cls(run.path, info, status, run.derived_state(info, status))


def duration(seconds: float) -> str:
    """Two units at most: `8 s`, `2 min 05 s`, `3 h 20 min`, `4 d 06 h`; a dash for no number."""
    if not math.isfinite(seconds):
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes // 60 % 24:02d} h"


def count(number: float) -> str:
    """Three digits and a letter: `950`, `18.2k`, `4.10M`, `1.20B`."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size * 0.9995:
            scaled = number / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{letter}"
    return f"{number:.0f}"


def number(value: float | None, digits: int = 4) -> str:
    """So many decimals, four digits of what is large, or a dash where it was not measured."""
    if value is None:
        return NOTHING
    return f"{value:.{digits}f}" if abs(value) < 100 else figure(value)


def run_argument(path: Path) -> str:
    """How to name a run to `lmm-tui`: its name in the usual folder, its path elsewhere."""
    return path.name if path.parent == Path(RUNS_DIR) else shlex.quote(str(path))


def lineage(info: RunInfo) -> str:
    """Whose weights a run started from, such as `base, step-000000600 (pretrain)`."""
    stage = f" ({info.parent_stage})" if info.parent_stage else ""
    return tr(", ").join(filter(None, (info.parent, info.parent_checkpoint))) + stage


def status_record(run: RunSummary) -> dict[str, Any]:
    """What `lmm-tui status --json` prints, `STATUS_FORMAT` 1.

    Times are unix seconds, spans seconds, losses nats a token; null is "not known". A loss that is
    not finite is the string "NaN", "Infinity" or "-Infinity", as in metrics.jsonl.
    """
    info, status = run.info, run.status
    record: dict[str, Any] = {
        "format": STATUS_FORMAT,
        "name": info.name,
        "path": str(run.path.resolve()),
        "state": run.state,
        "activity": status.activity,
        "error": status.error,
        "stage": info.stage,
        "parent": info.parent,
        "parent_checkpoint": info.parent_checkpoint,
        "parent_stage": info.parent_stage,
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
        "tokens_per_s": status.tokens_per_s,
        "eta_s": status.eta_s,
        "created": info.created,
        "started": info.started,
        "heartbeat": status.heartbeat,
        "host": info.host,
        "pid": info.pid,
        "references": dict(info.references),
    }
    return {key: strict(value) for key, value in record.items()}


def status_sheet(run: RunSummary) -> str:
    """What `lmm-tui status` prints: a word and its value a line."""
    info, status = run.info, run.status
    rows = {
        mark("run"): info.name,
        mark("state"): _state(run),
        mark("error"): translate_message(status.error),
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
        mark("loss"): _losses(run),
        mark("levels"): tr(", ").join(
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
        mark("process"): tr("pid {pid} on {host}", pid=info.pid, host=info.host),
        mark("folder"): str(run.path),
    }
    return _sheet(rows)


def runs_table(runs: Sequence[RunSummary], now: float | None = None) -> str:
    """What `lmm-tui runs` prints: a line a run, in the order given."""
    now = time.time() if now is None else now
    head = tuple(map(tr, RUNS_HEAD))
    rows = [
        (
            run.path.name,
            tr(run.state),
            run.info.stage,
            run.info.model,
            f"{run.status.step}/{run.status.total_steps}",
            number(run.status.loss, 3),
            number(run.status.val_loss, 3),
            count(run.status.tokens_per_s) if run.status.tokens_per_s else NOTHING,
            tr("{time} ago", time=duration(now - run.info.started)),
        )
        for run in runs
    ]
    return _table([head, *(tuple(map(clean, row)) for row in rows)], right={4, 5, 6, 7, 8})


def farewell(
    run: RunSummary,
    *,
    first_loss: float | None,
    seconds: float,
    plots: Sequence[Path],
    checkpoint: Path | None,
) -> str:
    """The last words of a run that trained here: how it went, what is left, what to do next."""
    status = run.status
    fell = f"{number(first_loss, 3)} → {number(status.loss, 3)}"
    speed = f" ({count(status.tokens_per_s)} {tr('tokens/s')})" if status.tokens_per_s else ""
    name = run_argument(run.path)
    unfinished = status.step < status.total_steps
    more = "" if unfinished else f" --steps {2 * status.total_steps}"
    rows = {
        mark("run"): name,
        mark("state"): _state(run),
        mark("error"): translate_message(status.error),
        mark("loss"): fell + _validation(run) if status.loss is not None else "",
        mark("time"): duration(seconds) + speed,
        mark("checkpoint"): str(checkpoint or ""),
        mark("plots"): listed([*map(str, plots[:1]), *(path.name for path in plots[1:])]),
        mark("look"): f"lmm-tui monitor {name}",
        mark("go on"): f"lmm-tui resume {name}{more}" if checkpoint else "",
    }
    return _sheet(rows)


def _state(run: RunSummary) -> str:
    status = run.status
    parts = [
        tr(run.state) + (f" ({translate_message(status.activity)})" if status.activity else "")
    ]
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


def _losses(run: RunSummary) -> str:
    loss = run.status.loss
    return "" if loss is None else _with_ppl(loss, run.info.stage) + _validation(run)


def _validation(run: RunSummary) -> str:
    loss = run.status.val_loss
    return "" if loss is None else tr(", validation {loss}", loss=_with_ppl(loss, run.info.stage))


def _with_ppl(loss: float, stage: str) -> str:
    """A loss, and its perplexity where it has one."""
    if not math.isfinite(loss) or stage not in LIKELIHOOD_STAGES:
        return number(loss, 3)
    ppl = perplexity(loss)
    return f"{loss:.3f} (PPL {count(ppl) if ppl >= 999.5 else f'{ppl:.3g}'})"


def _sheet(rows: Mapping[str, str]) -> str:
    said = {tr(word): clean(text) for word, text in rows.items() if text}
    width = max(map(cell_len, map(tr, rows))) + 2
    return "\n".join(f"{fit(word, width)}{text}" for word, text in said.items())


def _table(rows: Sequence[Sequence[str]], right: set[int]) -> str:
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index in right else fit(cell, width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    shown = RunSummary(
        Path("runs/小兔子"),
        RunInfo("小兔子", "pretrain", 0.0, time.time() - 75, "box", 1, 0.0, model="nano"),
        RunStatus("running", 120, 1000, 491_520, 4_096_000, eta_s=130.0, loss=4.2, val_loss=4.5),
        "running",
    )
    print(status_sheet(shown))
    print(runs_table([shown, shown]))
    print(farewell(shown, first_loss=6.93, seconds=75, plots=[], checkpoint=None))
    assert [count(n) for n in (950, 999.9, 18_234, 4_100_000)] == ["950", "1.00k", "18.2k", "4.10M"]
    print("=== 自测通过 ===")
