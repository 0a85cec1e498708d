"""A tokenizer from anybody cannot hang or end a process by its patterns."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing import pattern_check
from lmm_tui.data.tokenizing.tokenizer import Tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Tokenizer.train(["the cat sat on the mat "] * 9, 280).save(tmp_path)
    return tmp_path


def with_pattern(folder: Path, pattern: str) -> None:
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    "pattern",
    [r"(a|aa|aaa)+(?=b)$", r"(\w+\s?)+$(?=x)", r"(?:z*)*q(?=y)|(z|zz)+!!", r"(.*)*(.*)*\d$x"],
)
def test_a_pattern_that_takes_for_ever_is_refused(folder: Path, pattern: str) -> None:
    with_pattern(folder, pattern)
    begun = time.monotonic()
    with pytest.raises(DataError, match="its patterns .* short text; choose another tokenizer"):
        Tokenizer.load(folder)
    assert time.monotonic() - begun < 60


def test_replacements_that_double_a_text_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a quarter of the memory, which is full in a second; a quick pattern needs less."""
    program = "from lmm_tui.data.tokenizing import pattern_check as it; it._MOST_MEMORY >>= 2"
    monkeypatch.setattr(pattern_check, "_PROGRAM", f"{program}; it.try_patterns()")
    with_pattern(folder, r"\w+|[^\w\s]+|\s+|memory")
    assert Tokenizer.load(folder).encode("a cat")
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    double = [normalizers.Replace("a", "aaaa") for _ in range(12)]
    backend.normalizer = normalizers.Sequence(double)
    backend.save(str(folder / "tokenizer.json"))
    with pytest.raises(DataError, match="its patterns"):
        Tokenizer.load(folder)


def test_a_long_text_before_every_text_is_refused(folder: Path) -> None:
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.normalizer = normalizers.Prepend("x" * (8 << 20))
    backend.save(str(folder / "tokenizer.json"))
    with pytest.raises(DataError, match="many times longer"):
        Tokenizer.load(folder)


@pytest.mark.parametrize("times", [2, 5000])
def test_a_post_processor_that_repeats_a_text_is_refused(folder: Path, times: int) -> None:
    """It is applied without special tokens, too."""
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    template = processors.TemplateProcessing(single=" ".join(["$A"] * times), special_tokens=[])
    backend.post_processor = processors.Sequence([processors.ByteLevel(), template])
    assert len(backend.encode("the", add_special_tokens=False)) == times * len(
        Tokenizer.load(folder).encode("the")
    )
    backend.save(str(folder / "tokenizer.json"))
    with pytest.raises(DataError, match="many times longer"):
        Tokenizer.load(folder)


def test_a_post_processor_that_adds_tokens_is_taken(folder: Path) -> None:
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = ("<|endoftext|>", backend.token_to_id("<|endoftext|>"))
    backend.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", pair="<|endoftext|> $A $B", special_tokens=[end]
    )
    backend.save(str(folder / "tokenizer.json"))
    assert Tokenizer.load(folder).encode_as_input("the")[0] == end[1]


def test_a_panic_is_a_sentence() -> None:
    backend = tokenizers.Tokenizer(models.BPE({"<|endoftext|>": 0}, []))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"(a|aa|aaa)+(?=b)$"), "isolated")
    backend.add_special_tokens(["<|endoftext|>"])
    tokenizer = Tokenizer(backend, "<|endoftext|>")
    for fails in (
        lambda: tokenizer.encode("a" * 4000),
        lambda: tokenizer.encode_batch(["a" * 4000]),
        lambda: tokenizer.encode_as_input("a" * 4000),
    ):
        with pytest.raises(DataError, match="it fails on a text"):
            fails()


def test_patterns_that_are_known_or_quick_are_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_pattern(folder, r"\w+|[^\w\s]+|\s+")
    assert Tokenizer.load(folder).decode(Tokenizer.load(folder).encode("a cat")) == "a cat"
    monkeypatch.setattr(pattern_check, "_trial", lambda parts: pytest.fail("a process was started"))
    for pattern in pattern_check.KNOWN:
        with_pattern(folder, pattern)
        assert Tokenizer.load(folder).encode("the cat")


def test_the_usual_replacement_of_a_space_starts_no_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pattern_check, "_trial", lambda parts: pytest.fail("a process was started"))
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Replace("▁", " ")
    backend.save(str(folder / "tokenizer.json"))
    assert Tokenizer.load(folder).encode("the cat")


def test_an_id_of_four_billion_is_no_vocabulary(folder: Path) -> None:
    file = folder / "tokenizer.json"
    found = json.loads(file.read_text())
    found["added_tokens"].append({**found["added_tokens"][0], "id": 2**32 - 1, "content": "<far>"})
    found["model"]["vocab"]["<far>"] = 2**32 - 1
    file.write_text(json.dumps(found))
    with pytest.raises(DataError, match=r"has ids of|not a tokenizer"):
        Tokenizer.load(folder)
