"""The data screen: tokens, what is learnt, packing and what is left out, as stages have them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fake_run import FakeRun
from looking import screen_text, settled, until_read

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.data_screen import DataScreen
from lmm_tui.data.batching.packing import pack
from lmm_tui.data.chat.conversations import read_conversations
from lmm_tui.data.chat.template import render_all
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.learnt_tokens import LearntTokens
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.run.reader import Reader
from lmm_tui.planning.data_preview import preview

NEXT_VIEW = "right_square_bracket"
SIZES = [(200, 50), (80, 24)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve chats, of which one is too long and one is broken, and a tokenizer."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"instruction": f"What is {n} + {n}? [bold]\x1b[2J", "output": f"It is {n + n}, 小兔子."}
        for n in range(10)
    ]
    rows.append({"instruction": "Count.", "output": " ".join(map(str, range(200)))})
    rows.append({"instruction": "x"})
    Path("chats.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    texts = [row["instruction"] + row.get("output", "") for row in rows]
    Tokenizer.train(texts * 3, 400).save(Path("tok"))
    return Path("chats.jsonl")


def config(**more: object):
    given = {"stage": "sft", "data.source": "chats.jsonl", "data.tokenizer": "tok"}
    return resolve(assignments={**given, "data.seq_len": 64, **more})


def test_tokens_mask_and_packing_are_those_of_the_stage(data: Path) -> None:
    found = preview(config())
    tokenizer = Tokenizer.load(Path("tok"))
    good = data.with_name("good.jsonl")
    good.write_text("\n".join(data.read_text("utf-8").splitlines()[:-1]), encoding="utf-8")
    chats = list(read_conversations(str(good), val_fraction=0))
    rendered = list(render_all(chats, tokenizer))
    for row, (ids, learnt) in zip(found.rows, rendered, strict=True):
        assert list(row.tokens) == tokenizer.token_strings(ids)
        assert list(row.learnt) == list(learnt) and row.length == len(ids)
    packed = pack(LearntTokens.of(rendered), 64)
    segments = packed.lay_out(np.arange(packed.rows)).segments
    assert [row.lengths for row in found.packed] == [
        tuple(np.bincount(one)[1:].tolist()) for one in segments
    ]
    assert found.rows[10].kept == 65 < found.rows[10].length and packed.truncated == 1
    assert found.left_out == ('chats.jsonl:12: no "output"; expected {"conversations": […]}, '
                              '{"messages": […]} or {"instruction", "output", optionally "input", '
                              '"system"}',)  # fmt: skip


def test_other_kinds_of_rows_have_a_preview(data: Path) -> None:
    pairs = {"prompt": "1?", "chosen": "2", "rejected": "3"}
    Path("pairs.jsonl").write_text(json.dumps(pairs))
    found = preview(config(stage="dpo", **{"data.source": "pairs.jsonl"}))
    assert len(found.rows) == 2 and all(any(row.learnt) for row in found.rows)
    found = preview(config(stage="grpo", **{"data.source": "pairs.jsonl"}))
    assert len(found.rows) == 1 and not any(found.rows[0].learnt)
    Path("a.txt").write_text("one two three\n" * 100)
    found = preview(config(stage="pretrain", **{"data.source": "a.txt"}))
    assert all(sum(row.lengths) == row.places == 64 for row in found.packed)
    with pytest.raises(DataError, match="no file, folder or glob matches 'none.jsonl'"):
        preview(config(**{"data.source": "none.jsonl"}))


@pytest.fixture
def run(data: Path):
    made = FakeRun(Path("runs") / "chat", stage="sft", host="box", pid=7)
    made.train(1, 3)
    made.dir.config.write_text(to_toml(config()))
    yield made
    made.close()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("keys", "awaited"),
    [
        ((), "row 1 of the first 11"),
        ((NEXT_VIEW,), "% full"),
        ((NEXT_VIEW, NEXT_VIEW), "chats.jsonl:12"),
    ],
    ids=["row", "packing", "left-out"],
)
async def test_how_it_looks(run, snapshot, size, keys, awaited) -> None:
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size) as pilot:
        await pilot.press("3")
        await pilot.pause()
        await pilot.press("D")
        await until_read(pilot, "row 1 of")
        await pilot.press(*keys)
        await until_read(pilot, awaited)
        await settled(pilot)
        assert "\x1b" not in screen_text(app)
        assert screen_text(app) == snapshot


async def test_rows_are_walked_to_and_a_cut_one_says_so(run) -> None:
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(120, 30)) as pilot:
        app.push_screen(DataScreen(run.dir))
        await until_read(pilot, "row 1 of")
        await pilot.press("end")
        await until_read(pilot, "row 11 of the first 11")
        assert "cut after 65 of" in screen_text(app)
        await pilot.press("left", "home", "left")
        await until_read(pilot, "row 1 of")


async def test_the_form_shows_the_data_and_gets_back(data: Path) -> None:
    app = CockpitApp(None)
    async with app.run_test(size=(120, 30)) as pilot:
        app.push_screen(DataScreen(None, config(**{"data.source": "none.jsonl"})))
        await until_read(pilot, "no file, folder or glob matches")
        below = app.screen_stack[-2]
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is below
