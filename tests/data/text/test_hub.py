"""Datasets by name, against a server that plays the Hub, and other remote files by stand-ins."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from containers import lines
from fake_hub import fake_hub
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.corpus import open_text
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.text.locate import locate
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.data_config import DataConfig
from lmm_tui.planning.data_summary import summarize_data


def parquet(text: str) -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"text": text}]), made)
    return made.getvalue()


CONFIGS = b"---\nconfigs:\n- config_name: en\n  data_files: en/*\n- config_name: fr\n  data_files: fr/*\n---\n"  # noqa: E501
DATASETS: dict[str, Any] = {
    "me/plain": {
        "README.md": b"# Plain",
        "data/train-00000-of-00002.parquet": parquet("one"),
        "data/train-00001-of-00002.parquet": parquet("two"),
        "data/test-00000-of-00001.parquet": parquet("three"),
    },
    "me/lines": {"train.jsonl": lines([{"text": "a"}]), "test.jsonl": lines([{"text": "b"}])},
    "me/configs": {
        "README.md": CONFIGS, "en/a.parquet": parquet("yes"), "fr/a.parquet": parquet("oui"),
    },
    "me/unnamed": {"validation.jsonl": b"{}", "test.jsonl": b"{}"},
    "me/short": {"train-00000-of-00002.parquet": b""},
    "me/script": {"script.py": b"raise SystemExit"},
    "me/other": {"a.bin": b"x"},
    "me/gated": "GatedRepo",
}  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    at(monkeypatch, tmp_path)
    with fake_hub(DATASETS) as url:
        connect(monkeypatch, url)
        yield url


def connect(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What HF_ENDPOINT does to a process at its start."""
    files = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)


def at(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(folder))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub"))


def texts(source: str) -> list[str]:
    return list(open_text(source, 1.0).documents(Skipped()))


def test_parts_of_a_dataset_come_when_they_are_asked_for(hub: str) -> None:
    """The cache has one split, then the other: what it lacks is no longer taken for missing."""
    for _ in range(2):
        assert texts("me/plain") == ["one", "two"]
        assert texts("me/plain@test") == texts("hf://datasets/me/plain@test") == ["three"]
        assert texts("me/lines") == ["a"]
        assert texts("me/configs:fr") == ["oui"] and texts("me/configs:en@train#text") == ["yes"]
    assert locate("me/plain").notes == ("of me/plain the split train is read, and not test",)


def test_a_download_that_was_cut_short_is_not_taken_for_the_dataset(
    hub: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts("me/plain")
    texts("me/lines")
    (shard,) = (tmp_path / "hub").glob("*/snapshots/*/data/train-00001-*")
    shard.unlink()
    assert texts("me/plain") == ["one", "two"]
    shard.unlink()
    summary = summarize_data(RunConfig(data=DataConfig(source="me/plain")))
    assert summary.text == "remote: me/plain" and not shard.exists()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="not whole in the Hugging Face cache, and the Hub cannot"):
        texts("me/plain")
    assert texts("me/lines") == ["a"]


@pytest.mark.parametrize(("source", "said"), [
    ("me/plain@dev", "me/plain has no split 'dev'; it has train, test"),
    ("me/plain:x", "me/plain has no configuration 'x': neither its README.md nor a folder has"),
    ("me/plain#body", 'has no column "body"; its columns are text'),
    ("me/configs", "me/configs has several configurations; name one, such as me/configs:en: en, f"),
    ("me/configs:de", "me/configs has no configuration 'de'; it has en, fr"),
    ("me/unnamed", "has several splits; name one, such as me/unnamed@validation: validation, test"),
    ("me/short", "me/short: of 2 shards of train.parquet 1 are missing"),
    ("me/script", "the dataset me/script on the Hub is made by a script, and scripts are not run"),
    ("me/other", "the dataset me/other on the Hub has no parquet, arrow, JSON lines"),
    ("me/gated", "the dataset me/gated on the Hub is gated; accept its terms"),
    ("me/none", "'me/none' is no file or folder here, and no dataset of the Hub"),
    ("hf://me/plain", "hf://me/plain is no dataset; write hf://datasets/OWNER/NAME"),
    ("s3://bucket/a.jsonl", "a package for s3:// is missing .*s3fs.*; install it"),
])  # fmt: skip
def test_what_the_hub_cannot_give_is_one_sentence(hub: str, source: str, said: str) -> None:
    for _ in range(2):  # The second time something of it is in the cache.
        with pytest.raises(DataError, match=said):
            texts(source)


def test_s3_is_read_where_its_package_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bucket(MemoryFileSystem):
        protocol = "s3"
        store: dict[str, Any] = {}
        pseudo_dirs = [""]

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + path.removeprefix("s3://").strip("/")

    at(monkeypatch, tmp_path)
    monkeypatch.setitem(_registry, "s3", Bucket)
    Bucket().pipe({"/b/en/a.jsonl": lines([{"text": "a"}]), "/b/en/b.parquet": parquet("b")})
    assert texts("s3://b/en") == texts("s3://b/en/*") == ["a", "b"]
    assert texts("s3://b/en/b.parquet#text") == ["b"]
    Bucket().pipe({"/b/en/a.jsonl": lines([{"text": "changed"}])})
    assert texts("s3://b/en/a.jsonl") == ["changed"]
    with pytest.raises(DataError, match="s3://b/none.jsonl cannot be read"):
        texts("s3://b/none.jsonl")
