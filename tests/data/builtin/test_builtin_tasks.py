"""Promises of the built-in questions: right answers, near misses, and nothing on both sides."""

import re
from itertools import islice

import pytest

from lmm_tui.data.builtin import tasks
from lmm_tui.data.builtin.holdout import calculation, comparison, split
from lmm_tui.data.builtin.task import KINDS
from lmm_tui.data.builtin.tasks import conversations, pairs, prompts
from lmm_tui.data.builtin.world import WORLD
from lmm_tui.data.errors import DataError
from lmm_tui.data.text.corpus import generated_texts

SIDES = ("train", "test")
DRAWN = {
    (kind, side): [tasks.task("tests", index, side, (kind,)) for index in range(400)]
    for kind in KINDS
    for side in SIDES
}
EVERY = [drawn for many in DRAWN.values() for drawn in many]
SIGNS = {"plus": "+", "加": "+", "minus": "-", "减": "-"}
LATIN = re.compile("[a-z]", re.IGNORECASE)


def of(kind):
    return [drawn for side in SIDES for drawn in DRAWN[kind, side]]


def numbers(text):
    return [int(number) for number in re.findall(r"\d+", text)]


def listed(text):
    """The items of a list as it is written in a question or an answer."""
    return re.split(r", |，| ", text)


def of_question(drawn):
    """The list that a question gives."""
    return re.split("[:：] ?", drawn.question)[1]


@pytest.mark.parametrize("stream", [conversations, pairs, prompts])
@pytest.mark.parametrize("side", SIDES)
def test_data_is_the_same_each_time_and_bounded(stream, side):
    assert list(islice(stream(side), 60)) == list(islice(stream(side), 60))
    assert len(list(stream(side, count=7))) == 7


def test_the_usual_sizes_are_what_they_are_said_to_be():
    assert sum(1 for _ in pairs("test")) == sum(1 for _ in prompts("test")) == 500
    assert sum(1 for _ in conversations("test")) == 1000


def test_train_and_test_share_no_question_in_any_wording():
    for kind in KINDS:
        train, test = ({drawn.key for drawn in DRAWN[kind, side]} for side in SIDES)
        assert not train & test
        worded = [{drawn.question for drawn in DRAWN[kind, side]} for side in SIDES]
        assert not worded[0] & worded[1]


def test_what_a_question_asks_is_the_same_in_every_wording_and_language():
    signs = "|".join(map(re.escape, ("+", "-", *SIGNS)))
    for drawn in of("sums"):
        left, sign, right = re.search(rf"(\d+) ?({signs}) ?(\d+)", drawn.question).groups()
        assert drawn.key == calculation(int(left), SIGNS.get(sign, sign), int(right))
    for drawn in of("comparisons"):
        assert drawn.key == comparison(*numbers(drawn.question))
    for drawn in of("sorting"):
        given = numbers(drawn.question)
        assert drawn.key == f"sort {' '.join(map(str, sorted(given)))}"


def test_about_a_tenth_of_the_questions_is_held_out():
    keys = {calculation(a, "+", b) for a in range(100) for b in range(100 - a)}
    held_out = sum(split(key) == "test" for key in keys)
    assert 0.08 < held_out / len(keys) < 0.12


def test_the_pretraining_text_works_out_nothing_that_is_held_out():
    text = "\n".join(islice(generated_texts(2024), 6000))
    seen = {calculation(int(a), s, int(b)) for a, s, b in re.findall(r"(\d+) ([-+×]) (\d+)", text)}
    assert len(seen) > 3000
    # A chain `a - b - c` shows `b - c` to the eye, though nobody works it out.
    chained = re.findall(r"[-+] (\d+) ([-+]) (\d+)", text)
    only_seen = {calculation(int(a), sign, int(b)) for a, sign, b in chained}
    assert all(split(key) == "train" for key in seen - only_seen)
    compared = re.findall(r"(\d+) [<>] (\d+)", text) + re.findall(r"larger, (\d+) or (\d+)", text)
    assert all(split(comparison(int(a), int(b))) == "train" for a, b in compared)


def test_sums_are_right_and_small():
    for drawn in of("sums"):
        left, right = numbers(drawn.question)
        plus = any(sign in drawn.question for sign in ("+", "plus", "加"))
        assert int(drawn.answer) == (left + right if plus else left - right)
        assert 0 <= int(drawn.answer) <= 99 and max(left, right) <= 99


def test_comparisons_are_right():
    for drawn in of("comparisons"):
        smaller = any(word in drawn.question for word in ("smaller", "小"))
        assert int(drawn.answer) == (min if smaller else max)(numbers(drawn.question))


