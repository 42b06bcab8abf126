#!/usr/bin/env bash
# Runs N processes of a command on this machine, as the hosts of a pod would, to try a run of several processes:
#
#   JAX_PLATFORMS=cpu launch/multiprocess.sh 2 python -m infformer_jax.main --config=configs/quickstart.py --workdir=W
#
# Each line of output begins with the number of its process. If a process fails, the others are ended. SIGTERM is passed
# on, and SIGINT (Ctrl-C) as SIGTERM, so that the processes save. The exit status is 0, or that of the process that
# failed first. `launch/multiprocess.sh --dry_run N COMMAND...` prints the commands. All processes use the same devices;
# JAX_NUM_CPU_DEVICES=4 gives each of them 4 CPU devices of its own.
set -euo pipefail
readonly SAVE_SECONDS=120 END_SECONDS=10

dry_run=0
if [[ ${1:-} == --dry_run ]]; then
  dry_run=1
  shift
fi
count=${1:-}
if [[ ! $count =~ ^[1-9][0-9]*$ ]] || (($# < 2)); then
  echo 'error: the arguments must be a number of processes and a command: launch/multiprocess.sh 2 python ...' >&2
  exit 2
fi
shift

port=$((20000 + RANDOM % 10000))
while (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done # The port is in use.
environment=(JAX_COORDINATOR_ADDRESS="127.0.0.1:$port" JAX_NUM_PROCESSES="$count")
if ((dry_run)); then
  for ((i = 0; i < count; i++)); do
    printf '%q ' env "${environment[@]}" JAX_PROCESS_ID="$i" "$@"
    echo
  done
  exit
fi

prefix() {
  local line
  while IFS= read -r line || [[ -n $line ]]; do printf '[%s] %s\n' "$1" "$line"; done
}

pids=()
send() { # SIGNAL
  for pid in ${pids[@]+"${pids[@]}"}; do kill -s "$1" "$pid" 2>/dev/null || true; done
}
trap 'send TERM' TERM INT # The processes themselves ignore SIGINT, as all that a script starts in the background.

pipes=$(mktemp -d)
trap 'rm -r "$pipes"' EXIT
filters=()
for ((i = 0; i < count; i++)); do
  mkfifo "$pipes/$i.out" "$pipes/$i.err"
  (trap '' TERM && prefix "$i") <"$pipes/$i.out" &
  filters+=($!)
  (trap '' TERM && prefix "$i") <"$pipes/$i.err" >&2 &
  filters+=($!)
  env "${environment[@]}" JAX_PROCESS_ID="$i" "$@" </dev/null >"$pipes/$i.out" 2>"$pipes/$i.err" &
  pids+=($!)
done

status=0 deadline=
while ((${#pids[@]})); do
  sleep 0.2 || true # A signal may end it.
  left=()
  for pid in "${pids[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then
      left+=("$pid")
      continue
    fi
    code=0
    wait "$pid" || code=$?
    ((status)) || status=$code
  done
  pids=(${left[@]+"${left[@]}"})
  if ((status)) && [[ -z $deadline ]]; then
    if ((status == 143)); then # It has saved after SIGTERM, which the others take part in.
      deadline=$((SECONDS + SAVE_SECONDS))
    else
      deadline=$((SECONDS + END_SECONDS))
      send TERM
    fi
  fi
  [[ -z $deadline ]] || ((SECONDS < deadline)) || send KILL
done
wait "${filters[@]}" || true
exit "$status"
