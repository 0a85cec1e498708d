"""Commands of a configuration are obeyed when typed, allowed before or trusted, and else not."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.trust import (
    UntrustedError,
    allow_own,
    commands_in,
    moved,
    refuse_untrusted,
    trust,
)

NOTIFY = {"health.command": "notify"}
HOOK = {"health.webhook": "http://localhost:1/x"}
REWARD = {"stage": "grpo", "grpo.rewards": ["exact", "r.py:score"]}
MODULE = {"stage": "grpo", "grpo.rewards": ["package.rewards:score"]}


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        (NOTIFY, ["health.command 'notify'"]),
        (HOOK, ["health.webhook 'http://localhost:1/x'"]),
        (REWARD, ["grpo.rewards 'r.py:score'"]),
        (MODULE, ["grpo.rewards 'package.rewards:score'"]),
        (NOTIFY | HOOK | REWARD, ["'notify'", "'http://localhost:1/x'", "'r.py:score'"]),
    ],
)
def test_each_command_is_listed_and_refused_until_it_is_trusted(
    settings: Mapping[str, Any], shown: list[str]
) -> None:
    config, recipe = resolve(assignments=settings), Path("recipe.toml")
    with pytest.raises(UntrustedError) as refusal:
        refuse_untrusted(config, [recipe])
    assert all(text in str(refusal.value) for text in shown)
    assert "exact" not in str(refusal.value).split("read it")[0]
    trust(config, recipe)
    refuse_untrusted(config, [recipe])
    with pytest.raises(UntrustedError):
        refuse_untrusted(config, [Path("another.toml")])


@pytest.mark.parametrize(
    "settings",
    [
        NOTIFY | {"health.enable": False},
        NOTIFY | {"health.command": ""},
        {"stage": "sft", "grpo.rewards": ["r.py:score"]},
        {"stage": "grpo", "grpo.rewards": ["exact", "length:9", "a/reward-model"]},
    ],
)
def test_what_is_switched_off_or_no_code_needs_no_trust(settings: Mapping[str, Any]) -> None:
    config = resolve(assignments=settings)
    assert commands_in(config) == []
    refuse_untrusted(config, [Path("recipe.toml")])


@pytest.mark.parametrize("typed", ["health.command", "health"])
def test_what_was_typed_is_obeyed_and_nothing_else(typed: str) -> None:
    refuse_untrusted(resolve(assignments=NOTIFY), [Path("recipe.toml")], [typed])
    with pytest.raises(UntrustedError, match="webhook") as refusal:
        both = resolve(assignments=NOTIFY | HOOK)
        refuse_untrusted(both, [Path("recipe.toml")], ["health.command"])
    assert "notify" not in str(refusal.value)


def test_another_command_of_a_trusted_source_is_asked_for_again() -> None:
    recipe = Path("recipe.toml")
    trust(resolve(assignments=NOTIFY), recipe)
    with pytest.raises(UntrustedError, match="'notify; rm"):
        refuse_untrusted(resolve(assignments={"health.command": "notify; rm -r x"}), [recipe])


@pytest.mark.parametrize("reward", ["r.py:score", "r:score", "package:score"])
def test_trusted_code_that_changes_is_asked_for_again_but_own_code_is_not(
    tmp_path: Path, reward: str
) -> None:
    (tmp_path / "package").mkdir()
    files = (tmp_path / "r.py", tmp_path / "package" / "__init__.py")
    for file in files:
        file.write_text("def score(*_): return 1.0\n")
    config = resolve(assignments={"stage": "grpo", "grpo.rewards": [reward]})
    trust(config, Path("foreign.toml"))
    allow_own(config, Path("own"))
    for file in files:
        file.write_text("def score(*_): return 2.0\n")
    refuse_untrusted(config, [Path("own")])
    with pytest.raises(UntrustedError):
        refuse_untrusted(config, [Path("foreign.toml")])


def test_own_code_elsewhere_is_not_that_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("mine", "theirs"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "r.py").write_text("")
    monkeypatch.chdir(tmp_path / "mine")
    config, run = resolve(assignments=REWARD), tmp_path / "run"
    allow_own(config, run)
    monkeypatch.chdir(tmp_path / "theirs")
    with pytest.raises(UntrustedError):
        refuse_untrusted(config, [run])


def test_the_settings_of_a_run_are_those_of_the_run(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    (run / "run.json").touch()
    config = resolve(assignments=NOTIFY)
    allow_own(config, run)
    refuse_untrusted(config, [run / "config.toml"])
    moved(run, tmp_path / "runs" / "b")
    refuse_untrusted(config, [tmp_path / "runs" / "b"])


def test_what_is_remembered_is_for_its_user_only(own_state: Path) -> None:
    trust(resolve(assignments=NOTIFY), Path("recipe.toml"))
    made = list(own_state.rglob("*"))
    assert len(made) == 3
    assert not [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077]


@pytest.mark.parametrize("content", ["", "[]", '{"allowed": 5}', "[" * 100_000, "\0"])
def test_a_damaged_record_allows_nothing(own_state: Path, content: str) -> None:
    config, recipe = resolve(assignments=NOTIFY), Path("recipe.toml")
    trust(config, recipe)
    (record,) = own_state.rglob("*.json")
    record.write_text(content)
    with pytest.raises(UntrustedError):
        refuse_untrusted(config, [recipe])
    trust(config, recipe)
    refuse_untrusted(config, [recipe])


def test_a_state_folder_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(UntrustedError, match="XDG_STATE_HOME"):
        trust(resolve(assignments=NOTIFY), Path("recipe.toml"))
