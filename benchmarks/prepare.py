"""Preparing a corpus against `tokenizers.encode_batch` of the same text, on the same cores.

Ours is all of it, from files to a cache entry: hashing, reading, tokenising, writing. The
peer only tokenises the same documents, which it has in memory, in batches of the same size. Both
have a tokenizer that is trained already, and their own process, with the threads of all CPUs.
The same rows in other containers are timed, too, with the peak of memory; they have no peer. The
peak of memory of four times as much text is compared with that of once: both are beyond the 8M
tokens of which entropies are taken, so that nothing else may grow.
"""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import QUICK, medians, report
from lmm_tui.data.text.corpus import BUILTIN, open_text
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

TITLE = "prepare: text to tokens in the cache, against tokenizers.encode_batch"

LIMIT = 1.0
MEMORY_LIMIT = 1.25

_MEGABYTES = 1.0 if QUICK else 12.0
_OURS = """
import sys, tempfile, time
from pathlib import Path
from lmm_tui.data.preparation.prepare import prepare
source, tokenizer = sys.argv[1:]
with tempfile.TemporaryDirectory() as cache:
    start = time.perf_counter()
    prepare(source, tokenizer=tokenizer, vocab_size=6400, seq_len=256, val_fraction=0.02,
        builtin_mb=1.0, cache_dir=Path(cache), progress=None)
    print(time.perf_counter() - start)
    # Of this process alone: what `resource` says is at least what the parent had.
    print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024)
"""
_PEER = """
import os, sys, time
os.environ["TOKENIZERS_PARALLELISM"] = "true"
import orjson, tokenizers
source, tokenizer = sys.argv[1:]
texts = [orjson.loads(line)["text"] for line in open(source, "rb")]
backend = tokenizers.Tokenizer.from_file(f"{tokenizer}/tokenizer.json")
batches, held = [[]], 0
for text in texts:
    batches[-1].append(text)
    held += len(text)
    if held >= 1_000_000:
        batches.append([])
        held = 0
start = time.perf_counter()
for batch in batches:
    ids = [found.ids for found in backend.encode_batch(batch, add_special_tokens=False)]
print(time.perf_counter() - start)
"""


def run() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source, tokenizer = Path(scratch, "text.jsonl"), Path(scratch, "tokenizer")
        texts = list(open_text(BUILTIN, _MEGABYTES).documents(Skipped()))
        rows = "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts)
        source.write_text(rows, encoding="utf-8")
        Tokenizer.train(texts[::8], 6400).save(tokenizer)
        size = sum(len(text.encode()) for text in texts) / 1e6

        def measured(code: str, path: Path = source) -> list[float]:
            """Seconds, and of ours the peak of memory in MB."""
            given = [str(path), str(tokenizer)]
            done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True,
                                  text=True, check=True)  # fmt: skip
            return [float(line) for line in done.stdout.split()]

        def speed(code: str) -> float:
            return size / measured(code)[0]

        ours, peer = medians(
            {"ours": lambda: speed(_OURS), "tokenizers": lambda: speed(_PEER)}, 3, warm_up=not QUICK
        ).values()
        small, large = (
            measured(_OURS, _repeated(source, times))[1] for times in ((1, 4) if QUICK else (4, 16))
        )
        for path in _containers(Path(scratch), texts):
            seconds, memory = measured(_OURS, path)
            print(f"  {path.name:16} {size / seconds:6.1f} MB/s, peak {memory:.0f} MB")
    report(f"prepare, {size:.0f} MB", ours, peer, "tokenizers", unit="MB/s", at_least=LIMIT)
    report("prepare, peak memory of 4x the text", large, small, "1x", unit="MB",
           at_most=MEMORY_LIMIT)  # fmt: skip


def _repeated(source: Path, times: int) -> Path:
    """The same rows so many times."""
    path = source.with_name(f"{times}-times.jsonl")
    with path.open("wb") as file:
        for _ in range(times):
            file.write(source.read_bytes() + b"\n")
    return path


def _containers(folder: Path, texts: Sequence[str]) -> Iterator[Path]:
    """The same rows in other files."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import zstandard

    raw = (folder / "text.jsonl").read_bytes()
    (folder / "text.jsonl.gz").write_bytes(gzip.compress(raw, 6))
    (folder / "text.jsonl.zst").write_bytes(zstandard.ZstdCompressor(3).compress(raw))
    table = pa.table({"text": list(texts)})
    pq.write_table(table, folder / "text.parquet", compression="zstd", row_group_size=1000)
    arrow = str(folder / "text.arrow")
    with pa.OSFile(arrow, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    with (folder / "text.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["text"], *([text] for text in texts)])
    for suffix in ("jsonl", "jsonl.gz", "jsonl.zst", "csv", "parquet", "arrow"):
        yield folder / f"text.{suffix}"
