"""The run of the ranks other than 0: same methods as `ScriptRun`; it writes nothing, and obeys."""

from __future__ import annotations

from collections.abc import Mapping

from lmm_tui.engine.instrument.rank_group import Follower, RankGroup
from lmm_tui.engine.instrument.script_commands import ScriptCommandError, ScriptFunctions
from lmm_tui.engine.instrument.whole_numbers import whole_number
from lmm_tui.metrics.tracker import Scalar


class SilentRun:
    """Does what rank 0 does on a command, at the same `should_stop`."""

    def __init__(self, functions: ScriptFunctions | None = None) -> None:
        self.step = 0
        self._functions = functions or ScriptFunctions()
        self._group = RankGroup()
        self._follower: Follower | None = None

    @property
    def should_stop(self) -> bool:
        """Whether a stop was requested; waits for rank 0 while that is paused."""
        if self._follower is None and self._group.found():
            self._follower = Follower(self._group, self._call)
        return self._follower is not None and self._follower.meet()

    def log(
        self,
        numbers: Mapping[str, Scalar] | None = None,
        /,
        *,
        step: int | None = None,
        tokens: int | None = None,
        **more: Scalar,
    ) -> None:
        """Writes nothing."""
        self.step = self.step + 1 if step is None else whole_number("step", step)

    def close(self, error: BaseException | None = None) -> None:
        """No effect."""

    def __enter__(self) -> SilentRun:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _call(self, name: str, args: list[str]) -> str:
        """Why the function failed; a rank without one has nothing to do."""
        if getattr(self._functions, name) is not None:
            try:
                self._functions.call(name, *args)
            except ScriptCommandError as error:
                return str(error)
        return ""


if __name__ == "__main__":
    with SilentRun() as run:
        run.log(step=1, loss=2.0)
        print(run.step, run.should_stop)
    print("=== 自测通过 ===")
