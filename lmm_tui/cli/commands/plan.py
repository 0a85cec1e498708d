"""`lmm-tui plan [CONFIG]`: memory, hours and money of a run before cards are rented for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import click

from lmm_tui import installation
from lmm_tui.cli.options import echo_json
from lmm_tui.cli.settings import read_changed, read_settings, settings_options
from lmm_tui.engine.cards import CardModel, find_card
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.planning.settings_files import is_recipe, load_settings


@click.command("plan")
@click.argument("source", metavar="[CONFIG]", required=False)
@settings_options
@click.option(
    "--gpu", "gpus", metavar="CARD", multiple=True,
    help="A card such as h100; may be repeated. Default: this machine",
)  # fmt: skip
@click.option("--price", type=float, metavar="USD", help="Your price of one card, an hour")
@click.option(
    "--measured", metavar="RUN", help="Speed of your own run on such a card, instead of assumed"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, its keys stable")
@click.pass_context
def command(
    context: click.Context,
    source: str | None,
    gpus: Sequence[str],
    price: float | None,
    measured: str | None,
    as_json: bool,
    **_: object,
) -> int:
    """Say what CONFIG would take: memory a card, bytes sent, hours and money.

    CONFIG is a .toml file, a recipe (tiny:sft for one of its steps) or a run; settings can be given
    as for `lmm-tui train`. A step is simulated: nothing of the model is allocated, no data are
    read. Cards and prices of your own: cards.toml in the folder of your settings.
    """
    config = _config(context, source)
    if config is None:
        return 0
    count = config.parallel.ranks
    if not count:
        raise ConfigError("--ranks 0: give the number of cards that train the run together")
    if price is not None and (len(gpus) > 1 or not 0 <= price < 1e6 or math.isnan(price)):
        raise ConfigError("--price {price:g}: give one --gpu and 0 or more USD", price=price)
    found = [find_card(name) for name in dict.fromkeys(gpus)]
    installation.require_training()
    from lmm_tui.planning.assumed_speed import measured as speed_of
    from lmm_tui.planning.plan_text import plan_record, plan_text
    from lmm_tui.planning.planned_shape import beside_shapes, planned_shape
    from lmm_tui.planning.this_machine import this_machine
    from lmm_tui.planning.training_plan import Planner, PlanRequest

    shown = planned_shape(config)
    speed = None if measured is None else speed_of(measured, config.runs_dir)
    cards = [_priced(card, price) for card in found or [this_machine(config)]]
    if speed is not None and all(card.key != speed[0].key for card in cards):
        raise ConfigError(
            "--measured {name}: that run trained on {device}; give --gpu {key}",
            name=measured,
            device=speed[0].name,
            key=speed[0].key,
        )
    beside = beside_shapes(config, shown.shape)
    asked = PlanRequest(config, shown.shape, shown.architecture, count, beside, speed)
    planner = Planner(asked)
    plans = [planner.plan(card) for card in cards]
    if as_json:
        echo_json({"plans": [plan_record(plan) for plan in plans]})
    else:
        click.echo(plan_text(plans))
    return 0


def _config(context: click.Context, source: str | None) -> RunConfig | None:
    """The settings that are asked about; None where they were only to be printed."""
    if source is not None:
        runs_dir = context.params["runs_dir"]
        base = load_settings(source, runs_dir)
        before = base.start_from
        if before and is_recipe(source, runs_dir) and not run_or_path(before, runs_dir).exists():
            # The step before need not have been trained: its model is that of the recipe.
            base = base.model_copy(update={"start_from": None})
        return read_changed(base, context)
    start = read_settings(context)
    return None if start is None else start.config


def _priced(card: CardModel, price: float | None) -> CardModel:
    return card if price is None else replace(card, price=price, price_date="", price_source="")


if __name__ == "__main__":
    assert command(["--steps", "20", "--print-config"], standalone_mode=False) == 0
    print("=== 自测通过 ===")
