"""The model card of a run: what it was trained on and how, its curves and its evaluation.

Others will read it: names of files are given, no paths, hosts or command lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import number
from lmm_tui.report import tables
from lmm_tui.report.markdown_page import evaluation_section, markdown_table, safe_markdown
from lmm_tui.report.report_data import ReportedRun, collect
from lmm_tui.report.tables import ReportTable

_POINTS = 12
"""Rows of a curve in a table."""
_TAGS = {"dpo": "dpo", "kto": "kto", "reward": "reward-trainer", "grpo": "grpo", "sft": "sft"}


def model_card(run_path: Path, title: str) -> str:
    """README.md of a repository with the model of this run."""
    return "\n".join(_parts(run_path, title)).rstrip() + "\n"


def _parts(run_path: Path, title: str) -> Iterator[str]:
    config = resolve(RunDir(run_path).config)
    data = collect([run_path])
    [run] = data.runs
    yield _front_matter(config)
    yield f"# {safe_markdown(title)}\n"
    yield tr(
        "{stage} of a model with {millions:.1f}M parameters, {steps:,} steps, {tokens:,} tokens; "
        "trained with [lmm-tui](https://pypi.org/project/lmm-tui/).",
        stage=config.stage_name,
        millions=run.info.parameters / 1e6,
        steps=run.status.step,
        tokens=run.status.tokens,
    )
    yield f"\n## {tr('Data')}\n"
    yield from (f"- `{safe_markdown(name)}`" for name in _sources(config))
    yield f"\n## {tr('Training')}\n\n{markdown_table(_settings(config))}"
    if curves := _curves(run):
        yield f"## {tr('Curves')}\n\n{markdown_table(curves)}"
    if best := tables.bests(data):
        yield f"## {tr('best values')}\n\n{markdown_table(best)}"
    yield from evaluation_section(data)


def _front_matter(config: RunConfig) -> str:
    tags = ["lmm-tui", *filter(None, [_TAGS.get(config.stage)])]
    kind = "text-classification" if config.stage == "reward" else "text-generation"
    lines = ["library_name: transformers", f"pipeline_tag: {kind}", f"tags: {json.dumps(tags)}"]
    return "\n".join(["---", *lines, "---\n"])


def _sources(config: RunConfig) -> list[str]:
    """The data by the names of their files; of the Hub by their whole names."""
    names = []
    for source in config.data.inputs:
        path = Path(source.path)
        names.append(path.name if path.is_absolute() or path.exists() else source.path)
    return names


def _settings(config: RunConfig) -> ReportTable:
    keys = {
        "optim": ("name", "lr", "schedule", "warmup_steps", "weight_decay", "clip"),
        "train": ("batch_size", "grad_accum", "precision", "seed"),
        "data": ("seq_len", "template"),
        "lora": ("rank", "alpha"),
    }
    tree = config.model_dump(mode="json")
    if config.stage in tree:
        keys[config.stage] = tuple(tree[config.stage])
    rows = [
        [f"{section}.{key}", Path(str(value)).name if "/" in str(value) else str(value)]
        for section, names in keys.items()
        for key in names
        if (value := tree[section][key]) is not None
    ]
    return ReportTable([tr("setting"), tr("value")], rows, frozenset({0, 1}))


def _curves(run: ReportedRun) -> ReportTable | None:
    """The losses and what sums up the stage, at about a dozen steps."""
    wanted = ("train/loss", "val/loss", *run.info.about_stage.summary)
    found = {name: run.curves[name] for name in wanted if name in run.curves}
    if not found:
        return None
    ends = [one["x"][-1] or 1.0 for one in found.values() if one["x"]]
    rows = []
    for step in np.unique(np.linspace(1, max(ends, default=1), _POINTS).round()):
        cells = [f"{step:,.0f}"]
        for one in found.values():
            steps = np.array(one["x"], float)
            at = int(np.searchsorted(steps, step, side="right")) - 1
            value = one["mean"][at] if at >= 0 else None
            cells.append("" if value is None else number(value))
        rows.append(cells)
    return ReportTable([tr("step"), *(tables.title(name) for name in found)], rows, frozenset())


if __name__ == "__main__":
    print(_front_matter(RunConfig(stage="sft")), *_sources(RunConfig()))
    print(markdown_table(_settings(RunConfig())))
    print("=== 自测通过 ===")
