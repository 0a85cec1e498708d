"""A plan: layouts that fit, the fastest of them, hours and money by arithmetic."""

import json
import runpy
import shlex
from dataclasses import replace
from types import SimpleNamespace

import pytest
from json_schema import check_printed
from repository import ROOT

from lmm_tui.cli.main import run
from lmm_tui.engine.cards import find_card
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.simulation import simulated_step
from lmm_tui.engine.simulation.simulated_step import StepMemory
from lmm_tui.planning.assumed_speed import Utilisation, assumed
from lmm_tui.planning.plan_text import plan_record, plan_text
from lmm_tui.planning.training_plan import Planner, PlanRequest

SHAPE = ModelShape(32000, 2048, 24, 16, 8, 128, 5504)
CARD = find_card("h100")


@pytest.fixture
def simulated(monkeypatch):
    """Answers instead of the simulation: GB of weights and of each sequence of a micro-batch."""
    sizes = SimpleNamespace(weights=20, row=10, sent=0, asked=[])

    def answer(setup):
        sizes.asked.append(setup)
        rows = setup.config.train.batch_size * sizes.row
        weights = sizes.weights / (setup.ranks if setup.shard == "all" else 1)
        peak = {"weights": round(weights * 1e9), "activations": round(rows * 1e9)}
        sent = sizes.sent * (2 if setup.shard == "all" else 1)
        return StepMemory(peak, "loss", setup.shape.parameters, sent)

    monkeypatch.setattr(simulated_step, "simulate", answer)
    return sizes


def asked(ranks=1, **settings):
    config = resolve(assignments={k.replace("__", "."): v for k, v in settings.items()})
    return PlanRequest(config, SHAPE, ranks=ranks)


def test_the_largest_micro_batch_that_fits_is_taken(simulated):
    taken = Planner(asked(train__batch_size=16)).plan(CARD).taken
    assert (taken.batch_size, taken.grad_accum, taken.verdict) == (4, 4, "fits")
    assert taken.memory == 60e9


