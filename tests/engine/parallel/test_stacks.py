"""Stacks of ranks: equal ones are one group, the odd one comes first."""

from lmm_tui.engine.parallel.stacks import Frame, group_stacks, read_stacks

DUMP = """Thread 0x00007f01 (most recent call first):
  File "/env/lib/python3.11/threading.py", line 331 in wait
  File "/x/engine/parallel/beats.py", line 200 in _publish

Thread 0x00007f02 (most recent call first):
  File "/x/data/batching/prefetch.py", line 40 in read

Current thread 0x00007f03 (most recent call first):
  File "/env/lib/python3.11/site-packages/torch/distributed.py", line {line} in all_reduce
  File "/x/engine/training/loop.py", line 80 in run
"""


def test_a_dump_is_read_thread_by_thread_the_main_one_last() -> None:
    threads = read_stacks(DUMP.format(line=9))
    assert [len(stack) for stack in threads] == [2, 1, 2]
    assert threads[-1][0] == Frame(
        "/env/lib/python3.11/site-packages/torch/distributed.py", 9, "all_reduce"
    )
    assert str(threads[-1][0]) == "torch/distributed.py:9 all_reduce"


def test_equal_main_threads_are_one_group_and_the_odd_one_is_first() -> None:
    dumps = {rank: DUMP.format(line=70 if rank == 5 else 9) for rank in range(8)}
    odd, others = group_stacks(dumps)
    assert odd.ranks == (5,) and others.ranks == (0, 1, 2, 3, 4, 6, 7)
    # Not the thread that publishes the beats, which every rank has.
    assert odd.others == ((Frame("/x/data/batching/prefetch.py", 40, "read"),),)


def test_a_loop_in_a_thread_of_rank_0_is_compared_with_that_of_a_main_thread() -> None:
    loop = (
        '  File "/x/torch/distributed.py", line 9 in all_reduce\n'
        '  File "/x/engine/training/loop.py", line 80 in run\n'
    )
    rank_0 = (
        f"Thread 0x1 (most recent call first):\n{loop}"
        '  File "/x/engine/training/run_host.py", line 7 in run\n'
        '\nThread 0x2 (most recent call first):\n  File "/x/threading.py", line 1 in join\n'
    )
    rank_1 = (
        f"Current thread 0x1 (most recent call first):\n{loop}"
        '  File "/x/engine/training/rank_main.py", line 7 in follow\n'
    )
    (group,) = group_stacks({0: rank_0, 1: rank_1})
    assert group.ranks == (0, 1)
    assert [frame.function for frame in group.main] == ["all_reduce", "run"]


def test_a_torn_or_empty_dump_is_a_group_of_its_own() -> None:
    groups = group_stacks({0: "", 1: "Thread 0x1 (most", 2: DUMP.format(line=9)})
    assert [(group.ranks, bool(group.main)) for group in groups] == [((2,), True), ((0, 1), False)]
