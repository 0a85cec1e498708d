"""The same rows are the same documents, conversations, pairs and prompts in every container."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from containers import COMPRESS, Rows, every, lines, textual

from lmm_tui.data.chat.conversations import read_conversations
from lmm_tui.data.chat.prompts import read_prompts
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.prepare import prepare
from lmm_tui.data.text import compressed, json_rows
from lmm_tui.data.text.corpus import open_text
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.text.locate import find
from lmm_tui.data.text.source import Source
from lmm_tui.data.turns import Turn

TEXTS: Rows = [
    {"text": f"Story {n}: a fox, “quoted”,\nwith two lines and 中文.", "id": n} for n in range(9)
]
CHATS: Rows = [
    {
        "messages": [
            {"role": "user", "content": f"{n} + 1?"},
            {"role": "assistant", "content": f"{n + 1}"},
        ]
    }
    for n in range(9)
]


def documents(source: str | Source) -> list[str]:
    return list(open_text(source, 1.0).documents(Skipped()))


def test_the_same_rows_give_the_same_documents_in_every_container(tmp_path: Path) -> None:
    for name, path in every(tmp_path, TEXTS).items():
        assert documents(str(path)) == [row["text"] for row in TEXTS], name


def test_the_same_rows_give_the_same_tokens(tmp_path: Path) -> None:
    ids = []
    made = every(tmp_path, TEXTS)
    for name in (".jsonl", ".csv.zst", "parquet", "save_to_disk of splits"):
        corpus = prepare(
            str(made[name]), tokenizer=None, vocab_size=300, seq_len=8, val_fraction=0.1,
            builtin_mb=1.0, cache_dir=tmp_path / "cache", progress=None,
        )  # fmt: skip
        assert corpus.columns == ("text",)
        ids.append(corpus.train.ids.tolist() + corpus.val.ids.tolist())
    assert all(one == ids[0] for one in ids)


def test_plain_text_is_read_through_every_compression(tmp_path: Path) -> None:
    raw = b"one\n<|endoftext|>\ntwo\n"
    for suffix, compress in COMPRESS.items():
        path = tmp_path / f"a.txt{suffix}"
        path.write_bytes(compress(raw[:9]) + compress(raw[9:]))  # Two members or frames.
        assert documents(str(path)) == ["one", "two"], suffix


def test_a_column_is_found_out_named_and_never_guessed(tmp_path: Path) -> None:
    rows = [{"content": "right", "title": "wrong"}]
    skipped = Skipped()
    text = open_text(str(textual(tmp_path, rows, ".jsonl", "")), 1.0)
    assert list(text.documents(skipped)) == ["right"]
    assert list(skipped.columns) == ["content"] and list(skipped.unused) == ["title"]
    pq.write_table(pa.Table.from_pylist([{"headline": "a", "lead": "b"}]), tmp_path / "c.parquet")
    assert documents(f"{tmp_path}/c.parquet#lead") == ["b"]
    assert documents(Source.parse(f"{tmp_path}/c.parquet", {"text": "headline"})) == ["a"]
    with pytest.raises(DataError, match="no column is known by its name; its columns are headline"):
        documents(f"{tmp_path}/c.parquet")
    with pytest.raises(DataError, match='c.parquet: has no column "body"; its columns are head'):
        documents(f"{tmp_path}/c.parquet#body")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_where_two_columns_fit_both_are_named(tmp_path: Path, suffix: str) -> None:
    both = [{"text": "a", "content": "b"}]
    path = tmp_path / f"rows{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(both), path)
    else:
        textual(tmp_path, both, suffix, "")
    with pytest.raises(DataError, match='the columns "text" and "content" both fit; name one, such '
                                        "as --set data.columns.text=text"):  # fmt: skip
        documents(str(path))
    assert documents(f"{path}#content") == ["b"]
    chats = [{**CHATS[0], "instruction": "x", "output": "y"}]
    path = textual(tmp_path, chats, ".json", "")
    with pytest.raises(DataError, match='columns "messages" and "instruction" both fit'):
        list(read_conversations(str(path)))


def test_named_columns_make_conversations_and_prompts(tmp_path: Path) -> None:
    rows = [{"problem": "2 + 2?", "solution": "4", "messages": CHATS[0]["messages"]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    named = Source.parse(
        str(tmp_path / "a.parquet"), {"instruction": "problem", "output": "solution"}
    )
    (talk,) = read_conversations(named, val_fraction=0)
    assert talk.turns == (Turn("user", "2 + 2?"), Turn("assistant", "4"))
    named = Source.parse(str(tmp_path / "a.parquet"), {"prompt": "problem", "answer": "solution"})
    (prompt,) = read_prompts(named, val_fraction=0)
    assert prompt.answer == "4" and prompt.turns == (Turn("user", "2 + 2?"),)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz", ".bz2"])
@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".txt"])
def test_a_cut_stream_names_file_and_row(tmp_path: Path, suffix: str, kind: str) -> None:
    rows = [{"text": os.urandom(600).hex()} for _ in range(400)]
    raw = lines(rows) if kind != ".csv" else b"text\n" + b"\n".join(
        row["text"].encode() for row in rows
    )  # fmt: skip
    path = tmp_path / f"rows{kind}{suffix}"
    whole = COMPRESS[suffix](raw)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"rows{kind}{suffix}:\d+: the compressed stream is cut"):
        documents(str(path))
    path.write_bytes(b"\x00nonsense" * 20)
    with pytest.raises(DataError, match="the compressed stream is damaged"):
        documents(str(path))


def test_the_row_of_a_cut_stream_is_the_first_that_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    one = gzip.compress(lines([{"text": "x"}] * 7), mtime=0)
    path.write_bytes(one + gzip.compress(lines([{"text": "y"}]))[:-4])
    with pytest.raises(DataError, match=r"a.jsonl.gz:[89]: the compressed stream is cut off"):
        documents(str(path))


@pytest.mark.parametrize(("suffix", "compress"), [
    (".gz", gzip.compress), (".zst", zstandard.ZstdCompressor(19).compress), (".xz", lzma.compress),
])  # fmt: skip
def test_a_bomb_is_refused_before_it_fills_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, compress: Any
) -> None:
    monkeypatch.setattr(compressed, "FREE", 1 << 20)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(compress(b'{"text": "' + b"a" * (8 << 20)))
    with pytest.raises(DataError, match=r"jsonl\.\w+:1: expands to more than 100 times its size"):
        documents(str(path))


def test_an_endless_row_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "LONGEST_ROW", 1 << 20)
    (tmp_path / "a.jsonl").write_bytes(lines([{"text": "x"}]) + b"a" * (3 << 20))
    with pytest.raises(DataError, match="a.jsonl:2: a row of more than 1 MiB"):
        documents(str(tmp_path / "a.jsonl"))


def test_a_corrupt_parquet_page_names_file_and_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [{"text": os.urandom(500).hex()} for _ in range(60)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, path, row_group_size=20, compression="none", write_page_checksum=True)
    raw = bytearray(path.read_bytes())
    at = raw.index(rows[45]["text"].encode())
    raw[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(raw))
    with pytest.raises(DataError, match=r"a.parquet:4\d: the file is damaged here"):
        documents(str(path))
    path.write_bytes(bytes(raw[:-20]))
    with pytest.raises(DataError, match="a.parquet: is no whole .parquet file"):
        documents(str(path))


def test_a_cut_arrow_file_is_refused(tmp_path: Path) -> None:
    made = every(tmp_path, [{"text": os.urandom(900).hex()} for _ in range(90)])
    for name in ("arrow file", "arrow stream"):
        made[name].write_bytes(made[name].read_bytes()[:60_000])
        with pytest.raises(DataError, match=r"\.arrow(:\d+)?: (is no whole|the file is damaged)"):
            documents(str(made[name]))


def test_shards_of_another_schema_are_refused_with_both_files(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{"text": "a"}]), tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_pylist([{"body": "b"}]), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r'b.parquet: its column "text" is missing, and in .*a.par'):
        documents(str(tmp_path))
    pq.write_table(pa.Table.from_pylist([{"text": 3}]), tmp_path / "b.parquet")
    with pytest.raises(DataError, match='"text" is of the kind number, and in .* of the kind text'):
        documents(str(tmp_path))


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.csv", "a.jsonl", "a.txt", "a.csv.gz"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith(".gz") else b"")
    with pytest.raises(DataError, match="is empty; give a file with rows|holds no text"):
        prepare(
            str(tmp_path / name), tokenizer=None, vocab_size=300, seq_len=8, val_fraction=0.1,
            builtin_mb=1.0, cache_dir=tmp_path / "cache", progress=None,
        )  # fmt: skip


def test_rows_are_filtered_by_a_column_alike_in_every_container(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "score": n, "lang": "en" if n % 2 else "zh"} for n in range(10)]
    for name, path in every(tmp_path, rows).items():
        from lmm_tui.data.text.row_filter import RowFilter

        chosen = RowFilter.parse("score >= 4 and lang in ['en']")
        assert documents(Source(str(path), filter=chosen)) == ["t5", "t7", "t9"], name


def test_a_split_is_chosen_said_and_refused(tmp_path: Path) -> None:
    made = every(tmp_path, TEXTS)
    for name in ("save_to_disk of splits", "dataset folder of shards"):
        text = open_text(str(made[name]), 1.0)
        assert text.notes == (f"of {made[name]} the split train is read, and not test",)
        assert documents(f"{made[name]}@test") == [TEXTS[0]["text"]]
        with pytest.raises(DataError, match="has no split 'dev'; it has|has no split 'dev': train"):
            documents(f"{made[name]}@dev")
    (made["dataset folder of shards"] / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match="of 2 shards of data/train.parquet 1 are missing"):
        documents(str(made["dataset folder of shards"]))


def test_configurations_of_a_readme_are_chosen_by_name(tmp_path: Path) -> None:
    for name in ("en", "fr"):
        (tmp_path / name).mkdir()
        pq.write_table(pa.Table.from_pylist([{"text": name}]), tmp_path / name / "x.parquet")
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: english\n  data_files: en/*.parquet\n"
        "- config_name: french\n  data_files:\n  - split: train\n    path: fr/*\n---\n# Demo\n"
    )
    assert documents(f"{tmp_path}:french@train") == ["fr"]
    with pytest.raises(DataError, match="several configurations; name one, such as .*:english: en"):
        documents(str(tmp_path))
    with pytest.raises(DataError, match="has no configuration 'german'; it has english, french"):
        documents(f"{tmp_path}:german")


def test_a_script_of_a_dataset_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "demo.py").write_text("raise SystemExit('ran')")
    with pytest.raises(DataError, match="holds a script and no data; scripts are not run"):
        find(str(tmp_path))


def test_caches_of_hugging_face_are_read_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    kept = tmp_path / "hub" / "datasets--me--tiny"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("abc123")
    (kept / "snapshots" / "abc123").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(list(TEXTS)), kept / "snapshots/abc123/train.parquet")
    assert documents("me/tiny") == [row["text"] for row in TEXTS]
    code = (
        "import sys, datasets;datasets.load_dataset('json', data_files=sys.argv[1], split='train')"
    )
    source = textual(tmp_path, TEXTS, ".jsonl", "")
    subprocess.run([sys.executable, "-c", code, str(source)], check=True, capture_output=True,
                   env={**os.environ, "HF_HOME": str(tmp_path)})  # fmt: skip
    assert documents("json@train") == [row["text"] for row in TEXTS]


def test_a_name_that_is_nowhere_is_one_sentence_when_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    code = (
        "from lmm_tui.data.text.locate import find\n"
        "try: find('nobody/nothing')\nexcept Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
    )  # fmt: skip
    said = "HubUnreachableError data.source: 'nobody/nothing' is no file or folder here and not"
    assert done.stdout.startswith(said) and "the Hub cannot be reached" in done.stdout


def test_remote_files_are_copied_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with fsspec.open("memory://bucket/a.jsonl.gz", "wb") as there:
        there.write(gzip.compress(lines(TEXTS)))
    assert documents("memory://bucket") == [row["text"] for row in TEXTS]
    with pytest.raises(DataError, match="memory://bucket/b.jsonl cannot be read"):
        documents("memory://bucket/b.jsonl")
    with pytest.raises(DataError, match="sftp:// is not read"):
        documents("sftp://host/a.jsonl")


def test_rows_of_csv_are_told_by_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text\n"one\nline"\n' + "two\n" * 200 + "a,b\n", encoding="utf-8")
    text, skipped = open_text(str(path), 1.0), Skipped()
    assert len(list(text.documents(skipped))) == 201
    assert [text.locate(bad) for bad in skipped.first] == [
        f"{path}:204: 2 cells; expected 1, as in the first line"
    ]
    path.write_bytes(b"text\n\xff\n")
    with pytest.raises(DataError, match="a.csv:\\d: not UTF-8 text"):
        documents(str(path))
    path.write_text('text\n"open\n', encoding="utf-8")
    with pytest.raises(DataError, match="a.csv:2: the row that starts here is not CSV"):
        documents(str(path))


def test_what_parquet_adds_to_structs_is_not_there(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Q", "name": "Ann"}, {"role": "assistant", "content": "A"}]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([{"messages": turns}]), path)
    json_path = tmp_path / "a.jsonl"
    json_path.write_text(json.dumps({"messages": turns}))
    one, other = (list(read_conversations(str(p), val_fraction=0)) for p in (path, json_path))
    assert one == other


def test_a_column_that_json_rows_lack_is_told_with_those_that_they_have(tmp_path: Path) -> None:
    path = textual(tmp_path, [{"body2": "a", "n": 1}], ".jsonl", "")
    for source, told in {
        str(path): 'no "text"; found "body2", "n"; name the column, such as --set',
        f"{path}#body": 'no column "body", which data.columns.text names; found "body2", "n"',
    }.items():
        text, skipped = open_text(source, 1.0), Skipped()
        assert not list(text.documents(skipped)) and skipped.first[0].why.startswith(told)
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"data": list(TEXTS)}, indent=1))
    with pytest.raises(DataError, match="one.json: is one JSON object over several lines"):
        documents(str(path))


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_rows_before_damage_are_counted(tmp_path: Path, suffix: str) -> None:
    rows = [{"text": os.urandom(99).hex()} for _ in range(2000)]
    packed = bytearray(COMPRESS[suffix](lines(rows)))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(packed)
    with pytest.raises(DataError, match="the compressed stream is damaged") as refusal:
        documents(str(path))
    row = int(str(refusal.value).split(":")[1])
    assert 1000 - 2 * (1 << 16) // 200 < row < 2000  # gzip may see it only at its checksum.
