"""`tracked_run.py PACKAGE FOLDER`: train and resume a run that PACKAGE tracks; print what that
package says of it, as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from small_runs import SMALLEST  # noqa: E402

from lmm_tui.engine.config.resolve import resolve  # noqa: E402
from lmm_tui.engine.trackers import mirror_process  # noqa: E402
from lmm_tui.engine.training.run_host import EngineHost  # noqa: E402
from lmm_tui.metrics.readers.wandb_frames import BEGIN, Frames  # noqa: E402


def of_wandb(folder: Path) -> dict[str, Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    curves: dict[str, list[tuple[int, float]]] = {}
    config: dict[str, Any] = {}
    identities, codes, samples = set(), [], []
    for file in sorted(folder.glob("runs/one/wandb/offline-run-*/*.wandb")):
        for data in Frames().take(file.read_bytes()[BEGIN:]):
            record = Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                identities.add(record.run.run_id)
                config |= {it.key: json.loads(it.value_json) for it in record.run.config.update}
            elif kind == "history":
                items = record.history.item
                values = {it.key or it.nested_key[0]: json.loads(it.value_json) for it in items}
                step = values.get("train/global_step")
                for name, value in values.items() if step is not None else ():
                    curves.setdefault(name, []).append((step, value))
            elif kind == "exit":
                codes.append(record.exit.exit_code)
        samples = json.loads(newest(file.parent, "files/media/table/*.json").read_text())["data"]
    return {
        "curves": curves, "config": config | {"train.steps": config["train"]["steps"]},
        "runs": len(identities), "samples": samples, "failed": any(codes),
    }  # fmt: skip


def of_trackio(folder: Path) -> dict[str, Any]:
    from trackio.sqlite_storage import SQLiteStorage

    runs = SQLiteStorage.get_runs("lmm-tui")
    config = SQLiteStorage.get_run_config("lmm-tui", "one")
    curves: dict[str, list[tuple[int, float]]] = {}
    samples: list[Any] = []
    for row in SQLiteStorage.get_logs("lmm-tui", "one"):
        for name, value in row.items():
            if isinstance(value, int | float):
                curves.setdefault(name, []).append((row["step"], value))
            elif name == "samples":
                samples = [[*one.values()] for one in value["_value"]]
    return {
        "curves": curves, "config": config | {"train.steps": config["train"]["steps"]},
        "runs": len(runs), "samples": samples, "failed": False,
    }  # fmt: skip


def of_mlflow(folder: Path) -> dict[str, Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    place = client.get_experiment_by_name("lmm-tui").experiment_id
    runs = client.search_runs([place])
    one = runs[0]
    curves = {
        name: [(it.step, it.value) for it in client.get_metric_history(one.info.run_id, name)]
        for name in one.data.metrics
    }
    table = newest(Path(one.info.artifact_uri.removeprefix("file://")), "samples.json")
    return {
        "curves": curves, "config": one.data.params, "runs": len(runs),
        "samples": json.loads(table.read_text())["data"],
        "failed": one.info.status != "FINISHED",
    }  # fmt: skip


def newest(folder: Path, pattern: str) -> Path:
    return max(folder.glob(pattern), key=lambda file: file.stat().st_mtime)


package, folder = sys.argv[1], Path(sys.argv[2])
changes = {
    **SMALLEST, "runs_dir": str(folder / "runs"), "name": "one", "device": "cpu",
    "train.steps": 12, "train.batch_size": 4, "log.val_every": 4, "log.val_batches": 1,
    "log.sample_every": 4, "log.sample_tokens": 4, "log.tensorboard": False,
    "log.trackers": [package], "log.checkpoint_every": 4, "group": "night",
    "data.cache_dir": str(folder / "cache"), "notify.ntfy": "https://ntfy.sh/secret",
    "notify.on": [],
}  # fmt: skip
mirror_process.IDLE_S = mirror_process.BUSY_S = 120.0  # However busy the machine is.
first = EngineHost(resolve(assignments=changes | {"train.steps": 6}))
assert first.run() == "finished", first.error
again = EngineHost(resolve(assignments=changes), resume=first.run_dir)
assert again.run() == "finished", again.error
print(json.dumps({"wandb": of_wandb, "trackio": of_trackio, "mlflow": of_mlflow}[package](folder)))
