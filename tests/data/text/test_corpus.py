"""Promises of the corpus that needs no download."""

import shutil
import sys
from pathlib import Path

import pytest

from lmm_tui.data.errors import DataError
from lmm_tui.data.text import corpus
from lmm_tui.data.text.corpus import BuiltinText, generated_texts, open_text
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.text.stdlib_text import docstrings, stdlib_texts


def size(texts):
    return sum(len(text.encode()) for text in texts)


@pytest.fixture(scope="module")
def megabyte():
    return list(BuiltinText(1.0).documents(Skipped()))


def test_the_builtin_corpus_is_the_same_each_time(megabyte):
    assert megabyte == list(BuiltinText(1.0).documents(Skipped()))


def test_the_builtin_corpus_has_the_size_asked_for(megabyte):
    assert 0.98e6 < size(megabyte) <= 1e6


def test_three_tenths_of_it_are_generated(megabyte):
    wanted = size(megabyte)
    ours = set()
    texts = generated_texts(2024)
    while size(ours) < 0.4 * wanted:
        ours.add(next(texts))
    assert 0.28 < size(text for text in megabyte if text in ours) / wanted < 0.33


def test_its_identity_is_known_without_reading_it_and_follows_the_size():
    first, second = BuiltinText(1.0), BuiltinText(2.0)
    identities = {text.identity(lambda *_: None) for text in (first, second, BuiltinText(1.0))}
    assert len(identities) == 2
    assert "_texts" not in vars(first)
    assert all(sys.version in identity for identity in identities)


@pytest.mark.parametrize("changed", ["world.py", "wording.py", "story_plots/race.toml"])
def test_its_identity_follows_its_code_and_its_text(tmp_path, monkeypatch, changed):
    copy = shutil.copytree(Path(corpus.__file__).parents[1], tmp_path / "data")
    monkeypatch.setattr(corpus, "__file__", str(copy / "text" / "corpus.py"))
    before = BuiltinText(1.0).identity(lambda *_: None)
    with (copy / "builtin" / changed).open("a", encoding="utf-8") as file:
        file.write("# Changed.\n")
    assert BuiltinText(1.0).identity(lambda *_: None) != before


def test_every_file_named_in_its_identity_exists():
    folder = Path(corpus.__file__).parents[1]
    assert all(any(folder.glob(pattern)) for pattern in corpus._GENERATOR)


def test_where_the_library_runs_out_stories_fill_up(monkeypatch):
    monkeypatch.setattr(
        "lmm_tui.data.text.corpus.stdlib_texts", lambda seed: iter(["a short library"])
    )
    texts = list(BuiltinText(0.1).documents(Skipped()))
    assert "a short library" in texts
    assert size(texts) > 0.09e6


def test_modules_are_parsed_and_never_run(tmp_path):
    (tmp_path / "bomb.py").write_text('raise SystemExit("run!")\n', encoding="utf-8")
    (tmp_path / "good.py").write_text('"""A good module."""\n', encoding="utf-8")
    found = list(stdlib_texts(0, tmp_path))
    assert any("A good module." in text for text in found)


def test_broken_modules_tests_and_site_packages_are_left_out(tmp_path):
    for name in ("site-packages", "test", "pkg/tests", "pkg"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "m.py").write_text(f'"""From {name}."""\n', encoding="utf-8")
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\n")
    text = "\n".join(stdlib_texts(0, tmp_path))
    assert "From pkg." in text
    assert not any(f"From {name}." in text for name in ("site-packages", "test", "pkg/tests"))


def test_a_module_gives_docstrings_or_source_but_never_both(tmp_path):
    for number in range(40):
        source = f'"""Module number {number} explained."""\nvalue = {number}\n'
        (tmp_path / f"m{number}.py").write_text(source, encoding="utf-8")
    text = "\n".join(stdlib_texts(0, tmp_path))
    assert all(text.count(f"Module number {number} explained.") == 1 for number in range(40))
    assert 0 < text.count("value = ") < 40


def test_docstrings_stand_under_their_qualified_names():
    source = '"""Top."""\nclass A:\n    "Of A."\n    async def f(self):\n        "Of f \\ud800."\n'
    assert docstrings(source) == "Top.\n\nA\nOf A.\n\nA.f\nOf f ?."


def test_open_text_knows_builtin_from_files(tmp_path):
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    assert isinstance(open_text("builtin", 0.1), BuiltinText)
    assert list(open_text(str(tmp_path), 0.1).documents(Skipped())) == ["x"]
    with pytest.raises(DataError):
        open_text("./builtin-that-is-not-there", 0.1)