def test_word_problems_are_right():
    for drawn in of("problems"):
        first, second = numbers(drawn.question)
        if drawn.answer.isdigit():
            sign = drawn.key.split()[1]
            results = {"+": first + second, "-": first - second, "×": first * second}
            assert int(drawn.answer) == results[sign]
            assert drawn.key == calculation(first, sign, second)
        else:
            names = [who.name(drawn.language) for who in WORLD["characters"]]
            told = sorted((drawn.question.find(n), n) for n in names if n in drawn.question)
            assert drawn.answer == told[0 if first > second else 1][1]


def test_lists_are_reversed_copied_sorted_and_counted():
    for drawn in of("reversing"):
        assert listed(of_question(drawn)) == listed(drawn.answer)[::-1]
    for drawn in of("copying"):
        assert drawn.question.endswith(drawn.answer)
    for drawn in of("sorting"):
        down = "large to small" in drawn.question or "largest" in drawn.question
        down = down or "从大到小" in drawn.question
        assert numbers(drawn.answer) == sorted(numbers(drawn.question), reverse=down)
    for drawn in of("counting"):
        items = listed(of_question(drawn))
        (asked,) = {item for item in items if item in re.split("[:：]", drawn.question)[0]}
        assert int(drawn.answer) == items.count(asked)


def test_small_talk_answers_from_what_is_told():
    seen = 0
    for drawn in of("talk"):
        told = re.match(
            r"(\w+) (?:lives|has) (.+?), and (\w+) (?:lives|has) (.+?)\. ", drawn.question
        )
        told = told or re.match("(.+?)(?:住在|有)(.+?)，(.+?)(?:住在|有)(.+?)。", drawn.question)
        if told is None:
            continue
        seen += 1
        one, its, other, others = told.groups()
        asked = drawn.question[told.end() :]
        answers = {one: its, other: others, its: one, others: other}
        (topic,) = (topic for topic in answers if re.search(rf"{topic}(?![a-z])", asked))
        assert drawn.answer[:-1].lower() == answers[topic].lower()
    assert seen > 300


def test_an_answer_is_short_and_its_misses_are_near_it_but_wrong():
    for drawn in EVERY:
        assert 0 < len(drawn.answer) <= 60
        assert drawn.misses
        assert len({drawn.answer, *drawn.misses}) == 1 + len(drawn.misses)


def test_both_languages_are_spoken_and_not_mixed():
    for kind in KINDS:
        chinese = [drawn for drawn in of(kind) if drawn.language == "zh"]
        assert 0.35 < len(chinese) / 800 < 0.65
        assert not any(LATIN.search(drawn.question + drawn.answer) for drawn in chinese)
        english = (drawn for drawn in of(kind) if drawn.language == "en")
        assert all((drawn.question + drawn.answer).replace("×", "").isascii() for drawn in english)


def test_wordings_vary():
    for kind in ("sums", "reversing", "copying"):
        assert len({re.sub(r"[\d ,，]|\b[A-Z]\w+$", "", drawn.question) for drawn in of(kind)}) > 8


def test_the_mix_holds_every_kind_and_sums_most_often():
    drawn = [tasks.task("mix", index, "train").kind for index in range(1200)]
    assert set(drawn) == set(KINDS)
    assert max(KINDS, key=drawn.count) == "sums"


def test_one_conversation_in_five_has_two_questions():
    assert [len(chat.turns) for chat in conversations("train", count=10)] == [2, 2, 2, 2, 4] * 2


def test_pairs_and_prompts_ask_what_they_answer():
    for pair in pairs("train", count=200):
        assert [turn.role for turn in (*pair.prompt, *pair.chosen, *pair.rejected)] == [
            *("user", "assistant", "assistant")
        ]
        assert pair.chosen != pair.rejected
    for prompt in prompts("train", count=200, kinds=("copying",)):
        assert prompt.turns[0].content.endswith(prompt.answer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_test_set_is_held_out_and_repeats_nothing(kind):
    found = tasks.test_set(kind, 100)
    assert len({drawn.question for drawn in found}) == len(found) == 100
    assert all(drawn.kind == kind and split(drawn.key) == "test" for drawn in found)
    assert found[:10] == tasks.test_set(kind, 10)


def test_a_test_set_of_sums_is_of_different_sums():
    found = tasks.test_set("sums", 400)
    assert len({drawn.key for drawn in found}) == 400


def test_more_than_there_are_is_refused_with_a_sentence(monkeypatch):
    monkeypatch.setattr("lmm_tui.data.builtin.tasks._FRUITLESS", 20)
    with pytest.raises(DataError, match=r"^sums: only \d+ held-out questions; ask for no more$"):
        tasks.test_set("sums", 100_000)
