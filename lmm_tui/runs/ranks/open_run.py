"""Checks what ranks are asked for before any of them is started, and makes the run's directory.

Rank 0 opens it as the run. Torch-free, but for the number of GPUs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lmm_tui import __version__
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.trust import allow_own
from lmm_tui.engine.run.environment import package_versions
from lmm_tui.engine.run.rank_records import read_supervisor
from lmm_tui.engine.run.run import identify
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.engine.training.rank_job import write_job
from lmm_tui.engine.training.train_job import plan_job
from lmm_tui.errors import LmmError

_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA, of AMD, and in WSL."""


class RanksError(LmmError):
    """Ranks that this machine, or this group of machines, cannot start."""


def local_ranks(config: RunConfig, gpus: int) -> int:
    """How many ranks to start on a machine with so many GPUs for this run.

    Raises RanksError where there are too few, or the device is one of them.
    """
    ranks, device = config.parallel.ranks, config.device
    if device == "mps" or ":" in device:
        raise RanksError(
            "parallel.ranks: several ranks cannot share the device {device}; "
            "set device to cuda, cpu or auto",
            device=device,
        )
    if device == "cpu":
        gpus = 0
    if not ranks and not gpus:
        raise RanksError(
            "parallel.ranks: 0 means one a GPU, and there is none for device {device}; "
            "give a number of ranks",
            device=device,
        )
    if gpus and ranks > gpus:
        raise RanksError(
            "parallel.ranks: {ranks} ranks, but this machine has {gpus} GPUs (as far as "
            "CUDA_VISIBLE_DEVICES shows them); give at most {gpus}, or 0 for one a GPU",
            ranks=ranks,
            gpus=gpus,
        )
    return ranks or gpus


def gpus_for(config: RunConfig) -> int:
    """GPUs of this machine that the run may use; torch is only imported where there may be any."""
    if config.device == "cpu" or not any(Path(device).exists() for device in _GPU_DRIVERS):
        return 0
    import torch

    return torch.cuda.device_count()


def open_run(config: RunConfig, resume: RunDir | None) -> RunDir:
    """Make the directory of the run, or take that of a resumed one, for rank 0 to open.

    Raises LmmError where it cannot be used; nothing of an existing run is changed then.
    """
    job = plan_job(config, resume)
    run = job.run_dir
    if (supervisor := read_supervisor(run.supervisor_file)) and supervisor.active:
        raise RanksError(
            "{path}: in use by the supervisor {pid} on {host}, which restarts its ranks; attach "
            "with `lmm-tui monitor {name}`",
            path=run.path,
            pid=supervisor.pid,
            host=supervisor.host,
            name=run.name,
        )
    run.create()
    run.lock().close()
    write_job(job)
    if job.resumes:
        run.write_info(_ours(run.read_info()))
        run.write_status(replace(run.read_status(), state="starting", error=""))
    else:
        run.write_config(job.config_text)
        packages = {"lmm-tui": __version__, **package_versions()}
        stage = job.config.stage_name
        model, group = job.config.model.preset, job.config.group
        run.write_info(identify(run.name, stage, packages=packages, model=model, group=group))
        run.write_status(RunStatus())
        # Rank 0 opens it as a run that is there, and asks who allowed its commands.
        allow_own(job.config, run.path)
    return run


def _ours(info: RunInfo) -> RunInfo:
    """The identity of a resumed run, with this process in the place of its last one."""
    now = identify(info.name, info.stage, info)
    return replace(info, host=now.host, pid=now.pid, pid_started=now.pid_started, socket="")


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.resolve import resolve

    with tempfile.TemporaryDirectory() as folder:
        config = resolve(assignments={"runs_dir": folder, "device": "cpu", "name": "demo"})
        run = open_run(config, None)
        print(run.read_info().name, local_ranks(config, 0))
    print("=== 自测通过 ===")
