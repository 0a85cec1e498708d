"""Libraries that import torchao are imported without its words, and without touching others'."""

import logging
from pathlib import Path

import pytest

from lmm_tui.engine.library_import import import_quietly

SAYS = """
import logging
for name in ("torchao", "torch.utils._pytree", "torchao.quantization", "a user's"):
    logging.getLogger(name).warning("from %s", name)
"""


def test_only_what_torchao_and_its_registration_say_at_import_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "speaks_at_import.py").write_text(SAYS)
    speaker = logging.getLogger("torchao")
    with caplog.at_level(logging.WARNING, "torchao"):
        import_quietly("speaks_at_import")
        speaker.warning("later")
    said = [record.getMessage() for record in caplog.records]
    assert said == ["from torchao.quantization", "from a user's", "later"]


def test_a_library_that_cannot_be_imported_leaves_nothing_behind() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_quietly("no_such_library")
    assert not logging.getLogger("torchao").filters


def test_all_imports_of_such_libraries_are_quiet() -> None:
    """The second line of a pair may be anywhere behind the first, in the same function."""
    from repository import ROOT

    for path in (ROOT / "engine").rglob("*.py"):
        text = path.read_text("utf-8")
        for library in ("peft", "torchao"):
            count = text.count(f"import {library}\n") + text.count(f"    from {library}.")
            assert text.count(f'import_quietly("{library}') >= count, path
