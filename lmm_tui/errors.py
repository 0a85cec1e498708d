"""LmmError, the base class of errors whose text is shown to people."""


class LmmError(Exception):
    """The text is one sentence: what is wrong, where, and how to fix it. The CLI exits with 2."""


if __name__ == "__main__":
    try:
        raise LmmError("data.source: no file matches 'x.txt'; give a file, a folder or a glob")
    except LmmError as error:
        print(error)
    print("=== 自测通过 ===")
