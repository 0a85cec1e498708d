"""Rows in the cache: the tokens are those of the rows, made once, whatever ends the process."""

import json
from pathlib import Path

import pytest

from lmm_tui.data.chat.conversations import read_conversations
from lmm_tui.data.chat.kept_examples import KeptAnswers, KeptPrompts
from lmm_tui.data.chat.prompts import read_prompts
from lmm_tui.data.chat.rendering import PromptRendering, TalkRendering
from lmm_tui.data.chat.template import render_all, render_prompt
from lmm_tui.data.preparation.cache_items import cache_items
from lmm_tui.data.preparation.prepare_rows import prepare_rows
from lmm_tui.data.text.source import Source
from lmm_tui.data.tokenizing.learnt_tokens import LearntTokens
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

TOKENIZER = Tokenizer.train(["user assistant 1 + 1 = 2? no "] * 9, 300)


class Killed(BaseException):
    pass


class Watched(TalkRendering):
    """Counts what it renders, and ends the process after so many rows."""

    rendered = 0
    most = 10**9

    def render(self, rows):
        if Watched.rendered + len(rows) > Watched.most:
            raise Killed
        Watched.rendered += len(rows)
        return super().render(rows)


@pytest.fixture
def watched():
    Watched.rendered, Watched.most = 0, 10**9
    return Watched(lambda talk: (talk,), TOKENIZER)


def write(path: Path, rows) -> str:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def chat(number: int):
    turns = [{"role": "user", "content": f"{number} + 1?"}]
    return {"messages": [*turns, {"role": "assistant", "content": f"{number + 1}"}]}


def prepared(source, rendering, cache, side="train"):
    rows = read_conversations(source, side=side, val_fraction=0.1)
    found = prepare_rows(rows, rendering, named="chats", cache_dir=cache, progress=lambda *_: None)
    return rows, found


def test_the_tokens_are_those_of_the_rows_and_made_once(tmp_path, watched):
    source = write(tmp_path / "a.jsonl", [*map(chat, range(600)), '{"messages": 3}'])
    wanted = [*render_all(read_conversations(source, val_fraction=0.1), TOKENIZER)]
    _, found = prepared(source, watched, tmp_path / "cache")
    assert [found.tokens[at] for at in range(len(found.tokens))] == wanted
    before = Watched.rendered
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
    rows, again = prepared(str(tmp_path / "b.jsonl"), watched, tmp_path / "cache")
    assert Watched.rendered == before and again.entry == found.entry
    assert rows.skipped_rows[0].startswith(f"{tmp_path}/b.jsonl:601: ")
    _, other = prepared(str(tmp_path / "b.jsonl"), watched, tmp_path / "cache", "test")
    assert len(other.tokens) == 600 - len(wanted)
    assert {item.state for item in cache_items(tmp_path / "cache")} == {"whole"}


def test_what_a_killed_process_has_written_is_gone_on_with(tmp_path, watched):
    source = write(tmp_path / "a.jsonl", map(chat, range(1600)))
    whole, part = tmp_path / "whole", tmp_path / "part"
    _, wanted = prepared(source, watched, whole)
    made, Watched.rendered, Watched.most = Watched.rendered, 0, 600
    with pytest.raises(Killed):
        prepared(source, watched, part)
    assert Watched.rendered == 512 and cache_items(part)[0].state == "unfinished"
    Watched.most = 10**9
    _, found = prepared(source, watched, part)
    files = [one.entry / "tokens.bin" for one in (wanted, found)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert made <= Watched.rendered <= made + 512 and found.notes == ()


def test_other_columns_are_another_entry(tmp_path, watched):
    rows = [{"a": f"{n}?", "b": f"{n}!", "output": "no"} for n in range(9)]
    source = write(tmp_path / "a.jsonl", rows)
    entries = set()
    for answer in ("b", "output"):
        named = Source.parse(source, {"instruction": "a", "output": answer})
        entries.add(prepared(named, watched, tmp_path / "cache")[1].entry)
    assert len(entries) == 2


def test_the_pairs_that_are_kept_are_those_that_fit_and_say_something():
    said = [([1] * n, [False] * (n - k) + [True] * k) for n in range(1, 9) for k in (0, 1, n)]
    every = [said[at : at + 2] for at in range(0, len(said), 2)]
    kept = KeptAnswers(LearntTokens.of(said), 2, 5)
    fitting = [pair for pair in every if all(len(ids) <= 6 for ids, _ in pair)]
    usable = [pair for pair in fitting if all(any(learnt) for _, learnt in pair)]
    assert [list(pair) for pair in kept] == usable and kept[-1] == tuple(usable[-1])
    assert kept.too_long == len(every) - len(fitting)
    assert kept.unwritten == len(fitting) - len(usable)
    with pytest.raises(IndexError):
        kept[len(kept)]


def test_a_prompt_keeps_its_tokens_question_and_answer(tmp_path):
    rows = [
        {"prompt": "1 + 1?", "answer": 2.50},
        {"system": "Add.", "prompt": "2\U0001f600"},
        {"prompt": "1 " * 99, "answer": "x"},
    ]
    source = write(tmp_path / "a.jsonl", rows)
    read = read_prompts(source, val_fraction=0)
    found = prepare_rows(
        read, PromptRendering(TOKENIZER), named="", cache_dir=tmp_path, progress=lambda *_: None
    )
    given = [*read]
    kept = KeptPrompts(found.tokens, 60, needs_answer=False)
    assert [*kept] == [render_prompt(one.turns, TOKENIZER) for one in given[:2]]
    assert [kept.judged_by(at).answer for at in range(2)] == ["2.5", None]
    assert kept.judged_by(1).turns[0].content == given[1].turns[-1].content
    assert KeptPrompts(found.tokens, 60, needs_answer=True).unanswered == 1
