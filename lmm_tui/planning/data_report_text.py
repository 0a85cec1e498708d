"""A data report as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from lmm_tui.data.report.report import DataReport
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import size
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.status_text import table_text
from lmm_tui.terminal.safe_text import clean

_BAR = 40
_BLOCKS = " ▏▎▍▌▋▊▉█"


def report_text(found: DataReport) -> str:
    """All of a report."""
    facts = [
        (tr("source"), clean(found.source)),
        (tr("kind"), found.kind),
        (tr("files"), f"{found.files:,}, {size(found.bytes)}" if found.files else tr("built in")),
        (tr("columns"), _columns(found.columns)),
        (tr("rows"), f"{found.rows:,}"),
        (tr("characters"), f"{found.characters:,}"),
        (tr("tokens"), f"{found.tokens:,} ({clean(found.tokenizer)})"),
        (
            tr("tokens of a row"),
            tr(
                "mean {mean:,.0f}, median {median:,.0f}, longest {longest:,}",
                mean=found.mean,
                median=found.median,
                longest=found.longest,
            ),
        ),
        (tr("scripts"), _shares(found.scripts)),
        (tr("exact duplicates"), _of(found.exact_duplicates, found.rows)),
        (tr("near duplicates"), _of(found.near_duplicates, found.compared)),
        (tr("rows with test questions"), _of(found.overlapping, found.compared)),
        (tr("test questions found"), _overlap(found.overlap)),
    ]
    if found.kind != "text":
        facts.append(
            (
                tr("longer than {seq_len} tokens", seq_len=found.seq_len),
                _of(found.truncated, found.rows),
            )
        )
    facts.append((tr("left out"), _of(found.bad, found.rows + found.bad)))
    if found.filtered:
        facts.append((tr("filtered"), f"{found.filtered:,}"))
    if found.unused:
        facts.append((tr("without effect"), clean(", ".join(found.unused))))
    lines = [table_text(facts, right=set())]
    lines += ["", tr("rows by tokens"), *_histogram(found.lengths)]
    if found.bad_rows:
        lines += ["", tr("rows left out, the first"), *map(_said, found.bad_rows)]
    if found.notes:
        lines += ["", *map(_said, found.notes)]
    return "\n".join(lines)


def _histogram(lengths: Mapping[str, int]) -> list[str]:
    """A bar for each range, from the first that has rows to the last."""
    filled = [at for at, count in enumerate(lengths.values()) if count]
    if not filled:
        return []
    most = max(lengths.values())
    shown = list(lengths.items())[filled[0] : filled[-1] + 1]
    width = max(len(name) for name, _ in shown)
    return [f"{name:>{width}}  {_bar(count / most):<{_BAR}}  {count:,}" for name, count in shown]


def _bar(share: float) -> str:
    eighths = max(round(share * _BAR * 8), 1) if share else 0
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_BLOCKS[rest] if rest else "")


def _of(count: int, whole: int) -> str:
    share = f" ({count / whole:.1%})" if whole else ""
    return tr("{count:,} of {whole:,}", count=count, whole=whole) + share


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if share >= 0.001)


def _columns(columns: Mapping[str, str]) -> str:
    return clean(", ".join(f"{name} ({kind})" for name, kind in columns.items())) or "-"


def _overlap(overlap: Mapping[str, tuple[int, int]]) -> str:
    found = [f"{clean(task)} {seen}/{count}" for task, (seen, count) in overlap.items() if seen]
    total = sum(count for _, count in overlap.values())
    if found:
        return ", ".join(found)
    return tr("none of {count:,} in {tasks} tasks", count=total, tasks=len(overlap))


def _said(sentence: str) -> str:
    return f"  {clean(translate_message(sentence))}"


if __name__ == "__main__":
    print("\n".join(_histogram({"0-15": 3, "16-31": 40, "32-63": 0, "64-127": 7})))
    print("=== 自测通过 ===")
