"""The first table of docs/data.md has the containers that are run, and the keys that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from containers import COMPRESS, TEXTUAL, WRITERS
from repository import ROOT

from lmm_tui.data.text.containers import ROW_FORMATS, format_of
from lmm_tui.data.text.row_files import TextColumn
from lmm_tui.engine.config.sections.columns_config import ColumnsConfig


@pytest.mark.parametrize("page", ["data.md", "data.zh.md"])
def test_the_table_lists_what_is_run(page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|", text.split("<!-- table")[0], re.M)
    run = [*(name for name in TEXTUAL if name != ".ndjson"), *filter(None, COMPRESS), *WRITERS]
    assert sorted(rows) == sorted(run)
    assert {format_of(Path(f"a{name}")) for name in rows if name in TEXTUAL} <= {*ROW_FORMATS}
    for name in (*TextColumn.USUAL, *ColumnsConfig.model_fields, ".ndjson", ".pq", ".feather"):
        assert f"`{name}`" in text
