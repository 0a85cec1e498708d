"""The key table is the only place where keys stand, and every row of it works."""

import re

import pytest

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.key_table import TABLE
from lmm_tui.cockpit.keys import (
    ACTIVE_TOGETHER,
    FORBIDDEN,
    KEYS,
    SCREENS,
    Key,
    bar_keys,
    bindings,
    help_groups,
    read_table,
)
from lmm_tui.cockpit.screens.backend_screen import BackendScreen
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.screens.chart_gestures import ChartGestures
from lmm_tui.cockpit.screens.chat_screen import ChatScreen
from lmm_tui.cockpit.screens.checkpoints_screen import CheckpointsScreen
from lmm_tui.cockpit.screens.comparison_screen import ComparisonScreen
from lmm_tui.cockpit.screens.configure import ConfigureScreen
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.cockpit.screens.data_screen import DataScreen
from lmm_tui.cockpit.screens.evaluate_screen import EvaluateScreen
from lmm_tui.cockpit.screens.log_screen import LogScreen
from lmm_tui.cockpit.screens.overlay_screen import OverlayScreen
from lmm_tui.cockpit.screens.queue_screen import QueueScreen
from lmm_tui.cockpit.screens.quit_dialog import QuitDialog
from lmm_tui.cockpit.screens.rank_text_screen import RankTextScreen
from lmm_tui.cockpit.screens.ranks_screen import RanksScreen
from lmm_tui.cockpit.screens.runs_screen import RunsScreen
from lmm_tui.cockpit.screens.samples_screen import SamplesScreen
from lmm_tui.cockpit.screens.screen_registry import REGISTERED
from lmm_tui.cockpit.screens.spikes_screen import SpikesScreen
from lmm_tui.cockpit.screens.tokens_screen import TokensScreen
from lmm_tui.cockpit.widgets.table import Table

OWNERS = {
    "app": CockpitApp,
    "configure": ConfigureScreen,
    "dashboard": DashboardScreen,
    "charts": ChartGestures,
    "overlay": OverlayScreen,
    "comparison": ComparisonScreen,
    "queue": QueueScreen,
    "dialog": QuitDialog,
    "place": BaseScreen,
    "list": Table,
    "runs": RunsScreen,
    "checkpoints": CheckpointsScreen,
    "log": LogScreen,
    "samples": SamplesScreen,
    "chat": ChatScreen,
    "tokens": TokensScreen,
    "data": DataScreen,
    "evaluate": EvaluateScreen,
    "spikes": SpikesScreen,
    "ranks": RanksScreen,
    "rank_text": RankTextScreen,
}


def test_a_row_of_the_table_becomes_a_key():
    rows = """
[chart]  where: charts  group: Charts: all of them  action: gesture('*')
in    + = up  10  *  zoom in  Show less of the run
log   y       -   -  log      Switch the axis  toggle_log
[dialog]  where: dialog
stop  s       1   -  stop     Stop the run
"""
    assert list(read_table(rows)) == [
        Key("chart.in", ("plus", "equals_sign", "up"), "gesture('in')", "zoom in",
            "Show less of the run", "Charts: all of them", "charts", bar=10, palette=True),
        Key("chart.log", ("y",), "toggle_log", "log", "Switch the axis", "Charts: all of them",
            "charts"),
        Key("dialog.stop", ("s",), "stop", "stop", "Stop the run", "", "dialog", bar=1),
    ]  # fmt: skip


@pytest.mark.parametrize("row", ["stop  s  1  -  stop", "stop  s  1  -  stop  Stop  stop  again"])
def test_a_row_with_too_few_or_too_many_columns_is_refused(row):
    with pytest.raises(ValueError, match=f"not a row of the key table: {row}"):
        list(read_table(f"[dialog]  where: dialog\n{row}"))


@pytest.mark.parametrize("section", TABLE.strip().split("\n\n"), ids=lambda text: text.split()[0])
def test_the_columns_of_a_section_are_aligned(section):
    heading, *rows = section.splitlines()
    starts = {tuple(gap.end() for gap in re.finditer("  +", row))[:5] for row in rows}
    assert heading.startswith("[") and len(starts) == 1


def test_no_key_that_terminals_or_tmux_swallow_is_used():
    assert not FORBIDDEN & {key for row in KEYS for key in row.keys}


def test_ids_are_unique_so_that_a_key_map_can_move_every_key():
    assert len({row.id for row in KEYS}) == len(KEYS)


@pytest.mark.parametrize("places", ACTIVE_TOGETHER, ids="+".join)
def test_no_key_means_two_things_in_one_place(places):
    keys = [key for row in KEYS if row.where in places for key in row.keys]
    assert sorted(set(keys)) == sorted(keys)


def test_every_place_of_the_table_has_an_owner_and_every_screen_a_maker():
    assert {row.where for row in KEYS} <= set(OWNERS)
    numbered = {name for _, name, _ in SCREENS}
    assert numbered | {"chat", "tokens", "data", "queue"} == REGISTERED | {"dashboard", "configure"}
    assert BackendScreen.TAB in numbered


def test_every_row_names_an_action_that_exists():
    for row in KEYS:
        name = row.action.partition("(")[0]
        owner = CockpitApp if name.startswith("app.") else OWNERS[row.where]
        assert hasattr(owner, f"action_{name.removeprefix('app.')}"), row.id


@pytest.mark.parametrize("where", OWNERS)
def test_bindings_are_made_from_the_table_and_carry_its_ids(where):
    assert [binding.id for binding in bindings(where)] == [
        row.id for row in KEYS if row.where == where
    ]


def test_the_help_screen_lists_every_key_of_a_group():
    listed = {row.id for _, rows in help_groups() for row in rows}
    assert listed == {row.id for row in KEYS if row.group}
    assert {row.id for where in OWNERS for row in bar_keys(where)} <= listed | {"overlay.close"}


def test_an_interrupt_reaches_the_quit_dialog_even_while_typing():
    row = next(row for row in KEYS if "ctrl+c" in row.keys)
    assert row.action == "app.request_quit"
    assert row.binding().priority