def test_on_a_cpu_the_process_counts_and_ranks_share_the_memory(simulated):
    machine = replace(CARD, kind="cpu")
    plan = Planner(asked(train__batch_size=16)).plan(machine)
    # Four sequences of 60 GB would be 81.4 of 85.9.
    assert (plan.taken.batch_size, plan.taken.peak["process"]) == (2, 0.35e9 + 0.35 * 40e9)
    assert "process 14.3 GB" in plan_text([plan])
    two = Planner(asked(ranks=2, train__batch_size=16)).plan(machine)
    assert {one.room for one in two.layouts} == {machine.memory // 2}


def test_the_rows_of_a_step_stay_the_same_on_any_number_of_ranks(simulated):
    wanted = asked(ranks=8, train__batch_size=4, train__grad_accum=6)
    for layout in Planner(wanted).plan(CARD).layouts:
        assert layout.batch_size * layout.grad_accum * 8 == 24


def test_what_does_not_fit_replicated_is_sharded(simulated):
    simulated.weights = 100
    plan = Planner(asked(ranks=8, train__batch_size=8)).plan(CARD)
    assert {one.shard: one.verdict for one in plan.layouts} == {"none": "too large", "all": "fits"}
    assert plan.taken.shard == "all"


def test_what_sends_less_is_taken_where_both_fit(simulated):
    simulated.sent, long = 10**9, {"train__batch_size": 8, "data__seq_len": 2048}
    assert Planner(asked(ranks=8, **long)).plan(CARD).taken.shard == "none"


def test_nothing_that_fits_is_said(simulated):
    simulated.weights = 1000
    plan = Planner(asked()).plan(CARD)
    assert plan.taken is None and plan.hours is None and plan.cost is None
    assert "Nothing fits" in plan_text([plan])


def test_time_and_money_follow_from_operations_and_price(simulated):
    plan = Planner(asked(ranks=2, train__steps=100, data__seq_len=512)).plan(CARD)
    operations = SHAPE.flops_per_token(512) * 16 * 512 * 100
    hours = operations / (2 * plan.utilisation.mfu * 989e12) / 3600
    assert plan.hours == pytest.approx(hours)
    assert plan.cost == pytest.approx(hours * 2 * CARD.price)
    free = Planner(asked()).plan(replace(CARD, price=None))
    assert free.cost is None and free.hours is not None
    minutes = Planner(asked(train__minutes=90.0)).plan(CARD)
    assert minutes.hours == 1.5


def test_a_step_takes_as_long_as_its_links_where_they_are_slow(simulated):
    simulated.sent = 450 * 10**9
    plan = Planner(asked(ranks=2)).plan(CARD)
    assert plan.taken.seconds == pytest.approx(1.0) and plan.taken.limit == "links"
    assert "the links take longer" in plan_text([plan])


def test_a_step_of_few_tokens_takes_as_long_as_the_memory_of_the_card(simulated):
    """Weights and gradients once, 4 bytes each, and 12 bytes a parameter in the update."""
    few = {"train__batch_size": 1, "train__grad_accum": 1, "data__seq_len": 8}
    plan = Planner(asked(**few)).plan(CARD)
    assert plan.taken.seconds == pytest.approx(20 * SHAPE.parameters / 3350e9)
    assert plan.taken.limit == "memory" and "the card's memory takes longer" in plan_text([plan])
    unknown = Planner(asked(**few)).plan(replace(CARD, bandwidth_gb_s=0.0))
    assert unknown.taken.limit == "computation"


def test_measured_speed_counts_on_its_card_alone(simulated):
    used = Utilisation(0.5, "measured in the run x")
    wanted = replace(asked(), measured=(CARD, used))
    other = find_card("a100")
    planner = Planner(wanted)
    assert planner.plan(CARD).utilisation == used
    count = len(simulated.asked)
    assert planner.plan(other).utilisation == assumed(SHAPE, "bf16")
    assert len(simulated.asked) == count  # The other card has as much memory.


def test_fp8_counts_for_the_matrices_of_the_layers(simulated):
    """2 * rows * columns operations a token and matrix, three times a step."""
    length = {"train__steps": 100, "data__seq_len": 512}
    plain = Planner(asked(**length)).plan(CARD)
    plan = Planner(asked(train__fp8=True, **length)).plan(CARD)
    attention = 2 * 2048 * 2048 + 2 * 1024 * 2048
    in_fp8 = 6 * 24 * (attention + 3 * 5504 * 2048)
    others = SHAPE.flops_per_token(512) - in_fp8
    a_token = in_fp8 / 1979e12 + others / 989e12
    mfu = plan.utilisation.mfu
    assert plan.taken.seconds == pytest.approx(16 * 512 * a_token / mfu)
    assert plan.taken.seconds < 0.7 * plain.taken.seconds
    assert plan.taken.memory == plain.taken.memory
    share = in_fp8 / SHAPE.flops_per_token(512)
    assert plan_record(plan)["fp8_share"] == pytest.approx(share)
    assert f"; {100 * share:.2g} % of the operations in fp8, 1.98e+03 TFLOP/s" in plan_text([plan])
    assert plan_record(plain)["fp8_share"] == 0 and "fp8" not in plan_text([plain])


@pytest.mark.parametrize(
    ("card", "ranks", "settings", "sentence"),
    [
        ("a100", 1, {}, "A100 80GB SXM no fp8_tflops"),
        ("h100", 2, {}, "it is for one rank"),
        ("h100", 1, {"train__precision": "fp32"}, "here train.precision is fp32"),
        ("h100", 1, {"lora__rank": 4}, "adapters are too small"),
        ("h100", 1, {"stage": "dpo"}, "it is for pretrain, sft, distill"),
    ],
)
def test_fp8_is_refused_as_training_refuses_it(simulated, card, ranks, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Planner(asked(ranks=ranks, train__fp8=True, **settings)).plan(find_card(card))


def test_fp8_is_refused_for_sides_and_models_that_it_does_not_take(simulated):
    wanted = asked(train__fp8=True)
    odd = replace(wanted, shape=replace(SHAPE, intermediate_size=5500))
    with pytest.raises(ConfigError, match="gate_proj is 5500 × 2048"):
        Planner(odd).plan(CARD)
    with pytest.raises(ConfigError, match="models of transformers"):
        Planner(replace(wanted, architecture={"model_type": "llama"})).plan(CARD)


def test_a_card_without_bf16_trains_in_fp16_and_refuses_bf16(simulated):
    assert Planner(asked()).plan(find_card("t4")).precision == "fp16"
    with pytest.raises(ConfigError, match="has no bf16"):
        Planner(asked(train__precision="bf16")).plan(find_card("t4"))


@pytest.mark.parametrize(("ranks", "near"), [(7, "take 6 or 8 ranks"), (100, "take 24 ranks")])
def test_ranks_that_cannot_share_a_step_are_refused_with_the_nearest(ranks, near):
    with pytest.raises(ConfigError, match=near):
        Planner(asked(ranks=ranks, train__batch_size=24))


@pytest.mark.parametrize("group", ["3", "8"])
def test_groups_that_do_not_divide_the_ranks_are_refused(group):
    with pytest.raises(ConfigError, match=f"4 ranks cannot be divided into groups of {group}"):
        Planner(asked(ranks=4, parallel__shard=group))


def test_the_settings_that_are_shown_are_settings(simulated):
    plan = Planner(asked(ranks=4)).plan(CARD)
    line = next(line for line in plan_text([plan]).splitlines() if "take ▸" in line)
    given = dict(word.split("=") for word in shlex.split(line) if "=" in word)
    config = resolve(assignments={key: json.loads(v) if v.isdigit() else v
                                  for key, v in given.items()})  # fmt: skip
    assert config.train.batch_size * config.train.grad_accum == 16
    assert config.parallel.ranks == 4
    assert plan_record(plan)["layouts"][0]["settings"]["parallel.ranks"] == 4


# The command


@pytest.fixture
def said(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def say(*arguments):
        code = run(["plan", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return say


def test_cards_are_compared(said, simulated):
    code, out, _ = said("--gpu", "h100", "--gpu", "4090", "--steps", "50")
    assert code == 0 and "H100 SXM" in out and "GeForce RTX 4090" in out
    assert out.count("take ▸") == 1  # 20 GB of weights leave no room for a sequence on the other.
    code, out, _ = said("--gpu", "h100", "--json", "--ranks", "2")
    check_printed("plan CONFIG --gpu CARD --json", out)
    found = json.loads(out)["plans"][0]
    assert code == 0 and found["ranks"] == 2 and found["layouts"][0]["take"]


def test_config_is_a_file_a_recipe_or_one_of_its_steps(said, simulated, tmp_path):
    (tmp_path / "mine.toml").write_text("[train]\nsteps = 7\n")
    for source, shown in (("mine.toml", "7 steps"), ("tiny", "pretrain"), ("tiny:sft", "sft")):
        code, out, err = said(source, "--gpu", "h100")
        assert code == 0 and shown in out, err
    assert said("mine.toml", "--steps", "9", "--gpu", "h100")[1].count("9 steps") == 1


def test_a_foreign_folder_needs_its_config_alone(said, simulated, tmp_path):
    (tmp_path / "model").mkdir()
    found = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
             "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 500,
             "max_position_embeddings": 512}  # fmt: skip
    (tmp_path / "model" / "config.json").write_text(json.dumps(found))
    code, out, err = said("--from", "model", "--gpu", "l4", "--json")
    assert code == 0, err
    assert (
        json.loads(out)["plans"][0]["parameters"]
        == 500 * 64 * 2 + 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--gpu", "h1000"], "nearest"),
        (["--gpu", "h100", "--ranks", "0"], "--ranks 0"),
        (["--gpu", "h100", "--ranks", "-3"], "ranks"),
        (["--gpu", "h100", "--ranks", "99999999999"], "ranks"),
        (["--gpu", "h100", "--ranks", "7"], "share evenly; take 4 or 8 ranks"),
        (["--gpu", "h100", "--price", "-1"], "--price"),
        (["--gpu", "h100", "--price", "nan"], "--price"),
        (["--gpu", "h100", "--gpu", "l4", "--price", "1"], "--price"),
        (["--gpu", "h100", "--measured", "nothing"], "nothing"),
        (["no-such-run", "--gpu", "h100"], "no-such-run"),
        (["no.toml", "--gpu", "h100"], "no.toml"),
        (["--from", "no-folder", "--gpu", "h100"], "no-folder"),
        (["--from", "owner/name", "--gpu", "h100"], "downloads nothing"),
        (["tiny", "--config", "x.toml", "--gpu", "h100"], "--config"),
        (["--gpu", "h100", "--set", "data.seq_len=1000000"], "data.seq_len"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(said, simulated, arguments, sentence):
    code, out, err = said(*arguments)
    assert (code, out) == (2, "") and sentence in err and err.count("\n") == 1, err


def test_the_table_of_the_docs_is_what_the_script_says():
    script = runpy.run_path(str(ROOT / "docs" / "plan_table.py"))
    row = " | ".join(script["cells"](script["planned"]("0.1B", 1), "0.1B"))
    for page in ("plan.md", "plan.zh.md"):
        assert row in (ROOT / "docs" / page).read_text(encoding="utf-8")
