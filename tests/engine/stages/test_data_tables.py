"""docs/data.md says of every container, and of every way to name data, what the stages do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from data_tables import PAGES, made_tables, place_of
from repository import ROOT


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    yield dict(made_tables(tmp_path_factory.mktemp("data")))


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", ["containers", "names"])
def test_the_pages_say_what_the_stages_do(tables: dict[str, str], page: str, name: str) -> None:
    found = place_of(name).search((ROOT / "docs" / page).read_text("utf-8"))
    assert found and found[0] == tables[name], "python tests/support/data_tables.py rewrites it"
