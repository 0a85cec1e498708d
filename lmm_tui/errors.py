"""The one thing that all floors share: an error whose text is meant for a person."""


class LmmError(Exception):
    """What is wrong, where, and what to do about it, in one sentence; the CLI exits with 2."""


if __name__ == "__main__":
    try:
        raise LmmError("data.source: no file matches 'x.txt'; give a file, a folder or a glob")
    except LmmError as error:
        print(error)
    print("=== 自测通过 ===")
