"""Evaluations of one model by every backend and command line: the scores are equal."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import MakeConfig

from lmm_tui.data.builtin.tasks import test_set as builtin_questions
from lmm_tui.data.chat.chatml import CHAT_TEMPLATE
from lmm_tui.data.chat.template import CHATML, render_prompt
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.convert import convert
from lmm_tui.engine.evaluation import builtin_tasks, worker
from lmm_tui.engine.evaluation.background import BackgroundEvaluation
from lmm_tui.engine.evaluation.hub_access import go_offline
from lmm_tui.engine.evaluation.job import EvaluateError, EvaluationOutcome, EvaluationProgress, Job
from lmm_tui.engine.evaluation.open_model import open_model
from lmm_tui.engine.evaluation.process import evaluate
from lmm_tui.engine.evaluation.records import Record, read_records
from lmm_tui.engine.evaluation.worker import Report, evaluate_here
from lmm_tui.engine.generation.exact_match import answers, exact_match
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.loss import loss_sum
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.errors import LmmError

QUESTIONS = 16


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches of this module only, no hub, one thread; child processes inherit the environment."""
    before, threads = dict(os.environ), torch.get_num_threads()
    torch.set_num_threads(1)
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HOME"] = str(tmp_path_factory.mktemp("hf-home"))
    os.environ["OMP_NUM_THREADS"] = "1"
    go_offline()
    yield
    os.environ.clear()
    os.environ.update(before)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model overfitted to half of the questions, so that some answers are right."""
    home = tmp_path_factory.mktemp("model")
    drawn = builtin_questions("comparisons", QUESTIONS)
    tokenizer = Tokenizer.train([f"{d.question}\n{d.answer}" for d in drawn], 300)
    tokenizer.save(home)
    model = Decoder(ModelShape(tokenizer.vocab_size, 32, 2, 4, 2, 8, 64))
    model.init_weights(0)
    learnt = drawn[: QUESTIONS // 2]
    chats = [
        [*render_prompt([Turn("user", d.question)], tokenizer), *tokenizer.encode(d.answer), 2]
        for d in learnt
    ]
    longest = max(map(len, chats))
    ids = torch.tensor([chat + [0] * (longest - len(chat)) for chat in chats])
    labels = torch.full_like(ids, -100)
    for row, chat in enumerate(chats):
        labels[row, len(chat) - 4 : len(chat) - 1] = ids[row, len(chat) - 3 : len(chat)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss_sum(model.backbone(ids), model.head_weight, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.save(model.state_dict(), home / "model.pth")
    convert(home / "model.pth", home / "hf")
    return set_context(home / "hf", 320)


def set_context(folder: Path, length: int) -> Path:
    """A `.pth` lacks the context length, and `convert` writes the maximum."""
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = length
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def job(folder: Path) -> Job:
    return Job(str(folder), ("lmm_comparisons", "lmm_choice"), "run", "cpu", QUESTIONS, chat=True)


@pytest.fixture(scope="module")
def outcome(job: Job, tmp_path_factory: pytest.TempPathFactory) -> EvaluationOutcome:
    return here(job, tmp_path_factory.mktemp("outcome"))


def here(job: Job, place: Path, report: Report = lambda _: None) -> EvaluationOutcome:
    """Evaluate in this process: a worker takes seconds to start."""
    return evaluate_here(job, place / "scratch", place / "cache", report)


def values(outcome: EvaluationOutcome) -> dict[tuple[str, str], tuple[float, float | None]]:
    return {(s.task, s.metric): (s.value, s.stderr) for s in outcome.scores}


# -- the same numbers ------------------------------------------------------------------------


def test_some_questions_are_right_and_some_are_wrong(outcome: EvaluationOutcome) -> None:
    """Otherwise the tests below would compare zeros."""
    by_task = {score.task: score for score in outcome.scores}
    assert 0.2 < by_task["lmm_comparisons"].value < 1
    assert 0 < by_task["lmm_choice"].value < 1
    assert by_task["lmm_choice"].chance == pytest.approx(0.38, abs=0.12)
    assert by_task["lmm_comparisons"].chance is None
    assert all(score.questions == QUESTIONS for score in outcome.scores)


@pytest.mark.slow
def test_transformers_gives_the_same_scores_to_the_last_digit(
    job: Job, outcome: EvaluationOutcome, tmp_path: Path
) -> None:
    theirs = here(replace(job, backend="hf"), tmp_path)
    assert values(theirs) == values(outcome)
    assert theirs.fingerprint == outcome.fingerprint


@pytest.mark.slow
def test_lm_evals_own_command_line_gives_the_same_scores_to_the_last_digit(
    job: Job, outcome: EvaluationOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builtin_tasks.write_tasks(tmp_path / "tasks")
    command = ["lm_eval", "run", "--model", "hf"]
    command += ["--model_args", f"pretrained={job.model}", "--device", "cpu"]
    command += ["--tasks", *job.tasks, "--limit", str(QUESTIONS), "--batch_size", "4"]
    command += ["--include_path", str(tmp_path / "tasks"), "--apply_chat_template"]
    command += ["--output_path", str(tmp_path / "out.json")]
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.tasks import TaskManager

    # Its index of all 14,000 tasks takes longer than everything else together.
    monkeypatch.setattr(TaskManager.__init__, "__defaults__", (None, None, False, None))
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.chdir(tmp_path)
    cli_evaluate()
    [file] = tmp_path.rglob("out*.json")
    results = json.loads(file.read_text())["results"]
    theirs = {
        (task, key.partition(",")[0]): (value, found[key.replace(",", "_stderr,")])
        for task, found in results.items()
        for key, value in found.items()
        if "," in key and "_stderr" not in key
    }
    assert theirs == values(outcome)


@pytest.mark.slow
def test_both_backends_answer_every_request_alike(job: Job) -> None:
    """Long prompts, stop texts, choices that share a row, texts longer than the context."""
    ours, theirs = open_model(job), open_model(replace(job, backend="hf"))
    rng = random.Random(0)
    text = "".join(rng.choices("Which number is larger: 1 2 7 9\n 哪个数更大？", k=3000))
    pairs = [(text[a : a + 9 + a % 40], text[a + 60 : a + 62 + a % 7]) for a in range(0, 900, 31)]
    pairs += [(text[:40], choice) for choice in (" A", " B", " C", " D")]
    pairs += [("", "7 or 9"), (text, " 9"), ("ends in spaces  ", "7")]
    choosing = [SimpleNamespace(args=pair, task_name="") for pair in pairs]
    for (ours_p, ours_greedy), (theirs_p, theirs_greedy) in zip(
        ours.loglikelihood(choosing), theirs.loglikelihood(choosing), strict=True
    ):
        assert abs(ours_p - theirs_p) <= 1e-5 * max(1, abs(theirs_p))
        assert ours_greedy == theirs_greedy
    options = {"until": ["\n\n", "1"], "max_gen_toks": 12, "do_sample": False}
    spoken = [ours.apply_chat_template([{"role": "user", "content": pair[0]}]) for pair in pairs]
    writing = [SimpleNamespace(args=(asked, options)) for asked in spoken]
    assert ours.generate_until(writing) == theirs.generate_until(writing)
    whole = [SimpleNamespace(args=(text,)), SimpleNamespace(args=(text[:50],))]
    for mine, other in zip(
        ours.loglikelihood_rolling(whole), theirs.loglikelihood_rolling(whole), strict=True
    ):
        assert mine == pytest.approx(other, rel=1e-6)
    assert ours.truncated >= 2


@pytest.mark.slow
def test_an_exported_model_has_the_chat_template_of_its_training(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(folder), Tokenizer.load(folder)
    asked = [Turn("system", "Be short."), Turn("user", "58和3哪个数更大？")]
    asked += [Turn("assistant", "58"), Turn("user", "Which number is larger: 69 or 91?")]
    messages = [{"role": turn.role, "content": turn.content} for turn in asked]
    ids = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ids == render_prompt(asked, ours, CHATML)
    assert theirs.chat_template == CHAT_TEMPLATE
    task = builtin_questions("comparisons", 1)[0]
    prompt = render_prompt([Turn("user", task.question)], ours)
    model = AutoModelForCausalLM.from_pretrained(folder)
    said = model.generate(torch.tensor([prompt]), max_new_tokens=8)[0, len(prompt) :]
    assert theirs.decode(said, skip_special_tokens=True) == task.answer


def test_a_quiz_without_lm_eval_counts_the_same_answers(
    folder: Path, outcome: EvaluationOutcome
) -> None:
    from lmm_tui.engine.checkpoints.weights import read_weights

    weights = read_weights(folder)
    model = Decoder(weights.shape)
    model.load_state_dict(weights.tensors)
    tokenizer = Tokenizer.load(folder)
    before = torch.get_rng_state()
    shares = exact_match(model, tokenizer, kinds=["comparisons"], questions=QUESTIONS)
    assert shares["comparisons"] == values(outcome)["lmm_comparisons", "exact_match"][0]
    assert torch.equal(torch.get_rng_state(), before) and model.training
    task = builtin_questions("comparisons", 1)[0]
    prompt = render_prompt([Turn("user", task.question)], tokenizer)
    assert answers(model, tokenizer, [prompt], tokenizer.end_ids) == [task.answer]


# -- cancel and resume --------------------------------------------------------------------------


class Cancelled(Exception):
    """Raised by a report callback."""


@pytest.mark.slow
def test_a_cancelled_evaluation_resumes_where_it_stopped(
    job: Job, outcome: EvaluationOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        worker, "_REPORT_EVERY_S", 0.0
    )  # Report every answer, however fast the machine.

    def watch(at: EvaluationProgress) -> None:
        if 0 < at.done < at.total:
            raise Cancelled

    asked = replace(job, tasks=(*job.tasks, "lmm_copying", "lmm_talk", "lmm_sorting"))
    with pytest.raises(Cancelled):
        here(replace(asked, batch_size=1), tmp_path, watch)
    [kept] = (tmp_path / "cache" / "answers").iterdir()
    with kept.open("a") as file:
        file.write('["torn')
    seen: list[EvaluationProgress] = []
    found = values(here(asked, tmp_path, seen.append))
    assert {name: found[name] for name in values(outcome)} == values(outcome)
    assert seen[0].done >= 1 and seen[-1].remembered >= 1
    assert seen[-1].done == seen[-1].total > QUESTIONS
    assert not kept.exists()


def test_an_evaluation_that_fails_names_its_log(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EvaluateError, match=r"failed .* is in .*last-failure\.log"):
        evaluate(job, cache=tmp_path)
    (log,) = tmp_path.rglob("last-failure.log")
    assert log.stat().st_mode & 0o077 == 0


# -- local files ---------------------------------------------------------------------------------

ARC = {"text": ["7", "9", "11", "4"], "label": ["A", "B", "C", "D"]}
ROWS: dict[str, dict[str, Any]] = {
    "hellaswag": {
        "ctx_a": "A child counts.",
        "ctx_b": "it",
        "activity_label": "Counting",
        "endings": ["says 7", "says 9", "says 11", "says 4"],
        "label": "1",
    },
    "arc_easy": {"question": "Which number is larger?", "choices": ARC, "answerKey": "B"},
    "gsm8k": {"question": "7 or 9?", "answer": "It is 9.\n#### 9"},
    "mmlu/anatomy": {"question": "Which number?", "choices": ["7", "9", "11", "4"], "answer": 1},
    "mmlu/virology": {"question": "Which number?", "choices": ["7", "9", "11", "4"], "answer": 2},
}
QUESTION_OF = {"hellaswag": "ctx_a"}


def write_rows(folder: Path, count: int = 6) -> Path:
    for name, row in ROWS.items():
        key = QUESTION_OF.get(name, "question")
        lines = [json.dumps(row | {key: f"{row[key]} No. {n}"}) + "\n" for n in range(count)]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return folder


def test_lm_evals_real_tasks_run_on_local_files(job: Job, tmp_path: Path) -> None:
    files = write_rows(tmp_path / "files")
    tasks = ("hellaswag", "arc_easy", "mmlu", "gsm8k")
    local = replace(job, tasks=tasks, data_dir=str(files), limit=None, chat=False, num_fewshot=1)
    seen: list[EvaluationProgress] = []
    found = here(local, tmp_path, seen.append)
    by_task = {score.task: score for score in found.scores if score.metric == "acc"}
    assert [*by_task] == ["hellaswag", "arc_easy", "mmlu_anatomy", "mmlu_virology", "mmlu"]
    assert {score.chance for score in by_task.values()} == {0.25}
    assert by_task["mmlu"].questions == 12
    metrics = {score.metric for score in found.scores if score.task == "gsm8k"}
    assert metrics == {"exact_match,strict-match", "exact_match,flexible-extract"}
    # Four choices each, of which MMLU's letters are one row but four requests; one answer of gsm8k.
    assert seen[-1].done == seen[-1].total == 6 * (4 + 4 + 4 + 4 + 1)


def test_a_question_is_never_its_own_example(job: Job, tmp_path: Path) -> None:
    from lmm_tui.engine.evaluation.task_index import TaskIndex

    files = write_rows(tmp_path / "files", count=2)
    tasks = ("hellaswag", "arc_easy", "mmlu_anatomy")
    local = replace(job, tasks=tasks, data_dir=str(files), num_fewshot=1)
    loaded = TaskIndex(local, 320, tmp_path / "scratch", tmp_path / "cache").manager.load(
        list(tasks)
    )
    for task in loaded["tasks"].values():
        task.set_config(key="num_fewshot", value=1)
        task.set_fewshot_seed(seed=1234)
        task.build_all_requests(limit=2)
        for instance in task.instances:
            number = instance.doc_id
            assert instance.args[0].count(f"No. {number}") == 1, instance.args[0]
            assert instance.args[0].count(f"No. {1 - number}") == 1, instance.args[0]


@pytest.mark.parametrize(
    ("name", "line", "sentence"),
    [
        ("gsm8k", '{"question": "1 + 1?"}', r"gsm8k.jsonl:2: column answer is missing; a row has"),
        ("gsm8k", "{", r"gsm8k.jsonl:2: not JSON"),
        ("gsm8k", "[1]", r"gsm8k.jsonl:2: not a JSON object"),
        ("hellaswag", json.dumps(ROWS["hellaswag"] | {"endings": 1}), "column endings is no list"),
        ("arc_easy", json.dumps(ROWS["arc_easy"] | {"choices": {}}), "lists text and label"),
        ("arc_easy", json.dumps(ROWS["arc_easy"] | {"answerKey": "E"}), "answerKey E is none of"),
    ],
)
def test_a_row_of_another_schema_is_named_by_its_line(
    job: Job, tmp_path: Path, name: str, line: str, sentence: str
) -> None:
    (tmp_path / f"{name}.jsonl").write_text(f"{json.dumps(ROWS[name])}\n{line}\n")
    local = replace(job, tasks=(name,), data_dir=str(tmp_path))
    with pytest.raises(EvaluateError, match=sentence):
        here(local, tmp_path)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "/nowhere"}, "no such run, checkpoint, Hugging Face folder, .pth or .gguf"),
        ({"model": "/nowhere", "backend": "hf"}, r"no Hugging Face folder \(no config.json\)"),
        ({"device": "quantum"}, "quantum"),
        ({"tasks": ("lmm_sum",)}, "lmm_sum: no such task; built in are lmm_sums"),
        ({"tasks": ("gsm8k",), "data_dir": "/nowhere"}, "/nowhere/gsm8k.jsonl: cannot be read"),
        ({"tasks": ("mmlu",), "data_dir": "/nowhere"}, "/nowhere/mmlu: holds no <subject>.jsonl"),
        ({"tasks": ("mmlu_cooking",), "data_dir": "/nowhere"}, "MMLU has no such subject"),
        ({"tasks": ("arc_easy",)}, r"put arc_easy.jsonl into a folder and give it as --data-dir"),
    ],
)
def test_a_job_that_cannot_run_is_refused_in_one_sentence(
    job: Job, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(LmmError, match=sentence) as refusal:
        here(replace(job, **changes), tmp_path)
    assert "\n" not in str(refusal.value)


def test_too_few_rows_for_the_examples_are_refused(job: Job, tmp_path: Path) -> None:
    write_rows(tmp_path, count=3)
    with pytest.raises(EvaluateError, match="gsm8k shows 5 worked examples, and 2 are there"):
        here(replace(job, tasks=("gsm8k",), data_dir=str(tmp_path)), tmp_path)


@pytest.mark.parametrize("backend", ["run", "hf"])
def test_an_answer_longer_than_the_context_is_refused(
    folder: Path, job: Job, tmp_path: Path, backend: Any
) -> None:
    short = set_context(shutil.copytree(folder, tmp_path / "short"), 64)
    with pytest.raises(LmmError, match="asks for 64 tokens of answer, and .* context has 64"):
        here(replace(job, model=str(short), backend=backend), tmp_path)


def test_a_choice_that_leaves_no_token_of_its_own_is_refused(folder: Path, job: Job) -> None:
    ours = open_model(job)
    with pytest.raises(EvaluateError, match="choice 'B' merges with the token before it"):
        ours._loglikelihood_tokens([(("A", "B"), [5], [])])


def test_a_tokenizer_without_chat_tokens_cannot_chat(
    folder: Path, job: Job, tmp_path: Path
) -> None:
    bare = shutil.copytree(folder, tmp_path / "bare")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        text = (bare / file).read_text().replace("<|im_start|>", "<|begin|>")
        (bare / file).write_text(text)
    config = json.loads((bare / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(EvaluateError, match=r"tokenizer lacks the <\|im_start\|> of ChatML"):
        open_model(replace(job, model=str(bare)))
    with pytest.raises(EvaluateError, match="its tokenizer has no chat template"):
        open_model(replace(job, model=str(bare), backend="hf"))


# -- during a training run -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("forked_children")
def test_a_checkpoint_is_evaluated_while_its_run_trains(
    small: MakeConfig, job: Job, tmp_path: Path
) -> None:
    host = EngineHost(small(train__steps=4, log__val_every=0, log__checkpoint_every=2))
    assert host.run() == "finished", host.error
    first, second = list_checkpoints(host.run_dir.checkpoints)
    evaluations = BackgroundEvaluation(host.run_dir, replace(job, limit=2), tmp_path / "cache")
    before = torch.get_rng_state()
    assert evaluations.start(first)
    assert not evaluations.start(second)
    evaluations.close(patience_s=120)
    [record] = evaluations.collect()
    assert isinstance(record, Record), record
    assert [record] == read_records(host.run_dir)
    assert (record.step, record.outcome.scores[0].questions) == (2, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert evaluations.start(second)
    evaluations.close()
    [refusal] = evaluations.collect()
    assert str(refusal) == "the evaluation was cancelled"
