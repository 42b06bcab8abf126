"""GPT-2 with the memory of the ∞-former, fine-tuned on WikiText-103, as published (Martins et al. 2022).

    python -m infformer_jax.main --config=configs/gpt2_wikitext103.py --workdir=W --config.data.source_dir=DIR
    python -m infformer_jax.main --config=configs/gpt2_wikitext103.py:memory=none --workdir=W2 \\
      --config.data.source_dir=DIR
    python -m infformer_jax.main --workdir=W --mode=eval --name=test --config.evaluation.split=test

DIR is the folder of the unpacked archive, with wiki.train.tokens. Arguments, what is as published and what is
not are those of configs/gpt2_pg19.py: `memory`, `size` and `checkpoint=DIR`.

    size    parameters  hardware      test perplexity per token
    small   167 M       one GPU       published (their table of GPT-2): 16.61 sticky, 16.64 even; not run here
    tiny    1.4 M       2 CPU cores   a model without pretraining, to try the commands in minutes

A public GPT-2 small that was fine-tuned on this corpus with a sliding window of 1,024 tokens has 14.84, less
than with the published memory: `memory=none`, whose tokens see 513 to 1,024, decides what a memory is worth.
Besides what configs/gpt2_pg19.py names, the published perplexity leaves out the ends of lines, and here every
article begins with <|endoftext|>. 245,000 steps are about one epoch: 118 million tokens in segments of 512,
of which the last one of each of the 28,475 articles is padded.
"""

from ml_collections import ConfigDict

from infformer_jax.config import config_dict, parse_argument
from infformer_jax.data.wikitext import WikitextConfig
from infformer_jax.evaluation.perplexity import EvaluationConfig
from infformer_jax.experiment import Experiment
from infformer_jax.pretrained import finetuning

STEPS = {'small': 245_000, 'tiny': 1_500}


def get_config(argument: str | None = None) -> ConfigDict:
  """The config of 'configs/gpt2_wikitext103.py:memory=...,size=small|tiny,checkpoint=DIR'."""
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
      data=WikitextConfig(
        source_dir='wikitext-103', tokenizer=f'pretrained:{place}' if place else 'bpe:4096'
      ),
      train=finetuning.train(asked.size, STEPS[asked.size]),
      evaluation=EvaluationConfig(batch_size=8, segments_per_chunk=8),
    )
  )
