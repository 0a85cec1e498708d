"""The parts of an evaluation that need no model: flags, stored files, the choice of the model."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.data.builtin.tasks import KINDS
from lmm_tui.data.builtin.tasks import test_set as builtin_questions
from lmm_tui.engine.evaluation import builtin_tasks, hub_access
from lmm_tui.engine.evaluation.answer_cache import AnswerCache
from lmm_tui.engine.evaluation.flags import split_tasks
from lmm_tui.engine.evaluation.job import EvaluateError, EvaluationOutcome, Job, Score
from lmm_tui.engine.evaluation.local_tasks import expected_file, write_overlays
from lmm_tui.engine.evaluation.model_source import find_evaluated_model
from lmm_tui.engine.evaluation.records import Record, file_in_run, read_records, write_record
from lmm_tui.engine.evaluation.report import history_table, outcome_table
from lmm_tui.engine.evaluation.scores import scores_of
from lmm_tui.engine.evaluation.weights_hash import fingerprint
from lmm_tui.engine.run.checkpoint_names import checkpoint_name
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.run.run_records import RunInfo
from lmm_tui.guarded_files import UnsafeFileError

JOB = Job("model", ("lmm_sums",), limit=10)
WORD = st.text("abcdefghij_", min_size=1, max_size=6)


def score(**changes: Any) -> Score:
    fields: dict[str, Any] = {
        "task": "lmm_choice",
        "metric": "acc",
        "value": 0.5,
        "stderr": 0.1,
        "chance": 0.375,
        "questions": 26,
        "num_fewshot": 0,
    }
    return Score(**fields | changes)


def outcome(*scores: Score, truncated: int = 0) -> EvaluationOutcome:
    return EvaluationOutcome(scores or (score(),), truncated, "0123", {"lm-eval": "0"})


def make_run(folder: Path, *steps: int) -> RunDir:
    run = RunDir(folder / "demo")
    run.create()
    run.write_info(RunInfo("demo", "pretrain", 0.0, 0.0, "here", 1, 0.0))
    for step in steps:
        checkpoint = run.checkpoints / checkpoint_name(step)
        checkpoint.mkdir(parents=True)
        (checkpoint / "state.json").write_text("{}")
        (checkpoint / "model.safetensors").write_text(str(step))
    return run


# -- flags -------------------------------------------------------------------------------------


@given(st.lists(WORD, min_size=1), st.lists(WORD, min_size=1))
def test_tasks_may_be_separated_by_spaces_commas_or_flags(
    first: list[str], last: list[str]
) -> None:
    one_each = [word for name in (*first, *last) for word in ("--tasks", name)]
    rest = ["--limit", "3"]
    spaced = ["--tasks", *first, *rest, "--tasks", *last]
    commas = ["--tasks", ",".join(first), *rest, f"--tasks={','.join(last)}"]
    cut = 2 * len(first)
    assert split_tasks(spaced) == split_tasks(commas) == [*one_each[:cut], *rest, *one_each[cut:]]


def test_the_key_of_a_job_ignores_order_batch_size_and_device(tmp_path: Path) -> None:
    job = Job("a", ("x", "y"), batch_size=1, device="cpu")
    assert job.key == Job("b", ("y", "x"), batch_size=8, device="cuda").key
    assert job.key != Job("a", ("x", "y"), chat=True).key != Job("a", ("x", "y"), limit=1).key
    assert Job.from_json(job.to_json()) == job


# -- the evaluated model -------------------------------------------------------------------------


def test_a_run_means_its_newest_checkpoint_and_a_checkpoint_itself(tmp_path: Path) -> None:
    run = make_run(tmp_path, 7, 30)
    assert find_evaluated_model("demo", tmp_path).step == 30
    assert find_evaluated_model(None, tmp_path).step == 30
    older = find_evaluated_model(str(run.checkpoints / checkpoint_name(7)), tmp_path)
    assert (older.step, older.run and older.run.name) == (7, "demo")
    (tmp_path / "hf").mkdir()
    assert find_evaluated_model(str(tmp_path / "hf"), tmp_path / "runs").run is None


def test_a_run_without_checkpoints_and_no_run_at_all_are_refused(tmp_path: Path) -> None:
    make_run(tmp_path)
    with pytest.raises(EvaluateError, match="no checkpoint yet; `lmm-tui send demo checkpoint`"):
        find_evaluated_model("demo", tmp_path)
    with pytest.raises(RunDirError, match="no such run"):
        find_evaluated_model("other", tmp_path)


def test_a_fingerprint_follows_weights_and_tokenizer_and_nothing_else(tmp_path: Path) -> None:
    run = make_run(tmp_path, 7)
    checkpoint = run.checkpoints / checkpoint_name(7)
    seen = [fingerprint(checkpoint)]
    (checkpoint / "training.pt").write_text("optimiser")
    assert fingerprint(checkpoint) == seen[0]
    weights, adapter = checkpoint / "model.safetensors", checkpoint / "adapter/adapter.safetensors"
    adapter.parent.mkdir()
    for file in (weights, adapter, run.path / "tokenizer.json"):
        file.write_text("other")
        seen.append(fingerprint(checkpoint))
    assert len(set(seen)) == 4


# -- stored records ------------------------------------------------------------------------------


def test_records_come_back_by_step_and_the_same_job_replaces_its_own(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    kept = [Record(1.0, "demo", step, JOB, outcome()) for step in (200, 100)]
    for record in (*kept, Record(2.0, "demo", 100, JOB, outcome(score(value=0.75)))):
        write_record(record, file_in_run(record, run), run)
    (run.evals / "step-000000150-torn.json").write_text("{")
    found = read_records(run)
    assert [(record.step, record.outcome.scores[0].value) for record in found] == [
        (100, 0.75),
        (200, 0.5),
    ]
    assert found[1] == kept[0]


def test_infinity_survives_json(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    record = Record(1.0, "demo", 1, JOB, outcome(score(value=math.inf, stderr=None)))
    write_record(record, file_in_run(record, run), run)
    json.loads(file_in_run(record, run).read_text(), parse_constant=pytest.fail)
    assert read_records(run) == [record]


def test_a_record_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EvaluateError, match="cannot be written"):
        write_record(Record(0, "", None, JOB, outcome()), tmp_path / "file" / "out.json")


# -- tables --------------------------------------------------------------------------------------


def test_every_value_has_its_chance_and_margin() -> None:
    shown = outcome_table(outcome(score(), score(task="lmm_sums", chance=None), truncated=3))
    head, first, second, note = shown.splitlines()
    assert head.split() == ["TASK", "METRIC", "VALUE", "95", "%", "CHANCE", "QUESTIONS", "SHOTS"]
    assert first.split() == ["lmm_choice", "acc", "0.5000", "0.321-0.679", "0.3750", "26", "0"]
    assert second.split()[4] == "–" and "0.321-0.679" in second
    assert note.startswith("3 prompts were longer than the context")


def test_history_compares_only_equal_questions() -> None:
    chat = Job("model", ("lmm_sums",), limit=10, chat=True)
    records = [
        Record(0, "demo", step, JOB, outcome(score(value=step / 1000))) for step in (100, 200)
    ]
    records.append(Record(0, "demo", 200, chat, outcome(score(value=0.9))))
    head, plain, chatted = history_table(records).splitlines()
    assert head.split()[-4:] == ["STEP", "100", "STEP", "200"]
    assert "0.1000 (0.032-0.271)  0.2000 (0.090-0.387)" in plain and "chat" not in plain
    assert "26, chat" in chatted and chatted.endswith("–  0.9000 (0.729-0.968)")


@pytest.mark.parametrize("right, asked", [(0, 10), (1, 10), (10, 10), (26, 100), (3, 4)])
def test_an_interval_of_a_share_is_wilson_s(right: int, asked: int) -> None:
    low, high = score(value=right / asked, questions=asked).interval or (0.0, 0.0)
    share = right / asked
    assert 0 <= low <= share <= high <= 1 and low < high
    for end in (low, high):  # Where a true share of `end` is 1.96 of its own deviations away.
        if 0 < end < 1:
            assert abs(share - end) / (end * (1 - end) / asked) ** 0.5 == pytest.approx(
                1.96, abs=1e-3
            )
    assert (score(value=0.0, questions=10).interval or ())[1] == pytest.approx(0.2775, abs=1e-4)


def test_what_is_no_share_has_standard_errors() -> None:
    assert score(metric="word_perplexity", value=9.0).interval == pytest.approx((8.804, 9.196))
    assert score(metric="word_perplexity", value=9.0, stderr=None).interval is None


def test_chance_is_one_over_the_choices_and_a_group_averages_its_tasks() -> None:
    def answers(*choices: int) -> list[dict[str, Any]]:
        return [{"filtered_resps": [0.0] * count} for count in choices]

    acc = {"acc,none": 0.5, "acc_stderr,none": "N/A", "word_perplexity,none": 9.0, "alias": "x"}
    found = {
        "results": {"two": acc, "four": acc, "both": {"acc,none": 0.5, "alias": "both"}},
        "samples": {"two": answers(2), "four": answers(4, 4, 4)},
        "n-samples": {"two": {"effective": 1}, "four": {"effective": 3}},
        "n-shot": {"two": 0, "four": 5},
        "group_subtasks": {"both": ["two", "four"]},
    }
    by_name = {(s.task, s.metric): s for s in scores_of(found)}
    assert {name: s.chance for name, s in by_name.items()} == {
        ("two", "acc"): 0.5,
        ("two", "word_perplexity"): None,
        ("four", "acc"): 0.25,
        ("four", "word_perplexity"): None,
        ("both", "acc"): (0.5 + 3 * 0.25) / 4,
    }
    assert by_name["both", "acc"].questions == 4
    assert by_name["two", "acc"].stderr is None


# -- the answer cache and the built-in tasks -----------------------------------------------------


class Lm:
    """Answers with the length of the question, and counts the requests."""

    def __init__(self) -> None:
        self.asked = 0
        self.hook: Any = None

    def set_cache_hook(self, hook: Any) -> None:
        self.hook = hook

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        answers = []
        for request in requests:
            self.asked += 1
            answers.append((-len(request.args[0]) / 3, True))
            self.hook.add_partial("loglikelihood", request.args, answers[-1])
        return answers

    loglikelihood_rolling = generate_until = loglikelihood


@given(st.lists(st.tuples(st.text(), st.text()), unique=True, max_size=8), st.integers(0, 8))
def test_cached_answers_are_not_computed_again(
    tmp_path_factory: pytest.TempPathFactory, questions: list[tuple[str, str]], known: int
) -> None:
    file = tmp_path_factory.mktemp("cache") / "answers.jsonl"
    requests = [SimpleNamespace(args=args) for args in questions]
    for part in (requests[:known], requests):
        lm, seen = Lm(), [(0, 0)]
        cache = AnswerCache(file, lambda *at, seen=seen: seen.append(at))
        cache.attach(lm)
        assert lm.loglikelihood(part) == [(-len(r.args[0]) / 3, True) for r in part]
        cache.close()
    already = min(known, len(requests))
    assert lm.asked == len(requests) - already
    assert seen[-1] == (len(requests), already)


def test_sampled_answers_are_not_cached(tmp_path: Path) -> None:
    requests = [SimpleNamespace(args=("question", {"do_sample": True}))]
    for _ in range(2):
        lm = Lm()
        cache = AnswerCache(tmp_path / "answers.jsonl", lambda *_: None)
        cache.attach(lm)
        lm.generate_until(requests)
        cache.close()
        assert lm.asked == 1


def test_built_in_tasks_have_the_test_questions(tmp_path: Path) -> None:
    builtin_tasks.write_tasks(tmp_path)
    for kind in KINDS:
        rows = [json.loads(line) for line in (tmp_path / f"{kind}.jsonl").open()]
        asked = [(row["question"], row["answer"]) for row in rows]
        assert asked == [(task.question, task.answer) for task in builtin_questions(kind, 200)]
        examples = {
            json.loads(line)["question"] for line in (tmp_path / f"{kind}.examples.jsonl").open()
        }
        assert not examples & {question for question, _ in asked}
    choices = [json.loads(line) for line in (tmp_path / "choice.jsonl").open()]
    assert len({row["right"] for row in choices}) > 2
    assert all(len(set(row["choices"])) == len(row["choices"]) >= 2 for row in choices)


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_an_offline_variable_disables_the_hub(monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://localhost:1")
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert hub_access.hub_answers()
    monkeypatch.setenv(switch, "1")
    assert not hub_access.hub_answers()


def test_an_unreachable_hub_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub_access, "getproxies", dict)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert not hub_access.hub_answers()


@pytest.mark.timeout(20)
def test_a_pipe_among_the_files_of_a_model_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pytorch_model.bin")
    with pytest.raises(UnsafeFileError, match="pytorch_model"):
        fingerprint(tmp_path)


@pytest.mark.timeout(20)
def test_a_pipe_as_questions_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / str(expected_file("hellaswag")))
    with pytest.raises(EvaluateError, match="cannot be read"):
        write_overlays(["hellaswag"], tmp_path, tmp_path / "overlays", None)
