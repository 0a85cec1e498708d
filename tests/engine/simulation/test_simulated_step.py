"""A simulated step takes the memory of a real one, and sends what arithmetic says."""

from dataclasses import replace

import pytest
from allocated_memory import allocated

from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.simulation.simulated_step import Setup, run_step, simulate, step_memory
from lmm_tui.planning.estimate import estimate

SMALL = ModelShape(300, 64, 2, 4, 2, 16, 128, max_positions=512)
MIDDLE = ModelShape(2048, 192, 3, 4, 2, 48, 512, max_positions=512)


def config_of(**assignments):
    sizes = {"train.batch_size": 2, "data.seq_len": 64}
    return resolve(assignments=sizes | {k.replace("__", "."): v for k, v in assignments.items()})


@pytest.mark.parametrize(
    ("shape", "precision", "settings"),
    [
        (SMALL, "bf16", {"train__grad_accum": 2}),
        (MIDDLE, "fp32", {}),
        (MIDDLE, "fp32", {"optim__state_dtype": "8bit"}),
    ],
)
def test_it_takes_the_memory_of_real_steps(shape, precision, settings):
    config = config_of(**settings)
    found = simulate(Setup(config, shape, precision, device="cpu"))
    assert found.total == pytest.approx(allocated(config, shape, precision), rel=0.1)


def test_what_few_layers_take_tells_what_many_take():
    deep = replace(SMALL, num_layers=6)
    setup = Setup(config_of(), deep, "bf16", ranks=4, shard="all", recompute=True)
    extended, whole = simulate(setup), step_memory(run_step(setup), setup)
    assert extended.total == pytest.approx(whole.total, rel=1e-3)
    assert (extended.sent, extended.moment) == (whole.sent, whole.moment)


def test_ranks_that_replicate_send_their_gradients_twice():
    setup = Setup(config_of(), SMALL, "bf16", ranks=4)
    sent = simulate(setup).sent
    # A ring all-reduce, in fp32.
    assert sent == pytest.approx(2 * 3 / 4 * 4 * SMALL.parameters, rel=0.01)
    thrice = replace(setup, config=config_of(train__grad_accum=3))
    assert simulate(thrice).sent == pytest.approx(sent, rel=0.01)  # Once a step.


def test_ranks_that_shard_gather_the_weights_and_scatter_the_gradients():
    setup = Setup(config_of(), SMALL, "bf16", ranks=4, shard="all")
    layers = SMALL.num_layers * SMALL.layer_parameters
    # Layers are gathered for either pass, embedding and head once.
    gathered = 4 * (2 * layers + SMALL.parameters - layers)
    found = simulate(setup)
    assert found.sent == pytest.approx(3 / 4 * (gathered + 4 * SMALL.parameters), rel=0.01)
    groups = replace(setup, ranks=8, shard="4")
    summed = 2 * 1 / 2 * 4 * SMALL.parameters / 4
    grouped = simulate(groups)
    assert grouped.sent == pytest.approx(found.sent + summed, rel=0.01)
    assert grouped.total == found.total


def test_a_rank_holds_its_share_of_weights_and_moments():
    one = simulate(Setup(config_of(), SMALL, "fp32"))
    share = simulate(Setup(config_of(), SMALL, "fp32", ranks=4, shard="all"))
    tables = 2 * 4 * SMALL.max_positions * SMALL.head_dim / 2
    assert one.peak["weights"] == pytest.approx(4 * SMALL.parameters + tables, rel=0.02)
    assert share.peak["weights"] == pytest.approx(SMALL.parameters + 2 * tables, rel=0.05)


def test_recomputed_layers_keep_their_inputs_alone():
    setup = Setup(config_of(train__batch_size=8), SMALL, "fp32", device="cpu")
    counted = run_step(replace(setup, recompute=True))
    rows = 8 * 64 * SMALL.hidden_size * 4
    kept = counted.peaks["loss"]["activations"]
    assert kept == pytest.approx((SMALL.num_layers + 3) * rows, rel=0.2)


@pytest.mark.parametrize("settings", [
    {"stage": "dpo"}, {"stage": "grpo"}, {"train__freeze": ["*.layers.0.*"]},
], ids=str)  # fmt: skip
def test_every_kind_of_training_is_simulated(settings):
    plain = simulate(Setup(config_of(), SMALL, "bf16")).peak
    found = simulate(Setup(config_of(**settings), SMALL, "bf16")).peak
    if "stage" in settings:
        assert found["activations"] > 1.7 * plain["activations"]
    else:
        assert found["optimizer"] < 0.9 * plain["optimizer"]


def test_a_model_that_is_only_read_takes_its_weights():
    setup = Setup(config_of(), SMALL, "bf16")
    beside = simulate(replace(setup, beside=(MIDDLE,)))
    assert beside.total - simulate(setup).total == pytest.approx(4 * MIDDLE.parameters, rel=0.05)


@pytest.mark.parametrize(
    ("preset", "device", "precision"), [("nano", "cpu", "fp32"), ("tiny", "cuda", "bf16")]
)
def test_the_first_answer_of_the_form_is_within_15_percent(preset, device, precision):
    config = resolve(assignments={"model.preset": preset, "train.grad_accum": 2})
    counted = simulate(Setup(config, config.model.shape(), precision, device=device)).total
    # The tensors alone: what a process takes beside them is another test's.
    first = estimate(config, half_precision=precision == "bf16", on_card=True).memory
    assert first == pytest.approx(counted, rel=0.15)
