"""LmmError, the base class of errors whose text is shown to people."""

from lmm_tui.message import Message


class LmmError(Exception):
    """One sentence: what is wrong, where, and how to fix it, as a template and its values.

    `LmmError("{path}: no file", path=path)`. The CLI exits with 2.
    """

    def __init__(self, template: str = "", /, **values: object) -> None:
        self.message = Message(template, **values)
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


if __name__ == "__main__":
    try:
        raise LmmError(
            "data.source: no file matches {name!r}; give a file or a folder", name="x.txt"
        )
    except LmmError as error:
        assert str(error) == "data.source: no file matches 'x.txt'; give a file or a folder"
        print(error)
    print("=== 自测通过 ===")
