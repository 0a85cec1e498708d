"""The process above the ranks of one node: starts them, watches them, and restarts all of them.

It reads its job as `lmm_tui.runs.detached` writes it and answers with the run it opened, or an
error. The store in it answers while the ranks hang, so that the screens see who holds up whom.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lmm_tui.engine.config.even_shares import refuse_uneven
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.parallel.beats import SUPERVISED_BY, attempt_folder
from lmm_tui.engine.parallel.rank_store import STORE, KeyStore
from lmm_tui.engine.run.rank_records import REFUSED, RankEnd
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import remove
from lmm_tui.message import with_parts
from lmm_tui.runs.end_summary import end_summary
from lmm_tui.runs.ranks.meeting import Meeting
from lmm_tui.runs.ranks.node_watch import NodeWatch
from lmm_tui.runs.ranks.nodes import Nodes, nodes_of
from lmm_tui.runs.ranks.open_run import gpus_for, local_ranks, open_run
from lmm_tui.runs.ranks.shared_store import join_store, keep_store
from lmm_tui.runs.ranks.supervisor_file import SupervisorFile
from lmm_tui.runs.shutdown import TERMINATED
from lmm_tui.terminal import capabilities

WORKER = "lmm_tui.engine.training.rank_main"
"""Module that each rank runs, with the run directory as its argument."""
_POLL_S = 0.2
_log = logging.getLogger("engine")


@dataclass(frozen=True)
class Group:
    """What this node starts, and where its ranks meet those of the others."""

    run: RunDir
    nodes: Nodes
    address: tuple[str, int]
    local_ranks: int
    restarts: int
    grace_s: float
    timeout_s: float
    worker: tuple[str, ...] = (WORKER,)
    on_gpus: bool = False


def serve() -> None:
    """The main function of the child process."""
    sys.exit(supervise(json.load(sys.stdin)))


def supervise(job: Mapping[str, Any]) -> int:
    """Answer with the run, then train it; returns the exit code."""
    # Whoever is told to end before the ranks run has nothing to save.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(TERMINATED))
    try:
        config = RunConfig.model_validate(job["config"])
        nodes = nodes_of()
        gpus = gpus_for(config)
        count = local_ranks(config, gpus)
        refuse_uneven(config, count * len(nodes.names))
        timeout_s = float(config.parallel.timeout_s)
        resume = RunDir(job["resume"]) if job["resume"] else None
        if nodes.several:
            _quiet_connections()
            store, address, run = _meet(nodes, config, resume, timeout_s)
            _answer({"run": str(run.path)})
        else:
            run = open_run(config, resume)
            # The screen need not wait for torch.
            _answer({"run": str(run.path)})
            store, address = keep_store((nodes.first, 0), timeout_s)
    except LmmError as error:
        _answer(with_parts({"error": str(error)}))
        return REFUSED
    capabilities.release_terminal(run.ranks / f"supervisor-{nodes.index}.log")
    group = Group(
        run,
        nodes,
        address,
        count,
        config.parallel.restarts,
        job["grace_s"],
        timeout_s,
        tuple(job.get("worker", (WORKER,))),
        on_gpus=gpus > 0,
    )
    code = run_group(group, store)
    if job.get("summarises", True) and nodes.index == 0 and run.metrics.is_file():
        # Into its log, as the engine of a run of one process does.
        print(end_summary(run), flush=True)
    return code


def _quiet_connections() -> None:
    """Torch prints a page of addresses for each port that does not answer; here only, since the
    ranks inherit the environment."""
    before = os.environ.get("TORCH_CPP_LOG_LEVEL")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    import torch.distributed  # noqa: F401  (reads the variable)

    if before is None:
        del os.environ["TORCH_CPP_LOG_LEVEL"]


def _answer(record: Mapping[str, Any]) -> None:
    with suppress(BrokenPipeError):  # Who started it was killed meanwhile; it trains all the same.
        print(json.dumps(record), flush=True)


def _meet(
    nodes: Nodes, config: RunConfig, resume: RunDir | None, timeout_s: float
) -> tuple[KeyStore, tuple[str, int], RunDir]:
    """The store of all nodes, its address, and the run that the first node has opened."""
    address = nodes.first, nodes.port
    if nodes.index:
        store = join_store(address, timeout_s)
        return store, address, Meeting(store, nodes.names, nodes.index, timeout_s).follow()
    store, address = keep_store(address, timeout_s)
    meeting = Meeting(store, nodes.names, 0, timeout_s)
    run = None
    try:
        meeting.wait_for_all()
        run = open_run(config, resume)
        meeting.announce(run)
    except LmmError as error:
        meeting.refuse(str(error))
        if run is not None and resume is None:
            remove(run.path, run.path.parent)
        raise
    return store, address, run


def run_group(group: Group, store: KeyStore) -> int:
    """Start the ranks of this node, restart them with those of the others; returns the exit code.

    0: trained, or stopped with a checkpoint; 1: failed; 2: refused; 143: ended by SIGTERM before
    the checkpoint was written.
    """
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGTERM,SIGINT"
    os.environ[STORE] = f"{group.address[0]}:{group.address[1]}"
    os.environ[SUPERVISED_BY] = str(os.getpid())
    os.environ["PYTHONUNBUFFERED"] = "1"  # A rank that is killed leaves what it has printed.
    from torch.distributed.elastic.multiprocessing.api import SignalException

    name = group.nodes.names[group.nodes.index]
    file = SupervisorFile(group.run, store, group.nodes.names, group.nodes.index, group.restarts)
    watch = NodeWatch(group.run, group.address, file, on_gpus=group.on_gpus)
    refused = threading.Event()

    def begin(attempt: int, size: int, pids: dict[int, int]) -> None:
        file.update(state="restarting" if attempt else "running", attempt=attempt, ranks=size)
        if attempt:
            file.tell_restart()
        watch.begin(attempt, size, pids)

    def note(ends: list[RankEnd], restarts: bool) -> None:
        file.add_ends(ends)
        if any(end.code == REFUSED for end in ends):
            refused.set()
        file.update(state="restarting" if restarts else "running",
                    attempt=file.record.attempt + restarts)  # fmt: skip

    agent, handler = _agent(group, name, begin, note)
    watch.start()
    try:
        result = agent.run()
        state = "failed" if result is None or result.is_failed() else "finished"
    except SignalException:
        state = "stopped"
    except Exception as error:
        _log.exception("the supervisor failed")
        file.add_ends([RankEnd(0, name, file.record.attempt, 1, str(error)[:500])])
        state = "failed"
    finally:
        watch.close()
        handler.shutdown()
    return _conclude(group.run, file, state, refused.is_set())


def _conclude(run: RunDir, file: SupervisorFile, state: str, refused: bool) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if state == "stopped" and run.read_status().state not in ("stopped", "finished"):
        file.conclude(state)
        return TERMINATED
    file.conclude(state)
    if state == "failed":
        return REFUSED if refused else 1
    return 0


def _agent(group: Group, name: str, begin: Any, note: Any) -> tuple[Any, Any]:
    from torch.distributed.elastic.agent.server.api import WorkerSpec
    from torch.distributed.elastic.rendezvous import RendezvousParameters, registry

    from lmm_tui.engine.parallel.elastic_agent import RankAgent, RankLogs

    nodes = len(group.nodes.names)
    handler = registry.get_rendezvous_handler(
        RendezvousParameters(
            backend="c10d",
            endpoint=f"{group.address[0]}:{group.address[1]}",
            run_id=group.nodes.job,
            min_nodes=nodes,
            max_nodes=nodes,
            local_addr=None if group.nodes.several else "127.0.0.1",
            is_host="false",
            join_timeout=int(group.timeout_s),
        )
    )
    spec = WorkerSpec(
        role="rank",
        local_world_size=group.local_ranks,
        rdzv_handler=handler,
        entrypoint=sys.executable,
        args=("-P", "-m", "lmm_tui.runs.ranks.rank_process", *group.worker, str(group.run.path)),
        max_restarts=group.restarts,
        monitor_interval=_POLL_S,
    )
    logs = RankLogs(lambda attempt: attempt_folder(group.run, attempt))
    agent = RankAgent(spec, logs, node=name, grace_s=group.grace_s, on_attempt=begin, on_ends=note)
    return agent, handler


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        kept, _ = keep_store(("127.0.0.1", 0), 10.0)
        demo = SupervisorFile(RunDir(folder), kept, ("here",), 0, restarts=2)
        assert _conclude(RunDir(folder), demo, "failed", refused=True) == REFUSED
        print(RunDir(folder).supervisor_file.read_text())
    print("=== 自测通过 ===")
