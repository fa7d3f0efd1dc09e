#!/usr/bin/env bash
# One run on Slurm: sbatch deploy/slurm-bulk.sh STUDIES OUT. Both lie on a disk that every node sees.
#SBATCH --job-name=ichor-bulk
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=1500M
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@60
set -euo pipefail

studies=${1:?usage: sbatch slurm-bulk.sh STUDIES OUT}
out=${2:?usage: sbatch slurm-bulk.sh STUDIES OUT}
umask 077
home=$(mktemp -d "${SLURM_SUBMIT_DIR}/.ichor-ray-XXXXXX")
trap 'rm -rf "$home"' EXIT
python3 -c 'import secrets; print(secrets.token_hex(32), end="")' > "$home/token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$home/token" RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0
port=$((20000 + SLURM_JOB_ID % 20000))
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun --nodes=1 --ntasks=1 -w "$head" \
    ray start --head --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" --include-dashboard=false --disable-usage-stats --block &
sleep 30
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
        ray start --address="$head:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --disable-usage-stats --block &
fi
# Submitted again after the time limit, it goes on where it was.
srun --overlap --nodes=1 --ntasks=1 -w "$head" ichor bulk "$studies" -o "$out" --address "$head:$port"
