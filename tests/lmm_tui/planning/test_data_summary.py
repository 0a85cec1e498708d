"""What the configure screen says about data agrees with what the engine would read."""

from pathlib import Path

import pytest

from lmm_tui.data.text.files import FileText
from lmm_tui.data.text.locate import find
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.data_config import DataConfig
from lmm_tui.planning import data_summary
from lmm_tui.planning.data_summary import summarize_data


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.jsonl", "c.md", ".hidden.txt", "deep/d.TXT", ".git/e.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("Once upon a time\n" * 3)
    return tmp_path


@pytest.mark.parametrize("source", ["", "a.txt", "*", "*.txt", "**/*.txt", "deep", "d*"])
def test_it_counts_the_files_that_the_engine_reads(texts: Path, source: str):
    given = str(texts / source)
    facts = summarize_data(RunConfig(data=DataConfig(source=given)))
    assert not facts.problems
    assert facts.bytes == FileText(find(given)).size
    assert facts.text.startswith(f"{len(find(given))} file")


@pytest.mark.parametrize("source", ["c.md", "none.txt", "*.csv", ".git/*.md"])
def test_it_refuses_in_the_words_of_the_engine(texts: Path, source: str):
    given = str(texts / source)
    facts = summarize_data(RunConfig(data=DataConfig(source=given)))
    with pytest.raises(Exception, match="data.source") as caught:
        find(given)
    assert str(caught.value) == facts.problems["data.source"]


def test_it_gives_up_counting_a_huge_folder_and_says_so(texts: Path, monkeypatch):
    monkeypatch.setattr(data_summary, "COUNTING_S", -1.0)
    facts = summarize_data(RunConfig(data=DataConfig(source=str(texts))))
    assert facts.text == "0 files and more, 0 B so far"
    assert facts.bytes is None and not facts.problems


def test_a_name_that_no_file_can_have_is_refused_in_a_sentence():
    facts = summarize_data(RunConfig(data=DataConfig(source="x" * 5000)))
    assert "cannot be read" in facts.problems["data.source"]


def test_a_tokenizer_says_how_many_tokens_it_has(tmp_path: Path):
    from lmm_tui.data.tokenizing.tokenizer import Tokenizer

    trained = Tokenizer.train(["Once upon a time"] * 9, 300)
    trained.save(tmp_path)
    assert (
        summarize_data(RunConfig(data=DataConfig(tokenizer=str(tmp_path)))).vocab_size
        == trained.vocab_size
    )


def test_rows_are_looked_for_where_the_stage_reads_rows(tmp_path: Path):
    (tmp_path / "chats.json").write_text("[]")
    (tmp_path / "story.txt").write_text("Once upon a time")
    data = DataConfig(source=str(tmp_path))
    assert summarize_data(RunConfig(stage="sft", data=data)).text == "1 file, 2 B"
    assert summarize_data(RunConfig(stage="pretrain", data=data)).text == "2 files, 18 B"
    assert summarize_data(RunConfig(stage="sft")).text == "built-in questions: all kinds"
