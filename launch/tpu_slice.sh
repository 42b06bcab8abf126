# shellcheck shell=bash disable=SC2154,SC2034
# Sourced by tpu_vm.sh, whose options it uses: a TPU slice, through gcloud.

say() { ((dry_run)) || echo "== $(date '+%F %T') $1"; }
fail() { # MESSAGE [EXIT_STATUS]
  echo "error: $1" >&2
  exit "${2:-2}"
}

# Prints the words so that a shell reads them unchanged.
quoted() {
  local word separator='' quote="'\\''"
  for word; do
    [[ $word =~ ^[a-zA-Z0-9_./:=,@%+-]+$ ]] || word="'${word//\'/$quote}'"
    printf '%s%s' "$separator" "$word"
    separator=' '
  done
  echo
}

# Runs a command; in a dry run, prints it.
call() { if ((dry_run)); then quoted "$@"; else "$@"; fi; }

# Sets `answer` to the output of a command; in a dry run, to $1.
ask() {
  answer=$1
  shift
  if ((dry_run)); then "$@"; else answer=$("$@"); fi
}

tpus() { call gcloud compute tpus "$@" ${place[@]+"${place[@]}"}; }

# Runs a shell command on the worker $1, or on all.
remote() { tpus tpu-vm ssh "$name" --worker="$1" --command="$2" ${ssh_flags[@]+"${ssh_flags[@]}"}; }

# Sets `answer` to the state of the slice, or to nothing if there is none.
ask_slice() {
  ask "$dry_slice" tpus "$resource" list --filter="name ~ /$name\$" --format="value($state_field)"
}

create() {
  dry_slice=ACTIVE
  tpus "$resource" create "$name" "${creation[@]}"
}

delete() { tpus "$resource" delete "$name" --quiet ${deletion[@]+"${deletion[@]}"}; }

# Waits until the workers can be reached. With `create`, creates the slice if it does not exist or was preempted.
await_slice() {
  local may_create=${1:-} seen=none
  while :; do
    if ! ask_slice; then # gcloud has said why.
      ((reached)) || fail 'the slices cannot be listed' 1
      answer=unknown
    fi
    [[ $answer == "$seen" ]] || say "$name: ${answer:-does not exist}"
    seen=$answer
    case $answer in
      ACTIVE | READY)
        reached=1
        return
        ;;
      '')
        [[ -n $may_create ]] || fail "$name does not exist; create it, or check --zone, --project and --no_queue"
        create && created=1 failures=0 && continue # What failed before may be due to the preemption.
        ((reached)) || fail "$name could not be created" 1
        ;;
      SUSPENDED | PREEMPTED | TERMINATED)
        [[ -n $may_create ]] || fail "$name was preempted; delete it, or use \`run\`, which creates it again" 1
        reached=1 # Such a slice could be created once.
        delete && continue
        ;;
      FAILED | STOPPED)
        fail "$name is $answer; \`gcloud compute tpus $resource describe $name\` may say why" 1
        ;;
    esac
    sleep "$poll_seconds"
  done
}
