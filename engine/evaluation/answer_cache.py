"""A file of answers, so that a cancelled evaluation resumes where it stopped.

Each line is a JSON pair of a request's hash and its answer; a file belongs to one job on one set
of weights.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lmm_tui.guarded_files import make_private, open_file

Report = Callable[[int, int], None]
"""Called with the number of answers, and how many of them came from the file."""

_KINDS = ("loglikelihood", "loglikelihood_rolling", "generate_until")


class AnswerCache:
    """Wraps a model of lm-eval: requests in the file are not computed again."""

    def __init__(self, path: Path, report: Report) -> None:
        make_private(path.parent)
        self._known = _read(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.fdopen(open_file(path, flags, inside=path.parent), "a", encoding="utf-8")
        # End the incomplete line that a killed process may have left.
        self._file.write("\n")
        self._report = report
        self._done = self._cached = 0

    def attach(self, lm: Any) -> None:
        """Intercept the requests to `lm`, an lm_eval.api.model.LM."""
        for kind in _KINDS:
            setattr(lm, kind, partial(self._answer, kind, getattr(lm, kind)))
        lm.set_cache_hook(self)

    def add_partial(self, kind: str, args: tuple[Any, ...], answer: Any) -> None:
        """The cache hook of lm-eval, called by a model for each request it answered."""
        if not _sampled(args):
            print(json.dumps([_key(kind, args), answer]), file=self._file, flush=True)
        self._done += 1
        self._report(self._done, self._cached)

    def close(self) -> None:
        self._file.close()

    def _answer(
        self, kind: str, compute: Callable[[list[Any]], list[Any]], requests: Sequence[Any]
    ) -> list[Any]:
        keys = [_key(kind, request.args) for request in requests]
        missing = [r for r, key in zip(requests, keys, strict=True) if key not in self._known]
        self._done += len(requests) - len(missing)
        self._cached += len(requests) - len(missing)
        self._report(self._done, self._cached)
        fresh = iter(compute(missing) if missing else ())
        return [self._known[key] if key in self._known else next(fresh) for key in keys]


def _read(path: Path) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if not path.exists():
        return known
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            key, answer = json.loads(line)
        except ValueError:
            continue  # An incomplete line, or the empty one after it.
        known[key] = tuple(answer) if isinstance(answer, list) else answer
    return known


def _key(kind: str, args: tuple[Any, ...]) -> str:
    content = json.dumps([kind, *args], sort_keys=True, default=str)
    return hashlib.blake2b(content.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _sampled(args: tuple[Any, ...]) -> bool:
    """Whether the answer is sampled, so that it must not be reused."""
    return any(isinstance(arg, dict) and arg.get("do_sample") for arg in args)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        cache = AnswerCache(Path(scratch) / "answers.jsonl", print)
        cache.add_partial("generate_until", ("1 + 1?", {"until": ["\n"]}), "2")
        cache.close()
        print(_read(Path(scratch) / "answers.jsonl"))
    print("=== 自测通过 ===")
