#!/usr/bin/env bash
# Trains on a Cloud TPU slice (v2 to v6e) through gcloud.
#
#   launch/tpu_vm.sh create NAME --zone=us-central2-b --accelerator_type=v4-32 --spot
#   launch/tpu_vm.sh run NAME --zone=us-central2-b --accelerator_type=v4-32 --spot -- \
#     python -m infformer_jax.main --config=configs/pg19.py --workdir=gs://BUCKET/pg19
#   launch/tpu_vm.sh status|logs|stop|delete NAME --zone=us-central2-b
#
#   create  requests the slice as a queued resource
#   setup   waits for the slice and installs a revision of this repository on every worker
#   run     creates the slice unless it exists, installs, starts the command on every worker and follows worker 0; again
#           after a preemption, until the command exits with 0. If `run` is interrupted, the command goes on; the same
#           `run` joins it
#   logs    prints the end of a worker's output, and what is added until its command ends
#   status  prints the state of the slice and of the command on every worker
#   stop    sends SIGTERM to the command, so that it saves, and `run` ends too; the slice stays, and is billed
#   delete  deletes the slice
#
#   --zone=ZONE, --project=ID  default: those of `gcloud config`
#   --accelerator_type=TYPE    such as v4-32, v5litepod-16, v5p-32, v6e-16
#   --runtime_version=VERSION  default: Google's for JAX on this type
#   --spot, --reserved         the tier; default: on demand
#   --no_queue                 a plain TPU VM, created at once or not at all, instead of a queued resource
#   --revision=REVISION        what to install of this git repository; default: HEAD
#   --wheel=FILE               install the package from a wheel, and only configs/ and launch/ from the revision
#   --worker=N                 the worker of `logs`; default: 0
#   --create_flag=FLAG         for gcloud's create, such as --create_flag=--network=NETWORK; may be repeated
#   --ssh_flag=FLAG            for gcloud's ssh and scp, such as --ssh_flag=--internal-ip; may be repeated
#   --poll_seconds=N           between two queries of the state of the slice; default: 30
#   --dry_run                  print the commands of a run without failures, and execute none
set -euo pipefail
readonly MAX_FAILURES=3 FAILURE_SECONDS=3600 # Failures in a row; a command that ran for an hour has made progress.
readonly SETTLE_SECONDS=180                  # From the end on one worker to that on all; INFFORMER_PEER_SECONDS is 60.
readonly WORKER=infformer_jax/source/launch/tpu_worker.sh
# shellcheck source=launch/tpu_slice.sh
source "$(dirname "${BASH_SOURCE[0]}")/tpu_slice.sh"

# Sets `answer` to a line of each worker: STATE EXIT_STATUS HOST: LAST_LINE; nothing where nothing is installed.
ask_workers() { ask "$dry_workers" remote all "test ! -e $WORKER || bash $WORKER $*"; }

# Packs the revision, once: a commit made while `run` waits for a slice does not change what is trained.
pack() {
  local commit
  commit=$(git rev-parse --verify --quiet "$revision^{commit}") ||
    fail "--revision = $revision must be a commit of the git repository $PWD"
  [[ $revision != HEAD || -z $(git status --porcelain) ]] || say 'warning: uncommitted changes are not installed'
  scratch=/tmp # Of a dry run, whose commands may be run later.
  if ((!dry_run)); then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
  fi
  call git archive --format=tar.gz --output="$scratch/infformer_jax.tar.gz" "$commit"
}

