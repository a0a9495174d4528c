#!/usr/bin/env bash
# A Ray cluster inside one Slurm allocation, and a study on it; from the checkout:
#
#   python3 -m venv ~/.bench && ~/.bench/bin/pip install --constraint requirements.lock --editable .      # once
#   sbatch docs/cluster/slurm.sh [STUDY] [--set KEY=VALUE ...]
#
# The study is resumed by submitting the same line again: the rows are on the file system that the nodes share.
#SBATCH --job-name=bench
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
set -euo pipefail

results=${BENCH_RESULTS:-$SLURM_SUBMIT_DIR/results}     # seen by all nodes, as home and project folders are
export PATH=$HOME/.bench/bin:$PATH RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_idle_worker_killing_time_threshold_ms=20000 # a process that has loaded PyTorch waits for the next trial
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# Jobs of other people may be on the same nodes: a port and a folder of this job's own, and a token in its owner's home.
port=$((20000 + SLURM_JOB_ID % 20000))
export RAY_TMPDIR=/tmp/ray_$SLURM_JOB_ID
ray get-auth-token --generate >/dev/null

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')

step() { # srun of one long-lived step on one node
  local node=$1
  shift
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" sh -c 'mkdir -p "$RAY_TMPDIR"; exec "$@"' step "$@" &
}

resources=(--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_PER_TASK:-0}" --temp-dir="$RAY_TMPDIR" --block)
step "$head" ray start --head --node-ip-address="$address" --port="$port" --dashboard-host=127.0.0.1 "${resources[@]}"
for node in "${nodes[@]:1}"; do
  step "$node" ray start --address="$address:$port" "${resources[@]}"
done

alive() { # how many nodes have joined
  python -c "import ray; ray.init('$address:$port', logging_level=50); print(sum(n['Alive'] for n in ray.nodes()))" || echo 0
}
until [ "$(alive 2>/dev/null | tail -n 1)" -ge "${#nodes[@]}" ]; do sleep 2; done

python -m bench.run "$@" --address "$address:$port" --results "$results" &
study=$!
trap 'kill -INT $study' USR1      # two minutes before the time is up: what is finished is in the store
wait $study
