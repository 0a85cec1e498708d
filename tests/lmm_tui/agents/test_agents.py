"""What an agent gets and may do, by the SDK's own client, over a real run and made ones."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from fake_run import FakeRun
from hostile_strings import EVIL
from made_runs import make_run
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import Implementation
from small_runs import SMALLEST, lines, run

from lmm_tui.agents.server import make_server
from lmm_tui.cli import main
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.run_dir import RunDir

WHO = Implementation(name="night-watch", version="7")
PAGE = 64 * 1024
PROGRAM = """
from forked_children import fork_children
from lmm_tui import child_process
child_process.subprocess = fork_children([])
from lmm_tui.cli.main import main
main()
"""


@asynccontextmanager
async def talking(runs: Path, *, control: bool = False) -> AsyncIterator[Client]:
    async with Client(make_server(runs, control=control), client_info=WHO) as client:
        yield client


async def ask(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    assert len(json.dumps(result.structured_content)) < PAGE
    return result.structured_content


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return " ".join(getattr(part, "text", "") for part in result.content)


async def test_a_night_with_a_diverged_run(tmp_path: Path) -> None:
    """It finds the diverged run, reads why, forks it with a lower rate, waits, and compares."""
    common = {**SMALLEST, "runs_dir": str(tmp_path), "log.val_every": 10, "train.steps": 20}
    common |= {"log.checkpoint_every": 10, "optim.warmup_steps": 0, "optim.schedule": "constant"}
    common |= {"log.sample_every": 0, "log.probe_every": 0, "train.batch_size": 4}
    assert run(resolve(assignments={**common, "name": "loud", "optim.lr": 10.0})).error == ""
    make_run(tmp_path, "quiet", rows=20)
    server = StdioServerParameters(
        command=sys.executable,
        args=["-c", PROGRAM, "mcp", "--runs-dir", str(tmp_path), "--allow-control"],
        env=os.environ | {"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    async with Client(server, client_info=WHO) as client:
        found = await ask(client, "list_runs")
        assert found["total"] == 2
        bad = [one["name"] for one in found["runs"] if one["verdict"]["level"] == "error"]
        assert bad == ["loud"]
        why = await ask(client, "health", run="loud")
        assert any(
            "LR" in alert["suspect"] or "rate" in alert["suspect"] for alert in why["alerts"]
        )
        told = await ask(client, "describe_run", run="loud")
        assert told["settings"]["optim.lr"] == 10.0 and told["checkpoints"]
        started = await ask(
            client,
            "start_run",
            like="loud",
            start_from="loud",
            checkpoint=told["checkpoints"][0],
            settings={"optim.lr": 1e-3, "name": "calm"},
        )
        assert started["run"] == "calm"
        waited = await ask(client, "wait_for", run="calm", seconds=120)
        assert waited["state"] == "finished" and waited["step"] == 20
        compared = await ask(client, "compare_runs", runs=["loud", "calm"])
    by_name = {row["run"]: row for row in compared["runs"]}
    assert by_name["calm"]["settings"]["optim.lr"] == 1e-3
    assert "optim.lr" in by_name["loud"]["settings"] and "train.steps" not in by_name["loud"]
    losses = [
        row["val/loss"] for row in lines(RunDir(tmp_path / "calm").metrics) if "val/loss" in row
    ]
    assert by_name["calm"]["best"] == pytest.approx(min(losses))
    asked = [one for one in lines(RunDir(tmp_path / "calm").events) if one.get("by")]
    assert asked[0]["by"] == "agent night-watch 7" and asked[0]["kind"] == "command"
    assert RunDir(tmp_path / "calm").read_info().parent == "loud"


async def test_a_live_run_obeys_and_its_events_say_who_asked(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path / "live")
    seen = []

    def answer(request: Any) -> Reply:
        seen.append((request.command, request.args, request.by))
        return Reply(request.command != "set", f"{request.command} done", 7)

    fake.serve(answer)
    async with talking(tmp_path, control=True) as client:
        paused = await ask(client, "pause_run", run="live")
        assert paused == {"run": "live", "step": 7, "message": "pause done"}
        assert "set done" in await refusal(client, "set_settings", run="live", settings={"lr": 1})
        await ask(client, "stop_run", run="live", with_checkpoint=False)
    fake.close()
    who = "agent night-watch 7"
    assert seen == [
        ("pause", {}, who),
        ("set", {"lr": 1.0}, who),
        ("stop", {"checkpoint": False}, who),
    ]


async def test_a_series_is_bounded_and_keeps_what_is_extreme(tmp_path: Path) -> None:
    made = make_run(tmp_path, "long", rows=0)
    values = np.sin(np.arange(5000) / 50) + 3
    values[1234], values[4321] = 99.0, math.nan
    with made.metrics.open("w") as file:
        for step, value in enumerate(values.tolist(), start=1):
            file.write(
                json.dumps({"step": step, "train/loss": value}).replace("NaN", '"NaN"') + "\n"
            )
    async with talking(tmp_path) as client:
        found = await ask(client, "get_series", run="long", metrics=["train/loss"], points=40)
        loss = found["series"]["train/loss"]
        assert len(loss["bins"]) <= 40 and loss["values"] == 5000 and loss["non_finite"] == 1
        assert max(row[3] for row in loss["bins"]) == 99.0
        finite = values[np.isfinite(values)]
        assert min(row[1] for row in loss["bins"]) == pytest.approx(finite.min(), rel=1e-5)
        part = await ask(
            client, "get_series", run="long", metrics=["train/loss"], first_step=10, last_step=19
        )
        bins = part["series"]["train/loss"]["bins"]
        assert [row[0] for row in bins] == [*range(10, 20)]
        assert [row[2] for row in bins] == pytest.approx(values[9:19].tolist(), rel=1e-5)
        said = await refusal(
            client, "get_series", run="long", metrics=["train/loss"], points=1_000_000
        )
        assert "1 to 500" in said


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../secret", "/etc", "a/../../secret", "link", EVIL]
)
async def test_no_path_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    make_run(tmp_path, "secret")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "link").symlink_to(tmp_path / "secret")
    async with talking(runs, control=True) as client:
        for tool in (
            "describe_run",
            "health",
            "get_samples",
            "get_events",
            "resume_run",
            "stop_run",
        ):
            said = await refusal(client, tool, run=name)
            assert "Traceback" not in said and "list_runs" in said
        assert "no such page" in await refusal(client, "read_docs", page=f"../{name}x")
        assert (await ask(client, "list_runs"))["total"] == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"health.command": "touch /tmp/x"},
        {"health.webhook": "http://example.org"},
        {"grpo.rewards": ["os:system"]},
        {"stage": "/tmp/x.py:Stage"},
        {"data.template": "/etc/passwd"},
        {"data.source": "/etc/passwd"},
        {"data.tokenizer": "/etc/passwd"},
        {"start_from": "/root"},
        {"runs_dir": "/tmp"},
        {"distill.teacher": "/root"},
        {"health.rules": "/etc/passwd"},
        {"optim.lrr": 1},
        {"optim.lr": "fast"},
        {"name": "../up"},
    ],
    ids=lambda settings: next(iter(settings)),
)
async def test_an_agent_chooses_no_file_no_command_and_no_nonsense(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with talking(tmp_path, control=True) as client:
        said = await refusal(client, "start_run", settings=settings)
        assert next(iter(settings)) in said and "Traceback" not in said
    assert not [*tmp_path.iterdir()]


async def test_a_sweep_has_its_bounds_and_a_queue_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with talking(tmp_path, control=True) as client:
        for vary, said in (
            ({"data.source": "'/etc/passwd','/etc/group'"}, "an agent does not choose"),
            ({"grpo.rewards": "['os:system'],['os:abort']"}, "an agent does not choose"),
            ({"optim.lr": "1e-3"}, "one value"),
            ({"optim.lr": "1e-4..1e-2"}, "give --trials N"),
            ({"train.seed": ",".join(map(str, range(300)))}, "at most 200"),
        ):
            assert said in await refusal(client, "start_sweep", name="night", vary=vary)
        assert "no such sweep" in await refusal(client, "get_sweep", name="night")
        assert "name of a sweep" in await refusal(client, "get_sweep", name="../night")
        made = await ask(
            client,
            "start_sweep",
            name="night",
            vary={"train.seed": "1,2"},
            settings={"model.hidden_size": 16384, "model.num_layers": 200},
        )
        assert made["trials"] == 2
        for _ in range(600):  # No machine has room for these: the queue says so and ends.
            found = await ask(client, "get_sweep", name="night")
            if all(trial["state"] == "failed" for trial in found["trials"]):
                break
            await anyio.sleep(0.1)
        assert all("it would take about" in trial["ended"] for trial in found["trials"])
        assert (await ask(client, "cancel_sweep", name="night"))["left_out"] == 0


async def test_without_control_there_is_nothing_to_steer_with(tmp_path: Path) -> None:
    async with talking(tmp_path) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert (
            not {"start_run", "stop_run", "pause_run", "set_settings", "resume_run"} & tools.keys()
        )
        assert all(tool.description for tool in tools.values())
        assert "health" in (await ask(client, "read_docs"))["pages"]
        page = await ask(client, "read_docs", page="health")
        assert page["text"].startswith("# ") and page["part"] == 1


def test_without_the_sdk_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [*sys.modules]:
        if name == "mcp" or name.startswith(("mcp.", "lmm_tui.agents.server")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    assert main.run(["mcp", "--runs-dir", str(tmp_path)]) == 2
    assert "lmm-tui-watch[mcp]" in capsys.readouterr().err
