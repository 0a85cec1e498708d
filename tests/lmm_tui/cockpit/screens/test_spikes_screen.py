"""Spikes for people: the command that prints them, the screen that goes back behind one."""

import json

import pytest
from click.testing import CliRunner
from fake_run import FakeRun
from looking import cockpit, screen_text, until

from lmm_tui.cli.commands.spikes import command
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.spike_files import KeptSpike, SpikeError, SpikeText, write_spike

EVIL = SpikeText(0, 2, 8.1, "x", [1, 2, 3], ["the", "\x1b[2J", "%%"], [None, 0.2, 8.1])


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "spiky")
    made.train(1, 60)
    for step in (20, 44):
        write_spike(made.dir.spikes, KeptSpike(step, 0.0, "loss_spike", f"rose at {step}", [EVIL]))
    yield made
    made.close()


def shown(run, *args, code=0):
    result = CliRunner().invoke(command, [*args, "--runs-dir", str(run.dir.path.parent)])
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_lists_spikes_and_shows_one_cleaned(run):
    listed = shown(run)
    assert "44" in listed and "rose at 20" in listed
    text = shown(run, "spiky", "44")
    assert "8.100 nats" in text and "the␛[2J%%" in text and "\x1b" not in text
    assert json.loads(shown(run, "spiky", "44", "--json"))["sequences"][0]["losses"][2] == 8.1
    assert [one["step"] for one in json.loads(shown(run, "--json"))] == [20, 44]


def test_a_step_without_one_is_one_sentence(run):
    result = CliRunner().invoke(command, ["spiky", "9", "--runs-dir", str(run.dir.path.parent)])
    assert isinstance(result.exception, SpikeError)
    assert "there are 20, 44" in str(result.exception)


async def test_i_shows_spikes_and_r_goes_back_behind_one_after_a_question(run):
    sent = []
    run.serve(lambda request: sent.append(request.args) or Reply(True, "back", 60))
    async with cockpit(run, (120, 40)) as (app, pilot):
        await pilot.press("B")
        await pilot.pause()
        text = screen_text(app)
        assert "rose at 44" in text and "the␛[2J%%" in text
        await pilot.press("down")
        await pilot.pause()
        assert "micro-batch 0, row 2" in screen_text(app)
        await pilot.press("b")
        await pilot.pause()
        assert "before step 20" in screen_text(app)
        await pilot.press("escape")
        assert run.asked == []
        await pilot.press("up", "b")
        await pilot.press("y")
        await until(pilot, lambda: run.asked == ["rollback"])
        assert sent == [{"before": 44}]
        assert isinstance(app.screen, DashboardScreen)


async def test_an_ended_run_is_looked_at_only(tmp_path):
    ended = FakeRun(tmp_path / "ended", state="finished")
    async with cockpit(ended, (80, 24)) as (app, pilot):
        await pilot.press("B")
        assert "No spikes" in screen_text(app)
        await pilot.press("b", "escape")
        assert isinstance(app.screen, DashboardScreen)
    ended.close()
