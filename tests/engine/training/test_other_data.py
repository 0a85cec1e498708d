"""A resume on other data than the run began with is called by its name."""

from pathlib import Path

import pytest
from small_runs import MakeConfig, lines, of_stage, run, train

from lmm_tui.engine.config.resolve import resolve


@pytest.mark.parametrize("stage", ["sft", "grpo"])
@pytest.mark.parametrize("changed", [True, False])
def test_a_resume_on_other_data_says_so(
    small: MakeConfig, chats: str, tmp_path: Path, stage: str, changed: bool
) -> None:
    first = train(of_stage(small, chats, stage, train__steps=2))
    tokenizer = {"data.tokenizer": str(first.run_dir.path / "tokenizer.json"), "train.steps": 3}
    file = Path(chats, "chats.jsonl" if stage == "sft" else "prompts.jsonl")
    if changed:
        rows = file.read_text(encoding="utf-8").splitlines()
        file.write_text("\n".join(rows[:40]), encoding="utf-8")
    train(resolve(first.run_dir.config, tokenizer), first.run_dir)
    alerts = [row for row in lines(first.run_dir.events) if row["kind"] == "alert"]
    said = [row for row in alerts if "are not those that this run" in str(row)]
    assert len(said) == changed


def test_a_tokenizer_trained_on_the_data_is_not_blamed(
    small: MakeConfig, chats: str, tmp_path: Path
) -> None:
    first = train(of_stage(small, chats, "sft", train__steps=2))
    file = Path(chats, "chats.jsonl")
    file.write_text(file.read_text(encoding="utf-8").replace("+", "plus"), encoding="utf-8")
    host = run(resolve(first.run_dir.config, {"train.steps": 3}), first.run_dir)
    assert "data.source has changed since" in host.error
