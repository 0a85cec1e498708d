"""Recipes: the built-in ones are valid, and errors in a file are named."""

from pathlib import Path

import pytest

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.recipe import load_recipe, recipe_names


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", recipe_names())
def test_every_built_in_recipe_makes_configurations(name: str) -> None:
    recipe = load_recipe(name)
    configs = [step.config("x", {"device": "cpu"}) for step in recipe.steps]
    assert recipe.about
    assert [config.stage for config in configs][:2] == ["pretrain", "sft"]
    assert {config.device for config in configs} == {"cpu"}
    names = [config.name for config in configs]
    assert all(config.start_from in names for config in configs[1:])


def test_the_tiny_recipe_has_every_stage() -> None:
    steps = load_recipe("tiny").steps
    assert [step.stage for step in steps] == ["pretrain", "sft", "dpo", "grpo"]


def test_a_step_inherits_common_settings_and_starts_from_the_previous_one(tmp_path: Path) -> None:
    recipe = load_recipe(
        written(
            tmp_path,
            """
            [common.train]
            steps = 7
            batch_size = 2
            [[step]]
            [[step]]
            stage = "sft"
            train = { batch_size = 3 }
            [[step]]
            name = "fresh"
            from = ""
            """,
        )
    )
    pretrain, sft, fresh = (step.config("p", {}) for step in recipe.steps)
    assert {config.group for config in (pretrain, sft, fresh)} == {"p"}
    assert (pretrain.name, pretrain.start_from) == ("p-pretrain", None)
    assert (sft.name, sft.start_from) == ("p-sft", "p-pretrain")
    assert (sft.train.steps, sft.train.batch_size) == (7, 3)
    assert (fresh.name, fresh.start_from) == ("p-fresh", None)
    assert recipe.step_of("sft").name == "sft"
    assert recipe.step_of(None).name == "pretrain"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[steps]]\n", "unknown key steps"),
        ("about = 'x'\n", "has no [[step]]"),
        ("[[step]]\n[[step]]\n", "two steps are called pretrain"),
        ("[[step]]\nfrom = 'sft'\n", "step pretrain starts from 'sft', no step before it"),
        ("[[step]]\ntrain = { step = 3 }\n", "step pretrain: train.step: unknown key"),
        ("[[step]]\nstage = 'rl'\n", "step rl: stage"),
        ("[quiz]\nkinds = ['maths']\n[[step]]\n", "quiz.kinds: unknown kind maths"),
        ("step = 3\n", "has no [[step]]"),
        ("[[step]\n", "not valid TOML"),
    ],
)
def test_an_invalid_recipe_is_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_recipe(written(tmp_path, text))
    assert said in str(refusal.value)
    assert "mine.toml" in str(refusal.value)


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="give one of .*minimind3.*tiny"):
        load_recipe("huge")
