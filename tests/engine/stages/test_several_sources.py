"""`--data` more than once adds sources."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from small_runs import MakeConfig, of_stage, silent, train

from lmm_tui.cli.settings import read_settings, settings_options
from lmm_tui.data.text.corpus import open_text
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.stages.base import load_stage
from lmm_tui.planning.command_line import command_line
from lmm_tui.planning.data_summary import summarize_data


def started_by(*arguments: str) -> RunConfig:
    seen: list[Any] = []

    @click.command()
    @settings_options
    @click.pass_context
    def command(context: click.Context, **_: Any) -> None:
        seen.append(read_settings(context))

    command([*arguments], standalone_mode=False)
    config: RunConfig = seen[0].config
    return config


def test_each_data_adds_a_source(tmp_path: Path) -> None:
    assert started_by("--data", "a").data.named == ["a"]
    config = started_by("--data", "a", "--data", "builtin", "--data", "c")
    assert config.data.named == ["a", "builtin", "c"]
    line = command_line(config)
    assert line == "lmm-tui train --data a --data builtin --data c"
    (tmp_path / "f.toml").write_text('[data]\nsource = "x"\nmore = ["y"]\n')
    file = ("--config", str(tmp_path / "f.toml"))
    assert started_by(*file).data.named == ["x", "y"]
    assert started_by(*file, "--data", "z").data.named == ["z"]


def json_lines(path: Path, rows: Any) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def test_rows_of_all_sources_are_trained_on_and_held_out(small: MakeConfig, tmp_path: Path) -> None:
    a, b = (
        json_lines(
            tmp_path / f"{name}.jsonl",
            ({"prompt": f"{name}{n}?", "chosen": name, "rejected": "no"} for n in range(200)),
        )
        for name in "ab"
    )
    (tmp_path / "b.jsonl").write_text("{}\n" + (tmp_path / "b.jsonl").read_text())

    def stage(*sources: str) -> Any:
        config = of_stage(small, str(tmp_path), "dpo", data__val_fraction=0.2)
        data = config.data.model_copy(update={"source": sources[0], "more": [*sources[1:]]})
        return load_stage(config.model_copy(update={"data": data}), torch.device("cpu"), silent)

    both, alone = stage(a, b), [stage(a), stage(b)]
    for side in ("_train", "_val"):
        counts = [len(getattr(one, side).items) for one in alone]
        assert all(counts) and len(getattr(both, side).items) == sum(counts)
    assert any(f"{b}:1: " in warning for warning in both.warnings)
    config = small(stage="dpo", data__source=a, data__more=[b], train__steps=1)
    assert train(config).state == "finished"


def test_text_of_all_sources_is_mixed_by_size(tmp_path: Path) -> None:
    one, two = ([{"text": f"{name} {n} " + name * 20} for n in range(many)] for name, many in
                (("a", 300), ("b", 100)))  # fmt: skip
    a, b = json_lines(tmp_path / "a.jsonl", one), json_lines(tmp_path / "b.jsonl", one[:0] + two)
    with Path(b).open("a") as file:
        file.write('\n{"txt": 1}')
    text = open_text([a, b], 1)
    skipped = Skipped()
    found = [*text.documents(skipped)]
    assert sorted(found) == sorted(row["text"] for row in one + two)
    assert found == [*text.documents(Skipped())]
    for part in (found[:40], found[-40:]):
        assert 7 <= sum(document.startswith("b") for document in part) <= 13
    assert [text.locate(bad).split(": ")[0] for bad in skipped.first] == [f"{b}:101"]
    assert skipped.lines == 401
    same, other = open_text([a, b], 1), open_text([b, a], 1)
    assert same.identity(silent) == text.identity(silent) != other.identity(silent)


def test_the_summary_adds_sizes(tmp_path: Path) -> None:
    for name, size in (("a", 100), ("b", 250)):
        (tmp_path / f"{name}.txt").write_text("x" * size)
    data = {"source": str(tmp_path / "a.txt"), "more": [str(tmp_path / "b.txt")]}
    assert summarize_data(RunConfig.model_validate({"data": data})).bytes == 350
    data["more"] = ["nowhere"]
    problems = summarize_data(RunConfig.model_validate({"data": data})).problems
    assert "nowhere" in problems["data.source"]


@pytest.mark.parametrize("stage", ["pretrain", "sft"])
def test_builtin_data_mix_with_files(small: MakeConfig, chats: str, stage: str) -> None:
    config = small(stage=stage, data__more=[f"{chats}/chats.jsonl"], train__steps=1)
    if stage == "pretrain":
        text = Path(chats, "t.txt")
        text.write_text("One line of text.\n\n" * 50)
        config = small(stage=stage, data__more=[str(text)], train__steps=1)
    assert train(config).state == "finished"
