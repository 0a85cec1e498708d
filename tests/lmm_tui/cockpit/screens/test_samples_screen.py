"""What the model writes stands prompt by step; it can be asked, talked to, and read along with."""

import threading
from contextlib import asynccontextmanager

import pytest
from fake_run import FakeRun
from looking import screen_text, settled, steady_text, toasts, until, until_read
from textual.events import Paste
from textual.widgets import Input

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.chat_backend import CheckpointBackend
from lmm_tui.cockpit.keys import KEYS
from lmm_tui.cockpit.screens.chat_screen import ChatScreen
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog, ChoiceDialog
from lmm_tui.cockpit.screens.samples_screen import SamplesScreen
from lmm_tui.cockpit.screens.tokens_screen import TokensScreen
from lmm_tui.cockpit.widgets.sample_grid import SampleBook, SampleGrid
from lmm_tui.cockpit.widgets.token_text import TokenText
from lmm_tui.engine.run.checkpoint_names import checkpoint_name
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.samples import RunSample

SIZES = [(120, 30), (60, 15)]
REPLY = "It is 19,\x1b[2J of course."
TOKENS = ["The", " cat", " \x1b[2Jsat", "\n", " 小兔子"]
READ = {
    "tokens": TOKENS,
    "losses": [None, 0.5, 6.25, 2.0, 7.5],
    "top": [[], *([[[" cat", 0.6], [" dog", 0.2], [" 鼠", 0.1], ["x", 0.05], ["\x1b", 0.01]]] * 4)],
}


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "runs" / "first-words", stage="sft")
    made.train(1, 20)
    for step in range(100, 1300, 100):
        for prompt in ("12 + 7 =", "从前有一只", "Once upon"):
            made.sample(step, prompt, f" said at {step}\n\x1b[2Jand more")
    yield made
    made.close()


@asynccontextmanager
async def opened(run, *keys, size=(120, 30)):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.screen, SamplesScreen))
        await pilot.press(*keys)
        yield app, pilot


def talking(run, hold=None):
    """The run answers eight characters at a time; after the first piece it waits for `hold`."""

    def answer(request):
        if request.command == "read":
            return Reply(True, "loss 4.1 over 4 tokens", 600, READ)
        if request.command != "talk":
            return Reply(True, f"{request.command} {request.args}", 600)
        ids = [*request.args["so_far"], *range(request.args["tokens"])]
        if hold is not None and request.args["so_far"]:
            assert hold.wait(120)
        text = REPLY[: len(ids)]
        return Reply(True, text, 600, {"ids": ids, "text": text, "ended": len(ids) >= len(REPLY)})

    run.serve(answer)


# Samples


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_newest_step_is_at_the_right_and_older_ones_are_walked_to(run, size):
    async with opened(run, size=size) as (app, pilot):
        await until_read(pilot, "step 1,200")
        assert "\x1b" not in screen_text(app) and "[2J" in screen_text(app)
        assert max(map(len, screen_text(app).splitlines())) <= size[0]
        await pilot.press(*["left"] * 4)
        await until_read(pilot, "step 800")
        assert app.screen.query_one(SampleGrid).under_cursor[1] == 800
        await pilot.press("end", "down")
        await pilot.pause()
        assert app.screen.query_one(SampleGrid).under_cursor[1] == 1200
        await pilot.press("home", "up", "up")
        await pilot.pause()
        assert app.screen.query_one(SampleGrid).under_cursor[1] == 100


async def test_what_comes_while_one_looks_is_shown_unless_one_looks_back(run):
    async with opened(run) as (app, pilot):
        await until_read(pilot, "step 1,200")
        run.sample(1300, "12 + 7 =", " news")
        app.screen.look()
        await until_read(pilot, "step 1,300")
        await pilot.press("left")
        run.sample(1400, "12 + 7 =", " more news")
        app.screen.look()
        await until_read(pilot, "14 steps")
        assert app.screen.query_one(SampleGrid).under_cursor[1] == 1200


async def test_enter_and_a_second_click_show_the_text_in_whole(run):
    async with opened(run, size=(60, 15)) as (app, pilot):
        await until_read(pilot, "step 1,200")
        assert "temperature 0.8" not in screen_text(app)
        await pilot.press("enter")
        await until_read(pilot, "temperature 0.8")
        await pilot.press("escape")
        assert isinstance(app.screen, SamplesScreen)
        await pilot.click(SampleGrid, offset=(30, 2))
        await pilot.click(SampleGrid, offset=(30, 2), times=2)
        await until_read(pilot, "temperature 0.8")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))


async def test_a_prompt_of_mine_goes_to_the_run_with_the_options_that_i_set(run):
    talking(run)
    async with opened(run, "T") as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, AskDialog))
        await pilot.press("x", "enter")
        await until_read(pilot, "x: expected temperature=X")
        await pilot.press("ctrl+u", *"top_p=.5", "enter")
        await until_read(pilot, "· top_p=0.5")
        await pilot.press("a", *"hey", "enter")
        words = ("'top_p': 0.5", "'prompt': 'hey'")
        await until(pilot, lambda: any(all(w in toast for w in words) for toast in toasts(app)))
        run.sample(1300, "hey", " you")
        app.screen.look()
        await until(pilot, lambda: app.screen.query_one(SampleGrid).under_cursor == ("hey", 1300))
        await pilot.press("p")
        await until(pilot, lambda: run.asked.count("sample") == 2)


