"""A field is made from its option alone and validates every edit at once."""

import re
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looking import screen_text, settled, until, until_read
from rich.cells import cell_len
from textual.app import App
from textual.widgets import Input

from lmm_tui.cockpit.widgets.choice import ChoiceRow
from lmm_tui.cockpit.widgets.option_field import OptionField, parse, to_text
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.options import options
from lmm_tui.i18n.translate_messages import translate_range
from lmm_tui.message import Message

OPTIONS = {option.key: option for option in options()}


class Form(App[None]):
    """Fields, and what they said."""

    def __init__(self, *make: Callable[[], OptionField]) -> None:
        super().__init__()
        self.make = make
        self.said: list[tuple[str, object, str]] = []

    def compose(self):
        self.fields = [make() for make in self.make]
        yield from self.fields

    def on_option_field_changed(self, event: OptionField.Changed) -> None:
        field = event.field
        self.said.append((field.option.key, field.value, field.problem))


def make(key: str, value: object = ..., **more) -> Callable[[], OptionField]:
    option = OPTIONS[key]
    return partial(OptionField, option, option.default if value is ... else value, **more)


async def test_every_option_of_the_tree_makes_a_field_that_holds_its_default():
    app = Form(*map(make, OPTIONS))
    async with app.run_test() as pilot:
        for field in app.fields:
            assert parse(field.option, field.text) == field.option.default
            assert not field.problem and not field.changed
            field.reset()
        await pilot.pause()
    assert app.said == []


@pytest.mark.parametrize("key", [key for key, option in OPTIONS.items() if option.allowed])
def test_a_wrong_number_is_answered_with_what_is_allowed(key):
    with pytest.raises(ConfigError) as caught:
        parse(OPTIONS[key], "twelve")
    assert str(caught.value) == f"needs a {OPTIONS[key].allowed}"


@given(st.floats(min_value=0, max_value=10, exclude_min=True))
def test_a_number_survives_its_editor(value):
    option = OPTIONS["optim.lr"]
    assert parse(option, to_text(option, value)) == value


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_a_list_survives_its_editor(value):
    option = OPTIONS["log.prompts"]
    assert parse(option, to_text(option, value)) == value


@given(st.text())
def test_any_text_is_a_value_or_an_error_sentence(text):
    for key in ("train.steps", "optim.lr", "name", "data.source", "log.prompts", "device"):
        try:
            parse(OPTIONS[key], text)
        except ConfigError as error:
            assert str(error).removeprefix(f"{key}: ")


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_text_is_unset_where_that_is_possible(text):
    assert parse(OPTIONS["optim.lr"], text) is None
    with pytest.raises(ConfigError):
        parse(OPTIONS["train.steps"], text)


async def test_the_message_stands_below_the_field_and_goes_when_it_is_right():
    app = Form(make("train.steps"), make("train.batch_size"))
    async with app.run_test(size=(80, 10)) as pilot:
        field = app.fields[0]
        field.editor.focus()
        await pilot.press("x")
        assert field.problem == "needs a whole number from 1 to 100,000,000"
        await until(pilot, lambda: field.size.height == 2)
        assert field.problem in field.render().plain.splitlines()[1]
        assert field.value == 1000
        await pilot.press("backspace", "2", "0")
        await until(pilot, lambda: not field.problem and field.size.height == 1)
    assert app.said[-1] == ("train.steps", 20, "")


async def test_a_changed_value_is_marked_and_reset_takes_it_back():
    app = Form(make("train.steps", 20))
    async with app.run_test() as pilot:
        field = app.fields[0]
        assert "●" in field.render().plain
        field.reset()
        await pilot.pause()
        assert field.value == 1000 and "●" not in field.render().plain


async def test_a_complaint_of_the_screen_stands_until_the_next_edit():
    app = Form(make("data.source"))
    async with app.run_test() as pilot:
        field = app.fields[0]
        field.complain("no such file")
        assert field.problem == "no such file"
        field.editor.focus()
        await pilot.press("end", "x")
        assert not field.problem and field.value == "builtinx"


async def test_a_yes_or_no_is_chosen_from_words():
    app = Form(make("data.stream"), make("train.compile"))
    async with app.run_test() as pilot:
        plain, optional = app.fields
        assert plain.editor.choices == ("no", "yes")
        assert optional.editor.choices == ("unset", "no", "yes")
        plain.editor.focus()
        await pilot.press("right")
        assert plain.value is True
        optional.editor.focus()
        for key, value in (("right", False), ("right", True), ("home", None)):
            await pilot.press(key)
            assert optional.value is value
        optional.show(False)
        optional.reset()
        await pilot.pause()
        assert optional.value is None and not optional.changed


