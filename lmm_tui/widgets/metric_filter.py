"""The line that asks which metrics to show; it is there only while somebody looks for some."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static


class MetricFilter(Horizontal):
    """`/ words` and how many metrics have them; whoever composes it listens to its input."""

    DEFAULT_CSS = """
    MetricFilter { height: 1; display: none; padding: 0 1; }
    MetricFilter > Static { width: auto; height: 1; color: $foreground 70%; }
    MetricFilter > Input, MetricFilter > Input:focus {
        width: 1fr; height: 1; border: none; padding: 0; background: $background;
    }
    """

    def compose(self) -> ComposeResult:
        yield Static("/ ")
        yield Input(placeholder="part of a name; enter keeps, esc shows all", select_on_focus=False)
        yield Static("", id="found")

    def open(self) -> None:
        self.display = True
        self.query_one(Input).focus()

    def close(self) -> None:
        """Forget the words and go."""
        field = self.query_one(Input)
        with self.prevent(Input.Changed):
            field.value = ""
        self.display = False
        if self.screen.focused is field:
            self.screen.set_focus(None)

    def tell(self, found: int, measured: int) -> None:
        self.query_one("#found", Static).update(f"{found:,} of {measured:,}")


if __name__ == "__main__":
    import asyncio

    from textual.app import App

    class Demo(App[None]):
        def compose(self) -> ComposeResult:
            yield MetricFilter()

    async def type_into() -> str:
        app = Demo()
        async with app.run_test(size=(60, 2)) as pilot:
            line = app.query_one(MetricFilter)
            line.open()
            await pilot.press("l", "r")
            typed = app.query_one(Input).value
            line.close()
            assert not line.display and not app.query_one(Input).value
        return typed

    typed = asyncio.run(type_into())
    print(typed)
    assert typed == "lr"
    print("=== 自测通过 ===")
