"""The configure screen as a person at a keyboard meets it."""

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from looking import screen_text, toasts, until
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Button, Input

from lmm_tui.cockpit.screens import configure, memory_simulation
from lmm_tui.cockpit.screens.configure import ConfigureScreen
from lmm_tui.cockpit.screens.form_labels import ROWS
from lmm_tui.cockpit.screens.form_tabs import FORM, TABS, keys_of, matters
from lmm_tui.cockpit.screens.help import HelpScreen
from lmm_tui.cockpit.widgets.choice import ChoiceRow
from lmm_tui.cockpit.widgets.estimate_panel import EstimatePanel
from lmm_tui.cockpit.widgets.key_bar import FormKeys
from lmm_tui.cockpit.widgets.option_field import OptionField
from lmm_tui.cockpit.widgets.text_input import TextInput
from lmm_tui.engine.config.options import lookup, options
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.foreign_shape import ForeignShape
from lmm_tui.engine.run.checkpoint_names import checkpoint_name
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo
from lmm_tui.planning import simulated_memory, step_benchmark
from lmm_tui.planning.command_line import command_line
from lmm_tui.planning.simulated_memory import Simulated
from lmm_tui.planning.step_benchmark import seconds_a_step
from lmm_tui.runs.worker_process import WorkerError, run_in_worker

NEVER_S = 1e6
MEMORY = r"memory about [\d.]+ MB"
"""Before anything is simulated; tests of the estimate hold the figure."""


@dataclass
class Seat:
    """A person in front of the screen: keys go in, answers come out."""

    pilot: Pilot[None]
    screen: ConfigureScreen
    answers: list[RunConfig | None] = field(default_factory=list)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type_into(self, key: str, text: str) -> None:
        """Replace what stands in a field."""
        await self.paste_into(key, "")
        await self.press(*text)

    async def paste_into(self, key: str, text: str) -> None:
        editor = self.screen.field(key).editor
        assert isinstance(editor, Input)
        editor.focus()
        editor.value = text
        await self.pilot.pause()

    async def until(self, condition: Callable[[], object]) -> None:
        await until(self.pilot, condition)

    @property
    def text(self) -> str:
        return screen_text(self.pilot.app)

    def says(self, words: str) -> bool:
        return words in " ".join(self.text.split())

    def said(self, pattern: str) -> str:
        """What the screen says that is like the pattern; nothing where there is none."""
        found = re.search(pattern, " ".join(self.text.split()))
        return found[0] if found else ""


