"""The process above the ranks: who died, how often they start again, what is left of it."""

import json
import os
import signal
from pathlib import Path

from forked import Forked
from processes import until
from repository import ROOT

from lmm_tui.engine.run.rank_records import SupervisorRecord, last_ends, read_supervisor
from lmm_tui.engine.run.run import identify
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunStatus

IMPORTS = (
    "torch.distributed.elastic.agent.server.local_elastic_agent",
    "lmm_tui.runs.ranks.supervisor",
)

BEGIN = """
import os, pathlib, signal, sys, time
run = pathlib.Path(sys.argv[1])
rank, attempt = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
size = int(os.environ["WORLD_SIZE"])
print("rank", rank, "of", size, "attempt", attempt)
(run / f"store-{attempt}-{rank}").write_text(os.environ["MASTER_PORT"])

def meet(name):
    (run / f"{name}-{attempt}-{rank}").touch()
    while len([*run.glob(f"{name}-{attempt}-*")]) < size:
        time.sleep(0.01)
"""


class Supervised:
    """Ranks that run a script in which `rank`, `attempt` and `meet` are known."""

    def __init__(self, folder: Path, worker: str, *, ranks: int = 2, restarts: int = 0) -> None:
        self.run = RunDir(folder / "run")
        script = folder / "worker.py"
        script.write_text(BEGIN + worker)
        supervised = ROOT / "tests/support/supervised.py"
        program = [supervised, self.run.path, script, str(ranks), str(restarts), "10"]
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        self.process = Forked(program, folder, env, IMPORTS)

    def wait(self) -> tuple[int, SupervisorRecord]:
        out, err = self.process.communicate()
        record = read_supervisor(self.run.supervisor_file)
        assert record is not None, out + err
        assert self.process.returncode is not None
        return self.process.returncode, record

    def log(self, attempt: int, rank: int) -> str:
        return (self.run.ranks / f"attempt-{attempt}" / f"rank-{rank}.log").read_text()

    def events(self) -> list[str]:
        return [json.loads(line)["message"] for line in self.run.events.read_text().splitlines()]


def test_a_killed_rank_and_one_out_of_memory_bring_all_back(tmp_path: Path) -> None:
    group = Supervised(
        tmp_path,
        """
meet("up")
if attempt == 0 and rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if attempt == 1 and rank == 0:
    print("no memory", file=sys.stderr)
    sys.exit(77)
if attempt < 2:
    time.sleep(600)  # As in a collective with the dead.
""",
        restarts=2,
    )
    code, record = group.wait()
    assert (code, record.state, record.attempt, record.out_of_memory) == (0, "finished", 2, 1)
    assert [(end.attempt, end.rank, end.code) for end in record.rank_ends] == [
        (0, 1, -signal.SIGKILL),
        (1, 0, 77),
    ]
    node = record.rank_ends[0].node
    assert group.events() == [
        f"rank 1 on {node} was killed by SIGKILL; all ranks start again from the last checkpoint, "
        "restart 1 of 2",
        f"rank 0 on {node} ran out of memory; all ranks start again from the last checkpoint, "
        "restart 2 of 2",
    ]
    for attempt in range(3):
        for rank in range(2):
            assert f"rank {rank} of 2 attempt {attempt}\n" in group.log(attempt, rank)
    assert group.log(1, 0).endswith("no memory\n")
    # A store of its own for each attempt: in an old one are the addresses of the dead.
    stores = {file.read_text() for file in group.run.path.glob("store-*")}
    assert len(stores) == 3


def test_a_run_whose_restarts_are_used_up_says_who_ended_how(tmp_path: Path) -> None:
    group = Supervised(
        tmp_path,
        """
meet("up")
if rank == 1:
    raise OSError(f"no data for {attempt}")
time.sleep(600)
""",
        restarts=1,
    )
    code, record = group.wait()
    status = group.run.read_status()
    assert (code, record.state, status.state) == (1, "failed", "failed")
    said = "ended with code 1: OSError: no data for 1; 1 of 1 restarts are used up"
    assert status.error.startswith("rank 1 on ") and status.error.endswith(said)
    assert [end.rank for end in last_ends(record)] == [1]
    assert group.run.derived_state(identify("run", "pretrain"), status) == "failed"


def test_what_a_rank_refuses_is_not_tried_again(tmp_path: Path) -> None:
    group = Supervised(
        tmp_path,
        """
from lmm_tui.errors import LmmError
raise LmmError("these settings cannot be trained")
""",
        restarts=3,
    )
    code, record = group.wait()
    assert (code, record.attempt) == (2, 0)
    assert group.run.read_status().error.endswith(
        "ended with code 2: these settings cannot be trained"
    )


def test_sigterm_reaches_every_rank_once_and_waits_for_their_checkpoint(tmp_path: Path) -> None:
    group = Supervised(
        tmp_path,
        """
told = []
signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
meet("up")
while not told:
    time.sleep(0.01)
time.sleep(0.3)
(run / f"saved-{rank}").write_text(str(len(told)))
if rank == 0:
    (run / "status.json").write_text('{"state": "stopped", "step": 7}')
""",
    )
    until(lambda: len([*group.run.path.glob("up-0-*")]) == 2, 60)
    group.process.send_signal(signal.SIGTERM)
    group.process.send_signal(signal.SIGTERM)
    code, record = group.wait()
    assert (code, record.state) == (0, "stopped")
    assert [(group.run.path / f"saved-{rank}").read_text() for rank in range(2)] == ["1", "1"]


def test_while_its_ranks_start_again_a_run_is_restarting(tmp_path: Path) -> None:
    group = Supervised(
        tmp_path,
        """
if attempt == 0:
    sys.exit(1)
while not (run / "go on").exists():
    time.sleep(0.01)
""",
        restarts=3,
    )
    run = group.run
    until((run.ranks / "attempt-1" / "rank-1.log").exists, 60)
    info = identify("run", "pretrain")
    for state in ("running", "failed"):  # Whatever rank 0 had time to write.
        assert run.derived_state(info, RunStatus(state=state)) == "restarting"
    assert run.restart_count() == "1/3"
    (run.path / "go on").touch()
    group.wait()
    assert run.derived_state(info, RunStatus(state="stopped")) == "stopped"
