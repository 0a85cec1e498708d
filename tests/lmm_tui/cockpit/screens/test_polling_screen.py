"""What a screen does while another one stands on it."""

from looking import until
from textual.app import App
from textual.screen import ModalScreen, Screen

from lmm_tui.cockpit.screens.polling_screen import PollingScreen


class Watched(PollingScreen):
    """Counts how often one of its timers wakes, and what it is told behind a dialog."""

    LOOK_EVERY_S = 1e6

    def __init__(self):
        super().__init__()
        self.woken = self.told = 0

    def on_mount(self):
        self.behind_dialogs(0.01, self.tell)

    def tell(self):
        self.told += 1

    def look(self):
        pass

    def set_interval(self, interval, callback=None, **options):
        def wake():
            self.woken += 1
            callback()

        return super().set_interval(interval, wake, **options)


async def test_it_sleeps_on_top_and_behind_another_and_is_told_behind_a_dialog():
    app, screen = App(), Watched()
    async with app.run_test() as pilot:
        await app.push_screen(screen)
        for covered in (False, True):
            if covered:
                await app.push_screen(Screen())
            await pilot.pause()
            screen.woken = 0
            await pilot.pause(0.2)
            assert screen.woken == screen.told == 0
        await app.pop_screen()
        await app.push_screen(ModalScreen())
        await until(pilot, lambda: screen.told > 2)
        await app.pop_screen()
        await pilot.pause()
        screen.told = 0
        await pilot.pause(0.2)
        assert screen.told == 0
