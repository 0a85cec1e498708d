"""The agenda: all is decided before any of it is done, and again until nothing is due."""

from types import SimpleNamespace
from typing import Any

import pytest

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.log_config import LogConfig
from lmm_tui.engine.training.agenda import Agenda
from lmm_tui.engine.training.schedules import Probing, Sampling, Validation
from lmm_tui.engine.training.step_sums import Signals


def work_off(agenda: Agenda) -> None:
    """As a run of one process does."""
    agenda.work_off(Signals(), False, lambda: False)


class Recorder:
    is_for_leader = True

    def __init__(self, name: str, said: list[str], due: int = 1) -> None:
        self._name, self._said, self._due = name, said, due

    def decide(self) -> int | None:
        self._said.append(f"{self._name}?")
        self._due -= 1
        return self._due + 1 if self._due >= 0 else None

    def act(self, due: int) -> None:
        self._said.append(f"{self._name} {due}")


def test_all_is_decided_before_any_of_it_is_done() -> None:
    said: list[str] = []
    work_off(Agenda([Recorder("a", said), Recorder("b", said, 2), Recorder("c", said, 0)]))
    first = ["a?", "b?", "c?", "a 1", "b 2"]
    assert said == [*first, "a?", "b?", "c?", "b 1", "a?", "b?", "c?"]


def looked(step: int, **intervals: int) -> Any:
    never = {"val_every": 0, "keep_best": 0, "checkpoint_every": 0}
    config = RunConfig(log=LogConfig(**never | intervals))
    return SimpleNamespace(step=step, config=config)


@pytest.mark.parametrize(
    ("intervals", "steps"),
    [
        ({"val_every": 3}, [3, 6, 9]),
        ({"val_every": 4, "checkpoint_every": 3}, [4, 8]),
        # The best checkpoint is chosen by losses of the checkpoints' own steps.
        ({"val_every": 4, "checkpoint_every": 3, "keep_best": 1}, [3, 4, 6, 8, 9]),
        ({"checkpoint_every": 3, "keep_best": 1}, []),
        ({"val_every": 0}, []),
    ],
)
def test_a_validation_is_due_once_at_its_steps(intervals: dict[str, int], steps: list[int]) -> None:
    context = looked(0, **intervals)
    done: list[int] = []
    live: Any = SimpleNamespace(validate=lambda: done.append(context.step))
    agenda = Agenda([Validation(context, live)])
    for context.step in range(10):
        work_off(agenda)
        work_off(agenda)
    assert done == steps


def test_nothing_is_due_at_the_step_where_the_loop_begins() -> None:
    context = looked(6, sample_every=3)
    sampling = Sampling(context, SimpleNamespace())  # type: ignore[arg-type]
    assert sampling.decide() is None
    context.step = 9
    assert sampling.decide() is True and sampling.decide() is None


def test_a_probe_is_announced_before_its_step() -> None:
    context = looked(0, probe_every=5)
    probing = Probing(context)
    agenda, probed = Agenda([probing]), []
    for context.step in range(12):
        work_off(agenda)
        if probing.is_on:
            probed.append(context.step + 1)
    assert probed == [5, 10]


class Box:
    """The two sides of a group of two ranks, of which one waits for what the other says."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def rank(self, number: int) -> Any:
        def tell(value: Any) -> Any:
            if number == 0:
                self.said.append(value)
                return value
            return self.said.pop(0)

        return SimpleNamespace(is_alone=False, leads=number == 0, tell=tell)


def test_what_the_leader_decides_is_announced_first_and_done_by_all() -> None:
    box, said = Box(), [list[str](), list[str]()]
    agendas = [
        Agenda([Recorder("a", said[number], 1 - number)], box.rank(number)) for number in (0, 1)
    ]
    signals = [Signals(), Signals()]
    for agenda, signal in zip(agendas, signals, strict=True):
        agenda.work_off(signal, False, lambda: False)
    assert [signal.asks for signal in signals] == [True, False]
    assert said == [["a?"], []]
    for agenda, signal in zip(agendas, signals, strict=True):
        agenda.work_off(signal, True, lambda: False)
    assert said[0][-2:] == ["a 1", "a?"] and said[1] == ["a 1"]
    assert not signals[0].asks and not box.said
