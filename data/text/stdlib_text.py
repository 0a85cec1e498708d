"""Real text that every Python has: the standard library of the running interpreter.

The manual pages behind `help()` come first, then modules in a seeded order, each either as its
docstrings (English prose) or as its source. Nothing is imported or run: modules are parsed.
"""

from __future__ import annotations

import ast
import os
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path
from random import Random

from lmm_tui.data.text.passages import documents

# Tests are not everywhere installed; encodings are tables; pydoc_data is read as topics.
_LEFT_OUT = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "pydoc_data"}
)
_SHARE_OF_DOCSTRINGS = 0.4


def stdlib_texts(seed: int, root: Path | None = None) -> Iterator[str]:
    """Documents of about 4 kB: topics, then modules; in an order that only `seed` decides.

    `root` is the library's folder (the running interpreter's where None). A module gives its
    docstrings or its source, never both: the same words twice would leak into the held-out text.
    """
    rng = Random(f"stdlib {seed}")
    yield from _topics()
    root = root or Path(sysconfig.get_path("stdlib"))
    modules = sorted(_modules(root))
    rng.shuffle(modules)
    for path in modules:
        only_docstrings = rng.random() < _SHARE_OF_DOCSTRINGS
        try:
            with tokenize.open(path) as file:
                source = file.read()
            text = docstrings(source) if only_docstrings else source
        except (OSError, SyntaxError, ValueError):
            continue  # A broken file of the library is no reason not to train.
        yield from documents(text.splitlines(keepends=True))


def docstrings(source: str) -> str:
    """The docstrings of a module and what is in it, each under its qualified name."""
    text = "\n\n".join(_docstrings(ast.parse(source), ""))
    return text.encode("utf-8", "replace").decode()  # An escape may stand for a lone surrogate.


def _docstrings(node: ast.AST, name: str) -> Iterator[str]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node)
        if text:
            yield f"{name}\n{text}" if name else text
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _docstrings(child, f"{name}.{child.name}" if name else child.name)


def _topics() -> Iterator[str]:
    from pydoc_data.topics import topics

    for _, text in sorted(topics.items()):
        yield from documents(text.splitlines(keepends=True))


def _modules(root: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(root):
        # Not even looked into: site-packages can hold a hundred thousand files.
        below[:] = [name for name in below if name not in _LEFT_OUT]
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


if __name__ == "__main__":
    print(docstrings(Path(__file__).read_text(encoding="utf-8"))[:400])
    texts = stdlib_texts(seed=0)
    first = [next(texts) for _ in range(3)]
    print([text.splitlines()[0] for text in first])
    assert first == [text for text, _ in zip(stdlib_texts(seed=0), range(3), strict=False)]
    print("=== 自测通过 ===")