async def test_control_characters_are_shown_and_not_sent():
    hostile = "\x1b[31m/\x07tmp\u202etxt.exe\x9b0m"
    app = Form(make("data.source", hostile))
    async with app.run_test(size=(100, 5)) as pilot:
        app.fields[0].complain(f"no file matches {hostile}")
        await pilot.pause()
        shown = screen_text(app).replace("\n", "")
        assert "␛[31m" in shown
        assert not set("\x1b\x07\x9b\u202e") & set(shown)
        assert app.fields[0].text == hostile


async def test_choices_are_taken_by_keys_and_by_mouse():
    app = Form(make("optim.schedule"))
    async with app.run_test(size=(80, 5)) as pilot:
        choice = app.query_one(ChoiceRow)
        choice.focus()
        await pilot.press("right", "right")
        assert choice.value == "minimind"
        await pilot.press("end", "right")
        assert choice.value == "constant"
        await pilot.press("home", "left")
        assert choice.value == "cosine"
        column = choice.render().plain.index("wsd")
        await pilot.click(choice, offset=(column + 1, 0))
        assert choice.value == "wsd"
        await pilot.click(choice, offset=(choice.render().cell_length + 3, 0))
        assert choice.value == "wsd"


@pytest.mark.parametrize("width", [20, 30, 42, 55, 90])
async def test_the_taken_choice_shows_however_narrow_it_is(width):
    names = OPTIONS["model.preset"].choices

    class Narrow(App[None]):
        CSS = f"ChoiceRow {{ width: {width}; }}"

        def compose(self):
            yield ChoiceRow(names, names[0])

    app = Narrow()
    async with app.run_test(size=(100, 5)) as pilot:
        choice = app.query_one(ChoiceRow)
        choice.focus()
        for name in names:
            assert choice.value == name
            shown = choice.render()
            assert name in shown.plain
            assert shown.cell_length <= width
            await pilot.press("right")


async def test_a_value_that_is_not_offered_stays_among_the_choices():
    app = Form(make("device", "cuda:3", choices=("auto", "cpu")))
    async with app.run_test():
        field = app.fields[0]
        assert field.editor.choices == ("auto", "cpu", "cuda:3")
        field.set_choices(["auto", "mps"])
        assert field.editor.choices == ("auto", "mps", "cuda:3") and field.value == "cuda:3"
    assert app.said == []


async def test_what_an_unset_value_comes_to_is_shown_in_its_place():
    app = Form(make("optim.lr"))
    async with app.run_test():
        app.fields[0].show_unset("0.003 for nano")
        assert app.query_one(Input).placeholder == "0.003 for nano"


def test_what_numbers_may_be_is_said_in_chinese(in_chinese):
    numbers = [option for option in OPTIONS.values() if option.allowed]
    assert not [
        option.key for option in numbers if re.search("[a-z]{2}", translate_range(option.allowed))
    ]


async def test_a_refusal_in_chinese_is_wrapped_not_cut(in_chinese):
    app = Form(make("train.seed", 0))
    async with app.run_test(size=(56, 6)) as pilot:
        app.fields[0].editor.value = "-1"
        await until(pilot, lambda: app.fields[0].problem)
        await settled(pilot)
        lines = screen_text(app).splitlines()
    assert "".join("".join(lines[1:]).split()) == app.fields[0].problem.replace(" ", "")
    assert all(cell_len(line) <= 56 for line in lines)


async def test_what_is_wrong_with_a_value_is_said_in_chinese(in_chinese):
    app = Form(make("train.freeze"), make("optim.lr"))
    async with app.run_test(size=(120, 24)) as pilot:
        app.fields[0].complain(
            Message(
                "train.freeze: {pattern!r} matches no parameter; names look like {example}",
                pattern="x",
                example="norm.weight",
            )
        )
        app.fields[1].complain(
            Message(
                "{problem} (got {given})", problem=Message("should be a finite number"), given="nan"
            )
        )
        await until_read(pilot, "没有参数与 'x' 匹配；参数名形如 norm.weight")
        await until_read(pilot, "应为有限的数（给的是 nan）")


async def test_what_an_unset_value_comes_to_is_cut_visibly():
    app = Form(make("name"))
    async with app.run_test(size=(65, 4)) as pilot:
        app.fields[0].show_unset("pretrain-a-model-with-a-long-name-<date>")
        await until_read(pilot, "pretrain-a-model-with-a-lon…")
        await pilot.resize_terminal(80, 4)
        await until_read(pilot, "-<date>")
