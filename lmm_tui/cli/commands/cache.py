"""`lmm-tui cache [prune]`: what is kept of prepared data, and making room."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lmm_tui.cli.options import echo_json
from lmm_tui.data.preparation.cache_items import (
    CacheItem,
    beyond,
    cache_items,
    orphans,
    remove_item,
    unused_since,
)
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import size
from lmm_tui.message import Message, os_reason
from lmm_tui.runs.cache_text import cache_record, cache_table, cache_total
from lmm_tui.terminal.safe_text import clean
from lmm_tui.user_folders import user_cache

_SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2**10, "mib": 2**20, "gib": 2**30}


class _Amount(click.ParamType):
    """A number with a unit, as seconds or bytes."""

    def __init__(self, name: str, units: Mapping[str, float], example: str) -> None:
        self.name = name
        self._units, self._example = units, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", str(value).lower())
        if found is None or found[2] not in self._units:
            self.fail(f"{value!r} is not an amount such as {self._example}", param, ctx)
        return float(found[1]) * self._units[found[2]]


@click.command("cache")
@click.argument("action", type=click.Choice(["list", "prune"]), default="list")
@click.option(
    "--older-than",
    "age",
    metavar="AGE",
    type=_Amount("age", _SECONDS, "12h, 30d or 8w"),
    help="prune: what was not used for that long (12h, 30d, 8w)",
)
@click.option(
    "--keep-size",
    "keep",
    metavar="SIZE",
    type=_Amount("size", _BYTES, "500MB or 5GB"),
    help="prune: what was used longest ago, until this much is left (500MB, 5GB)",
)
@click.option("--yes", is_flag=True, help="prune: remove without asking")
@click.option(
    "--cache-dir",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder of the cache (default: the user's; data.cache_dir of a run)",
)
@click.option("--json", "as_json", is_flag=True, help="JSON, its keys stable")
def command(
    action: str,
    age: float | None,
    keep: float | None,
    yes: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """List the cache of prepared data: tokenised text, and what evaluations keep.

    `lmm-tui cache prune` removes orphans: what killed processes left unfinished, and damaged
    entries; --older-than and --keep-size remove whole entries, too, which are made again when a
    run needs them. What a live process reads or writes always stays.
    """
    cache = (folder or user_cache()).expanduser()
    if folder is not None and not cache.is_dir():
        raise LmmError(
            "--cache-dir: {cache} is no folder; give one that holds a cache", cache=cache
        )
    items = cache_items(cache)
    if action == "prune":
        if as_json:
            raise click.UsageError(Message("--json belongs to `lmm-tui cache list`"))
        _prune(cache, items, age, keep, yes)
        return
    if yes or age is not None or keep is not None:
        raise click.UsageError(
            Message("--older-than, --keep-size and --yes belong to `lmm-tui cache prune`")
        )
    if as_json:
        echo_json([cache_record(item) for item in items])
        return
    if items:
        click.echo(cache_table(items))
    click.echo(cache_total(cache, items))


def _prune(
    cache: Path, items: list[CacheItem], age: float | None, keep: float | None, yes: bool
) -> None:
    chosen = {item.path: item for item in orphans(items)}
    if age is not None:
        chosen |= {item.path: item for item in unused_since(items, time.time() - age)}
    rest = [item for item in items if item.path not in chosen]
    if keep is not None:
        chosen |= {item.path: item for item in beyond(rest, round(keep))}
    if not chosen:
        click.echo(tr("nothing to remove"))
    else:
        click.echo(cache_table([*chosen.values()]))
        amount = size(sum(item.size for item in chosen.values()))
        if not yes and not _agreed(tr("remove these ({size})?", size=amount)):
            return
        for item in chosen.values():
            _remove(item)
    left = cache_items(cache)
    click.echo(cache_total(cache, left))
    if keep is not None and sum(item.size for item in left) > keep:
        click.echo(tr("more than {size} stay: they are in use", size=size(keep)))


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise LmmError("cache prune: nothing was removed; give --yes where nobody can be asked")
    return click.confirm(question)


def _remove(item: CacheItem) -> None:
    try:
        removed = remove_item(item)
    except OSError as error:
        raise LmmError(
            "{path}: cannot be removed ({error})", path=item.path, error=os_reason(error)
        ) from None
    if not removed:
        click.echo(tr("{name}: is in use now, and stays", name=clean(item.path.name)))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as empty:
        command(["--cache-dir", empty], standalone_mode=False)
    print("=== 自测通过 ===")
