"""Writes the table of docs/plan.md and docs/plan.zh.md again: `python docs/plan_table.py`.

Three shapes on one and on eight cards, planned as `lmm-tui plan` does, for 20 tokens a parameter.
`--measure` trains two steps of the smallest on this CPU and says what torch allocated.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lmm_tui.engine.cards import find_card
from lmm_tui.engine.config.model_shape import PRESETS, ModelShape
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.number_format import NOTHING, count, duration, size
from lmm_tui.planning.training_plan import Planner, PlanRequest, TrainingPlan

DOCS = Path(__file__).parent
CARD = "h100"
SHAPES = {
    "0.1B": PRESETS["minimind-104m"],
    "1B": ModelShape(32000, 2048, 24, 16, 8, 128, 5504),
    "7B": ModelShape(32000, 4096, 32, 32, 32, 128, 11008, tie_embeddings=False),
}
RANKS = (1, 8)
BEGIN, END = "<!-- plan_table.py -->\n", "<!-- end -->"
_HEADINGS = {
    "plan.md": ("shape", "cards", "weights", "micro-batch", "memory a card", "sent a step",
                "step", "in all", "USD"),
    "plan.zh.md": ("模型", "显卡", "权重", "微批次", "每卡显存", "每步通信",
                   "每步", "总计", "美元"),
}  # fmt: skip


def planned(name: str, ranks: int) -> TrainingPlan:
    """A step of 128 sequences of 2,048 tokens, as many steps as 20 tokens a parameter are."""
    shape = SHAPES[name]
    settings = {"train.batch_size": 16, "train.grad_accum": 8, "data.seq_len": 2048}
    config: RunConfig = resolve(assignments=settings | {"train.tokens": 20 * shape.parameters})
    return Planner(PlanRequest(config, shape, ranks=ranks)).plan(find_card(CARD))


def cells(plan: TrainingPlan, name: str) -> list[str]:
    """A row of the table."""
    best = plan.taken or min(plan.layouts, key=lambda one: one.memory)
    hours, cost = plan.hours, plan.cost
    fits = plan.taken is not None
    return [
        f"{name} ({count(plan.asked.shape.parameters)})",
        f"{plan.asked.ranks} × {plan.card.name}",
        {"none": "replicated", "all": "sharded"}[best.shard],
        f"{best.batch_size} × {best.grad_accum}",
        size(best.memory) + ("" if fits else " > " + size(best.room)),
        size(best.sent),
        f"{best.seconds:.2g} s" if fits else NOTHING,
        NOTHING if hours is None else duration(3600 * hours),
        NOTHING if cost is None else f"{cost:,.0f}",
    ]


def table(rows: list[list[str]], headings: tuple[str, ...]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write() -> None:
    rows = [cells(planned(name, ranks), name) for name in SHAPES for ranks in RANKS]
    for page, headings in _HEADINGS.items():
        path = DOCS / page
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        path.write_text(before + BEGIN + table(rows, headings) + END + after, encoding="utf-8")


def measure() -> None:
    """Simulated beside allocated, of two steps of the smallest shape on this CPU."""
    sys.path[:0] = [str(DOCS.parent / "tests" / "support")]
    from allocated_memory import allocated

    from lmm_tui.engine.simulation.simulated_step import Setup, simulate

    settings = {"train.batch_size": 1, "data.seq_len": 256, "model.preset": "minimind-104m"}
    config = resolve(assignments=settings).completed()
    for precision in ("fp32", "bf16"):
        found = simulate(Setup(config, config.model.shape(), precision, device="cpu")).total
        real = allocated(config, config.model.shape(), precision)
        print(f"{precision}: simulated {size(found)}, allocated {size(real)}: {found / real:.4f}")


if __name__ == "__main__":
    measure() if "--measure" in sys.argv else write()
