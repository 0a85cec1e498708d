#!/bin/bash
# One run on several nodes under Slurm: `sbatch recipes/slurm.sh`. One launcher a node; each starts a rank a GPU.
#SBATCH --job-name=lmm-tui
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
# Two minutes before the end of its time, or at a preemption, all ranks write one checkpoint; then the job is queued again
# and resumes from it. `--signal` without `B:` reaches the launchers, not this script.
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -u

name=${NAME:-big}
runs=${RUNS:-runs} # On a file system that all nodes share.
grace=110          # Seconds for the checkpoint: less than the 120 of --signal.

if [ -e "$runs/$name/run.json" ]; then
    start=(resume "$name" --runs-dir "$runs")
else
    start=(train --name "$name" --runs-dir "$runs" --ranks 0 --restarts 3 "$@")
fi
srun --kill-on-bad-exit=1 lmm-tui "${start[@]}" --grace "$grace"
code=$?

state=$(lmm-tui status "$name" --runs-dir "$runs" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["state"])')
if [ "$state" = stopped ] && [ -n "${SLURM_JOB_ID:-}" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