def test_answers_of_one_prompt_at_one_step_are_all_kept():
    book = SampleBook()
    sample = RunSample(2, prompt="a", text="x")
    assert book.add([sample, sample, RunSample(1, prompt="a", text="x")])
    assert not book.add([RunSample(3, "token_losses")])
    assert book.steps == [1, 2] and len(book.at("a", 2)) == 2


# Chat


async def test_a_reply_grows_piece_by_piece_and_escape_stops_it(run):
    hold = threading.Event()
    talking(run, hold)
    async with opened(run, "i") as (app, pilot):
        await until_read(pilot, "Message to the live model")
        await pilot.press(*"7 ?", "enter")
        await until_read(pilot, REPLY[:8])
        assert "you    7 ?" in screen_text(app) and "of course" not in screen_text(app)
        await pilot.press("escape")
        hold.set()
        await until(pilot, lambda: not app.screen.replying)
        assert "of course" not in screen_text(app)
        assert isinstance(app.screen, ChatScreen)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, SamplesScreen))


async def test_the_history_goes_along_and_can_be_forgotten(run):
    seen = []
    run.serve(
        lambda request: (
            seen.append(request.args["turns"])
            or Reply(True, "", 5, {"ids": [1], "text": "sure\x1b", "ended": True})
        )
    )
    async with opened(run, "i") as (app, pilot):
        await until_read(pilot, "live model")
        for word in ("one", "two"):
            await pilot.press(*word, "enter")
            await until(pilot, lambda: not app.screen.replying and app.screen.turns)
        assert seen[1] == [["user", "one"], ["assistant", "sure\x1b"], ["user", "two"]]
        assert "sure␛" in screen_text(app)
        await pilot.press("escape", "d")
        await until_read(pilot, "Type below")
        await pilot.press("i", *"three", "enter")
        await until(pilot, lambda: len(seen) == 3)
        assert seen[2] == [["user", "three"]]


async def test_a_talk_begun_anew_hears_nothing_of_the_one_before(run):
    hold = threading.Event()
    talking(run, hold)
    async with opened(run, "i") as (app, pilot):
        await until_read(pilot, "live model")
        await pilot.press(*"old", "enter")
        await until_read(pilot, REPLY[:8])
        app.screen.action_anew()
        await pilot.press(*"new", "enter")
        hold.set()
        await until(pilot, lambda: not app.screen.replying)
        assert [text for _, text in app.screen.turns] == ["new", REPLY]


async def test_letters_typed_into_the_line_are_text_and_outside_they_are_keys(run):
    talking(run)
    async with opened(run, "i") as (app, pilot):
        await until_read(pilot, "live model")
        await pilot.press(*"mons1q")
        assert app.screen.query_one("#saying", Input).value == "mons1q"
        await pilot.press("escape", "T", *"top_p=1", "enter")
        await until_read(pilot, "· top_p=1")


async def test_a_run_that_refuses_is_quoted(run):
    run.serve(lambda request: Reply(False, "talk: the run has \x1bdiverged"))
    async with opened(run, "i") as (app, pilot):
        await until_read(pilot, "live model")
        await pilot.press(*"hi", "enter")
        await until_read(pilot, "the run has ␛diverged")
        assert not app.screen.replying


@pytest.mark.parametrize("keys", ["i", "w"])
async def test_where_nobody_could_answer_it_says_what_to_do(run, keys):
    run.write_status(state="finished")
    async with opened(run, keys, size=(60, 15)) as (app, pilot):
        await until_read(pilot, "No model to talk to")
        await pilot.press(*["escape"] * (keys == "i"), "m")
        assert "no checkpoint" in " ".join(toasts(app))


async def test_of_a_checkpoint_nobody_says_that_training_goes_on(run):
    run.write_status(state="finished")
    (run.dir.checkpoints / checkpoint_name(600)).mkdir(parents=True)
    async with opened(run, "i") as (app, pilot):
        await until_read(pilot, "replies from a worker process")
        assert "Training continues" not in screen_text(app)


async def test_another_model_is_chosen_from_those_that_there_are(run):
    (run.dir.checkpoints / checkpoint_name(300)).mkdir(parents=True)
    talking(run)
    async with opened(run, "i") as (app, pilot):
        await until_read(pilot, "live model")
        await pilot.press("escape", "m")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("2")
        await until_read(pilot, "first-words · step 300")


# Token view


