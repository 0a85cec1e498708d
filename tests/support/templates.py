"""The templates of messages in the code: literal first arguments of `Message` and of errors.

It runs no code of theirs. What is no literal there (a name, an attribute) brings a message that
another place worded, or the text of a library.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from repository import ROOT

PACKAGES = ("engine", "metrics", "data", "lmm_tui")
ENGLISH = Path("lmm_tui/agents")
"""An agent is answered in English, whatever the language of the interface."""
TRANSLATED = ("tr", "mark")
"""What is already worded in the chosen language."""


@dataclass(frozen=True)
class Sentence:
    """One template, where it stands and the names of the values it is given there."""

    template: str
    place: str
    values: frozenset[str]


@cache
def _trees() -> dict[Path, ast.Module]:
    """Every module without its self-test."""
    found = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            if (ROOT / ENGLISH) in file.parents:
                continue
            tree = ast.parse(file.read_text("utf-8"))
            tree.body = [part for part in tree.body if not _is_self_test(part)]
            found[file.relative_to(ROOT)] = tree
    return found


def _is_self_test(part: ast.stmt) -> bool:
    return isinstance(part, ast.If) and ast.unparse(part.test).startswith("__name__")


@cache
def constructors() -> frozenset[str]:
    """`Message` and all subclasses of LmmError by name."""
    classes = [
        node
        for tree in _trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    known = {"LmmError"}
    while more := {
        one.name
        for one in classes
        if one.name not in known and any(_name(base) in known for base in one.bases)
    }:
        known |= more
    return frozenset({*known, "Message"})


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ast.unparse(node).rpartition(".")[2]


@cache
def _calls() -> list[tuple[Path, ast.Call]]:
    return [
        (file, node)
        for file, tree in _trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args and _name(node.func) in constructors()
    ]


def _texts(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body)
            yield from _texts(orelse)
        case ast.Constant(value=str()) | ast.JoinedStr() | ast.BinOp():
            yield node


def sentences() -> list[Sentence]:
    """Every template in the code."""
    return [
        Sentence(
            text.value,
            f"{file}:{call.lineno}",
            frozenset(word.arg for word in call.keywords if word.arg),
        )
        for file, call in _calls()
        for text in _texts(call.args[0])
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    ]


def finished() -> list[str]:
    """Where a text that is put together by an f-string or a sum stands for a template."""
    return [
        f"{file}:{call.lineno}: {ast.unparse(text)}"
        for file, call in _calls()
        for text in _texts(call.args[0])
        if isinstance(text, ast.JoinedStr | ast.BinOp)
    ]
