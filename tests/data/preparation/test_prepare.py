"""Promises of preparing a corpus: cache, split, figures, and everything that can be wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm_tui.data.builtin.stories import story
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.entropy import unigram_and_bigram
from lmm_tui.data.preparation.prepare import prepare
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

STORIES = [story(0, index) for index in range(120)]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "stories.jsonl"
    lines = [json.dumps({"text": text}) for text in STORIES]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def ready(source, cache, **changes):
    options = {
        "tokenizer": None,
        "vocab_size": 400,
        "seq_len": 32,
        "val_fraction": 0.1,
        "builtin_mb": 0.1,
        "cache_dir": cache,
        "progress": None,
    }
    return prepare(str(source), **{**options, **changes})


def entries(cache):
    return sorted(path.name for path in cache.iterdir())


class Log(list):
    """A progress callback that remembers."""

    def __call__(self, label, done, total):
        assert 0 <= done <= total
        self.append(label)


def test_all_documents_are_there_each_with_an_end(source, tmp_path):
    corpus = ready(source, tmp_path / "cache")
    ids = np.concatenate([corpus.train.ids, corpus.val.ids])
    texts = corpus.tokenizer.decode(ids).split("<|endoftext|>")
    assert texts == [*STORIES, ""]
    assert corpus.documents == corpus.train.documents + corpus.val.documents == len(STORIES)


def test_figures_are_of_their_own_side_of_the_split(source, tmp_path):
    corpus = ready(source, tmp_path / "cache")
    both = (corpus.unigram_entropy, corpus.bigram_entropy)
    assert both == unigram_and_bigram(corpus.train.ids)
    held_out = corpus.tokenizer.decode(corpus.val.ids).replace("<|endoftext|>", "")
    assert corpus.tokenizer.byte_lengths[corpus.val.ids].sum() == len(held_out.encode())
    assert 0 < corpus.bigram_entropy < corpus.unigram_entropy < np.log(400)


def test_a_second_time_comes_from_the_cache_and_is_the_same(source, tmp_path):
    first, second = Log(), Log()
    made = ready(source, tmp_path / "cache", progress=first)
    found = ready(source, tmp_path / "cache", progress=second)
    assert {"reading", "training the tokenizer", "tokenising"} <= set(first)
    assert set(second) == {"hashing"}
    assert (found.train.ids == made.train.ids).all() and (found.val.ids == made.val.ids).all()
    assert found.tokenizer.fingerprint == made.tokenizer.fingerprint
    figures = ("unigram_entropy", "bigram_entropy", "documents", "skipped")
    assert all(getattr(found, name) == getattr(made, name) for name in figures)


def test_the_same_text_under_another_name_is_a_hit(source, tmp_path):
    ready(source, tmp_path / "cache")
    moved = source.rename(tmp_path / "moved.jsonl")
    log = Log()
    ready(moved, tmp_path / "cache", progress=log)
    assert set(log) == {"hashing"}


def test_another_text_vocabulary_or_tokenizer_is_a_miss(source, tmp_path):
    cache = tmp_path / "cache"
    ready(source, cache)
    ready(source, cache, vocab_size=401)
    Tokenizer.train(STORIES, 300).save(tmp_path / "mine")
    assert ready(source, cache, tokenizer=str(tmp_path / "mine")).tokenizer.vocab_size == 300
    with source.open("a", encoding="utf-8") as file:
        file.write('\n{"text": "one more"}\n')
    assert ready(source, cache).documents == len(STORIES) + 1
    assert len(entries(cache)) == 4


def test_another_split_of_the_same_text_tokenises_nothing(source, tmp_path):
    ready(source, tmp_path / "cache")
    log = Log()
    corpus = ready(source, tmp_path / "cache", progress=log, val_fraction=0.4, seq_len=64)
    assert "tokenising" not in log
    assert len(entries(tmp_path / "cache")) == 1
    assert corpus.val.tokens > 0.35 * (corpus.train.tokens + corpus.val.tokens)


def test_the_builtin_corpus_needs_nothing(tmp_path):
    first, log = ready("builtin", tmp_path), Log()
    second = ready("builtin", tmp_path, progress=log)
    assert log == []
    assert (first.train.ids == second.train.ids).all()
    assert first.documents > 50


def test_the_cache_is_the_users_where_none_is_given(source, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    ready(source, None)
    assert len(entries(tmp_path / "xdg" / "lmm-tui")) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    ready(source, None)
    assert len(entries(tmp_path / "home" / ".cache" / "lmm-tui")) == 1


def test_a_test_that_names_no_cache_writes_nothing_to_the_home(source, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    ready(source, None)
    assert not (tmp_path / "home").exists()


@settings(deadline=None, max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    seq_len=st.integers(8, 64),
    fraction=st.floats(0.01, 0.5),
)
def test_both_sides_get_a_sequence_and_validation_about_its_share(
    tmp_path_factory, lengths, seq_len, fraction
):
    folder = tmp_path_factory.mktemp("split")
    lines = [json.dumps({"text": "7" * length}) for length in lengths]
    (folder / "sevens.jsonl").write_text("\n".join(lines), encoding="utf-8")
    total, block = sum(lengths) + len(lengths), seq_len + 1
    options = {"seq_len": seq_len, "val_fraction": fraction, "vocab_size": 260}
    if total < 2 * block:
        with pytest.raises(DataError, match=f"has {total} tokens, needs {2 * block}"):
            ready(folder, folder / "cache", **options)
        return
    corpus = ready(folder, folder / "cache", **options)
    asked = max(block, round(total * fraction))
    assert corpus.train.tokens >= block
    assert min(asked, total - block) <= corpus.val.tokens <= 2 * asked
    assert corpus.train.tokens + corpus.val.tokens == total


@pytest.mark.parametrize("label", ["hashing", "reading", "training the tokenizer", "tokenising"])
def test_breaking_off_leaves_nothing_behind(source, tmp_path, label):
    class Enough(Exception):
        pass

    def progress(at, done, total):
        if at == label:
            raise Enough

    with pytest.raises(Enough):
        ready(source, tmp_path / "cache", progress=progress)
    assert not (tmp_path / "cache").exists() or entries(tmp_path / "cache") == []


def test_a_few_broken_lines_are_skipped_and_reported_also_from_the_cache(source, tmp_path):
    with source.open("a", encoding="utf-8") as file:
        file.write("\nnot json\n")
    moved = tmp_path / "moved.jsonl"
    for path in (source, source, moved):
        if path == moved:
            source.rename(moved)
        corpus = ready(path, tmp_path / "cache")
        assert corpus.skipped_count == 1
        assert corpus.skipped[0].startswith(f"{path}:{len(STORIES) + 1}: not JSON (")
        assert corpus.documents == len(STORIES)


def test_too_many_broken_lines_are_refused_and_the_first_is_named(source, tmp_path):
    lines = source.read_text(encoding="utf-8").splitlines()
    lines[4] = '{"conversations": []}'
    lines[8] = "{"
    source.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError) as refusal:
        ready(source, tmp_path / "cache")
    assert str(refusal.value) == (
        f'{source}:5: no "text"; found "conversations"; 2 of 120 lines are broken, more than 1%: '
        "mend them or take them out"
    )
    assert entries(tmp_path / "cache") == []


@pytest.mark.parametrize("content", ["", " \n\n \n", "\ufeff"])
def test_an_empty_corpus_is_refused(tmp_path, content):
    path = tmp_path / "empty.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"^data.source: '.*empty.txt' holds no text"):
        ready(path, tmp_path / "cache")


def test_a_corpus_shorter_than_one_sequence_is_refused_and_says_by_how_much(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("7" * 40, encoding="utf-8")
    with pytest.raises(
        DataError, match=r"corpus shorter than one sequence: has 41 tokens, needs 66 \(data.seq_len"
    ):
        ready(path, tmp_path / "cache")


def test_invalid_utf8_is_refused_and_nothing_is_kept(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"latin.txt:1: not UTF-8 text \(byte 3 of the file\)"):
        ready(path, tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_a_cache_entry_of_another_tokenizer_is_refused_and_left_alone(source, tmp_path):
    cache = tmp_path / "cache"
    ready(source, cache)
    entry = cache / entries(cache)[0]
    Tokenizer.train(["something else"], 300).save(entry)
    before = {path.name: path.read_bytes() for path in entry.iterdir()}
    with pytest.raises(DataError, match=r"tokens.bin: was made with tokenizer .*, which is not"):
        ready(source, cache)
    assert {path.name: path.read_bytes() for path in entry.iterdir()} == before


@pytest.mark.parametrize("name", ["tokens.bin", "corpus.json", "tokenizer.json"])
def test_a_damaged_cache_entry_is_refused_by_name(source, tmp_path, name):
    ready(source, tmp_path / "cache")
    (damaged,) = (tmp_path / "cache").glob(f"*/{name}")
    damaged.write_bytes(damaged.read_bytes()[:50])
    with pytest.raises(DataError, match=f"{name}: .*; delete .*, and it will be made again"):
        ready(source, tmp_path / "cache")


def test_damaged_figures_are_measured_again(source, tmp_path):
    made = ready(source, tmp_path / "cache")
    (damaged,) = (tmp_path / "cache").glob("*/entropy-*.json")
    damaged.write_text("{", encoding="utf-8")
    assert ready(source, tmp_path / "cache").bigram_entropy == made.bigram_entropy
    assert json.loads(damaged.read_text(encoding="utf-8"))["bigram"] == made.bigram_entropy


def test_a_cache_that_cannot_be_written_is_refused(source, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(DataError, match=r"^data.cache_dir: .*file cannot be written"):
        ready(source, tmp_path / "file")


def test_a_missing_tokenizer_is_refused_before_anything_is_read(source, tmp_path):
    log = Log()
    with pytest.raises(DataError, match=r"^data.tokenizer: .*nowhere"):
        ready(source, tmp_path / "cache", tokenizer=str(tmp_path / "nowhere"), progress=log)
    assert log == []


def test_data_needs_no_torch():
    code = "import sys, lmm_tui.data.preparation.prepare, lmm_tui.data.batching.batches; "
    code += "print(sorted({'torch', 'transformers', 'pydantic', 'lmm_tui.engine', "
    code += "'lmm_tui.metrics'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_sentence_is_one_line(tmp_path):
    (tmp_path / "bad.json").write_text('{\n"a": 1}\n', encoding="utf-8")
    (tmp_path / "x.txt").write_text("x", encoding="utf-8")
    for changes in ({"tokenizer": str(tmp_path / "bad.json")}, {"seq_len": 1000}):
        with pytest.raises(DataError) as refusal:
            ready(tmp_path / "x.txt", Path(tmp_path / "cache"), **changes)
        assert "\n" not in str(refusal.value)