setup() {
  local new=infformer_jax/new
  tpus tpu-vm scp "$scratch/infformer_jax.tar.gz" ${wheel:+"$wheel"} "$name:" --worker=all \
    ${ssh_flags[@]+"${ssh_flags[@]}"} &&
    remote all "rm -rf $new && mkdir -p $new && tar -xzf infformer_jax.tar.gz -C $new && \
bash $new/launch/tpu_worker.sh install${wheel:+ $(quoted "${wheel##*/}")}"
}

start() {
  dry_workers='exited 0 worker-0:'
  remote all "bash $WORKER start $(quoted "$@")"
}

# Counts a failure; too many in a row end the script with $2.
failed() {
  ((SECONDS - began <= FAILURE_SECONDS)) || failures=0 began=$SECONDS
  failures=$((failures + 1))
  say "$1 (failure $failures of $MAX_FAILURES)"
  ((failures < MAX_FAILURES)) || fail "$MAX_FAILURES failures in a row" "$2"
  sleep "$poll_seconds"
}

# Ends the script if the command has finished, is wrong, was stopped or fails too often; otherwise it is to be started
# again.
judge() {
  local state code _ stopped=0 usage=0 saved=0 crash=0 other=0 finished=0 unknown=0
  while read -r state code _; do
    case $state-$code in
      stopped-*) stopped=1 ;;
      lost-*) crash=1 ;;
      exited-0) finished=1 ;;
      exited-2) usage=1 ;;
      exited-143) saved=1 ;;
      exited-75) crash=75 ;; # A bucket could not be reached, or another worker has died.
      exited-*) if ((code > 128)); then crash=$code; else other=$code; fi ;;
      idle-*) unknown=1 ;;
    esac
  done <<<"$answer"
  ((usage || saved || crash || other || finished)) || unknown=1
  ((!stopped)) || fail "the command was stopped; $name stays, and is billed until you delete it" 143
  # In a later attempt it may mean that the attempt before still holds the work directory.
  ((!usage || attempts > 1)) || fail 'the command line or the config is wrong' 2
  if ((crash || usage)); then
    failed 'the command has crashed' $((crash > 1 ? crash : 1))
  elif ((saved && other)); then
    failed 'the command was terminated and could not save' "$other"
  elif ((other)); then
    fail "the command exited with $other" "$other"
  elif ((saved)); then
    failed 'the command was terminated, and saved' 143
  elif ((unknown)); then # On a slice that was created again, nothing was started.
    ((created)) || failed 'the workers do not say how the command has ended' 1
  elif ((finished)); then
    say "finished; $name is billed until you delete it"
    exit 0
  fi
}

run() {
  local mine=0 lost='' workers active
  trap 'say "interrupted; the command goes on: the same run joins it, stop ends it"; exit 130' INT
  while :; do
    await_slice create
    if ! ask_workers status; then
      if ((mine)); then sleep "$poll_seconds"; else failed 'the workers cannot be reached' 1; fi
      continue
    fi
    workers=$(grep -c . <<<"$answer") || true
    active=$(grep -c '^running' <<<"$answer") || true
    if ((active && active < workers)); then
      say 'the command has ended on some of the workers'
      ask_workers settle $SETTLE_SECONDS || { failed 'the workers cannot be reached' 1; continue; }
      active=0
    fi
    if ((mine && !active)); then
      if [[ $lost && $answer ]]; then
        remote 0 "bash $WORKER follow" || { failed 'the output cannot be read' 1; continue; }
      fi
      judge
      mine=0
    elif { ((active)) || setup; } && start "$@"; then # Where it is running already, nothing happens.
      if ((!mine)); then
        mine=1 attempts=$((attempts + 1)) began=$SECONDS created=0
        say "attempt $attempts"
      fi
      lost=
      remote 0 "bash $WORKER follow" || { lost=yes && sleep "$poll_seconds"; }
    else
      failed 'the command could not be started' 1
    fi
  done
}

command=${1:-} name=${2:-}
if [[ ! $command =~ ^(create|setup|run|logs|status|stop|delete)$ ]]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  [[ $command == --help ]] && exit
  exit 2
