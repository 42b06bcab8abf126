"""What a model with rotary positions loses with the first token of its document, which leaves a window.

Pretrained models may attend to the first token much more than to others (Xiao et al. 2023, "Efficient
streaming language models with attention sinks"). A small Llama reads the bytes of the standard library in
contexts of 128 that begin with BOS. Then it reads texts in segments of 32 with M = 96, without their first
token after the first M + l bytes. It is compared with the same model that reads, for every segment, BOS and
the 127 bytes that end with it. The share of the attention is that of tokens 33 to 128 of a context.
"""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from infformer_jax.core import attention
from infformer_jax.data.cut_documents import cut_documents
from infformer_jax.data.load import load_corpus
from infformer_jax.data.stdlib import StdlibConfig
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.nn.transformer import Transformer
from infformer_jax.types import Array
from tests.benchmarks.learned_positions import (
  AT_ONCE,
  CONTEXT,
  LENGTH,
  PRETRAINING,
  Reader,
  compared,
  texts_of,
)
from tests.benchmarks.measure import note
from tests.benchmarks.table import Row, exact

AGAIN = 'read again after BOS'
TRUNK = ModelConfig(
  d_model=128, num_layers=4, num_heads=4, d_ff=384, feed_forward='swiglu', norm='rmsnorm',
  positions='rotary', segment_length=CONTEXT, short_term_length=0, memory=NothingConfig(),
)  # fmt: skip


def rows(quick: bool) -> Iterator[Row]:
  """The share of the first token in the attention, then losses against those of reading again after BOS."""
  num_steps, num_texts = (1, AT_ONCE) if quick else (1000, None)
  corpus = load_corpus(StdlibConfig(tokenizer='bytes'), epath.Path('unused'))
  cut = dict(corpus.splits) | {'train': cut_documents(corpus.split('train'), CONTEXT)}
  corpus, bos = dataclasses.replace(corpus, splits=cut), corpus.tokenizer.bos_id
  texts_nt = texts_of(corpus.split('validation'), num_texts)
  texts_nt[:, 0] = bos
  again = Reader(TRUNK, corpus)
  note(f'training a model for {num_steps} steps')
  params = again.trained({}, PRETRAINING, num_steps)

  share_ih = np.asarray(jax.jit(_shares)(again.model(params), texts_nt[: 4 * AT_ONCE, :CONTEXT]), float)
  note(f'share of the first token in the attention, layers by heads:\n{(100 * share_ih).round(1)}')
  equal = float(np.mean(1 / np.arange(LENGTH + 1, CONTEXT + 1)))
  what = 'share of the first token in the attention'
  yield exact(f'{what}, mean of the heads', '%', 100 * share_ih.mean(), 100 * equal, 'equal shares')
  yield exact(f'{what}, largest of a head', '%', 100 * share_ih.max(), 100 * equal, 'equal shares')

  losses = {AGAIN: again.losses(params, texts_nt, first=bos), 'read again': again.losses(params, texts_nt)}
  for kind in ('block', 'sliding'):
    window = dataclasses.replace(
      TRUNK, segment_length=LENGTH, short_term_length=CONTEXT - LENGTH, window=kind
    )
    losses[f'l {LENGTH}, M {CONTEXT - LENGTH}, {kind}'] = Reader(window, corpus).losses(params, texts_nt)
  yield from compared('rotary positions, ', losses, AGAIN)


def _shares(model: Transformer, tokens_bt: Array) -> Array:
  """The mean weight of the first key, for queries from LENGTH on, [layers, h]."""
  x_btd, ok_bt = model.embed(tokens_bt, jnp.arange(CONTEXT)), jnp.ones(tokens_bt.shape, bool)
  shares = []
  for block in model.blocks:
    h_btd = block.attention_input(x_btd)
    queries = block.attention.ask(block.attention.queries(h_btd), jnp.arange(CONTEXT)[None], None)
    part = block.attention.window(*block.attention.project(h_btd), ok_bt)
    shares.append(attention.weights(queries, [part])[:, :, LENGTH:, 0].mean(axis=(0, 2)))
    x_btd = block.joined(x_btd, block.attention.attend(queries, [part], None), keys_bs=None)
  return jnp.stack(shares)
