"""A new screen is styled as it is mounted; doing so once more, as Textual does, adds nothing."""

from pathlib import Path
from typing import Any

from fake_run import FakeRun
from looking import settled
from textual.dom import DOMNode
from textual.widgets import Input

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.reader import Reader


def rules(root: DOMNode) -> list[tuple[DOMNode, dict[str, Any]]]:
    """What the style sheets set for a node and all below it."""
    return [(node, {**node.styles.base.get_rules()}) for node in root.walk_children(with_self=True)]


async def test_styling_a_new_screen_again_changes_nothing(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "first-words")
    run.train(1, 20)
    app = CockpitApp(Reader(run.dir.path), runs_dir=tmp_path)
    async with app.run_test(size=(200, 50)) as pilot:
        for key in ("1", "2", "8", "?"):
            await pilot.press(key)
            await settled(pilot)
            before = rules(app.screen)
            assert len(before) > 3
            app.screen.update_node_styles(animate=False)
            assert rules(app.screen) == before, key
    run.close()


async def test_a_screen_that_brings_a_style_sheet_is_styled_by_it(tmp_path: Path) -> None:
    settings = RunConfig.defaults().model_copy(update={"runs_dir": str(tmp_path)})
    app = CockpitApp(config=settings, start=lambda _: Reader(tmp_path), runs_dir=tmp_path)
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.press("f1")
        await settled(pilot)
        assert app.screen.styles.align == ("center", "middle")
        before = rules(app.screen)
        app.screen.update_node_styles(animate=False)
        assert rules(app.screen) == before


async def test_a_class_given_before_the_mount_is_styled_by_the_mount(tmp_path: Path) -> None:
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(200, 50)) as pilot:
        entry = Input("text", compact=True)
        assert entry.styles.base.get_rules() == {}
        await app.screen.mount(entry)
        await settled(pilot)
        assert entry.has_class("-textual-compact") and entry.styles.height is not None
        assert entry.styles.height.value == 1