@asynccontextmanager
async def seated(
    config: RunConfig | None = None, size: tuple[int, int] = (120, 40), named_stage: str = ""
):
    app: App[None] = App()
    screen = ConfigureScreen(config or RunConfig(), named_stage=named_stage)
    async with app.run_test(size=size) as pilot:
        seat = Seat(pilot, screen)
        app.push_screen(screen, seat.answers.append)
        await pilot.pause()
        yield seat


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at at once."""
    monkeypatch.setattr(configure, "TYPING_PAUSE_S", 0.001)


async def test_every_field_starts_with_the_value_of_the_configuration():
    config = resolve(assignments={"train.steps": 20, "optim.lr": 1e-3, "name": "mine"})
    async with seated(config) as seat:
        for key in FORM:
            assert seat.screen.field(key).value == lookup(config, key)
        assert seat.screen.config == config


async def test_f5_starts_at_once_with_what_was_given():
    async with seated() as seat:
        await seat.press("f5")
        await seat.until(lambda: seat.answers)
        assert seat.answers == [RunConfig()]


async def test_enter_starts_from_the_button_and_never_from_a_field():
    async with seated() as seat:
        for key in FORM:
            field = seat.screen.field(key)
            if not field.lists:
                field.editor.focus()
                await seat.press("enter")
                assert seat.screen.focused is not field.editor
        assert seat.answers == []
        seat.screen.query_one("#start", Button).focus()
        await seat.press("enter")
        await seat.until(lambda: seat.answers == [RunConfig()])


async def test_space_and_letters_change_nothing_while_no_text_is_typed():
    async with seated() as seat:
        seat.screen.field("stage").editor.focus()
        await seat.press("space", "j", "k", "space")
        assert seat.screen.config == RunConfig()
        await seat.press("l")
        assert seat.screen.config.stage == "sft"


async def test_an_empty_field_shows_what_applies_and_follows_the_preset():
    async with seated() as seat:
        await seat.press("pagedown", "pagedown")
        hidden = seat.screen.field("model.hidden_size").editor
        assert isinstance(hidden, TextInput) and hidden.prompt == "96  (nano)"
        await seat.press("1", "2", "8")
        assert seat.screen.config.model.vocab_size is None  # 128 is too small.
        await seat.press("pageup", "pageup")
        seat.screen.field("model.preset").editor.focus()
        await seat.press("right")
        shape = seat.screen.config.model.shape()
        assert hidden.prompt == f"{shape.hidden_size}  (tiny)"


async def test_a_length_is_typed_as_people_say_it():
    async with seated() as seat:
        for typed, steps, epochs in (
            ("1k", 1000, None),
            ("2_500", 2500, None),
            ("2epochs", 1000, 2),
        ):
            await seat.type_into("train.steps", typed)
            train = seat.screen.config.train
            assert (train.steps, train.epochs) == (steps, epochs)
            assert not seat.screen.form.wrong_fields


async def test_sft_of_random_weights_is_doubted_and_a_run_is_offered(tmp_path, monkeypatch):
    run = RunDir(tmp_path / "runs" / "base")
    run.create()
    run.write_info(RunInfo("base", "pretrain", 0.0, 0.0, "box", 1, 0.0))
    (run.checkpoints / checkpoint_name(10)).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    async with seated(resolve(assignments={"stage": "sft"})) as seat:
        await seat.until(lambda: seat.says("SFT of random weights teaches nothing"))
        await seat.until(lambda: seat.says("enter lists 1, such as base"))
        seat.screen.field("start_from").editor.focus()
        await seat.press("enter")
        await seat.until(lambda: seat.says("run · pretrain"))
        await seat.press("enter")
        await seat.until(lambda: seat.screen.config.start_from == "base")
        assert not seat.says("teaches nothing")
        assert not seat.answers


async def test_several_targets_are_marked_in_a_list():
    async with seated() as seat:
        await seat.press("pagedown")
        seat.screen.field("lora.targets").editor.focus()
        await seat.press("enter")
        await seat.until(lambda: seat.says("[x] q_proj"))
        await seat.press(*"down_proj", "space")
        await seat.until(lambda: seat.says("[ ] down_proj"))
        await seat.press("enter")
        await seat.until(lambda: "down_proj" not in seat.screen.config.lora.targets)
        assert seat.screen.field("lora.targets").text == ", ".join(seat.screen.config.lora.targets)


async def test_a_benchmark_starts_by_itself_once_the_form_is_quiet(monkeypatch):
    device = SimpleNamespace(name="cpu", description="", memory=10**10, precision="fp32")
    monkeypatch.setattr(step_benchmark, "seconds_a_step", lambda config: 0.3)
    monkeypatch.setattr(configure, "TRY_AFTER_S", 0.01)
    async with seated(size=(200, 50)) as seat:
        seat.screen.post_message(configure.DevicesFound([device]))
        await seat.until(lambda: seat.says("trains 1,000 steps, about 5 min 00 s here"))


async def test_the_memory_is_simulated_once_the_form_is_quiet_until_something_changes(monkeypatch):
    device = SimpleNamespace(name="cpu", description="", memory=10**10, precision="fp32")
    found = Simulated(1_234_000_000, RunConfig().model.shape())
    monkeypatch.setattr(simulated_memory, "simulated", lambda config: found)
    monkeypatch.setattr(memory_simulation, "AFTER_S", 0.01)
    async with seated(size=(200, 50)) as seat:
        assert seat.said(MEMORY) and not seat.says("simulated")
        seat.screen.post_message(configure.DevicesFound([device]))
        await seat.until(lambda: seat.says("1.2 GB of 10.0 GB, simulated"))
        monkeypatch.setattr(memory_simulation, "AFTER_S", NEVER_S)
        await seat.type_into("train.batch_size", "8")
        assert seat.said(MEMORY + r" of 10\.0 GB") and not seat.says("simulated")


async def test_the_model_of_other_weights_is_not_known_until_they_are_read(monkeypatch):
    device = SimpleNamespace(name="cpu", description="", memory=10**10, precision="fp32")
    llama = ForeignShape(49152, 576, 30, 9, 3, 64, 1536, counted=134_515_008, active=1)
    monkeypatch.setattr(
        simulated_memory, "simulated", lambda config: Simulated(2_500_000_000, llama)
    )
    monkeypatch.setattr(memory_simulation, "AFTER_S", NEVER_S)
    async with seated(size=(200, 50)) as seat:
        seat.screen.post_message(configure.DevicesFound([device]))
        await seat.type_into("start_from", "smol")
        await seat.until(lambda: seat.says("not known yet"))
        assert not seat.said(MEMORY)
        monkeypatch.setattr(memory_simulation, "AFTER_S", 0.01)
        await seat.type_into("train.batch_size", "2")
        await seat.until(lambda: seat.says("30 of width 576") and seat.says("135M"))
        assert seat.says("2.5 GB of 10.0 GB, simulated") and seat.says("49,152 tokens")


async def test_where_nothing_can_be_simulated_the_first_answer_stays(monkeypatch):
    def refuse(config: RunConfig) -> Simulated:
        raise WorkerError("no torch")

    device = SimpleNamespace(name="cpu", description="", memory=10**10, precision="fp32")
    monkeypatch.setattr(simulated_memory, "simulated", refuse)
    monkeypatch.setattr(memory_simulation, "AFTER_S", 0.01)
    async with seated(size=(200, 50)) as seat:
        seat.screen.post_message(configure.DevicesFound([device]))
        first = seat.said(MEMORY)
        await seat.until(lambda: seat.screen.known.simulated_for is not None)
        assert first and seat.said(MEMORY) == first


async def test_every_option_has_a_label_of_its_own():
    assert {option.key for option in options()} == set(ROWS)


async def test_a_wrong_number_is_named_refused_and_started_once_it_is_right():
    async with seated() as seat:
        await seat.type_into("train.steps", "0")
        assert seat.says("needs a whole number from 1 to 100,000,000")
        seat.screen.query_one("#start", Button).focus()
        await seat.press("enter")
        await seat.until(lambda: seat.says("Fix the highlighted fields: length"))
        assert seat.screen.focused is seat.screen.field("train.steps").editor
        assert seat.answers == []
        await seat.type_into("train.steps", "250")
        assert not seat.says("needs a whole number")
        await seat.press("f5")
        await seat.until(lambda: seat.answers)
        assert seat.answers == [resolve(assignments={"train.steps": 250})]


async def test_other_settings_than_those_of_the_form_are_kept():
    config = resolve(assignments={"log.keep": 7, "model.num_layers": 2})
    async with seated(config) as seat:
        await seat.type_into("train.batch_size", "4")
        await seat.press("f5")
        await seat.until(lambda: seat.answers)
        assert seat.answers[0] == resolve(base=config.model_dump() | {"train": {"batch_size": 4}})


async def test_a_preset_changes_the_estimate_and_the_command():
    async with seated() as seat:
        assert seat.says("505k parameters")
        seat.screen.query_one("#model-preset > ChoiceRow").focus()
        await seat.press("right")
        assert seat.says("4.00M parameters")
        assert seat.says("$ lmm-tui train --model tiny")
        assert seat.says("pretrain-tiny-<date>")


async def test_epochs_come_from_the_size_of_the_files(tmp_path: Path):
    (tmp_path / "one.txt").write_text("a" * 230_000)
    (tmp_path / "two.jsonl").write_text("b" * 230_000)
    async with seated(resolve(assignments={"data.source": str(tmp_path)})) as seat:
        await seat.until(lambda: seat.says("2 files, 460 kB"))
        panel = seat.screen.query_one(EstimatePanel)
        assert panel.outlook is not None
        assert panel.outlook.estimate.corpus_tokens == pytest.approx(0.98 * 460_000 / 2.3)


async def test_a_path_that_does_not_exist_is_refused_before_the_start(tmp_path: Path):
    (tmp_path / "text.txt").write_text("Once upon a time")
    async with seated() as seat:
        await seat.paste_into("data.source", str(tmp_path / "txt.txt"))
        await seat.press("f5")
        await seat.until(lambda: seat.says("no file, folder or glob matches"))
        assert seat.answers == []
        await seat.paste_into("data.source", str(tmp_path / "text.txt"))
        await seat.press("f5")
        await seat.until(lambda: seat.answers)
        assert seat.answers[0] is not None
        assert seat.answers[0].data.source == str(tmp_path / "text.txt")


async def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path):
    async with seated() as seat:
        await seat.paste_into("data.tokenizer", str(tmp_path))
        await seat.until(lambda: seat.says("holds no tokenizer.json"))
        assert seat.screen.field("data.tokenizer").problem


async def test_hostile_file_names_are_shown_and_not_obeyed(tmp_path: Path):
    folder = tmp_path / "\x1b[2J\u202etxt\x07"
    folder.mkdir()
    async with seated(resolve(assignments={"data.source": str(folder)})) as seat:
        await seat.until(lambda: seat.says("holds no "))
        assert not set("\x1b\x07\u202e") & set(seat.text)
        assert seat.says("␛[2J")


async def test_a_name_that_is_taken_is_refused(tmp_path: Path):
    run = RunDir(tmp_path / "mine")
    run.create()
    run.write_info(RunInfo("mine", "pretrain", 0.0, 0.0, "box", 1, 0.0))
    async with seated(resolve(assignments={"runs_dir": str(tmp_path)})) as seat:
        await seat.type_into("name", "mine")
        name = seat.screen.field("name")
        await seat.until(lambda: "holds a run of this name" in name.problem)
        await seat.press("2")
        await seat.until(lambda: not name.problem)
        await seat.press("/")
        await seat.until(lambda: "starts with a letter or digit" in name.problem)


async def test_numbers_that_make_no_model_are_shown_at_the_preset():
    config = RunConfig.model_validate({"model": {"num_heads": 6, "preset": "minimind-26m"}})
    async with seated(config) as seat:
        preset = seat.screen.field("model.preset")
        assert "model.hidden_size" in preset.problem
        await seat.press("f5")
        await seat.until(lambda: seat.says("Fix the highlighted fields"))
        assert seat.answers == []
        await seat.until(lambda: seat.screen.focused is preset.editor)
        await seat.press("home")
        await seat.until(lambda: not preset.problem)


async def test_escape_leaves_at_once_while_nothing_is_changed():
    async with seated() as seat:
        await seat.press("escape")
        assert seat.answers == [None]


async def test_escape_asks_where_something_would_be_lost_and_takes_it_from_there():
    async with seated() as seat:
        await seat.type_into("train.steps", "20")
        await seat.press("escape")
        assert seat.says("Unsaved changes") and seat.answers == []
        await seat.press("0")
        assert not seat.says("Unsaved changes")
        await seat.press("escape")
        assert seat.answers == []
        await seat.press("escape")
        assert seat.answers == [None]


async def test_q_leaves_from_a_choice_and_is_a_letter_in_a_text():
    async with seated() as seat:
        await seat.type_into("name", "q")
        assert seat.screen.config.name == "q"
        await seat.type_into("name", "")
        seat.screen.query_one("#optim-schedule > ChoiceRow").focus()
        await seat.press("backspace", "q")
        await seat.until(lambda: seat.answers == [None])


async def test_everything_can_be_reached_by_keys():
    async with seated() as seat:
        reached = []
        for _ in range(len(FORM) + 2):
            focused = seat.screen.focused
            assert focused is not None
            reached.append(focused.id or focused.parent.id)
            await seat.press("down")
        assert set(reached) == {key.replace(".", "-") for key in FORM} | {"start", "leave"}
        first = seat.screen.focused
        await seat.press("up", "down")
        assert seat.screen.focused is first


async def test_everything_can_be_done_by_mouse():
    async with seated() as seat:
        choice = seat.screen.query_one("#model-preset > ChoiceRow", ChoiceRow)
        column = choice.render().plain.index("tiny")
        await seat.pilot.click(choice, offset=(column, 0))
        assert seat.screen.config.model.preset == "tiny"
        await seat.pilot.click("#command")
        assert seat.pilot.app.clipboard == "lmm-tui train --model tiny"
        await seat.pilot.click("#leave")
        assert seat.answers == []
        keys = seat.screen.query_one(FormKeys)
        await seat.pilot.click(FormKeys, offset=(keys.render().plain.index("start"), 0))
        await seat.until(lambda: seat.answers)
        assert seat.answers == [resolve(assignments={"model.preset": "tiny"})]


async def test_the_command_is_copied_and_a_field_reset_by_keys():
    async with seated(resolve(assignments={"train.steps": 20})) as seat:
        await seat.press("ctrl+y")
        assert seat.pilot.app.clipboard == "lmm-tui train --steps 20"
        seat.screen.field("train.steps").editor.focus()
        await seat.press("ctrl+r")
        assert seat.screen.config == RunConfig()
        assert command_line(seat.screen.config) == "lmm-tui train"


async def test_the_focused_field_is_explained():
    async with seated() as seat:
        seat.screen.field("train.grad_accum").editor.focus()
        await seat.pilot.pause()
        assert seat.says("Micro-batches per optimizer step (gradient accumulation)")
        assert seat.says("whole number from 1 to 65,536 · default 1 · train.grad_accum")


async def test_help_that_is_cut_says_where_it_stands_whole():
    async with seated(size=(60, 24)) as seat:
        preset = seat.screen.field("model.preset")
        # The end of the help itself, and of the line below it.
        for field, cut in (
            (preset, preset.option.help[-25:]),
            (seat.screen.field("train.grad_accum"), "train.grad_accum"),
        ):
            field.editor.focus()
            await seat.until(lambda: seat.says(field.option.help[:30]))  # noqa: B023
            assert seat.says("f1 shows all") and not seat.says(cut)
            seat.pilot.app.push_screen(HelpScreen("configure", about=seat.screen.explained()))
            await seat.until(lambda: isinstance(seat.pilot.app.screen, HelpScreen))
            await seat.until(lambda: cut in re.sub(r"[\s│]+", " ", seat.text))  # noqa: B023
            await seat.press("escape")
            await seat.until(lambda: seat.pilot.app.screen is seat.screen)


@pytest.mark.slow
async def test_devices_are_found_behind_the_person_and_offered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(configure, "DEVICES_AFTER_S", 0.001)
    async with seated() as seat:
        choice = seat.screen.field("device").editor
        assert isinstance(choice, ChoiceRow)
        await seat.until(lambda: seat.screen.known.devices)
        best = seat.screen.known.devices[0]
        assert choice.choices[0] == "auto" and best.name in choice.choices
        assert choice.value == "auto"
        await seat.until(lambda: seat.says(best.name) and seat.says("fits"))


@pytest.mark.parametrize("size", [(200, 50), (120, 30), (80, 24)], ids="{0[0]}x{0[1]}".format)
async def test_it_looks_like_this(size: tuple[int, int], snapshot):
    async with seated(resolve(assignments={"train.batch_size": 32}), size) as seat:
        await seat.until(lambda: seat.says("built in, 6.0 MB"))
        await seat.type_into("train.steps", "1e")
        await seat.pilot.pause()
        assert re.sub(r"(memory +about) \d{3} MB", r"\1 ### MB", seat.text) == snapshot


async def test_a_resized_terminal_shows_what_a_new_one_of_that_size_does():
    shown = {}
    for size in ((200, 50), (80, 24)):
        async with seated(size=size) as seat:
            await seat.until(lambda: seat.says("built in, 6.0 MB"))
            shown[size] = seat.text
            for other in shown if len(shown) == 2 else ():
                await seat.pilot.resize_terminal(*other)
                await seat.until(lambda: seat.text == shown[other])  # noqa: B023


async def test_a_small_terminal_scrolls_to_what_is_focused():
    async with seated(size=(60, 15)) as seat:
        for size in ((60, 15), (80, 20)):
            await seat.pilot.resize_terminal(*size)
            for _ in range(len(FORM) + 2):
                await seat.press("down")
                focused = seat.screen.focused
                assert focused is not None
                body = seat.screen.query_one("#body")
                await seat.until(lambda: body.region.contains_region(focused.region))  # noqa: B023


def shown_keys(seat) -> list[str]:
    fields = seat.screen.query(OptionField)
    return [field.option.key for field in fields if field.region.height]


async def test_every_option_of_the_tree_has_its_field_on_one_tab():
    async with seated(resolve(assignments={"stage": "grpo"})) as seat:
        seen: list[str] = []
        for tab in TABS:
            keys = [key for key in keys_of(tab) if matters(key, "grpo")]
            await seat.until(lambda: shown_keys(seat) == keys)  # noqa: B023
            seen += keys
            await seat.press("pagedown")
        everything = [option.key for option in options()]
        assert len(set(seen)) == len(seen)
        assert set(everything) - set(seen) == {
            key for key in everything if key.startswith(("dpo.", "kto.", "reward.", "distill."))
        }
        await seat.press("pageup", "pagedown")
        await seat.until(lambda: shown_keys(seat) == [key for key in FORM if matters(key, "grpo")])


async def test_a_stage_brings_its_own_options_and_a_changed_tab_is_marked():
    async with seated() as seat:
        await seat.press("pagedown")
        assert not seat.says("label smoothing") and not seat.says("stage ●")
        await seat.type_into("lora.rank", "8")
        assert seat.screen.config.lora.rank == 8 and seat.says("stage ●")
        await seat.press("pageup")
        seat.screen.field("stage").editor.focus()
        await seat.press("right", "right", "pagedown")
        assert seat.screen.config.stage == "dpo" and seat.says("label smoothing")
        assert seat.says("--set lora.rank=8")


async def test_what_is_wrong_on_another_tab_is_gone_to():
    async with seated() as seat:
        await seat.press(*["pagedown"] * TABS.index("optimizer"))
        await seat.type_into("optim.beta1", "2")
        await seat.press("pageup", "pageup", "f5")
        await seat.until(lambda: seat.says("Fix the highlighted fields: Adam beta 1"))
        assert seat.screen.focused is seat.screen.field("optim.beta1").editor
        assert not seat.answers


async def test_settings_are_saved_to_a_new_file_and_loaded_again(tmp_path: Path):
    async with seated(resolve(assignments={"stage": "dpo", "lora.rank": 4})) as seat:
        await seat.press("pagedown")
        target = str(tmp_path / "mine.toml")
        for expected in ("written to", "is there already"):
            await seat.press("ctrl+s")
            seat.pilot.app.screen.query_one(Input).value = target
            await seat.press("enter")
            await seat.pilot.pause()
            assert resolve(Path(target)) == seat.screen.config
            shown = "".join(str(part) for part in toasts(seat.pilot.app))
            refusal = seat.pilot.app.screen.query("#refusal")
            assert expected in (str(refusal.first().render()) if refusal else shown)
        await seat.press("escape", "pageup")
        seat.screen.field("stage").editor.focus()
        await seat.press("left", "left")
        assert seat.screen.config.stage == "pretrain"
        await seat.press("ctrl+o")
        seat.pilot.app.screen.query_one(Input).value = target
        await seat.until(lambda: seat.says("as typed"))
        await seat.press("enter")
        await seat.until(lambda: seat.screen.config == resolve(Path(target)))
        assert seat.screen.field("stage").text == "dpo"
        assert seat.screen.field("lora.rank").text == "4"
        assert seat.screen.field("dpo.beta").display and not seat.screen.form.wrong_fields


async def test_a_stage_of_a_recipe_is_loaded_and_nonsense_is_refused(tmp_path: Path):
    async with seated() as seat:
        await seat.press("ctrl+o", *"nowhere")
        await seat.until(lambda: seat.says("as typed"))
        await seat.press("enter")
        await seat.until(lambda: seat.says("nowhere: holds no settings"))
        await seat.press(*["backspace"] * 7, *"tiny sft")
        await seat.until(lambda: seat.says("stage of a recipe"))
        await seat.press("enter")
        await seat.until(lambda: seat.screen.config.stage == "sft")
        assert seat.screen.config.start_from == "tiny-pretrain"
        assert seat.screen.field("train.steps").text == str(seat.screen.config.train.steps)


async def test_a_trial_tells_how_long_the_run_takes_until_something_changes(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(step_benchmark, "seconds_a_step", lambda config: 0.5)
    async with seated(size=(200, 50)) as seat:
        assert seat.says("ctrl+t benchmarks")
        await seat.press("ctrl+t")
        await seat.until(lambda: seat.says("about 8 min 20 s at 0.5 s a step"))
        await seat.type_into("train.steps", "100")
        assert seat.says("about 50 s at 0.5 s a step")
        await seat.type_into("train.batch_size", "8")
        assert seat.says("ctrl+t benchmarks")


@pytest.mark.usefixtures("forked_children")
def test_a_trial_does_real_steps():
    size = {"model.hidden_size": 32, "model.num_layers": 2, "data.seq_len": 32}
    size |= {"train.batch_size": 2, "data.builtin_mb": 0.1, "model.vocab_size": 300}
    assert seconds_a_step(resolve(assignments={"device": "cpu", **size})) > 0


async def test_a_trial_that_is_refused_says_why(monkeypatch: pytest.MonkeyPatch):
    def refuse(config: RunConfig) -> float:
        run_in_worker(["train", "--stage", "nonsense"])
        return 0.0

    monkeypatch.setattr(step_benchmark, "seconds_a_step", refuse)
    async with seated() as seat:
        await seat.press("ctrl+t")
        await seat.until(lambda: seat.says("Benchmark failed:") and seat.says("nonsense"))


def test_launch_opens_it_without_torch_and_numpy():
    code = (
        "import sys, lmm_tui.cli.launcher, lmm_tui.cockpit.screens.configure;"
        "print({'torch', 'numpy'} & {*sys.modules})"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "set()"


_OWN_STAGE = """
from pydantic import Field
from lmm_tui.engine.config.sections.section import Section
from lmm_tui.engine.stages.base import Stage
from lmm_tui.metrics.stages.stage_info import StageInfo

