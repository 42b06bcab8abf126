"""GPT-2 with the memory of the ∞-former, fine-tuned on PG-19, as published (Martins et al. 2022).

    python -m infformer_jax.main --config=configs/gpt2_pg19.py --workdir=W --config.data.source_dir=BOOKS
    python -m infformer_jax.main --config=configs/gpt2_pg19.py:memory=none --workdir=W2 \\
      --config.data.source_dir=BOOKS
    python -m infformer_jax.main --config=configs/gpt2_pg19.py:checkpoint=DIR --workdir=W \\
      --config.data.source_dir=BOOKS

The first gives GPT-2 small, which is downloaded, its memory; the second is the control without one, whose
tokens see 513 to 1,024 tokens. The third takes the model and the tokenizer of a checkpoint directory, also a
GPT-2 of another size. launch/finetune_gpt2.sh does all of it. BOOKS is a copy of gs://deepmind-gutenberg.

`memory` is published (sticky), published_even, one of ours, which start as the unchanged model (continuous,
continuous_even, continuous_log, neighbours), or none.

    size    parameters  hardware      test perplexity per token
    small   167 M       one GPU       published (their table of GPT-2): 32.48 sticky; not run here
    tiny    1.4 M       2 CPU cores   to try the commands, without pretraining: 186 on 2 validation books
                                      after 8 minutes on 16 others, 190 with the memory emptied

As published: segments of 512 tokens whose positions start at 0, no other context, all parameters trained,
one segment per step, the rates (a fifth of the memory's for the rest), the linear decay, the KL term (1e-6
times its sum over the layers), dropout, the initial values, what is written. Otherwise: memories are
emptied at the ends of documents, not every 2,048 tokens, of which train.max_document_tokens=2560 comes
nearest; documents are read in a random order; every token is scored, not 511 of 512; 400,000 steps are 205
million tokens, which is as much as 2,100 books have.
"""

from ml_collections import ConfigDict

from infformer_jax.config import config_dict, parse_argument
from infformer_jax.data.pg19 import Pg19Config
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment
from infformer_jax.pretrained import finetuning

STEPS = {'small': 400_000, 'tiny': 1_500}


def get_config(argument: str | None = None) -> ConfigDict:
  """The config of 'configs/gpt2_pg19.py:memory=...,size=small|tiny,checkpoint=DIR'."""
  asked = parse_argument(
    argument,
    memory=('published', finetuning.KINDS),
    size=('small', tuple(STEPS)),
    checkpoint=(None, str),
  )
  place = finetuning.place(asked.size, asked.checkpoint)
  return config_dict(
    Experiment(
      init_from=place,
      model=finetuning.model(asked.memory, asked.size, asked.checkpoint),
      data=Pg19Config(tokenizer=f'pretrained:{place}' if place else 'bpe:4096'),
      train=finetuning.train(asked.size, STEPS[asked.size]),
      evaluation=EvaluationConfig(batch_size=8, segments_per_chunk=8),
    )
  )
