"""Tags of a run: short words by which a person groups runs, one a line in `tags.txt`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import read_text, remove, replace_text
from lmm_tui.message import os_reason

MOST_TAGS = 50
_TAG = re.compile(r"[^\W_][\w.+-]{0,49}")


class TagError(LmmError):
    """A tag that cannot be given to a run."""


def read_tags(run: RunDir) -> tuple[str, ...]:
    """The tags of a run, in order; what is no tag in the file is left out."""
    try:
        lines = read_text(run.tags_file, run.path, 10_000).split()
    except (OSError, ValueError):
        return ()
    return tuple(sorted({line for line in lines if _TAG.fullmatch(line)}))[:MOST_TAGS]


def change_tags(run: RunDir, add: Iterable[str] = (), drop: Iterable[str] = ()) -> tuple[str, ...]:
    """Give a run tags and take others away; returns those that it has then."""
    added = set(add)
    for tag in added:
        if not _TAG.fullmatch(tag):
            raise TagError(
                "{tag!r}: a tag starts with a letter or digit and has at most 50 "
                "letters, digits, '.', '_', '+' or '-'",
                tag=tag[:80],
            )
    tags = (set(read_tags(run)) | added) - set(drop)
    if len(tags) > MOST_TAGS:
        raise TagError(
            "{path}: a run has at most {most_tags} tags; remove some",
            path=run.path,
            most_tags=MOST_TAGS,
        )
    try:
        if tags:
            replace_text(run.tags_file, "\n".join(sorted(tags)) + "\n", run.path)
        elif run.tags_file.exists():
            remove(run.tags_file, run.path)
    except OSError as error:
        raise TagError(
            "{tags_file}: not written ({error})", tags_file=run.tags_file, error=os_reason(error)
        ) from None
    return tuple(sorted(tags))


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder) / "demo")
        run.create()
        print(change_tags(run, ["night", "best"]), change_tags(run, drop=["best"]))
        assert read_tags(run) == ("night",)
    print("=== 自测通过 ===")
