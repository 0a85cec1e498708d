"""Which questions a model got wrong, in the samples that lm-eval keeps."""

from lmm_tui.engine.evaluation.missed_questions import MOST_A_TASK, MissedQuestion, missed_of


def generated(right: float) -> dict:
    return {
        "arguments": {"gen_args_0": {"arg_0": "worked example … 57 - 28 = ?", "arg_1": {}}},
        "filtered_resps": ["1"],
        "target": "29",
        "exact_match": right,
    }


def test_an_answer_beside_the_expected_one() -> None:
    found = {"samples": {"sums": [generated(0.0), generated(1.0)]}}
    (one,) = missed_of(found)
    assert one == MissedQuestion("sums", "worked example … 57 - 28 = ?", "29", "1")


def test_of_choices_the_likeliest_one_was_given() -> None:
    sample = {
        "arguments": [("Sort: 0 4 7", " 4 0 7"), ("Sort: 0 4 7", " 0 4 7")],
        "filtered_resps": [(-1.0, False), (-3.5, False)],
        "target": 1,
        "acc": 0.0,
    }
    assert missed_of({"samples": {"choice": [sample]}})[0].given == "4 0 7"
    assert missed_of({"samples": {"choice": [sample]}})[0].expected == "0 4 7"


def test_a_few_of_each_task_and_none_without_right_or_wrong() -> None:
    plain = {"arguments": [("a", "b")], "filtered_resps": [(-1.0, False)], "target": "b"}
    found = {"samples": {"sums": [generated(0.0)] * 99, "wiki": [plain | {"word_perplexity": 9.0}]}}
    assert [one.task for one in missed_of(found)] == ["sums"] * MOST_A_TASK