class Settings(Section):
    digits: int = Field(6, ge=1, le=9, title="length of a number", description="Digits to sort")

class SortStage(Stage):
    info, own_settings = StageInfo("sort", "to sort digits"), Settings
"""


async def test_the_settings_of_a_stage_of_ones_own_are_fields_of_its_tab(tmp_path, monkeypatch):
    monkeypatch.setattr(configure, "DEVICES_AFTER_S", 0.001)
    file = tmp_path / "sort_stage.py"
    file.write_text(_OWN_STAGE)
    name = f"{file}:SortStage"
    config = resolve(assignments={"stage": name})
    async with seated(config, named_stage=name) as seat:
        await seat.pilot.press("pagedown")  # Before its code is loaded.
        await seat.until(lambda: seat.says("length of a number"))
    async with seated(config, named_stage=name) as seat:
        await seat.until(lambda: seat.screen.known.devices)
        await seat.pilot.press("pagedown")
        await seat.type_into("own.digits", "12")
        await seat.until(lambda: seat.says("whole number from 1 to 9"))
        await seat.type_into("own.digits", "8")
        await seat.until(lambda: seat.screen.config.own == {"digits": 8})
        assert "--set own.digits=8" in command_line(seat.screen.config)
    async with seated(config) as seat:  # Loaded from a file: its code is not run.
        await seat.until(lambda: seat.screen.known.devices)
        await seat.pilot.press("pagedown")
        assert not seat.says("length of a number")
