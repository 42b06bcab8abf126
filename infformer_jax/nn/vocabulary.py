"""The vocabulary: token embeddings, and the read-out of hidden states as losses or logits."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from infformer_jax.core import initializers, losses, placement
from infformer_jax.core.arrays import at_least_float32, on_last_axis
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.types import Array

SIZE_FROM = 'vocabulary/embedding/embedding'
"""The parameter of a trunk whose first axis is the vocabulary: it tells the size of a saved model."""

SHARED = ('vocabulary/embedding',)
"""The parameters of a trunk that its input and, if embeddings are tied, its output use."""


class Vocabulary(nnx.Module):
  """Dense tables of all tokens; everything outside of this class is independent of how tokens are stored.

  The separate read-out table of an untied model does not exist before `init_read_out`.
  """

  def __init__(self, config: ModelConfig, size: int, *, rngs: nnx.Rngs):
    self.config, self.size = config, size
    self.embedding = self._table(rngs)

  def init_read_out(self, *, rngs: nnx.Rngs) -> None:
    """Draws the read-out's own parameters.

    The trunk calls this after it has drawn its blocks: the order of the draws is part of what a seed means.
    """
    if not self.config.tie_embeddings:
      self.unembedding = self._table(rngs)
    if self.config.output_bias:
      self.output_bias_v = nnx.Param(jnp.zeros((self.size,), jnp.dtype(self.config.param_dtype)))

  @jax.named_scope('vocabulary')
  def embed(self, tokens: Array) -> Array:
    """[...] int -> [..., d]; times √d where the config scales embeddings."""
    x = self.embedding(tokens)
    if not self.config.scale_embeddings:
      return x
    return x * jnp.sqrt(jnp.asarray(self.config.d_model, x.dtype))

  def logits(self, hidden: Array) -> Array:
    """[..., d] -> [..., v], float32 or wider."""
    table_vd = (self.embedding if self.config.tie_embeddings else self.unembedding).embedding[...]
    wide = at_least_float32(self.config.param_dtype)
    logits = jnp.einsum('...d,vd->...v', hidden, table_vd.astype(hidden.dtype), preferred_element_type=wide)
    if not self.config.output_bias:
      return logits
    return logits + on_last_axis(self.output_bias_v[...], logits.ndim)

  def token_losses(self, hidden_bsld: Array, targets_bsl: Array) -> Array:
    """-ln p(target) [b, s, l], nats.

    The logits of one segment exist at a time; the backward pass computes them again.
    """
    return self._by_segment(losses.token_losses, hidden_bsld, targets_bsl)

  def losses_and_hits(self, hidden_bsld: Array, targets_bsl: Array) -> tuple[Array, Array]:
    """`token_losses`, and whether the most likely token is the target (bool)."""

    def both(logits_blv: Array, targets_bl: Array) -> tuple[Array, Array]:
      return losses.token_losses(logits_blv, targets_bl), logits_blv.argmax(-1) == targets_bl

    return self._by_segment(both, hidden_bsld, targets_bsl)

  @jax.named_scope('vocabulary')
  def _by_segment(self, apply: Callable[[Array, Array], Any], hidden_bsld: Array, targets_bsl: Array) -> Any:
    graphdef, tables = nnx.split(self)

    def by_segment(tables: nnx.State, lanes: tuple[Array, Array]) -> Any:
      @jax.checkpoint
      def segment(args: tuple[Array, Array]) -> Any:
        return apply(nnx.merge(graphdef, tables).logits(args[0]), args[1])

      segments_first = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), lanes)
      return jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), jax.lax.map(segment, segments_first))

    return placement.by_shard_of_lanes(by_segment, tables, (hidden_bsld, targets_bsl))

  def _table(self, rngs: nnx.Rngs) -> nnx.Embed:
    return nnx.Embed(
      self.size,
      self.config.d_model,
      embedding_init=initializers.normal(0.02),
      dtype=jnp.dtype(self.config.compute_dtype),
      param_dtype=jnp.dtype(self.config.param_dtype),
      rngs=rngs,
    )
