"""Preparing a corpus against `tokenizers.encode_batch` of the same text, on the same cores.

Ours is all of it, from files to a cache entry: hashing, reading, tokenising, writing. The
peer only tokenises the same documents, which it has in memory, in batches of the same size. Both
have a tokenizer that is trained already, and their own process, with the threads of all CPUs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import QUICK, medians, report
from lmm_tui.data.text.corpus import BUILTIN, open_text
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

TITLE = "prepare: text to tokens in the cache, against tokenizers.encode_batch"

LIMIT = 1.0

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

        def speed(code: str) -> float:
            given = [str(source), str(tokenizer)]
            done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True,
                                  text=True, check=True)  # fmt: skip
            return size / float(done.stdout)

        ours, peer = medians(
            {"ours": lambda: speed(_OURS), "tokenizers": lambda: speed(_PEER)}, 3, warm_up=not QUICK
        ).values()
    report(f"prepare, {size:.0f} MB", ours, peer, "tokenizers", unit="MB/s", at_least=LIMIT)
