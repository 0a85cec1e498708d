"""The length of a run in epochs or in steps: the later one counts, both at once are refused."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from small_runs import MakeConfig, curve, lines, of_stage, run, train

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.recipe import load_recipe
from lmm_tui.engine.config.resolve import check, resolve


def rows_of(path: str, count: int) -> str:
    rows = ({"prompt": f"{n} + 1?", "chosen": str(n + 1), "rejected": "no"} for n in range(count))
    Path(path).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_the_later_of_epochs_and_steps_counts(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[train]\nsteps = 7\n")
    assert resolve(file, {"train.epochs": 2}).train.epochs == 2
    file.write_text("[train]\nepochs = 3\n")
    assert resolve(file).train.epochs == 3
    found = resolve(file, {"train.steps": 9}).train
    assert (found.steps, found.epochs) == (9, None)
    changed = check("train.steps", 5, resolve(file)).train
    assert (changed.steps, changed.epochs) == (5, None)
    recipe = tmp_path / "r.toml"
    recipe.write_text("[common.train]\nepochs = 1\n[[step]]\ntrain = {steps = 4}\n")
    assert load_recipe(str(recipe)).steps[0].config("x", {}).train.epochs is None


@pytest.mark.parametrize("where", ["assigned", "file", "recipe"])
def test_both_in_one_place_are_refused(tmp_path: Path, where: str) -> None:
    file = tmp_path / "a.toml"
    with pytest.raises(ConfigError, match=r"train\.steps and train\.epochs both say") as refusal:
        if where == "assigned":
            resolve(assignments={"train.steps": 4, "train.epochs": 2})
        elif where == "file":
            file.write_text("[train]\nsteps = 7\nepochs = 2\n")
            resolve(file)
        else:
            file.write_text("[[step]]\ntrain = {steps = 4, epochs = 2}\n")
            load_recipe(str(file))
    assert (str(file) in str(refusal.value)) == (where != "assigned")


@pytest.mark.parametrize("epochs", [0.5, 1, 2.5])
def test_steps_follow_from_epochs_and_are_said(
    small: MakeConfig, chats: str, epochs: float
) -> None:
    config = of_stage(small, chats, "dpo", train__batch_size=7)
    config = check("train.epochs", epochs, config)
    host = train(config)
    pairs = train_pairs(host)
    steps = math.ceil(epochs * pairs / 7)
    assert [*curve(host.run_dir)] == [*range(1, steps + 1)]
    assert host.run_dir.read_status().total_steps == steps
    assert curve(host.run_dir, "epoch")[steps] >= epochs > curve(host.run_dir, "epoch")[1] - 1
    said = [event["message"] for event in lines(host.run_dir.events) if event["kind"] == "start"]
    assert said[0].startswith(f"train.epochs: {epochs:g} of ") and f" {steps} steps" in said[0]
    saved = resolve(host.run_dir.config).train
    assert (saved.steps, saved.epochs) == (steps, epochs)


def train_pairs(host: Any) -> int:
    from lmm_tui.data.chat.preferences import read_pairs
    from lmm_tui.engine.stages.chat_base import read_side

    return len(list(read_side(read_pairs, host.config.data, "train")))


def test_a_run_of_epochs_resumes_to_more_of_them(small: MakeConfig, chats: str) -> None:
    def epochs(count: float, name: str) -> Any:
        config = of_stage(
            small, chats, "sft", name=name, train__batch_size=8, optim__schedule="constant"
        )
        return check("train.epochs", count, config)

    whole = train(epochs(2, "whole"))
    first = train(epochs(1, "parts"))
    done = first.run_dir.read_status().step
    assert curve(train(epochs(2, "parts"), first.run_dir).run_dir) == curve(whole.run_dir)
    for wanted in (2, 1):
        with pytest.raises(Exception, match="nothing left to train") as refusal:
            run(epochs(wanted, "parts"), first.run_dir)
        assert f"of {done * wanted} is saved" in str(refusal.value)
    assert whole.run_dir.read_status().state == "finished"
