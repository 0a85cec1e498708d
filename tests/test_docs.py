"""The documents: whatever they link to is there, and every picture of the tour is shown."""

import re

import pytest
from repository import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
_PART = re.compile(r"#+ |\||```\w*")
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def links(page):
    return [(page.parent / link).resolve() for link in _LINK.findall(page.read_text("utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page):
    assert [link for link in links(page) if not link.exists()] == []


def shape(page):
    """Headings, tables and code, line by line, without their words."""
    lines = page.read_text("utf-8").splitlines()
    return [start[0] for line in lines if (start := _PART.match(line))]


@pytest.mark.parametrize("chinese", sorted(ROOT.glob("docs/*.zh.md")), ids=lambda page: page.stem)
def test_a_page_has_the_same_parts_in_both_languages(chinese):
    assert shape(chinese) == shape(chinese.with_name(chinese.name.replace(".zh", "")))


@pytest.mark.parametrize(("tour", "pictures"), [("tour", "*.svg"), ("tour.zh", "zh/*.svg")])
def test_every_picture_is_in_the_tour(tour, pictures):
    drawn = set((ROOT / "docs/pictures").glob(pictures))
    assert drawn and drawn <= set(links(ROOT / f"docs/{tour}.md"))
