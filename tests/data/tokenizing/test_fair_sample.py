"""The order of a corpus and the length of its lines do not decide what a tokenizer learns."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from lmm_tui.data.preparation import build, prepare_mixture, stream
from lmm_tui.data.preparation.prepare import prepare
from lmm_tui.data.tokenizing.fair_sample import fair_sample

EN = [
    "the",
    "cat",
    "sat",
    "on",
    "mat",
    "and",
    "thought",
    "about",
    "rivers",
    "mountains",
    "houses",
    "where",
    "people",
    "live",
]
ZH = "小猫坐在垫子上想着河流山脉房子里的人们和朋友夏天冬天慢慢地睡着了"
CHINESE = "".join(Random(7).choice(ZH) for _ in range(400))

ROWS, SAMPLE = 600, 400_000

Rows = list[str]


@pytest.fixture(autouse=True)
def small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of less text, in the same proportion to the file."""
    for module in (build, stream, prepare_mixture):
        monkeypatch.setattr(module, "_SAMPLE_CHARACTERS", SAMPLE)


def rows() -> tuple[Rows, Rows]:
    draw = Random(0)
    english = [" ".join(draw.choice(EN) for _ in range(60)) for _ in range(ROWS)]
    return english, ["".join(draw.choice(ZH) for _ in range(120)) for _ in range(ROWS)]


def in_turns(english: Rows, chinese: Rows) -> Rows:
    return [text for both in zip(english, chinese, strict=True) for text in both]


def by_source(english: Rows, chinese: Rows) -> Rows:
    return english + chinese


def three_to_one(english: Rows, chinese: Rows) -> Rows:
    groups = zip(english[::3], english[1::3], english[2::3], chinese, strict=False)
    return [text for group in groups for text in group]


@pytest.mark.parametrize("order", [in_turns, by_source, three_to_one])
def test_ordered_rows_give_a_tokenizer_of_all_sources(
    tmp_path: Path, order: Callable[[Rows, Rows], Rows]
) -> None:
    texts = order(*rows())
    file = tmp_path / "a.jsonl"
    lines = (json.dumps({"text": text}, ensure_ascii=False) for text in texts)
    file.write_text("\n".join(lines), encoding="utf-8")
    assert file.stat().st_size > SAMPLE or order is three_to_one
    assert characters_a_token(file, tmp_path) > 1


def test_one_line_gives_a_tokenizer_of_its_end_too(tmp_path: Path) -> None:
    english, chinese = rows()
    file = tmp_path / "line.txt"
    file.write_text(" ".join(english[:300]) + " " + "".join(chinese[:100]), encoding="utf-8")
    assert characters_a_token(file, tmp_path) > 1


def characters_a_token(file: Path, cache: Path) -> float:
    made = prepare(
        str(file),
        tokenizer=None,
        vocab_size=1500,
        seq_len=64,
        val_fraction=0.02,
        builtin_mb=1,
        cache_dir=cache,
        progress=None,
    )
    return len(CHINESE) / len(made.tokenizer.encode(CHINESE))


def test_a_sample_has_each_source_by_its_share() -> None:
    texts = ["a" * 100] * 30_000 + ["b" * 100] * 10_000
    sample = [*fair_sample(texts, 1_000_000)]
    assert 450_000 < sum(map(len, sample)) <= 1_000_000
    share = sum(text[0] == "b" for text in sample) / len(sample)
    assert share == pytest.approx(0.25, abs=0.03)


def test_what_fits_is_taken_whole_and_in_order() -> None:
    texts = [str(number) for number in range(1000)]
    assert [*fair_sample(texts, 5000)] == texts
    long = "x" * 70_000 + "y"
    assert "".join(fair_sample([long], 100_000)) == long
