"""A training plan in words: what is run, the layouts as a table, and the one to take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import NOTHING, count, duration, size
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.planning.estimate import exact
from lmm_tui.planning.training_plan import StepLayout, TrainingPlan
from lmm_tui.runs.status_text import table_text

TAKEN = "▸"


def plan_text(plans: Sequence[TrainingPlan]) -> str:
    """The plans of one run, a block for each kind of card."""
    blocks = [_heading(plans[0])]
    blocks += [_card_text(plan) for plan in plans]
    if len(plans) > 1:
        blocks.append(_comparison(plans))
    return "\n\n".join(blocks)


def _heading(plan: TrainingPlan) -> str:
    asked, config = plan.asked, plan.asked.config
    tokens = plan.tokens_per_step
    rows = tr("{rows} sequences of {length}", rows=exact(asked.rows), length=config.data.seq_len)
    a_step = tr("{count} tokens a step: {rows}", count=exact(tokens), rows=rows) if tokens else rows
    steps = plan.steps
    in_all = tr("{count} steps", count=exact(steps)) if steps else tr("steps: after the data")
    if tokens and steps:
        in_all += tr(", ") + tr("{count} tokens", count=exact(tokens * steps))
    return "\n".join(
        (
            tr(
                "{stage}, {parameters} parameters in {layers} layers of width {width}",
                stage=config.stage_name,
                parameters=count(asked.shape.parameters),
                layers=asked.shape.num_layers,
                width=asked.shape.hidden_size,
            ),
            f"{a_step}; {in_all}",
        )
    )


def _card_text(plan: TrainingPlan) -> str:
    lines = [_card_line(plan), "", _layouts(plan), ""]
    taken = plan.taken
    if taken is None:
        lines.append(tr("Nothing fits; try more ranks, a shorter sequence or a smaller model"))
        taken = min(plan.layouts, key=lambda one: one.memory)
    else:
        lines.append(tr("take {mark}: {settings}", mark=TAKEN, settings=_settings(plan, taken)))
    lines += [_peak(taken), _speed(plan), _price(plan)]
    return "\n".join(lines)


def _card_line(plan: TrainingPlan) -> str:
    card = plan.card
    shown = f"{plan.asked.ranks} × {card.name}" if plan.asked.ranks > 1 else card.name
    return tr(
        "{cards}: {memory}, {speed:.3g} TFLOP/s in {precision}",
        cards=shown,
        memory=size(card.memory),
        speed=card.peak_flops(plan.precision) / 1e12,
        precision=plan.precision,
    )


def _layouts(plan: TrainingPlan) -> str:
    several = plan.asked.ranks > 1
    rows = [
        {
            "": TAKEN if one is plan.taken else "",
            tr("weights"): _weights(one.shard),
            tr("recompute"): tr("layers") if one.recompute else tr("none"),
            tr("micro-batch"): f"{one.batch_size} × {one.grad_accum}",
            tr("memory"): size(one.memory),
            tr("fit"): _VERDICTS[one.verdict](),
            tr("sent a step"): size(one.sent),
            **_taking(plan, one),
        }
        for one in plan.layouts
    ]
    wanted = {tr("weights"): several, tr("sent a step"): several}
    return _table(rows, [name for name in rows[0] if wanted.get(name, True)])


def _weights(shard: str) -> str:
    if shard in {"none", "all"}:
        return tr("sharded") if shard == "all" else tr("replicated")
    return tr("sharded by {size}", size=shard)


def _taking(plan: TrainingPlan, one: StepLayout | None) -> dict[str, str]:
    """Time and money of a layout that fits."""
    fits = one is not None and one.verdict != "too large"
    hours = plan.hours_of(one) if one is not None and fits else None
    cost = plan.cost_of(one) if one is not None and fits else None
    return {
        tr("a step"): _step_time(one.seconds) if one is not None and fits else NOTHING,
        tr("in all"): NOTHING if hours is None else duration(hours * 3600),
        "USD": NOTHING if cost is None else f"{cost:,.2f}",
    }


def _table(rows: Sequence[dict[str, str]], columns: Sequence[str]) -> str:
    numbers = {tr("memory"), tr("sent a step"), tr("a step"), tr("in all"), "USD"}
    right = {at for at, name in enumerate(columns) if name in numbers}
    return table_text([columns, *([row[name] for name in columns] for row in rows)], right)


def _step_time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


_VERDICTS = {
    "fits": lambda: tr("fits"),
    "tight": lambda: tr("tight"),
    "too large": lambda: tr("does not fit"),
}


def _settings(plan: TrainingPlan, one: StepLayout) -> str:
    return " ".join(f"--set {key}={value}" for key, value in settings_of(plan, one).items())


def settings_of(plan: TrainingPlan, one: StepLayout) -> dict[str, Any]:
    """The settings that lay a step out in this way."""
    found: dict[str, Any] = {
        "train.batch_size": one.batch_size,
        "train.grad_accum": plan.asked.rows // one.batch_size,
    }
    if plan.asked.ranks > 1:
        found |= {"parallel.ranks": plan.asked.ranks, "parallel.shard": one.shard}
    return found | {"train.recompute": "layers" if one.recompute else "none"}


_CATEGORIES = {
    "weights": lambda: tr("weights"),
    "gathered weights": lambda: tr("gathered weights"),
    "gradients": lambda: tr("gradients"),
    "optimizer": lambda: tr("optimizer state"),
    "activations": lambda: tr("activations"),
    "loss": lambda: tr("loss"),
    "temporary": lambda: tr("temporary"),
    "process": lambda: tr("process"),
}


def _peak(one: StepLayout) -> str:
    parts = [
        f"{name()} {size(one.peak[key])}"
        for key, name in _CATEGORIES.items()
        if one.peak.get(key, 0) >= 0.001 * one.memory
    ]
    return tr(
        "at its fullest, of {size}: {parts}", size=size(one.memory), parts=tr(", ").join(parts)
    )


def _speed(plan: TrainingPlan) -> str:
    used = plan.utilisation
    told = tr(
        "speed: {mfu:.3g} % of the peak (MFU), {origin}",
        mfu=100 * used.mfu,
        origin=translate_message(used.origin),
    )
    if plan.fp8_share and plan.card.fp8_tflops is not None:
        told += tr(
            "; {share:.2g} % of the operations in fp8, {speed:.3g} TFLOP/s, without what scaling "
            "and rounding take",
            share=100 * plan.fp8_share,
            speed=plan.card.fp8_tflops,
        )
    if plan.taken is not None and plan.taken.limit == "links":
        told += tr("; the links take longer than the computation")
    if plan.taken is not None and plan.taken.limit == "memory":
        told += tr("; the card's memory takes longer than the computation")
    return told


def _price(plan: TrainingPlan) -> str:
    card = plan.card
    if card.kind == "cpu" or card.price is None:
        return tr("price: not known; --price sets yours, USD an hour and card")
    if not card.price_source:
        return tr("price: yours, {price:g} USD an hour and card", price=card.price)
    return tr(
        "price: {price:g} USD an hour and card on {date} ({source}); --price sets yours",
        price=card.price,
        date=card.price_date,
        source=card.price_source,
    )


def _comparison(plans: Sequence[TrainingPlan]) -> str:
    rows = [
        {
            tr("card"): plan.card.name,
            tr("memory"): NOTHING if plan.taken is None else size(plan.taken.memory),
            tr("fit"): _VERDICTS["too large" if plan.taken is None else plan.taken.verdict](),
            **_taking(plan, plan.taken),
        }
        for plan in plans
    ]
    return _table(rows, [*rows[0]])


def plan_record(plan: TrainingPlan) -> dict[str, Any]:
    """For JSON; sizes in bytes, times in seconds, money in USD."""
    layouts = [
        {
            "shard": one.shard,
            "recompute": one.recompute,
            "batch_size": one.batch_size,
            "grad_accum": one.grad_accum,
            "memory": one.memory,
            "peak": one.peak,
            "fits": one.verdict,
            "sent": one.sent,
            "seconds": one.seconds,
            "limit": one.limit,
            "take": one is plan.taken,
            "settings": settings_of(plan, one),
        }
        for one in plan.layouts
    ]
    return {
        "card": plan.card.key,
        "ranks": plan.asked.ranks,
        "precision": plan.precision,
        "fp8_share": plan.fp8_share,
        "parameters": plan.asked.shape.parameters,
        "tokens_per_step": plan.tokens_per_step,
        "steps": plan.steps,
        "mfu": plan.utilisation.mfu,
        "mfu_origin": str(plan.utilisation.origin),
        "hours": plan.hours,
        "price": plan.card.price,
        "cost": plan.cost,
        "layouts": layouts,
    }


if __name__ == "__main__":
    from lmm_tui.engine.cards import find_card
    from lmm_tui.engine.config.resolve import resolve
    from lmm_tui.planning.training_plan import Planner, PlanRequest

    small = {"train.steps": 1000, "train.batch_size": 1, "model.num_layers": 1}
    settings = resolve(assignments=small).completed()
    planner = Planner(PlanRequest(settings, settings.model.shape()))
    print(plan_text([planner.plan(find_card("rtx-4090"))]))
    print("=== 自测通过 ===")
