#!/usr/bin/env bash
# Runs on every worker of a TPU slice; launch/tpu_vm.sh copies it there and calls it through ssh. One command runs at a
# time, detached from the connection, so that neither a lost connection nor gcloud's repetition of what it was sending
# ends it or starts it twice.
#
#   tpu_worker.sh install [WHEEL]   install what was copied to ~/infformer_jax/new, or the wheel with its configs
#   tpu_worker.sh start COMMAND...  start the command in the installed source; nothing if it is running already
#   tpu_worker.sh follow            print the end of its output, and what is added until it ends
#   tpu_worker.sh status            print one line: STATE EXIT_STATUS HOST: LAST_LINE
#   tpu_worker.sh settle SECONDS    wait until it has ended, or kill it after that time; then as status
#   tpu_worker.sh stop              send it SIGTERM, which saves; settle
#
# STATE is idle (nothing was started), running, exited, stopped (ended by `stop`) or lost (ended without an exit status,
# as at a reboot); EXIT_STATUS is - where there is none.
set -euo pipefail

# The lock is held by the command and by its children: no file of a former boot can look like a running command.
running() { ! flock --nonblock run/lock true; }

install() {
  local wheel=${1:-}
  if running; then
    echo "error: $(<run/command) is running on $(hostname); stop it before installing" >&2
    return 1
  fi
  if [[ -n $wheel ]]; then
    rm -r new/infformer_jax # Python would import it instead of the wheel.
  fi
  rm -rf source
  mv new source
  PATH=$HOME/.local/bin:$PATH
  if ! command -v uv >/dev/null; then # The Python of the TPU images may be too old; uv brings its own.
    curl -LsSf https://astral.sh/uv/install.sh | sh
  fi
  if [[ ! -x venv/bin/python ]]; then
    uv venv --quiet --python=3.12 venv
  fi
  if [[ -n $wheel ]]; then
    uv pip install --quiet --python=venv/bin/python --reinstall-package=infformer_jax \
      "infformer_jax[tpu,gcs] @ file://$HOME/$wheel"
  else
    uv pip install --quiet --python=venv/bin/python --editable "./source[tpu,gcs]"
  fi
}

start() {
  local command
  command=$(printf '%q ' "$@")
  exec 9>>run/lock
  if ! flock --nonblock 9; then
    [[ $(<run/command) == "$command" ]] && return
    echo "error: another command is running on $(hostname): $(<run/command); stop it first" >&2
    return 1
  fi
  rm -f run/exit run/stopped
  echo "$command" >run/command
  echo "== $(date -u '+%F %T') UTC: $command" >>run/log
  export PATH=$PWD/venv/bin:$PATH
  cd source
  # The shell survives SIGTERM, which a shutdown sends to all processes, to note how the command ended.
  # shellcheck disable=SC2016
  setsid bash -c 'trap : TERM; "$@"; echo $? >../run/exit' bash "$@" </dev/null >>../run/log 2>&1 &
  echo $! >../run/pid
}

follow() {
  if running; then
    exec tail --lines=200 --follow --pid="$(<run/pid)" run/log
  fi
  tail --lines=200 run/log
}

status() {
  local state='idle -'
  if running; then
    state='running -'
  elif [[ -e run/exit && ! (-e run/stopped && $(<run/exit) != 0) ]]; then
    state="exited $(<run/exit)"
  elif [[ -e run/stopped ]]; then
    state="stopped $(cat run/exit 2>/dev/null || echo -)"
  elif [[ -e run/pid ]]; then
    state='lost -'
  fi
  echo "$state $(hostname): $(tail --lines=1 run/log 2>/dev/null)"
}

settle() {
  if ! flock --wait "$1" run/lock true; then
    kill -KILL -- "-$(<run/pid)"
    flock run/lock true
  fi
  status
}

stop() {
  touch run/stopped # Before the signal: whoever sees that the command has ended must see why.
  if running; then
    pkill -TERM --parent "$(<run/pid)" || true # Only the command: its children are its own affair.
  fi
  settle 600
}

cd "$(dirname "${BASH_SOURCE[0]}")/../.." # ~/infformer_jax, which has source/, venv/ and run/
mkdir -p run
"$@"
