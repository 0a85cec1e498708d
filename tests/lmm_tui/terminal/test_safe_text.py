"""Nothing that a terminal would obey survives `clean`, and `fit` keeps columns."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len, get_character_cell_size

from lmm_tui.terminal.safe_text import clean, fit, wrap

OBEYED = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
INVISIBLE = "\u200b\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\U000e0041"
any_text = st.text(
    st.one_of(
        st.characters(exclude_categories=()),
        st.sampled_from(OBEYED + INVISIBLE + "\u2028\u2029\u0301\ufe0f\ud800小a "),
    )
)


@given(any_text)
def test_no_control_or_invisible_character_survives(text: str) -> None:
    for cleaned in (clean(text), clean(text, newlines="keep").replace("\n", "")):
        assert not {unicodedata.category(char) for char in cleaned} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        cleaned.encode("utf-8")


@given(any_text)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    kept = clean(text, newlines="keep")
    assert clean(kept, newlines="keep") == kept


@given(any_text)
def test_combining_marks_cannot_pile_up(text: str) -> None:
    pile = 0
    for char in clean(text + "\u0301" * 9):
        pile = 0 if get_character_cell_size(char) else pile + 1
        assert pile <= 3


@given(any_text, st.integers(0, 40))
def test_fit_is_exactly_as_wide_as_asked(text: str, width: int) -> None:
    assert cell_len(fit(clean(text), width)) == width


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_plain_text_is_left_alone(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("a\tb", "a    b"),
        ("one\r\ntwo\nthree\u2028", "one⏎two⏎three⏎"),
        ("progress\r", "progress␍"),
        ("\x9b31mred", "�31mred"),
        ("\u202egpj.exe", "�gpj.exe"),
        ("中文 é ❤\ufe0f", "中文 é ❤"),
        ("\ud83d", "�"),
    ],
)
def test_known_tricks_become_visible(hostile: str, shown: str) -> None:
    assert clean(hostile) == shown


def test_lines_are_kept_on_request() -> None:
    assert clean("def f():\r\n\treturn 1\n", newlines="keep") == "def f():\n    return 1\n"


def test_fit_cuts_wide_characters_in_whole_cells() -> None:
    assert fit("小兔子", 6) == "小兔子"
    assert fit("小兔子", 5) == "小兔…"
    assert fit("小兔子", 4) == "小 …"
    assert fit("ab", 5) == "ab   "


@given(st.text("小兔子，。（）[]：abc ", max_size=60), st.integers(4, 20))
def test_wrapped_text_fits_and_loses_nothing_but_space(text, width):
    lines = wrap(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_word_longer_than_a_line_breaks_after_a_hyphen_or_slash():
    assert wrap("on Linux-6.18-x86_64-with-glibc", 12) == [
        "on Linux-",
        "6.18-x86_64-",
        "with-glibc",
    ]
    assert wrap("/root/.cache/lmm-tui", 8) == ["/root/", ".cache/", "lmm-tui"]


def test_a_line_begins_with_no_comma_and_ends_with_no_opening_bracket():
    assert wrap("小兔子，很远（天黑）。", 7) == ["小兔", "子，很", "远（天", "黑）。"]
