"""The run of the ranks other than 0: same methods as `ScriptRun`, no effect."""

from __future__ import annotations

from collections.abc import Mapping

from lmm_tui.metrics.tracker import Scalar


class SilentRun:
    """Writes nothing and never requests a stop."""

    should_stop = False
    step = 0

    def log(
        self,
        numbers: Mapping[str, Scalar] | None = None,
        /,
        *,
        step: int | None = None,
        tokens: int | None = None,
        **more: Scalar,
    ) -> None:
        """No effect."""

    def close(self, error: BaseException | None = None) -> None:
        """No effect."""

    def __enter__(self) -> SilentRun:
        return self

    def __exit__(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    with SilentRun() as run:
        run.log(step=1, loss=2.0)
        print(run.step, run.should_stop)
    print("=== 自测通过 ===")
