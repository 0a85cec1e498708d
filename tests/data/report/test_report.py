"""What `lmm-tui data` counts, against data that were made with so many of each."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from lmm_tui.cli.commands.data import command
from lmm_tui.data.builtin.tasks import test_set as questions_of_kind
from lmm_tui.data.errors import DataError
from lmm_tui.data.report.near_duplicates import SIMILAR, NearDuplicates
from lmm_tui.data.report.overlap import Overlap
from lmm_tui.data.report.report import report
from lmm_tui.data.report.scripts import Scripts
from lmm_tui.data.text.source import Source
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

WORDS = [f"w{n}" for n in range(5000)]


def text(rng: random.Random, size: int = 120) -> list[str]:
    return rng.choices(WORDS, k=size)


def jaccard(one: list[str], other: list[str]) -> float:
    a, b = ({tuple(it[at : at + 5]) for at in range(len(it) - 4)} for it in (one, other))
    return len(a & b) / len(a | b)


def test_near_duplicates_are_those_of_the_exact_similarity() -> None:
    rng = random.Random(1)
    wrong = 0
    for _ in range(60):
        base = text(rng)
        other = base[:]
        for _ in range(rng.choice([0, 1, 12])):
            other[rng.randrange(len(other))] = "changed"
        exact = jaccard(base, other)
        found = NearDuplicates()
        found.add(" ".join(base))
        is_found = found.add(" ".join(other)) is not None
        if abs(exact - SIMILAR) > 0.15:  # Estimated from 64 hashes: about 0.05 to each side.
            wrong += is_found != (exact > SIMILAR)
    assert not wrong


def test_near_duplicates_of_a_set_are_those_of_all_exact_similarities() -> None:
    rng, found = random.Random(5), NearDuplicates()
    texts = [text(rng, rng.randint(20, 200)) for _ in range(40)]
    for _ in range(80):
        other = rng.choice(texts)[:]
        for _ in range(rng.choice([0, 1, 2, 9])):
            other[rng.randrange(len(other))] = rng.choice(WORDS)
        texts.append(other)
    rng.shuffle(texts)
    judged = 0
    for number, one in enumerate(texts):
        nearest = max((jaccard(one, other) for other in texts[:number]), default=0.0)
        is_near = found.add(" ".join(one)) is not None
        if abs(nearest - SIMILAR) > 0.15:
            judged += 1
            assert is_near == (nearest > SIMILAR), nearest
    assert judged > 80


def test_texts_that_have_nothing_in_common_are_none() -> None:
    rng, found = random.Random(2), NearDuplicates()
    assert all(found.add(" ".join(text(rng))) is None for _ in range(200))
    assert found.add("") is None


def test_questions_are_found_where_thirteen_words_agree() -> None:
    question = " ".join(WORDS[:20])
    overlap = Overlap({"t": [question, "What is 3 + 4?", " ".join(WORDS[50:59])]})
    assert overlap.add("before " + " ".join(WORDS[3:17]) + " after")
    assert not overlap.add(" ".join(WORDS[3:15]))  # Twelve.
    assert overlap.add("x " + " ".join(WORDS[50:59]))
    assert not overlap.add("So: what is 3 + 4?")
    assert overlap.add("user: what is 3 + 4?", asked=["what is  3 + 4?"])
    assert overlap.seen == {"t": 3} and overlap.rows == 3


def test_scripts_are_shares_of_letters() -> None:
    scripts = Scripts()
    scripts.add("abcd ДД 中中 ひ 한, 12 🦊")
    assert scripts.shares == {
        "Latin": 4 / 11, "Cyrillic": 2 / 11, "Han": 2 / 11, "Kana": 1 / 11, "Hangul": 1 / 11,
        "other": 1 / 11,
    }  # fmt: skip


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(3)
    asked = [one.question for one in questions_of_kind("sums", 5)]
    rows = [{"instruction": " ".join(text(rng, 30)), "output": "yes", "id": n} for n in range(200)]
    rows += rows[:4]
    rows += [{"instruction": question, "output": "1"} for question in asked[:3]]
    rows.append({"instruction": "long", "output": " ".join(text(rng, 900))})
    path = tmp_path_factory.mktemp("chats") / "a.jsonl"
    path.write_text("\n".join([*map(json.dumps, rows), "{broken"]), encoding="utf-8")
    return path


def test_a_report_counts_what_was_put_in(chats: Path) -> None:
    found = report(Source(str(chats)), vocab_size=400, seq_len=400)
    assert (found.kind, found.rows, found.bad) == ("conversations", 208, 1)
    assert found.columns == {"instruction": "text", "output": "text", "id": "number"}
    assert found.exact_duplicates == 4 and found.near_duplicates == 4
    assert found.overlap["lmm_sums"] == (3, 200) and found.overlapping == 3
    assert found.truncated == 1 and found.unused == ("id",)
    assert found.bad_rows[0].startswith(f"{chats}:209: not JSON")
    assert sum(found.lengths.values()) == 208


def test_tokens_are_those_of_the_tokenizer(tmp_path: Path) -> None:
    rng = random.Random(4)
    rows = [" ".join(text(rng, size)) for size in (3, 40, 200)]
    tokenizer = Tokenizer.train(rows, 400)
    tokenizer.save(tmp_path / "tok")
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": row}) for row in rows))
    found = report(Source(str(tmp_path / "a.jsonl")), tokenizer=str(tmp_path / "tok"))
    lengths = [len(tokenizer.encode(row)) + 1 for row in rows]  # And the end token.
    assert (found.tokens, found.longest, found.median) == (sum(lengths), lengths[2], lengths[1])
    for name, count in found.lengths.items():
        low, high = map(int, name.split("-"))
        assert count == sum(low <= length <= high for length in lengths)


def test_the_command_prints_text_and_json(chats: Path) -> None:
    done = CliRunner().invoke(command, [str(chats), "--vocab-size", "400", "--json"])
    (record,) = json.loads(done.output)
    assert record["rows"] == 208 and record["kind"] == "conversations"
    done = CliRunner().invoke(command, [str(chats), "--vocab-size", "400", "--against", str(chats)])
    assert "exact duplicates" in done.output and "4 of 208 (1.9%)" in done.output
    assert "lmm_sums 3/200" in done.output and f"{chats} 204/204" in done.output
    assert "█" in done.output


def test_what_cannot_be_reported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file, folder or glob matches"):
        report(Source(str(tmp_path / "none.jsonl")))
    done = CliRunner().invoke(command, ["builtin", "--column", "txt=x"])
    assert "--column txt=x: expected KEY=NAME; keys are text, messages" in str(done.exception)
