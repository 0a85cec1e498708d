"""What is installed: all of lmm-tui, or the light distribution that only watches.

Both hold the same code; `lmm-tui-watch` asks for far fewer packages. A part that needs more says
what to install.
"""

from __future__ import annotations

from importlib.util import find_spec

from lmm_tui.errors import LmmError

WHOLE, LIGHT = "lmm-tui", "lmm-tui-watch"

_TRAINS = "torch"
_PROVIDES = {
    "matplotlib": f"{LIGHT}[png]",
    "tensorboard": f"{LIGHT}[tensorboard]",
    "mcp": f"{LIGHT}[mcp]",
}
"""What the light distribution can add; all other packages come with the whole."""


class NotInstalledError(LmmError):
    """A package is missing that only some parts need."""


def distribution() -> str:
    """The name of the distribution that this code came with."""
    from importlib import metadata  # 20 ms, a quarter of `lmm-tui --help`.

    for name in (WHOLE, LIGHT):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return name
    return WHOLE


def require_training() -> None:
    """Raises NotInstalledError where torch is missing, before a run has taken a name."""
    if find_spec(_TRAINS) is None:
        raise missing(_TRAINS)


def missing(module: str) -> NotInstalledError:
    """What to say about a `module` that cannot be imported."""
    package = module.partition(".")[0].replace("_", "-")
    wanted = _PROVIDES.get(package, WHOLE)
    return NotInstalledError(
        "{package} is not installed; `pip install '{wanted}'` adds it",
        package=package,
        wanted=wanted,
    )


if __name__ == "__main__":
    print(distribution(), "|", missing("matplotlib.pyplot"), "|", missing("lm_eval"))
    print("=== 自测通过 ===")
