"""What the estimate promises: right sums, and a command line that starts the very same run."""

import shlex

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.cli.settings import read_settings, settings_options
from lmm_tui.cockpit.widgets.estimate_panel import Outlook, sentences, table
from lmm_tui.data.builtin.task import KINDS
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.model_shape import PRESETS
from lmm_tui.engine.config.options import options
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections import train_config
from lmm_tui.i18n.number_format import size
from lmm_tui.planning.command_line import command_line
from lmm_tui.planning.estimate import bytes_per_token, estimate, exact

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
BY_KEY = {
    "device": st.sampled_from(["auto", "cpu", "mps", "cuda", "cuda:7"]),
    "name": st.from_regex(r"[A-Za-z0-9][\w.+-]{0,30}", fullmatch=True),
    "data.kinds": st.lists(st.sampled_from(KINDS), max_size=3),
    "health.webhook": st.sampled_from(["https://box.example/alerts", "http://[::1]:8080/?a=b&c"]),
    "notify.webhook": st.sampled_from(["https://box.example/alerts", "http://[::1]:8080/?a=b&c"]),
    "notify.ntfy": st.sampled_from(["https://ntfy.sh/my-topic"]),
    "notify.target": st.sampled_from(["val/loss < 3.2", "grpo/reward>0.5"]),
    "notify.on": st.lists(st.sampled_from(["end", "alert", "target"]), max_size=3),
    "parallel.shard": st.sampled_from(["none", "all"]) | st.integers(2, 64).map(str),
    "grpo.weights": st.lists(st.floats(-10, 10), max_size=3),
}
# They must fit each other; what happens where they don't is test_config's business.
SHAPES = {"model.hidden_size", "model.num_heads", "model.num_kv_heads", "model.head_dim"}
SHAPES |= {"model.num_experts", "model.experts_per_token"}


def values(option):
    if option.key in BY_KEY:
        return BY_KEY[option.key]
    if option.choices:
        return st.sampled_from(option.choices)
    if option.kind is bool:
        return st.booleans()
    if option.kind is str:
        return TEXT
    if option.kind is list:
        return st.lists(TEXT, min_size=1, max_size=3)
    limits = {}
    for rule in option.field.metadata:
        for bound, argument in (("ge", "min"), ("gt", "min"), ("le", "max"), ("lt", "max")):
            if hasattr(rule, bound):
                limits[f"{argument}_value"] = getattr(rule, bound)
                limits[f"exclude_{argument}"] = bound in ("gt", "lt")
    if option.kind is float:
        return st.floats(**limits, allow_nan=False, allow_infinity=False)
    upper = limits.get("max_value", 10**9) - limits.get("exclude_max", False)
    return st.integers(limits["min_value"] + limits.get("exclude_min", False), upper)


LENGTHS = {f"train.{key}" for key in ("steps", *train_config.LENGTHS)}
"""One of these is given."""
OTHERS = {*SHAPES, *LENGTHS, "data.sources"}
"""Options that exclude others; a mixture has its own test."""


def settings(number):
    """Up to `number` options, and how long the run is."""
    found = {each.key: values(each) for each in options()}
    some = st.lists(
        st.sampled_from([key for key in found if key not in OTHERS]), max_size=number, unique=True
    )
    return st.tuples(some, st.sampled_from(sorted(LENGTHS))).flatmap(
        lambda keys: st.fixed_dictionaries({key: found[key] for key in (*keys[0], keys[1])})
    )


CONFIGS = settings(12).map(lambda changed: resolve(assignments=changed))


def started_by(line: str) -> RunConfig:
    """What the real command would start."""
    seen = []

    @click.command()
    @settings_options
    @click.pass_context
    def train(context, **_):
        seen.append(read_settings(context))

    program, command, *arguments = shlex.split(line)
    assert (program, command) == ("lmm-tui", "train")
    train(arguments, standalone_mode=False)
    return seen[0].config


@given(CONFIGS)
def test_the_command_line_starts_the_same_run(config):
    assert started_by(command_line(config)) == config


def test_the_command_line_names_only_what_differs():
    assert command_line(RunConfig()) == "lmm-tui train"
    changed = resolve(assignments={"train.steps": 20, "optim.lr": 1e-3, "data.source": "my text"})
    assert command_line(changed) == "lmm-tui train --data 'my text' --steps 20 --set optim.lr=0.001"


