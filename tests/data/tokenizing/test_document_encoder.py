"""The fast encoder against `tokenizers`: the same ids for whatever text there is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm_tui.data.text.corpus import BUILTIN, open_text
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.tokenizing.document_encoder import DocumentEncoder
from lmm_tui.data.tokenizing.tokenizer import SPECIAL_TOKENS, Tokenizer

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
# The pattern that Qwen's tokenizer.json has, as published.
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLIT = {"type": "Split", "pattern": {"Regex": QWEN}, "behavior": "Isolated", "invert": False}
KINDS: dict[str, dict[str, object]] = {
    "ours": {},
    "GPT-2's": {"pre_tokenizer": BYTE_LEVEL | {"use_regex": True}},
    "Qwen's": {
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [SPLIT, BYTE_LEVEL | {"use_regex": False}],
        },
    },
    "Llama-2's": {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
    },
}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(open_text(BUILTIN, 0.1).documents(Skipped()))


@pytest.fixture(scope="module")
def trained(texts: list[str]) -> Tokenizer:
    return Tokenizer.train(texts, 2000)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(
    request: pytest.FixtureRequest, trained: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    file = tmp_path_factory.mktemp("kind") / "tokenizer.json"
    file.write_text(json.dumps(json.loads(trained.serialised) | KINDS[request.param]), "utf-8")
    return Tokenizer.load(file)


def same(tokenizer: Tokenizer, texts: list[str]) -> bool:
    """Whether both give, for each text, the ids that `tokenizers` gives one by one."""
    expected = [[*ids, tokenizer.eos_id] for ids in map(tokenizer.encode, texts)]
    for fast in (True, False):
        ids, lengths = DocumentEncoder(tokenizer, fast).encode(texts)
        assert lengths.tolist() == [len(one) for one in expected]
        if ids.tolist() != [token for one in expected for token in one]:
            return False
    return True


def test_all_of_the_built_in_text(tokenizer: Tokenizer, texts: list[str]) -> None:
    assert same(tokenizer, texts)


def test_a_vocabulary_that_lacks_a_byte_is_left_to_tokenizers(tmp_path: Path) -> None:
    known = json.loads(Tokenizer.train(["some words"], 300).serialised)
    del known["model"]["vocab"]["w"]
    known["model"]["merges"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(known), encoding="utf-8")
    assert not DocumentEncoder(Tokenizer.load(tmp_path)).is_fast


PIECES = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from([*SPECIAL_TOKENS, "<|im_", "|>", " ", "\r\n", "'S", "'ſ", "中文", "👍🏽", "é"]),
    st.text("aZ 9.,'\n\u3000\u00a0é", max_size=9),
)  # fmt: skip


def test_random_unicode(tokenizer: Tokenizer) -> None:
    @settings(deadline=None, max_examples=30)
    @given(st.lists(st.lists(PIECES, max_size=40).map("".join), min_size=1, max_size=12))
    def check(texts: list[str]) -> None:
        assert same(tokenizer, texts)

    check()


def test_every_character_there_is_between_letters_digits_signs_and_spaces() -> None:
    trained = Tokenizer.train(["some words"], 300)
    # From the ideographs on, neighbours of one category are alike: some of them, and both ends.
    category = [unicodedata.category(chr(at)) for at in range(0x110000)]
    points = [
        at
        for at, own in enumerate(category)
        if own != "Cs"
        if at < 0x3400 or at % 61 == 0 or category[at - 1 : at + 2] != [own] * 3
    ]
    texts = [
        "".join(f"a{chr(at)}1{chr(at)}. {chr(at)}\n" for at in points[start : start + 512])
        for start in range(0, len(points), 512)
    ]  # fmt: skip
    fast, slow = (DocumentEncoder(trained, fast).encode(texts) for fast in (True, False))
    assert (fast[0] == slow[0]).all() and (fast[1] == slow[1]).all()


def test_it_is_fast_where_fastokens_is_installed_and_works_without() -> None:
    code = """
import sys
if sys.argv[1:]: sys.modules["fastokens"] = None
from lmm_tui.data.tokenizing.document_encoder import DocumentEncoder
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
encoder = DocumentEncoder(Tokenizer.train(["some words"], 300))
print(encoder.is_fast, encoder.encode(["some", "words"])[0].tolist())
"""
    said = [
        subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True,
                       check=True).stdout.split(" ", 1)
        for flags in ([], ["without"])
    ]  # fmt: skip
    pytest.importorskip("fastokens")
    assert [one[0] for one in said] == ["True", "False"]
    assert said[0][1] == said[1][1]


def test_a_forked_child_does_without_the_threads_of_its_parent(tmp_path: Path) -> None:
    trained = Tokenizer.train(["some words"], 300)
    DocumentEncoder(trained).encode(["some words"] * 100)
    child = os.fork()
    if not child:
        encoder = DocumentEncoder(trained)
        encoder.encode(["some words"] * 100)
        os._exit(int(encoder.is_fast))
    assert os.waitpid(child, 0)[1] == 0
