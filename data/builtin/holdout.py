"""What is trained on and what is held out: decided by a hash of the question, and by nothing else.

So a question is on the same side in every file, stage and run, however it is worded; the
pretraining text leaves out the same sums that are tested later. It knows questions as strings.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "test"]

TEST_SHARE = 0.1
"""Share of the built-in questions that is held out."""


def split(question: str, test_share: float = TEST_SHARE) -> Split:
    """The side on which a question is; about `test_share` (0 to 1) of all are held out."""
    digest = hashlib.blake2b(question.encode("utf-8", "replace"), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") < test_share * 2**64 else "train"


def calculation(left: int, sign: str, right: int) -> str:
    """The question `left sign right`; 3 + 4 and 4 + 3 are the same one."""
    if sign in "+×":
        left, right = sorted((left, right))
    return f"{left} {sign} {right}"


def comparison(left: int, right: int) -> str:
    """The question which of two numbers is larger."""
    return f"{min(left, right)} or {max(left, right)}"


if __name__ == "__main__":
    asked = [calculation(left, "-", right) for left in range(100) for right in range(left)]
    share = sum(split(question) == "test" for question in asked) / len(asked)
    print(f"{share:.3f} of {len(asked)} differences are held out")
    assert abs(share - TEST_SHARE) < 0.02
    print("=== 自测通过 ===")