@given(CONFIGS, st.none() | st.integers(0, 10**13), st.none() | st.integers(260, 10**6))
def test_every_configuration_has_an_estimate_and_words_for_it(config, corpus_bytes, vocab_size):
    sized = estimate(config, corpus_bytes=corpus_bytes, vocab_size=vocab_size)
    train = config.train
    a_step = train.batch_size * train.grad_accum * config.data.seq_len
    if config.stage in ("dpo", "grpo") or train.minutes is not None:
        assert sized.total_tokens == 0
    elif train.tokens is not None:
        assert 0 <= sized.total_tokens - train.tokens < a_step
    elif train.flops is not None:
        a_token = sized.shape.flops_per_token(config.data.seq_len)
        assert sized.total_tokens <= max(a_step, 1.000001 * train.flops / a_token)
        assert sized.total_tokens + a_step > 0.999999 * train.flops / a_token
    elif train.epochs is None:
        assert sized.total_tokens == train.steps * a_step
    elif sized.corpus_tokens:
        assert 0 <= sized.total_tokens - train.epochs * sized.corpus_tokens <= a_step
    assert sized.memory > 16 * sized.shape.parameters
    assert 1 <= sized.checkpoints <= config.log.keep
    assert (sized.epochs is None) == (not sized.corpus_tokens)
    shown = Outlook(config, sized, "3 files", "cpu", 10**10)
    assert "3 files" in table(shown).plain
    assert len(sentences(shown, 78).plain.splitlines()) == 4


@pytest.mark.parametrize("preset", PRESETS)
def test_parameters_are_those_of_the_preset(preset):
    config = resolve(assignments={"model.preset": preset})
    assert estimate(config).shape == PRESETS[preset]


def test_a_tokenizer_decides_the_vocabulary():
    sized = estimate(RunConfig(), vocab_size=6400)
    assert sized.shape.parameters - PRESETS["nano"].parameters == (6400 - 1024) * 96


@pytest.mark.parametrize(
    ("preset", "batch_size", "peak_mb"),
    [
        ("nano", 16, 578),
        ("nano", 64, 1160),
        ("tiny", 4, 611),
        ("tiny", 16, 1019),
        ("minimind-26m", 4, 1282),
        ("minimind-64m", 2, 1966),
    ],
)
def test_memory_is_within_a_quarter_of_what_a_run_took(preset, batch_size, peak_mb):
    """Peak resident memory (VmHWM) of the process, of six steps on a CPU."""
    config = resolve(assignments={"model.preset": preset, "train.batch_size": batch_size})
    assert estimate(config).memory / 1e6 == pytest.approx(peak_mb, rel=0.25)


def test_half_precision_takes_less_memory_but_not_half():
    config = RunConfig()
    whole, half = estimate(config).memory, estimate(config, half_precision=True).memory
    assert whole / 2 < half < whole


def test_numbers_that_make_no_model_are_refused_with_their_key():
    config = RunConfig.model_validate({"model": {"hidden_size": 100, "num_heads": 3}})
    with pytest.raises(ConfigError, match=r"model\.hidden_size"):
        estimate(config)


def test_checkpoints_kept_are_no_more_than_are_written():
    config = resolve(assignments={"train.steps": 900, "log.checkpoint_every": 500, "log.keep": 9})
    assert estimate(config).checkpoints == 2
    assert estimate(resolve(assignments={"train.steps": 1000})).checkpoints == 3  # log.keep
    config = resolve(assignments={"log.checkpoint_every": 0})
    assert estimate(config).checkpoints == 1


@pytest.mark.parametrize(
    ("vocab_size", "measured"),
    [(512, 1.81), (1024, 2.29), (4096, 3.25), (6400, 3.54), (16384, 3.90), (32768, 4.03)],
)
def test_bytes_a_token_are_within_a_tenth_of_what_the_builtin_corpus_gave(vocab_size, measured):
    assert bytes_per_token(vocab_size) == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize(("room", "verdict"), [(10, "fits"), (1.2, "tight"), (0.9, "does not fit")])
def test_the_verdict_is_that_of_the_memory_at_hand(room, verdict):
    sized = estimate(RunConfig())
    memory = round(sized.memory * room)
    assert Outlook(RunConfig(), sized, "", "", memory).verdict[0] == verdict


def test_there_is_no_verdict_before_the_device_is_known():
    assert Outlook(RunConfig(), estimate(RunConfig()), "", "", None).verdict[0] == ""


def test_sizes_and_counts_are_short():
    assert [size(n) for n in (0, 999, 999.6, 6.06e6, 156e9, 3e15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "6.1 MB",
        "156 GB",
        "3,000 TB",
    ]
    assert [exact(n) for n in (4096, 99_999, 4_096_000)] == ["4,096", "99,999", "4.10M"]
