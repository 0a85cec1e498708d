"""Promises of the cutter of long texts."""

from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.data.text.passages import SEPARATOR, documents

SHORT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20)
LINES = st.lists(
    st.one_of(
        st.sampled_from(["\n", "  \n", "x" * 5000 + "\n", "word " * 300 + "\n"]),
        SHORT.map(lambda text: text + "\n"),
    ),
    max_size=60,
)


@given(LINES)
def test_no_word_is_lost_and_none_is_doubled(lines):
    assert " ".join(documents(lines)).split() == "".join(lines).replace(SEPARATOR, " ").split()


@given(LINES)
def test_no_document_is_blank(lines):
    assert all(text.strip() for text in documents(lines))


def test_a_separator_ends_a_document_wherever_it_stands():
    lines = ["one\n", f"{SEPARATOR}\n", f"two{SEPARATOR}three\n", f"{SEPARATOR}{SEPARATOR}"]
    assert list(documents(lines)) == ["one", "two", "three"]


def test_short_texts_stay_one_document():
    assert list(documents(["a\n", "\n", "b\n"])) == ["a\n\nb"]


def test_long_texts_are_cut_at_blank_lines():
    paragraph = "a line of words\n" * 20
    found = list(documents((paragraph + "\n").splitlines(keepends=True) * 50))
    assert len(found) > 3
    assert all(len(text) >= 4000 for text in found[:-1])
    assert all(text.startswith("a line") and text.endswith("words") for text in found)


def test_text_without_blank_lines_is_cut_at_line_ends():
    found = list(documents(["0123456789" * 10 + "\n"] * 2000))
    assert len(found) > 1
    assert max(map(len, found)) < 66_000


def test_indentation_of_the_first_line_is_kept():
    assert list(documents(["\n", "    def f(): pass\n"])) == ["    def f(): pass"]
