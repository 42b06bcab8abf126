#!/usr/bin/env bash
# Trains a small transformer on the source code of Python's standard library, continues with a long-term memory and,
# for comparison, without one; evaluates and plots both, and generates text. Needs only Python 3.11+ and PyPI; takes
# about 4 minutes on 2 CPU cores.
#
#   bash launch/quickstart.sh [--workdir=DIR] [any --config.key=value that all three runs have]
#
# Run it again to resume; what is finished is not repeated.
set -euo pipefail
workdir=
flags=()
for flag in "$@"; do
  case $flag in
    --workdir=/*) workdir=${flag#*=} ;;
    --workdir=*) workdir=$PWD/${flag#*=} ;; # Relative to where the user is.
    *) flags+=("$flag") ;;
  esac
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."
workdir=${workdir:-$PWD/runs/quickstart}
source launch/venv.sh
make_venv
install_package

.venv/bin/python -m infformer_jax.main --config=configs/quickstart.py:memory=none --workdir="$workdir/trunk" \
  ${flags[@]+"${flags[@]}"}
.venv/bin/python -m infformer_jax.ablate --config=configs/quickstart.py --workdir="$workdir/memories" \
  --axis=:memory --values=none,continuous --config.init_from="$workdir/trunk" \
  --config.train.num_steps=400 --config.train.optimizer.learning_rate=1e-3 ${flags[@]+"${flags[@]}"}
run=$(echo "$workdir"/memories/points/memory=continuous,seed=*)

# The sample continues the beginning of a validation document.
.venv/bin/python - "$run" <<'PROGRAM'
import pathlib
import sys

import numpy as np

from infformer_jax.data.load import load_corpus
from infformer_jax.experiment import Experiment
from infformer_jax.config.stored_config import from_json

workdir = pathlib.Path(sys.argv[1])
data = from_json(Experiment, (workdir / 'config.json').read_text()).data
corpus = load_corpus(data, workdir, splits=['validation'])
split = corpus.split('validation')
beginnings = [split.tokens(i, 0, min(2000, split.lengths[i] // 2)) for i in range(len(split))]
richest = max(range(len(split)), key=lambda i: len(np.unique(beginnings[i])))  # No table of characters.
(workdir / 'prompt.txt').write_text(corpus.tokenizer.decode(beginnings[richest]), encoding='utf-8')
print(f'\nThe model continues the first {len(beginnings[richest])} tokens of {split.names[richest]}:\n')
PROGRAM
.venv/bin/python -m infformer_jax.generate --workdir="$run" --prompt_file="$run/prompt.txt" \
  --max_new_tokens=200 --temperature=0.8 --seed=0 | tee "$run/sample.txt"

cat <<SUMMARY

$workdir/trunk is the model without a memory. In $workdir/memories:
  ablation.json  what the memory is worth: loss with it minus loss without it, with the standard error over documents
  plots/         the same as a picture, and the training curves
In $run:
  results.json   the losses with the memory, with the memory emptied, with the memory exchanged
  plots/         loss curves, loss by position, where each layer and head reads, what the memory holds,
                 which tokens profit (PNG and HTML)
  sample.txt     the text generated after prompt.txt
  metrics.jsonl  training metrics, one line per logged step; tensorboard/ has the same
  config.json    the config with every key
SUMMARY
