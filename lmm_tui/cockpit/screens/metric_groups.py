"""All metrics of a run in groups, and as pages of a grid. Pure functions of names and sizes.

A metric that no group knows is in OTHER, so everything that a run measures can be reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from textual.geometry import Size

from lmm_tui.cockpit.widgets.panel_grid import NO_PANEL, GridColumn, GridRow, Page
from lmm_tui.i18n.language import mark
from lmm_tui.i18n.metric_titles import title_of
from lmm_tui.metrics import names
from lmm_tui.metrics.stages.built_in import BUILT_IN

OTHER = mark("other")
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (mark("loss"), (names.TRAIN_LOSS, names.TRAIN_PPL, "val/")),
    (
        mark("optimizer"),
        (names.LR, names.GRAD_NORM, "train/clip", names.SKIPPED, names.GRAD_LAYER),
    ),
    (mark("probes"), (names.PROBE,)),
    (mark("deep probes"), (names.DEEP,)),
    (mark("throughput"), (names.TOKENS_PER_S, names.STEPS_PER_S, names.MFU)),
    (mark("ranks"), (names.RANKS,)),
    (mark("system"), (names.SYSTEM,)),
    (mark("stage"), tuple(f"{stage.name}/" for stage in BUILT_IN.values() if stage.numbers)),
)
"""A metric belongs to the first group with a prefix of its name."""

_COUNTS = (f"{names.PROBE}n_tokens", f"{names.PROBE}nonfinite_logits")
"""How many tokens the others of their group were measured on: after them."""

_CELL = Size(46, 9)
"""The smallest chart in a grid, except on screens that are smaller themselves."""


def group_of(metric: str) -> str:
    """The group of a metric."""
    for group, prefixes in _GROUPS:
        if metric.startswith(prefixes):
            return group
    return OTHER


def grouped(metrics: Iterable[str]) -> dict[str, list[str]]:
    """The metrics of each group, in the order of the groups; groups without any are left out."""
    found: dict[str, list[str]] = {group: [] for group in (*dict(_GROUPS), OTHER)}
    for metric in sorted(metrics, key=_COUNTS.__contains__):
        found[group_of(metric)].append(metric)
    return {group: members for group, members in found.items() if members}


def matching(metrics: Iterable[str], words: str) -> list[str]:
    """The metrics whose name or title has all the words, in any case and order."""
    found = [*metrics]
    for word in words.casefold().split():
        found = [metric for metric in found if word in _searched(metric)]
    return found


@cache
def _searched(metric: str) -> str:
    """The text that is searched; cached, since thousands of them are searched at every letter."""
    return f"{metric} {names.describe(metric).title} {title_of(metric)}".casefold()


def panels_a_page(size: Size) -> int:
    """How many panels fit on a page of a grid."""
    across, down = _across_and_down(size)
    return across * down


def _across_and_down(size: Size) -> tuple[int, int]:
    return max(size.width // _CELL.width, 1), max(size.height // _CELL.height, 1)


def _columns(panels: int, across: int) -> int:
    """As many as leave the fewest cells empty in as few rows."""
    rows = -(-panels // across)
    return -(-panels // rows)


def grid(title: str, panels: Sequence[str], size: Size) -> list[Page]:
    """Pages of these panels in equal cells; pages after the first have the same title."""
    across, down = _across_and_down(size)
    each = across * down
    parts = [panels[start : start + each] for start in range(0, len(panels), each)]
    pages = []
    for part in parts:
        columns = _columns(len(part), across) if len(parts) == 1 else across
        whole = [*part, *[NO_PANEL] * (-len(part) % columns)]
        starts = range(0, len(whole), columns)
        rows = tuple(GridRow(tuple(whole[start : start + columns])) for start in starts)
        pages.append(Page(title, (GridColumn(rows),)))
    return pages


if __name__ == "__main__":
    measured = ["train/loss", "val/loss", "grad/layers.0", "probe/entropy", "mine/score"]
    print(grouped(measured), matching(measured, "LOSS val"))
    sheets = grid("other", [f"m{at}" for at in range(20)], Size(150, 40))
    print([page.title for page in sheets], [len(page.panels) for page in sheets])
    assert sum(len(page.panels) for page in sheets) == 20
    assert group_of("mine/score") == OTHER and matching(measured, "loss val") == ["val/loss"]
    print("=== 自测通过 ===")