@pytest.mark.parametrize("size", [(120, 30), (60, 15)], ids=["wide", "small"])
async def test_the_cursor_shows_what_was_likeliest_there(run, size):
    talking(run)
    async with opened(run, "w", size=size) as (app, pilot):
        await until_read(pilot, "the first token has no loss")
        await pilot.press("right")
        await until_read(pilot, "loss 0.500   p 0.607")
        text = screen_text(app)
        assert "0.600" in text and "“ dog”" in text and "\x1b" not in text
        assert "▸  0.600" in text
        await pilot.press("n", "n", "N")
        view = app.screen.query_one(TokenText)
        assert view.cursor == 2
        await pilot.press("down")
        assert view.cursor > 2
        await pilot.press("home", "up", "end", "escape")
        await until(pilot, lambda: isinstance(app.screen, SamplesScreen))


async def test_as_long_as_a_text_is_read_it_says_so(run):
    hold = threading.Event()

    def answer(request):
        assert hold.wait(120)
        return Reply(True, "loss 4.1 over 4 tokens", 600, READ)

    run.serve(answer)
    async with opened(run, "w") as (app, pilot):
        await until_read(pilot, "Scoring the text")
        assert "No model to talk to" not in screen_text(app)
        hold.set()
        await until_read(pilot, "loss 4.1")


async def test_a_character_of_three_tokens_is_shown_whole_and_walked_through(run):
    tokens = ["小<E5>", "<88>", "<BA>", "子"]
    read = {"tokens": tokens, "losses": [None, 1.0, 6.0, 2.0], "top": [[]] * 4}
    run.serve(lambda request: Reply(True, "loss 3 over 3 tokens", 600, read))
    async with opened(run, "w") as (_, pilot):
        await until_read(pilot, "小刺子")
        await pilot.press("right", "right")
        await until_read(pilot, "“<BA>”  token 3")
        await pilot.press("right")
        await until_read(pilot, "“子”  token 4")


async def test_a_checkpoint_reads_the_held_out_text_and_not_how_its_bytes_are_written(
    run, monkeypatch
):
    asked = []

    def ask(partner, command, args):
        asked.append(args)
        return Reply(True, "loss 4.1 over 4 tokens", 600, READ)

    monkeypatch.setattr(CheckpointBackend, "ask", ask)
    run.samples.write(
        {"time": 1.0, "step": 9, "kind": "token_losses", "tokens": ["<E5>", "<88>", "<BA>"]}
        | {"losses": []}
    )
    run.write_status(state="finished")
    (run.dir.checkpoints / checkpoint_name(600)).mkdir(parents=True)
    async with opened(run, "w") as (_, pilot):
        await until(pilot, lambda: asked)
        assert asked == [{"text": "刺"}]


async def test_a_text_is_typed_pasted_or_clicked_into(run):
    asked = []
    run.serve(lambda request: asked.append(request.args) or Reply(True, "read", 1, READ))
    async with opened(run, "w") as (app, pilot):
        await until(pilot, lambda: asked == [{}])
        await until_read(pilot, "The cat")
        await pilot.press("i", *"hi", "enter")
        await until(pilot, lambda: asked[-1] == {"text": "hi"} and not app.screen.busy)
        app.screen.post_message(Paste("two\nlines"))
        await until(pilot, lambda: asked[-1] == {"text": "two\nlines"} and not app.screen.busy)
        await pilot.press("v")
        await until(pilot, lambda: len(asked) == 4 and not app.screen.busy)
        assert asked[-1] == {}
        await pilot.click(TokenText, offset=(6, 1))
        assert app.screen.query_one(TokenText).cursor == 1


# All of them


@pytest.mark.parametrize("place, way", [("samples", ""), ("chat", "i"), ("tokens", "w")])
async def test_no_key_breaks_an_empty_run_or_one_that_has_gone(tmp_path, place, way):
    run = FakeRun(tmp_path / "runs" / "empty\x1b[2J", state="finished")
    try:
        async with opened(run, *way, size=(60, 15)) as (app, pilot):
            await until_read(
                pilot, "No samples yet" if place == "samples" else "No model to talk to"
            )
            run.dir.info_file.unlink()
            for row in KEYS:
                if row.where == place:
                    for key in row.keys:
                        if not row.action.startswith("app."):
                            await pilot.press("escape" if place == "chat" else "shift+f9", key)
                            while not isinstance(
                                app.screen, SamplesScreen | ChatScreen | TokensScreen
                            ):
                                await pilot.press("escape")
                            if place != app.screen.PLACE:
                                await pilot.press(*way)
            app.screen.look()
            await pilot.pause()
            assert "\x1b" not in screen_text(app)
    finally:
        run.close()


@pytest.mark.parametrize("size", [(200, 50), (80, 24)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("way", ["", "i", "w"], ids=["samples", "chat", "tokens"])
async def test_each_looks_as_it_did(run, snapshot, size, way):
    talking(run)
    async with opened(run, *way, size=size) as (app, pilot):
        await until_read(pilot, {"": "said at 1200", "i": "live model", "w": "the first"}[way])
        if way == "i":
            await pilot.press(*"hi", "enter")
            await until(pilot, lambda: app.screen.turns[1:] and not app.screen.replying)
        await settled(pilot)
        assert steady_text(app) == snapshot
