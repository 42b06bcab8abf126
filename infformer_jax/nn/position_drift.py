"""How the inputs of a layer depend on learned positions, beside their embedding: the drift of nn/window.py.

The mean over texts of a layer's inputs at a position is that layer's *positional basis* (Song and Zhong 2023,
"Uncovering hidden geometry in Transformers via disentangling position and context"): the inputs are nearly
the sum of it and of what depends on the text. The drift is this mean without the embedding of the position,
and without the mean over positions, which cancels where two rows are exchanged.
"""

from collections.abc import Collection

import jax.numpy as jnp
import numpy as np

from infformer_jax.core.arrays import at_least_float32
from infformer_jax.memory.base import identity
from infformer_jax.nn.block import Chunk
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.nn.transformer import Transformer
from infformer_jax.nn.window import rows
from infformer_jax.types import Array


def missing(config: ModelConfig, given: Collection[str]) -> dict[int, str]:
  """The drifts that are not among parameters by name, 'params/...': their layers, and their names."""
  names = {i: f'params/blocks/{i}/position_drift_td' for i in config.layers_with_drift}
  return {i: name for i, name in names.items() if name not in given}


def is_drift(name: str) -> bool:
  """Whether a parameter is a drift, which has the rows of one length of window.

  >>> is_drift('blocks/1/position_drift_td')
  True
  """
  return name.endswith('/position_drift_td')


def measure(model: Transformer, tokens_bt: Array | np.ndarray) -> dict[int, Array]:
  """The drift of every layer that has one, [num_positions, d]; rows from t on are 0.

  Args:
    model: its learned positions have been trained.
    tokens_bt: texts from anywhere of t = M + l tokens, the first of which is not a BOS.
  Raises:
    ValueError: t is another number.
  """
  config, (b, t) = model.config, tokens_bt.shape
  length, wide = config.segment_length, at_least_float32(config.param_dtype)
  if t != config.short_term_length + length:
    raise ValueError(f'texts of {t} tokens must have {config.short_term_length + length}')
  tokens_bsl = jnp.asarray(tokens_bt).reshape(b, -1, length)
  since_bs = jnp.broadcast_to(jnp.arange(t // length, dtype=jnp.int32)[None], (b, t // length))
  chunk = Chunk(
    ok_bsl=jnp.ones(tokens_bsl.shape, bool),
    new_doc_bs=since_bs == 0,
    since_bs=since_bs,
    biases=model.biases(),
    positions_td=model.positions(),
  )
  x_bsld = model.embed(tokens_bsl, rows(config, since_bs, np.arange(length)))
  drift = {}
  for i, (block, state) in enumerate(zip(model.blocks, model.init_state(b).blocks, strict=True)):
    if i in config.layers_with_drift:
      mean_td = x_bsld.astype(wide).mean(axis=0).reshape(t, -1) - model.position_embedding.embedding[:t]
      mean_td = mean_td - mean_td.mean(axis=0, keepdims=True)
      drift[i] = jnp.pad(mean_td, ((0, config.num_positions - t), (0, 0)))
    x_bsld, _, _ = block(x_bsld, state, chunk, keys_bs=None, view=identity)
  return drift
