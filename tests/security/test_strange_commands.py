"""Commands that come with a run, a recipe or a file are listed and refused until they are trusted.

Rows B1, B6, B7 and W22 of the review: each command here would make a file `obeyed`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import tomli_w
from processes import PROGRAM, ROOT
from strangers import SETTINGS, SMALL

from lmm_tui.cli import main
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.resolve import merged, resolve
from lmm_tui.planning.settings_files import load_settings, save_settings
from lmm_tui.runs import manage_runs

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("empty_pages")]

Capture = pytest.CaptureFixture[str]

ALERT = {"health.thresholds": ["train/loss > 0"]}
COMMAND = {"health.command": "touch obeyed"}
REWARD = {"stage": "grpo", "grpo.rewards": ["r.py:score"], "grpo.group": 4, "grpo.max_tokens": 4}


def settings(cache: Path, *parts: dict[str, object]) -> dict[str, object]:
    """Nested tables, as of a TOML file."""
    found: dict[str, object] = {}
    for key, value in ({**SMALL, "data.cache_dir": str(cache)} | dict(*parts)).items():
        table: object = value
        for name in reversed(key.split(".")):
            table = {name: table}
        assert isinstance(table, dict)
        found = merged(found, table)
    return found


@pytest.fixture
def cache(trained: Path) -> Path:
    return trained.parent / "cache"


@pytest.fixture
def reward(tmp_path: Path) -> Path:
    """A reward beside a recipe, which says that it was imported."""
    file = tmp_path / "r.py"
    file.write_text("open('obeyed', 'w')\n\ndef score(*_):\n    return 0.5\n")
    rows = ({"prompt": f"{a} + 1?", "answer": str(a + 1)} for a in range(40))
    Path("prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def bring_command(run: Path) -> None:
    text = (run / "config.toml").read_text()
    table = '[health]\ncommand = "touch obeyed"\nthresholds = ["train/loss > 0"]\nenable = true\n'
    head, _, rest = text.partition("[health]")
    _, bracket, others = rest.partition("\n[")
    (run / "config.toml").write_text(head + table + bracket + others)
    (run / "metrics.jsonl").write_text("")
    (run / "events.jsonl").write_text("")  # It tells of what was switched off since.


def test_a_run_that_came_with_a_command_is_resumed_only_when_trusted(
    stranger: Path, capsys: Capture
) -> None:
    bring_command(stranger)
    resume = ["resume", "x", "--steps"]
    assert main.run([*resume, "20"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "health.command 'touch obeyed'" in said and "--trust" in said
    assert "--set health.command=" in said
    assert main.run([*resume, "20", "--print-config"]) == 0
    assert main.run([*resume, "20", "--set", "health.enable=false"]) == 0
    assert not Path("obeyed").exists()
    bring_command(stranger)
    assert main.run([*resume, "30", "--set", "health.command="]) == 0
    assert not Path("obeyed").exists()
    bring_command(stranger)
    assert main.run([*resume, "40"]) == 2  # Switching it off was no trust.
    assert main.run([*resume, "40", "--trust"]) == 0
    assert Path("obeyed").exists()
    Path("obeyed").unlink()
    (stranger / "metrics.jsonl").write_text("")  # So that the rule speaks again.
    assert main.run([*resume, "50"]) == 0  # It is remembered.
    assert Path("obeyed").exists()


def test_a_run_of_ones_own_is_resumed_without_a_question(
    stranger: Path, cache: Path, capsys: Capture
) -> None:
    given = {"data.cache_dir": str(cache), **COMMAND, **ALERT}
    typed = [f"--set={key}={json.dumps(value)}" for key, value in given.items()]
    assert main.run(["train", "--name", "own", "--runs-dir", "runs", *SETTINGS, *typed]) == 0
    Path("obeyed").unlink()
    Path("runs/own/metrics.jsonl").write_text("")
    assert main.run(["resume", "own", "--steps", "20"]) == 0
    assert Path("obeyed").exists()
    Path("obeyed").unlink()
    Path("runs/own/metrics.jsonl").write_text("")
    manage_runs.rename(manage_runs.RunDir("runs/own"), "renamed")
    assert main.run(["resume", "renamed", "--steps", "30"]) == 0
    assert Path("obeyed").exists()
    (stranger / "config.toml").write_text(Path("runs/renamed/config.toml").read_text())
    Path("obeyed").unlink()
    assert main.run(["resume", "x", "--steps", "30"]) == 2
    assert not Path("obeyed").exists()


@pytest.mark.parametrize("brought", [COMMAND | ALERT, REWARD], ids=["command", "reward"])
def test_a_recipe_is_obeyed_only_when_trusted(
    brought: dict[str, object], cache: Path, reward: Path, capsys: Capture
) -> None:
    data = {"data.source": "prompts.jsonl"} if "stage" in brought else {}
    Path("evil.toml").write_text(tomli_w.dumps({"step": [settings(cache, brought | data)]}))
    pipeline = ["pipeline", "evil.toml", "--runs-dir", "runs"]
    assert main.run(pipeline) == 2
    assert "--trust" in capsys.readouterr().err
    assert main.run(["train", "--recipe", "evil.toml", "--name", "other"]) == 2
    assert not Path("obeyed").exists() and not Path("runs").exists()
    assert main.run([*pipeline, "--trust"]) == 0, capsys.readouterr().err
    assert Path("obeyed").exists()
    reward.write_text(reward.read_text() + "# another version\n")
    assert main.run(pipeline) == (2 if "stage" in brought else 0)


def test_a_file_of_somebody_else_is_refused_and_one_of_the_users_own_is_not(
    cache: Path, tmp_path: Path, capsys: Capture
) -> None:
    text = tomli_w.dumps(settings(cache, COMMAND | ALERT))
    own = tmp_path / "settings" / "lmm-tui" / "mine.toml"
    own.parent.mkdir(parents=True)
    for file in (own, Path("theirs.toml")):
        file.write_text(text)
    train = ["train", "--runs-dir", "runs", "--config"]
    assert main.run([*train, "theirs.toml", "--name", "a"]) == 2
    assert main.run([*train, "theirs.toml", "--name", "a", "--set", "health.enable=false"]) == 0
    assert not Path("obeyed").exists()
    assert main.run([*train, str(own), "--name", "b"]) == 0
    assert Path("obeyed").exists()


def test_the_configure_screen_loads_no_commands_of_somebody_else(
    stranger: Path, cache: Path
) -> None:
    bring_command(stranger)
    Path("evil.toml").write_text(tomli_w.dumps(settings(cache, COMMAND)))
    Path("recipe.toml").write_text(tomli_w.dumps({"step": [settings(cache, COMMAND)]}))
    for source in ("x", "evil.toml", "recipe.toml"):
        with pytest.raises(ConfigError):
            load_settings(source, "runs")
    save_settings("own.toml", resolve(assignments=COMMAND))
    assert load_settings("own.toml", "runs").health.command == "touch obeyed"


def test_a_planted_module_is_not_imported_by_an_engine_of_its_own(
    stranger: Path, tmp_path: Path
) -> None:
    for name in ("psutil.py", "lmm_tui/__init__.py", "torch.py", "json.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("open('obeyed', 'w')\n")
    command = [PROGRAM[0], "-P", *PROGRAM[1:], "launch", "--resume", "x", "--detach", "--steps=12"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not Path("obeyed").exists()


def test_code_in_the_folder_of_a_reward_model_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers would ask on the terminal, and a `y` would run it."""
    from lmm_tui.engine.stages.reward_loading import load_rewards
    from lmm_tui.engine.stages.rewards import RewardError

    folder = tmp_path / "model"
    folder.mkdir()
    auto = {
        "AutoConfig": "code.Config",
        "AutoModelForSequenceClassification": "code.Model",
        "AutoTokenizer": ["code.Tokens", None],
    }
    (folder / "config.json").write_text(json.dumps({"model_type": "odd", "auto_map": auto}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto}))
    (folder / "code.py").write_text("open('obeyed', 'w')\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(RewardError):
        load_rewards([str(folder)])
    assert not Path("obeyed").exists()
