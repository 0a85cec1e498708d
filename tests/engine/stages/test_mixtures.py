"""`[[data.sources]]`: shares, filters, caps, and a validation loss of each source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_runs import SMALLEST, curve, lines, silent, train

from lmm_tui.data.errors import DataError
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.options import lookup
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.dpo import DpoStage
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.stages.sft import SftStage
from lmm_tui.engine.stages.shares import share
from lmm_tui.planning.command_line import command_line


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of one letter each, so that a batch tells its sources."""
    folder = tmp_path_factory.mktemp("texts")
    for letter in "abc":
        rows = [{"text": f"{letter} " * 60, "keep": n % 2} for n in range(40)]
        (folder / f"{letter}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def config(texts: Path, sources: list[dict], **more: object):
    given = [{**one, "path": str(texts / str(one["path"]))} for one in sources]
    settings = SMALLEST | {
        "data.sources": given,
        "data.cache_dir": str(texts / "cache"),
        "runs_dir": str(texts / "runs"),
        "train.batch_size": 4,
        "train.steps": 4,
        "data.val_fraction": 0.1,
        "log.probe_every": 0,
        "log.sample_every": 0,
        "log.tensorboard": False,
    }
    return resolve(assignments=settings | more).completed()


def letters(stage: PretrainStage, steps: int) -> str:
    """The letter of each sequence."""
    found = []
    for step in range(steps):
        for batch in stage.micro_batches(step):
            for row in batch.ids_BxT:
                text = stage.tokenizer.decode(row.tolist())
                found.append(max("abc", key=text.count))
    return "".join(found)


def test_sources_have_their_shares_and_runs_dry_is_said(texts: Path) -> None:
    settings = config(texts, [{"path": "a.jsonl", "weight": 3}, {"path": "b.jsonl", "epochs": 0.2}])
    stage = PretrainStage(settings, torch.device("cpu"), silent)
    found = letters(stage, 4)
    assert found.count("a") == 12 and found == letters(stage, 4)
    long = PretrainStage(
        settings.model_copy(update={"train": settings.train.model_copy(update={"steps": 90})}),
        torch.device("cpu"), silent,
    )  # fmt: skip
    dry = [one for one in long.warnings if "data.sources: b runs dry after step" in one]
    assert len(dry) == 1 and "(0.2 epochs of it); the others share its part" in dry[0]
    assert "b" not in letters(long, 90)[-40:]


def test_what_a_step_reads_follows_from_seed_and_step_on_any_number_of_ranks(texts: Path) -> None:
    sources = [{"path": "a.jsonl", "weight": 3}, {"path": "b.jsonl", "epochs": 0.5}]

    def made(seed: int) -> PretrainStage:
        settings = config(texts, sources, **{"train.seed": seed, "train.grad_accum": 2})
        return PretrainStage(settings, torch.device("cpu"), silent)

    def rows(batches: list[MicroBatch]) -> list[list[int]]:
        return [row for batch in batches for row in batch.ids_BxT.tolist()]

    stage, later = made(0), made(0)
    in_order = [rows(stage.micro_batches(step)) for step in range(6)]
    for step in (5, 0, 3):
        assert rows(later.micro_batches(step)) == in_order[step]
        for size in (2, 4):
            shares = [share(later.micro_batches(step), rank, size) for rank in range(size)]
            assert [row for one in shares for row in rows(one)] == in_order[step]
    assert rows(made(1).micro_batches(0)) != in_order[0]


def test_a_run_of_a_mixture_resumes_bit_exact_and_shows_each_source(texts: Path) -> None:
    sources = [
        {"path": "a.jsonl", "weight": 2},
        {"path": "b.jsonl", "name": "second", "filter": "keep == 1"},
    ]
    more = {"log.val_every": 2, "log.every": 1, "log.checkpoint_every": 2}
    whole = train(config(texts, sources, **more, name="whole"))
    rows = [row for row in lines(whole.run_dir.metrics) if "val/loss" in row]
    for row in rows:
        wanted = (2 * row["val/a/loss"] + row["val/second/loss"]) / 3
        assert row["val/loss"] == pytest.approx(wanted, rel=1e-6)
    losses = curve(whole.run_dir)
    half = train(config(texts, sources, **more, name="half", **{"train.steps": 2}))
    again = train(config(texts, sources, **more, name="half"), half.run_dir)
    assert {step: curve(again.run_dir)[step] for step in (3, 4)} == {3: losses[3], 4: losses[4]}


def test_sft_mixes_rows_too(tmp_path: Path) -> None:
    for name in "ab":
        rows = [{"instruction": f"{n}{name}?", "output": name * 9} for n in range(60)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = config(
        tmp_path, [{"path": "a.jsonl", "weight": 3}, {"path": "b.jsonl"}], stage="sft"
    )
    stage = SftStage(settings, torch.device("cpu"), silent)
    texts = [
        stage.tokenizer.decode(row.tolist())
        for step in range(2) for batch in stage.micro_batches(step) for row in batch.ids_BxT
    ]  # fmt: skip
    assert sum("aaa" in text for text in texts) == 6 and sum("bbb" in text for text in texts) == 2
    with pytest.raises(ConfigError, match="data.sources: weights and epochs are for pretrain, sft"):
        DpoStage(settings, torch.device("cpu"), silent)


@pytest.mark.parametrize(("sources", "sentence"), [
    ([{"path": "a", "weight": 0}], "the weights of sources sum to nothing"),
    ([{"path": "a", "weight": -1}], "data.sources.0.weight: should be greater than or equal to 0"),
    ([{"path": "a", "epochs": 0}], "data.sources.0.epochs: should be greater than 0"),
    ([{"path": "a", "filter": "exec('x')"}], "the filter .* is no comparison; write such as"),
    ([{"weight": 1}], "data.sources.0.path"),
    ([{"path": "a", "name": "x"}, {"path": "b", "name": "x"}], "have one name"),
])  # fmt: skip
def test_what_is_no_mixture_is_refused(sources: list[dict], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        resolve(assignments={"data.sources": sources})


def test_a_source_and_sources_are_refused() -> None:
    with pytest.raises(ConfigError, match="source and sources both say where the data are"):
        resolve(assignments={"data.sources": [{"path": "a"}], "data.source": "b"})


def test_more_steps_than_all_sources_have_are_refused(texts: Path) -> None:
    settings = config(texts, [{"path": "a.jsonl", "epochs": 0.1}], **{"train.steps": 500})
    with pytest.raises(DataError, match=r"run dry after \d+ steps, and the run has 500"):
        PretrainStage(settings, torch.device("cpu"), silent)
    settings = config(texts, [{"path": "a.jsonl", "filter": "keep == 7"}])
    with pytest.raises(DataError, match="no row passes the filter 'keep == 7'"):
        PretrainStage(settings, torch.device("cpu"), silent)


def test_the_command_line_has_the_mixture() -> None:
    given = [{"path": "a b.jsonl", "weight": 2.0, "filter": 'lang == "en"'}]
    made = resolve(assignments={"data.sources": given})
    assert lookup(made, "data.sources") == given
    assert '--set \'data.sources=[{path = "a b.jsonl"' in command_line(made)
