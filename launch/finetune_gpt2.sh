#!/usr/bin/env bash
# Gives a pretrained GPT-2 a long-term memory: evaluates the unchanged model, fine-tunes it on books with the memory and,
# for comparison, without one but with a window of twice as many tokens, evaluates both with controls, and exports.
#
#   bash launch/finetune_gpt2.sh --checkpoint=DIR --source_dir=BOOKS [--workdir=W] [--memory=published] [--size=small]
#     [--dry_run] [any --config.key=value that all runs have]
#
#   --checkpoint=DIR    config.json, model.safetensors and a tokenizer; or hf:openai-community/gpt2
#   --source_dir=BOOKS  train|validation|test/ID.txt, such as a copy of gs://deepmind-gutenberg
#   --workdir=W         a local directory; default: runs/gpt2
#   --memory, --size    of configs/gpt2_pg19.py
#   --dry_run           print the commands, and execute none
#
# Run it again to resume; what is finished is not trained again.
set -euo pipefail
checkpoint='' source_dir='' workdir='' memory=published size=small dry_run=0
flags=()
for flag in "$@"; do
  case $flag in
    --checkpoint=?*) checkpoint=${flag#*=} ;;
    --source_dir=?*) source_dir=${flag#*=} ;;
    --workdir=?*) workdir=${flag#*=} ;;
    --memory=?*) memory=${flag#*=} ;;
    --size=?*) size=${flag#*=} ;;
    --dry_run) dry_run=1 ;;
    --config.?*=*) flags+=("$flag") ;;
    *)
      echo "error: unknown flag $flag; see the top of $0" >&2
      exit 2
      ;;
  esac
done
for name in checkpoint source_dir; do
  if [[ -z ${!name} ]]; then
    echo "error: --$name is missing; see the top of $0" >&2
    exit 2
  fi
done
[[ $checkpoint == /* || $checkpoint == *:* ]] || checkpoint=$PWD/$checkpoint # Relative to where the user is.
[[ $source_dir == /* || $source_dir == *:* ]] || source_dir=$PWD/$source_dir
[[ -z $workdir || $workdir == /* ]] || workdir=$PWD/$workdir
cd "$(dirname "${BASH_SOURCE[0]}")/.."
workdir=${workdir:-$PWD/runs/gpt2}

call() { # MODULE FLAG...
  if ((dry_run)); then
    printf '%q ' .venv/bin/python -m "$@"
    echo
  else
    .venv/bin/python -m "$@"
  fi
}

if ((!dry_run)); then
  # shellcheck source=launch/venv.sh
  source launch/venv.sh
  make_venv
  install_package
fi
config="configs/gpt2_pg19.py:size=$size,checkpoint=$checkpoint"
flags=(--config.data.source_dir="$source_dir" ${flags[@]+"${flags[@]}"})
run=$workdir/memories/points/memory=$memory,seed=0

# One step at a rate of zero changes nothing. Beyond two segments of a document the positions of the window are an
# approximation (docs/pretrained.md).
call infformer_jax.main --config="$config,memory=none" --workdir="$workdir/unchanged" "${flags[@]}" \
  --config.train.num_steps=1 --config.train.optimizer.learning_rate=0
call infformer_jax.ablate --config="$config" --workdir="$workdir/memories" --axis=:memory --values="none,$memory" \
  "${flags[@]}"
[[ -d $workdir/exported ]] || call infformer_jax.export --workdir="$run" --out="$workdir/exported"

((dry_run)) || cat <<SUMMARY

$workdir/unchanged/results.json is about the unchanged model. In $workdir/memories:
  ablation.json  what the memory is worth: loss with it minus loss without it, with standard errors
  plots/         the same as a picture, and the training curves
$run has the model with the memory, results.json with its controls, and plots/.
$workdir/exported has it in the format of transformers, and its memory beside it; to continue a text:
  .venv/bin/python -m infformer_jax.generate --workdir='$run' --prompt_file=FILE --max_new_tokens=200
SUMMARY