fi
[[ $name =~ ^[a-z]([a-z0-9-]*[a-z0-9])?$ ]] || fail "NAME = '$name' must consist of lowercase letters, digits and \
hyphens, begin with a letter and not end with a hyphen: launch/tpu_vm.sh $command NAME ..."
shift 2
place=() creation=() ssh_flags=() resource=queued-resources state_field=state.state deletion=(--force)
accelerator_type='' runtime_version='' tier='' revision=HEAD wheel='' worker=0 poll_seconds=30 dry_run=0
while (($#)) && [[ $1 != -- ]]; do
  case $1 in
    --zone=?* | --project=?*) place+=("$1") ;;
    --accelerator_type=?*) accelerator_type=${1#*=} ;;
    --runtime_version=?*) runtime_version=${1#*=} ;;
    --spot | --reserved)
      [[ -z $tier || $tier == "$1" ]] || fail '--spot and --reserved are two tiers; give one of them'
      tier=$1
      ;;
    --no_queue) resource=tpu-vm state_field=state deletion=() ;;
    --revision=?*) revision=${1#*=} ;;
    --wheel=?*)
      wheel=$(realpath "${1#*=}" 2>/dev/null) && [[ -f $wheel && $wheel == *.whl ]] ||
        fail "--wheel = '${1#*=}' must be a file *.whl; build one with: pip wheel --no-deps ."
      ;;
    --worker=?*) worker=${1#*=} ;;
    --create_flag=?*) creation+=("${1#*=}") ;;
    --ssh_flag=?*) ssh_flags+=("${1#*=}") ;;
    --poll_seconds=?*) poll_seconds=${1#*=} ;;
    --dry_run) dry_run=1 ;;
    *) fail "unknown option '$1', or it has no value; see launch/tpu_vm.sh --help" ;;
  esac
  shift
done
[[ ${1:-} != -- ]] || shift
[[ $worker =~ ^[0-9]+$ ]] || fail "--worker = '$worker' must be a number from 0"
[[ $poll_seconds =~ ^[0-9]+$ ]] || fail "--poll_seconds = '$poll_seconds' must be a number of seconds"
[[ ! $accelerator_type || $accelerator_type =~ ^[a-z0-9]+-[1-9][0-9]*$ ]] ||
  fail "--accelerator_type = '$accelerator_type' must be NAME-NUMBER, for example v4-32"
if [[ $command == run ]]; then
  (($#)) || fail 'the command is missing: launch/tpu_vm.sh run NAME ... -- python -m infformer_jax.main ...'
else
  ((!$#)) || fail "only \`run\` takes a command, not \`$command\`"
fi
if [[ $command =~ ^(create|run)$ ]]; then
  [[ -n $accelerator_type ]] || fail '--accelerator_type is missing; use, for example, --accelerator_type=v4-32'
  case $accelerator_type in
    v[234]-*) : "${runtime_version:=tpu-ubuntu2204-base}" ;;
    v5litepod-*) : "${runtime_version:=v2-alpha-tpuv5-lite}" ;;
    v5p-*) : "${runtime_version:=v2-alpha-tpuv5}" ;;
    v6e-*) : "${runtime_version:=v2-alpha-tpuv6e}" ;;
  esac
  [[ -n $runtime_version ]] || fail "--runtime_version is missing; no default is known for $accelerator_type"
  creation=(--accelerator-type="$accelerator_type" ${tier:+"$tier"} ${creation[@]+"${creation[@]}"})
  if [[ $resource == tpu-vm ]]; then
    creation+=(--version="$runtime_version")
  else
    creation+=(--runtime-version="$runtime_version" --node-id="$name")
  fi
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
reached=0 created=0 began=$SECONDS failures=0 attempts=0 dry_workers='' dry_slice=ACTIVE
case $command in
  create) create ;;
  setup) pack && await_slice && setup ;;
  run)
    dry_slice=''
    pack
    run "$@"
    ;;
  logs) remote "$worker" "bash $WORKER follow" ;;
  status)
    ask_slice
    say "$name: ${answer:-does not exist}"
    if [[ $answer =~ ^(ACTIVE|READY)$ ]]; then
      ask_workers status
      [[ -z $answer ]] || echo "$answer"
    fi
    ;;
  stop) remote all "bash $WORKER stop" ;;
  delete) delete ;;
esac
