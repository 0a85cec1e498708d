"""What each architecture can do, by doing it: the table of docs/models.md is what is found here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, AS_GGUF, model_folder
from repository import ROOT
from small_runs import MakeConfig, curve, lines, of_stage, train
from transformers import AutoModelForCausalLM

from lmm_tui.data.builtin.stories import story
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.chat.chat_worker import open_checkpoint
from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.convert import convert
from lmm_tui.engine.evaluation.job import Job
from lmm_tui.engine.evaluation.worker import evaluate_here
from lmm_tui.engine.model.hf_model import HfModel
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.errors import LmmError

WORDS = Tokenizer.train([story(0, index) for index in range(40)], 300)
IDS = torch.tensor([WORDS.encode(story(0, 90))[:20]])
ZH = ("架构", "训练", "打包", "续训", "探针", "采样", "LoRA", "对话", "评测", "HF", "GGUF")
DONE, REFUSED = "✓", "–"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_docs_say_what_an_architecture_does(
    small: MakeConfig, chats: str, tmp_path: Path, token_cache: Path, name: str
) -> None:
    folder = tmp_path / name
    model_folder(name, folder, vocab_size=WORDS.vocab_size)
    WORDS.save(folder)
    found = outcomes(small, chats, folder, token_cache)
    row = f"| `{name}` | {' | '.join(found.values())} |"
    for page, columns in {"models.md": ("architecture", *found), "models.zh.md": ZH}.items():
        head = f"| {' | '.join(columns)} |"
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        table = re.search(rf"{re.escape(head)}\n\|[-:| ]+\n((?:\|.*\n)+)", text)
        assert table, f"docs/{page} has no table that begins {head}"
        assert row in table[1].splitlines(), f"docs/{page} should have the row {row}"
        assert re.findall(r"^\| `(\w+)`", table[1], re.MULTILINE) == [*ARCHITECTURES]


def outcomes(small: MakeConfig, chats: str, folder: Path, cache: Path) -> dict[str, str]:
    """Column of the table -> what was found; an error is a failure, a refusal is an outcome."""
    changes = {"train__steps": 2, "train__batch_size": 2, "optim__lr": 0.01}
    observed = {"log__probe_every": 1, "log__sample_every": 1, "log__sample_tokens": 4}
    first = of_stage(small, chats, "sft", name="run", start_from=str(folder), **observed, **changes)
    run = train(first).run_dir
    found = {"train": as_mark(learnt(folder, run.path)), "packed": packing(folder)}
    rows = lines(run.metrics)
    probed = any(re.match(r"probe/(layers|h).1/", name) for row in rows for name in row)
    sampled = {row["step"] for row in lines(run.samples) if row["kind"] == "sample"} == {1, 2}
    kept: RunConfig = resolve(run.config)
    more = kept.model_copy(update={"train": kept.train.model_copy(update={"steps": 3})})
    found["resume"] = as_mark([*curve(train(more, run).run_dir)] == [1, 2, 3])
    found |= {"probe": as_mark(probed), "sample": as_mark(sampled)}
    lora = {"name": "lora", "start_from": "run", "lora__rank": 2, **changes}
    tuned = train(of_stage(small, chats, "sft", **lora)).run_dir
    found["LoRA"] = as_mark(learnt(run.path, tuned.path))
    model, config, _ = open_checkpoint(list_checkpoints(tuned.checkpoints)[-1])
    _, about = model.talk({"prompt": "What is 2 + 3?", "tokens": 3, "temperature": 0.0}, config)
    found["chat"] = as_mark(bool(about["ids"]) or about["ended"])
    job = Job(str(tuned.path), ("lmm_sums",), device="cpu", limit=1, chat=True)
    outcome = evaluate_here(job, cache, folder / "answers", lambda *_: None)
    found["eval"] = as_mark([score.questions for score in outcome.scores] == [1])
    found["HF"] = as_mark(as_transformers_loads_it(tuned.path, folder / "hf"))
    return found | {"GGUF": as_mark(is_written_as_gguf(folder))}


def as_mark(is_so: bool) -> str:
    return DONE if is_so else REFUSED


def learnt(before: Path, after: Path) -> bool:
    old, new = read_weights(before).tensors, read_weights(after).tensors
    return any(not torch.equal(old[name], tensor) for name, tensor in new.items() if name in old)


def packing(folder: Path) -> str:
    model = read_weights(folder).model().eval()
    assert isinstance(model, HfModel)
    return {"attention": DONE, "rows": "rows"}[model.keeps_packed_apart_by()]


def as_transformers_loads_it(run: Path, target: Path) -> bool:
    convert(run, target, merge=True)
    theirs = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32).eval()
    with torch.no_grad():
        right, ours = theirs(IDS).logits, read_weights(run).model().eval()(IDS)
    return torch.allclose(right, ours, atol=1e-5, rtol=1e-5)


def is_written_as_gguf(folder: Path) -> bool:
    """That of a form which llama.cpp computes; what the file holds is for test_gguf_file."""
    other = folder / "gguf"
    model_folder(folder.name, other, vocab_size=WORDS.vocab_size, **AS_GGUF.get(folder.name, {}))
    WORDS.save(other)
    try:
        convert(other, folder / "m.gguf")
    except LmmError:
        return False
    return True
