"""Promises of the tokenizer."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from lmm_tui.data.builtin.stories import story
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.tokenizer import SPECIAL_TOKENS, Tokenizer

TEXTS = [story(0, index) for index in range(300)]
TRAINED = Tokenizer.train(TEXTS, 600)


def word_level(path, *words):
    """A foreign tokenizer.json that is not byte-level."""
    backend = Backend(models.WordLevel({word: place for place, word in enumerate(words)}, words[0]))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.save(str(path))
    return path


def run(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_survives_the_round_trip(text):
    assert TRAINED.decode(TRAINED.encode(text)) == text


def test_long_mixed_texts_survive_the_round_trip():
    text = "\tdef f(x):\n        return x  # 小兔子 café 🐇\r\n\r\n\n" * 20 + "\x00\ufeff"
    assert TRAINED.decode(TRAINED.encode(text)) == text


def test_special_tokens_are_minimind_s_with_its_ids():
    assert SPECIAL_TOKENS == ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    assert [TRAINED.encode(token) for token in SPECIAL_TOKENS] == [[0], [1], [2]]
    assert TRAINED.eos_id == 0
    assert TRAINED.decode([1, 2, 0]) == "<|im_start|><|im_end|><|endoftext|>"


def test_training_reaches_the_vocabulary_asked_for():
    assert TRAINED.vocab_size == 600
    assert max(id for text in TEXTS for id in TRAINED.encode(text)) < 600


def test_a_text_too_poor_for_the_vocabulary_gives_a_smaller_one():
    assert Tokenizer.train(["ab"], 600).vocab_size < 300


def test_digits_are_tokens_of_their_own():
    strings = TRAINED.token_strings(TRAINED.encode("12 + 345 = 357"))
    assert [piece for piece in strings if piece.strip().isdigit()] == list("12345357")


def test_no_token_is_longer_than_a_long_word():
    rich = Tokenizer.train(TEXTS, 3000)
    words = rich.token_strings(range(3, rich.vocab_size))
    assert max(len(word.encode()) for word in words if "<" not in word) <= 15


def test_a_batch_is_encoded_like_its_texts():
    assert TRAINED.encode_batch(TEXTS[:20]) == [TRAINED.encode(text) for text in TEXTS[:20]]


def test_a_split_character_decodes_to_the_replacement_character():
    ids = TRAINED.encode("🐇")
    assert len(ids) > 1
    assert TRAINED.decode(ids[:-1]) == "\N{REPLACEMENT CHARACTER}"
    assert TRAINED.decode(ids) == "🐇"


def test_token_strings_show_the_bytes_of_split_characters():
    assert "".join(TRAINED.token_strings(TRAINED.encode("🐇"))) == "<F0><9F><90><87>"
    assert TRAINED.token_strings([0, 1]) == ["<|endoftext|>", "<|im_start|>"]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x7F), max_size=80))
def test_token_strings_of_ascii_join_to_the_text(text):
    assert "".join(TRAINED.token_strings(TRAINED.encode(text))) == text


def test_ids_without_a_token_are_named_and_decode_to_nothing():
    assert TRAINED.token_strings([5000]) == ["<#5000>"]
    assert TRAINED.decode([5000]) == ""


def test_a_lone_surrogate_does_not_stop_a_prompt():
    assert TRAINED.decode(TRAINED.encode("a\ud800b")) == "a?b"


def test_the_same_text_gives_the_same_tokenizer_in_every_process():
    code = (
        "from lmm_tui.data.builtin.stories import story; "
        "from lmm_tui.data.tokenizing.tokenizer import Tokenizer;"
        "print(Tokenizer.train([story(0, i) for i in range(300)], 600).fingerprint)"
    )
    assert run(code).stdout.strip() == TRAINED.fingerprint
    assert Tokenizer.train(TEXTS[1:], 600).fingerprint != TRAINED.fingerprint


@pytest.mark.parametrize("name", ["", "tokenizer.json"])
def test_saving_and_loading_changes_nothing(tmp_path, name):
    TRAINED.save(tmp_path / "kept" / name)
    for path in (tmp_path / "kept", tmp_path / "kept" / "tokenizer.json"):
        loaded = Tokenizer.load(path)
        assert loaded.fingerprint == TRAINED.fingerprint
        assert loaded.encode(TEXTS[0]) == TRAINED.encode(TEXTS[0])
        assert loaded.token_strings([0, 400]) == TRAINED.token_strings([0, 400])


def test_a_foreign_end_token_is_found_in_the_configuration_or_by_name(tmp_path):
    path = word_level(tmp_path / "tokenizer.json", "[UNK]", "</s>", "▁stop", "go")
    assert Tokenizer.load(path).eos_id == 1
    for eos in ("▁stop", {"content": "▁stop"}):
        config = tmp_path / "tokenizer_config.json"
        config.write_text(json.dumps({"eos_token": eos}), encoding="utf-8")
        loaded = Tokenizer.load(tmp_path)
        assert loaded.eos_id == 2
        loaded.save(tmp_path / "again")
        assert Tokenizer.load(tmp_path / "again").fingerprint == loaded.fingerprint
    assert Tokenizer.load(path).token_strings([2, 3]) == [" stop", "go"]


def test_padding_and_truncation_of_a_foreign_tokenizer_are_switched_off(tmp_path):
    backend = Backend(models.WordLevel({"</s>": 0, "a": 1}, "</s>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.enable_truncation(2)
    backend.enable_padding(length=8)
    backend.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.encode("a a a") == [1, 1, 1]
    assert loaded.encode_batch(["a", "a a a"]) == [[1], [1, 1, 1]]


def test_what_is_no_tokenizer_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    (tmp_path / "endless").mkdir()
    word_level(tmp_path / "endless" / "tokenizer.json", "[UNK]", "a")
    for path, sentence in {
        tmp_path / "gone.json": "no such file; give a tokenizer.json",
        tmp_path: "holds no tokenizer.json; give",
        tmp_path / "bad.json": "not a tokenizer",
        tmp_path / "endless": "has no token that ends a document",
    }.items():
        with pytest.raises(DataError, match=f"^data.tokenizer: .*{sentence}"):
            Tokenizer.load(path)


def test_a_fork_after_parallel_work_warns_nobody_and_works():
    code = (
        "import os; from lmm_tui.data.tokenizing.tokenizer import Tokenizer;"
        "t = Tokenizer.train(['some words here'] * 50, 280); t.encode_batch(['words'] * 500);"
        "pid = os.fork(); ids = t.encode_batch(['words here'] * 500);"
        "pid or os._exit(0 if len(ids) == 500 else 1);"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    done = run(code)
    assert (done.stdout.strip(), done.stderr) == ("0", "")


def test_a_choice_of_parallelism_made_outside_is_kept():
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
    code = (
        "import os, lmm_tui.data.tokenizing.tokenizer; print(os.environ['TOKENIZERS_PARALLELISM'])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "false"
