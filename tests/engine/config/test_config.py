"""The configuration: precedence, and one sentence for invalid input."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.engine.config.assignments import parse_assignment
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.model_shape import PRESETS
from lmm_tui.engine.config.options import options
from lmm_tui.engine.config.resolve import resolve, with_changes
from lmm_tui.engine.config.run_config import RunConfig


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_unchecked_defaults_are_those_that_were_checked() -> None:
    assert RunConfig.defaults() == RunConfig()
    assert RunConfig.defaults().model_dump() == RunConfig().model_dump()


def test_assignments_override_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, "[train]\nsteps = 7\nseed = 3\n")
    config = resolve(file, {"train.steps": 9}, base={"train": {"seed": 1, "batch_size": 2}})
    assert (config.train.steps, config.train.seed, config.train.batch_size) == (9, 3, 2)
    assert config.data.seq_len == RunConfig().data.seq_len


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[optim]\nlr = -1.0\n", "mine.toml:2: optim.lr: should be greater than 0 (got -1.0)"),
        ("[train]\nsteps = 'many'\n", "mine.toml:2: train.steps: should be a valid integer"),
        (
            "[optim]\n\nzebra_mode = 1\n",
            "mine.toml:3: optim.zebra_mode: unknown key; see --print-config",
        ),
        ("[train]\nlr = 1\n", "mine.toml:2: train.lr: unknown key; did you mean optim.lr?"),
        ("stage = 'dance'\n", "mine.toml:1: stage: unknown stage 'dance'; choose pretrain"),
        ("[model]\npreset = 'huge'\n", "mine.toml:2: model.preset: unknown preset 'huge'"),
        ("name = '../x'\n", "mine.toml:1: name: a run name starts with a letter or digit"),
        ("device = 'gpu'\n", "mine.toml:1: device: unknown device 'gpu'"),
        ("[train\n", "mine.toml: not valid TOML: Expected ']'"),
    ],
)
def test_a_bad_file_gets_one_sentence_with_line_and_key(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(write(tmp_path, text))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_binary_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        resolve(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        resolve(binary)


@pytest.mark.parametrize(
    ("assignments", "sentence"),
    [
        ({"model.hidden_size": 100, "model.num_heads": 3}, "not a multiple"),
        ({"model.num_kv_heads": 3}, "does not divide"),
        ({"model.head_dim": 25}, "odd"),
        ({"stage.x": 1}, "stage"),
        ({"train.steps.more": 1}, "train.steps"),
        ({"train.steps": float("nan")}, "train.steps"),
    ],
)
def test_contradictory_model_sizes_are_refused(
    assignments: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        resolve(assignments=assignments)


def test_every_preset_makes_a_shape_of_its_advertised_size() -> None:
    sizes = {name: round(shape.parameters / 1e6, 1) for name, shape in PRESETS.items()}
    assert sizes == {
        "nano": 0.5,
        "tiny": 4.0,
        "minimind-26m": 25.8,
        "minimind-64m": 63.9,
        "minimind-104m": 104.0,
        "minimind-moe": 198.4,
    }


def test_any_field_of_a_preset_can_be_overridden() -> None:
    config = resolve(assignments={"model.hidden_size": 64, "model.num_heads": 8})
    shape = config.model.shape(vocab_size=300)
    assert (shape.hidden_size, shape.head_dim, shape.vocab_size) == (64, 8, 300)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("optim.lr=1e-3", 1e-3),
        ("train.compile=true", True),
        ("data.source=my file.txt", "my file.txt"),
        ('log.prompts=["a", "b"]', ["a", "b"]),
        ("data.source=a=b", "a=b"),
    ],
)
def test_an_assignment_takes_toml_values_and_bare_words(text: str, value: object) -> None:
    assert parse_assignment(text)[1] == value


@pytest.mark.parametrize("text", ["optim.lr", "=1", ""])
def test_an_assignment_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected section.key=value"):
        parse_assignment(text)


def test_every_option_has_help_and_a_default_that_is_allowed() -> None:
    found = list(options())
    assert len({option.key for option in found}) == len(found) > 40
    assert all(option.help for option in found)


@given(
    steps=st.integers(1, 10**6),
    lr=st.floats(1e-9, 10) | st.none(),
    prompt=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    preset=st.sampled_from(sorted(PRESETS)),
)
def test_a_saved_configuration_reads_back_as_itself(
    steps: int, lr: float | None, prompt: str, preset: str
) -> None:
    config = resolve(
        assignments={
            "train.steps": steps,
            "optim.lr": lr,
            "log.prompts": [prompt],
            "model.preset": preset,
        }
    )
    assert RunConfig.model_validate(tomllib.loads(to_toml(config))) == config


def test_check_changes_one_key_or_says_why_not() -> None:
    config = resolve()
    assert with_changes(config, {"optim.clip": 0.5}).optim.clip == 0.5
    with pytest.raises(ConfigError, match="optim.clip: should be greater than 0"):
        with_changes(config, {"optim.clip": 0})
