"""Promises of the generated stories and sums."""

import re
from fractions import Fraction
from operator import add, mul, sub, truediv

import pytest

from lmm_tui.data.builtin.numerals import number_word, zh_number
from lmm_tui.data.builtin.stories import plots, story
from lmm_tui.data.builtin.sums import sums
from lmm_tui.data.builtin.wording import FOLDER, LANGUAGES, read
from lmm_tui.data.builtin.world import WORLD

PAGES = [sums(0, index) for index in range(400)]
STORIES = [story(0, index) for index in range(400)]
HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("write", [story, sums])
def test_a_text_depends_on_seed_and_index_only(write):
    there = [write(3, index) for index in range(20)]
    back = [write(3, index) for index in reversed(range(20))]
    assert there == back[::-1]
    assert there != [write(4, index) for index in range(20)]


def test_stories_hardly_repeat():
    assert len(set(STORIES)) == len(STORIES)


def test_stories_use_a_vocabulary_that_a_small_model_can_learn():
    english = {word for text in STORIES for word in re.findall(r"[a-z]+", text.lower())}
    chinese = {char for text in STORIES for char in HAN.findall(text)}
    assert 300 < len(english) < 1000
    assert 300 < len(chinese) < 1000


def test_stories_are_told_in_english_in_chinese_and_in_both():
    languages = {(bool(re.search("[a-z]", text)), bool(HAN.search(text))) for text in STORIES}
    assert languages == {(True, False), (False, True), (True, True)}


def test_the_default_prompts_start_stories():
    assert any(text.startswith("Once upon a time") for text in STORIES)
    assert any(text.startswith("小兔子") for text in STORIES)


def test_sentences_start_with_a_capital_and_leave_no_placeholder():
    for text in STORIES:
        assert not re.search(r"[{}]", text)
        assert not re.search(r"[.!?] [a-z]", re.sub(r'"[^"]*"', "Q", text))


def test_a_story_keeps_to_its_two_friends():
    names = {person.en for person in WORLD["characters"]}
    for text in STORIES:
        found = names.intersection(re.findall(r"\b[A-Z][a-z]+\b", text))
        assert len(found) <= 2


def test_every_plot_is_told():
    names = read("stories")["plots"]
    assert sorted(names) == sorted(path.stem for path in FOLDER.glob("story_plots/*.toml"))
    assert len(plots()) == len(names) >= 10


def test_a_plot_has_the_same_steps_in_both_languages_with_a_choice_of_words_in_each():
    for plot in plots():
        english, chinese = (plot.steps[language] for language in LANGUAGES)
        assert [len(step) for step in english] == [len(step) for step in chinese]
        assert min(map(len, english)) >= 2


def worked_out(expression):
    """Of `a + b - c`, from left to right."""
    first, *rest = expression.split()
    total = Fraction(first)
    for sign, number in zip(rest[::2], map(Fraction, rest[1::2]), strict=True):
        apply = {"+": add, "-": sub, "×": mul, "÷": truediv}[sign]
        total = apply(total, number)
    return total


def test_every_equation_is_right():
    term = r"\d+(?: [-+×÷] \d+)*"
    equations = re.findall(f"{term}(?: = {term})+", "\n".join(PAGES))
    assert len(equations) > 1000
    for equation in equations:
        assert len({worked_out(side) for side in equation.split(" = ")}) == 1, equation


def test_every_comparison_is_right():
    found = [match for page in PAGES for match in re.findall(r"^(\d+) ([<>]) (\d+)$", page, re.M)]
    assert len(found) > 50
    assert all((int(a) < int(b)) == (sign == "<") for a, sign, b in found)


def test_spoken_sums_say_what_is_right():
    value = {number_word(number): number for number in range(100)}
    value |= {zh_number(number): number for number in range(100)}
    text = "\n".join(PAGES).lower()
    spoken = re.findall(r"([a-z-]+) (plus|minus|times|divided by) ([a-z-]+) is ([a-z-]+)\.", text)
    digits = "[零一二三四五六七八九十]+"
    spoken += re.findall(f"({digits})(加|减|乘以|除以)({digits})等于({digits})。", text)
    assert len(spoken) > 300
    for left, word, right, result in spoken:
        a, b, c = value[left], value[right], value[result]
        if word in {"plus", "加"}:
            assert a + b == c
        elif word in {"minus", "减"}:
            assert a - b == c
        elif word in {"times", "乘以"}:
            assert a * b == c
        else:
            assert a == b * c


def test_word_problems_answer_what_they_work_out():
    found = re.findall(r"= (\d+)\. \w+ has (\d+)", "\n".join(PAGES))
    assert len(found) > 50
    assert all(worked == answered for worked, answered in found)


def test_chinese_numerals_follow_the_rules():
    assert [zh_number(number) for number in (0, 10, 11, 19, 20, 21, 99)] == [
        *("零", "十", "十一", "十九", "二十", "二十一", "九十九")
    ]
    assert len({zh_number(number) for number in range(100)}) == 100
    assert len({number_word(number) for number in range(100)}) == 100
