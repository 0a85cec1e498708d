"""Style sheets name widgets by class; a rule for a class that does not exist has no effect."""

import importlib
import pkgutil
from pathlib import Path

import pytest
from textual.app import App
from textual.css.model import SelectorType
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode

import lmm_tui.charts
import lmm_tui.cockpit

for package in (lmm_tui.charts, lmm_tui.cockpit):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def subclasses(parent: type) -> set[type]:
    return {parent}.union(*map(subclasses, parent.__subclasses__()))


CLASSES = subclasses(DOMNode)
SHEETS = {
    path.name: path.read_text(encoding="utf-8")
    for path in Path(lmm_tui.cockpit.__path__[0]).rglob("*.tcss")
} | {
    each.__name__: css
    for each in CLASSES
    if each.__module__.startswith("lmm_tui.") and (css := vars(each).get("DEFAULT_CSS"))
}


@pytest.mark.parametrize("name", sorted(SHEETS))
def test_every_class_that_a_style_sheet_names_exists(name: str) -> None:
    sheet = Stylesheet(variables=App().get_css_variables())
    sheet.add_source(SHEETS[name], read_from=(name, ""))
    sheet.parse()
    named = {
        selector.name
        for rule in sheet.rules
        for selector_set in rule.selector_set
        for selector in selector_set.selectors
        if selector.type is SelectorType.TYPE
    }
    assert named and named <= {each.__name__ for each in CLASSES}
