"""Overlap of training text with test questions: word 13-grams that both have, as GPT-3's report.

A question of fewer words counts where a text has it as a whole, from 8 words on; a shorter one
where a prompt is that question and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from lmm_tui.data.report.word_grams import Hashes, gram_hashes, words

SIZE, SHORTEST = 13, 8


class Overlap:
    """Finds questions of tasks in texts."""

    def __init__(self, tasks: Mapping[str, Iterable[str]]) -> None:
        """Questions by the name of their task."""
        self.questions: dict[str, int] = {}
        self._of: dict[int, dict[int, set[tuple[str, int]]]] = {}
        self._short: dict[str, set[tuple[str, int]]] = {}
        for task, questions in tasks.items():
            number = -1
            for number, question in enumerate(dict.fromkeys(questions)):
                runs = gram_hashes(words(question), SIZE)
                size = len(runs) - 1
                if size >= SHORTEST:
                    of_size = self._of.setdefault(size, {})
                    for gram in runs[size].tolist():
                        of_size.setdefault(gram, set()).add((task, number))
                else:
                    self._short.setdefault(_plain(question), set()).add((task, number))
            self.questions[task] = number + 1
        self._known = {size: np.array(sorted(found), np.uint64) for size, found in self._of.items()}
        self._found: dict[str, set[int]] = {task: set() for task in self.questions}
        self.rows = 0
        """Texts with a question in them."""

    def add(self, text: str, asked: Iterable[str] = ()) -> bool:
        """Whether a text has a question, or a part of one; `asked` are the prompts in it."""
        return self.add_runs(gram_hashes(words(text), SIZE), asked)

    def add_runs(self, runs: list[Hashes], asked: Iterable[str] = ()) -> bool:
        """The same for the runs of words of a text."""
        hit = False
        for prompt in asked if self._short else ():
            hit |= self._note(self._short.get(_plain(prompt)))
        for size, known in self._known.items():
            if size < len(runs):
                nearest = known[np.searchsorted(known, runs[size]).clip(max=len(known) - 1)]
                for gram in nearest[nearest == runs[size]].tolist():
                    hit |= self._note(self._of[size][gram])
        self.rows += hit
        return hit

    def _note(self, places: set[tuple[str, int]] | None) -> bool:
        for task, number in places or ():
            self._found[task].add(number)
        return bool(places)

    @property
    def seen(self) -> dict[str, int]:
        """How many questions of each task were found."""
        return {task: len(numbers) for task, numbers in self._found.items()}


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


if __name__ == "__main__":
    question = "How many apples does Mia have if she buys three and then eats one of them?"
    demo = Overlap({"apples": [question, "1 + 2 = ?"]})
    assert demo.add(f"Once: {question} Two.") and not demo.add("Nothing of 1 + 2 = ?")
    assert demo.add("user: 1 + 2 = ?", asked=["1 + 2 = ?"])
    print(demo.seen, "of", demo.questions)
    print("=== 自测通过 ===")
