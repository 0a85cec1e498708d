"""What a chat template leaves out is said; see test_real_templates for templates as published."""

import pytest
from real_templates import FAMILIES, open_folder

from lmm_tui.data.chat.template import CHATML
from lmm_tui.data.chat.whole_check import differences
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn

ASKED = (Turn("user", "one"),)


def test_nothing_is_said_where_all_is_written() -> None:
    """ChatML's answers are encoded apart from the prompt, whatever they begin with."""
    tokenizer = Tokenizer.train(["user assistant one two\n\n "] * 9, 300)
    turns = (
        *(*ASKED, Turn("assistant", "\n\n<|im_end|> two", {"reasoning_content": "R"})),
        *(Turn("user", "🙂"), Turn("assistant", "😐")),
    )
    assert differences([turns], tokenizer, CHATML) == []


@pytest.mark.parametrize(
    ("content", "turn", "said"),
    [
        (
            "{{ m.content if m.role == 'user' }}",
            Turn("assistant", "two"),
            "1 of the first 1 answers are not learnt",
        ),
        (
            "{{ m.content if m.role != 'user' }}",
            Turn("assistant", "two"),
            "1 of the first 1 turns in front of answers are not shown",
        ),
        (
            "{{ m.content }}",
            Turn("assistant", "two", {"reasoning_content": "hm"}),
            "1 of the first 1 thoughts are not learnt",
        ),
        ("{{ m.content }}", Turn("assistant", "<think>hm</think>two"), None),
        ("{{ m.content }}", Turn("assistant", "two", learnt=False), None),
    ],
)
def test_what_is_not_written_is_counted(content: str, turn: Turn, said: str | None) -> None:
    source = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n" + content + "<|im_end|>{% endfor %}"
    )
    family = FAMILIES["smollm2"]
    found = open_folder(family.backend(), source, **family.names)
    notes = differences([(*ASKED, turn)], found.ours, found.template)
    assert [note.split(":")[0] for note in notes] == ([said] if said else [])


def test_answers_that_end_without_a_token_are_counted() -> None:
    """As GLM-4's, which the next turn's token ends."""
    source = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% endfor %}"
    family = FAMILIES["smollm2"]
    found = open_folder(family.backend(), source, **family.names)
    [note] = differences([(*ASKED, Turn("assistant", "two"))], found.ours, found.template)
    assert note.startswith("1 of the first 1 answers end without a token")
