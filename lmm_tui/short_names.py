"""Aliases for the short names `engine`, `metrics` and `data`, which exist only in a checkout.

An installed package has `lmm_tui.metrics` and no `metrics`. In a checkout `import metrics` finds
the folder; an import hook then returns the modules of `lmm_tui.metrics`. If each module were loaded
twice, its classes would exist twice and `isinstance` would silently fail.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType


class _ShortNames(MetaPathFinder, Loader):
    """Import hook: `metrics.x` is the module `lmm_tui.metrics.x`, for the packages in `known`."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in self.known:
            return None
        if (found := find_spec(_long(fullname))) is None:
            return None
        is_package = found.submodule_search_locations is not None
        spec = ModuleSpec(fullname, self, origin=found.origin, is_package=is_package)
        spec.has_location = True
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(_long(spec.name))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # Already executed. Python has set the spec of the short name; restore its own.
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state

    def get_code(self, fullname: str) -> CodeType | None:
        """For `python -m metrics.visualize`."""
        found = find_spec(_long(fullname))
        assert found is not None and isinstance(found.loader, InspectLoader)
        return found.loader.get_code(_long(fullname))


_FINDER = _ShortNames()


def share(name: str) -> None:
    """Make the top-level package `name` and its modules aliases of `lmm_tui.<name>`."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    _FINDER.known.add(name)
    sys.modules[name] = import_module(_long(name))


def _long(name: str) -> str:
    return f"lmm_tui.{name}"


if __name__ == "__main__":
    share("metrics")
    import_module("metrics.names")
    print(sys.modules["metrics.names"].__name__)
    assert sys.modules["metrics.names"] is sys.modules["lmm_tui.metrics.names"]
    print("=== 自测通过 ===")
