"""The trunk: a decoder that takes whole chunks and carries its memories as an argument and a result."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from infformer_jax.core import initializers
from infformer_jax.core.pytree import pytree
from infformer_jax.memory.base import View, identity
from infformer_jax.nn import vocabulary, window
from infformer_jax.nn.block import Block, BlockState, Chunk
from infformer_jax.nn.layers import dropout, fold_in, norm
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.nn.vocabulary import Vocabulary
from infformer_jax.types import Array, Batch, PyTree, Read, SumCount

Gather = Callable[[PyTree], PyTree]
"""Parameters by their names -> the same ones as a model computes with them (`merge`)."""

SHARED = (*vocabulary.SHARED, 'position_embedding', 'u_hk', 'v_hk')
"""Parameters that all layers share: they are used first, and their gradients are complete last."""


@pytree
class ModelState:
  """The state carried between chunks; every leaf has the lanes first."""

  segments_b: Array  # int32, segments of the current document so far
  index_b: Array  # int32, segments of the lane so far: folded into random keys
  blocks: tuple[BlockState, ...]


@pytree
class Output:
  """The results of a chunk."""

  hidden_bsld: Array  # the input of `Transformer.vocabulary`
  state: ModelState
  aux: dict[str, SumCount]  # auxiliary losses, summed over layers
  ok_bs: Array  # bool; False: the view could not be applied to this segment (memory/views.py)
  reads: tuple[dict[str, Array], ...]  # each layer's Read.plots, [b, s, ...]
  finite_bi: Array  # bool: whether the embeddings (i = 0) and the outputs of layer i - 1 are finite


class Transformer(nnx.Module):
  """A decoder-only language model; nothing is mutated in a call.

  Its variables are nnx.Param and, in a model that got its constants from `merge`, memory.base.Constant.
  """

  def __init__(self, config: ModelConfig, vocab_size: int, *, rngs: nnx.Rngs):
    self.config = config
    self.gather: Gather | None = None  # of the parameters of a block (`merge`)
    d, dtype, param_dtype = config.d_model, jnp.dtype(config.compute_dtype), jnp.dtype(config.param_dtype)
    common: dict[str, Any] = {'dtype': dtype, 'param_dtype': param_dtype, 'rngs': rngs}
    self.vocabulary = Vocabulary(config, vocab_size, rngs=rngs)
    if config.positions == 'learned':
      init = initializers.normal(0.02)
      self.position_embedding = nnx.Embed(config.num_positions, d, embedding_init=init, **common)
    if config.positions == 'xl':
      shape = (config.num_heads, config.width_of_head)
      self.u_hk = nnx.Param(jnp.zeros(shape, param_dtype))
      self.v_hk = nnx.Param(jnp.zeros(shape, param_dtype))
    self.blocks = nnx.List([Block(config, i, rngs=rngs) for i in range(config.num_layers)])
    if config.final_norm:
      self.final_norm = norm(config.norm, d, epsilon=config.norm_epsilon, **common)
    self.vocabulary.init_read_out(rngs=rngs)

  def init_state(self, batch: int) -> ModelState:
    """Empty memories for `batch` lanes."""
    blocks = tuple(block.init_state(batch) for block in self.blocks)
    # Two arrays, because the train step donates both.
    segments_b, index_b = jnp.zeros((batch,), jnp.int32), jnp.zeros((batch,), jnp.int32)
    return ModelState(segments_b=segments_b, index_b=index_b, blocks=blocks)

  def constants(self) -> dict[str, PyTree]:
    """Large arrays of the memories, on the host, for programs that take them as arguments (`merge`)."""
    return {name: value for block in self.blocks for name, value in block.memory.constants().items()}

  def aux_weights(self) -> dict[str, float]:
    """The weight of each auxiliary loss in the training loss."""
    return {name: weight for block in self.blocks for name, weight in block.memory.aux_weights().items()}

  def __call__(
    self,
    batch: Batch,
    state: ModelState,
    *,
    key: jax.Array | None = None,
    lane_b: Array | None = None,
    view: View = identity,
  ) -> Output:
    """A chunk of every lane.

    Args:
      batch: s segments of l tokens per lane; rows are emptied where new_doc_bs.
      state: of the previous chunk.
      key: for dropout and for writes that draw, the same in every call: the segment's index in its lane and
        the lane are folded in. None: no dropout, no draws.
      lane_b: int, the index of each row's lane, which is folded in; None: 0, 1, 2, ...
      view: what is read instead of the long memories' states (memory/views.py).
    """
    b, s, _ = batch.tokens_bsl.shape
    lane_b = jnp.arange(b) if lane_b is None else lane_b
    since_bs = _since(state.segments_b, batch.new_doc_bs)
    chunk = Chunk(
      ok_bsl=batch.ok_bsl,
      new_doc_bs=batch.new_doc_bs,
      since_bs=since_bs,
      biases=self.biases(),
      positions_td=self.positions(),
    )
    index_bs = state.index_b[:, None] + jnp.arange(s, dtype=jnp.int32)[None]
    keys_bs = None if key is None else _segment_keys(key, index_bs, lane_b)
    offset_l = jnp.arange(self.config.segment_length)
    x_bsld = self.embed(batch.tokens_bsl, window.rows(self.config, since_bs, offset_l))
    # Layer i folds i into the keys, the embeddings fold in the number of layers.
    x_bsld = dropout(x_bsld, fold_in(keys_bs, self.config.num_layers), self.config.dropout)

    blocks, reads, finite = [], [], [all_finite(x_bsld, batch.ok_bsl)]
    for i, (block, block_state) in enumerate(zip(self.blocks, state.blocks, strict=True)):
      layer_keys_bs = fold_in(keys_bs, i)
      x_bsld, block_state, read = self._run(block, x_bsld, block_state, chunk, layer_keys_bs, view)
      blocks.append(block_state)
      reads.append(read)
      finite.append(all_finite(x_bsld, batch.ok_bsl))

    oks = [read.ok_b for read in reads if read.ok_b is not None]
    return Output(
      hidden_bsld=self.final_norm(x_bsld) if self.config.final_norm else x_bsld,
      state=ModelState(segments_b=since_bs[:, -1] + 1, index_b=state.index_b + s, blocks=tuple(blocks)),
      aux=_summed([read.aux for read in reads]),
      ok_bs=jnp.stack(oks).all(axis=0) if oks else jnp.ones((b, s), bool),
      reads=tuple(read.plots for read in reads),
      finite_bi=jnp.stack(finite, axis=1),
    )

  def biases(self) -> tuple[Array, Array] | None:
    """Transformer-XL's u and v [h, k], which the layers share; None for other positions."""
    return (self.u_hk[...], self.v_hk[...]) if self.config.positions == 'xl' else None

  def positions(self) -> Array | None:
    """The table of learned positions [t, d], in the dtype of the activations; None for other positions."""
    if self.config.positions != 'learned':
      return None
    return self.position_embedding.embedding[...].astype(self.config.compute_dtype)

  def embed(self, tokens: Array, row: Array) -> Array:
    """Token embeddings [..., d], with those of their positions added where positions are learned.

    Args:
      tokens: [...] int.
      row: [...] int, their rows in the table (nn/window.py); without effect for other positions.
    """
    x = self.vocabulary.embed(tokens)
    return x + self.position_embedding(row) if self.config.positions == 'learned' else x

  def _run(
    self, block: Block, x_bsld: Array, state: BlockState, chunk: Chunk, keys_bs: Array | None, view: View
  ) -> tuple[Array, BlockState, Read]:
    graphdef, variables = nnx.split(block)
    try:
      hash(graphdef)
      run = functools.partial(_run_equal_blocks, graphdef, view, self.gather)
    except TypeError:  # A memory of a user has an attribute, such as a dict, that jit cannot compare.
      run = functools.partial(_run_block, graphdef, view, self.gather)
    return (jax.checkpoint(run) if self.config.remat else run)(variables, x_bsld, state, chunk, keys_bs)


def _run_block(
  graphdef: nnx.GraphDef,
  view: View,
  gather: Gather | None,
  variables: nnx.State,
  x_bsld: Array,
  state: BlockState,
  chunk: Chunk,
  keys_bs: Array | None,
) -> tuple[Array, BlockState, Read]:
  """A chunk through a block."""
  if gather is not None:
    params, others = nnx.split_state(variables, nnx.Param, ...)
    nnx.replace_by_pure_dict(params, gather(nnx.to_pure_dict(params)))
    variables = nnx.merge_state(params, others)
  return nnx.merge(graphdef, variables)(x_bsld, state, chunk, keys_bs=keys_bs, view=view)


_run_equal_blocks = jax.jit(_run_block, static_argnums=(0, 1, 2))
"""Equal blocks have equal graphdefs, so that they are traced once."""


def all_finite(x: Array, ok: Array) -> Array:
  """Whether the vectors x [b, ..., d] of every row are finite where ok [b, ...]: bool [b]."""
  return (jnp.isfinite(x).all(-1) | ~ok).all(axis=range(1, ok.ndim))


def _since(segments_b: Array, new_doc_bs: Array) -> Array:
  """[b, s]: the number of segments of the same document before each segment."""
  index_1s = jnp.arange(new_doc_bs.shape[1], dtype=segments_b.dtype)[None]
  start_bs = jax.lax.cummax(jnp.where(new_doc_bs, index_1s, -1), axis=1)
  return jnp.where(start_bs >= 0, index_1s - start_bs, segments_b[:, None] + index_1s)


def _segment_keys(key: jax.Array, index_bs: Array, lane_b: Array) -> Array:
  """One key per segment: its absolute index in its lane, then the lane, folded in."""

  def row(index_s: Array, lane: Array) -> Array:
    return jax.vmap(lambda index: jax.random.fold_in(jax.random.fold_in(key, index), lane))(index_s)

  return jax.vmap(row)(index_bs, lane_b)


def _summed(auxes: list[dict[str, SumCount]]) -> dict[str, SumCount]:
  total: dict[str, SumCount] = {}
  for aux in auxes:
    for name, (value, count) in aux.items():
      before = total.get(name, (jnp.zeros_like(value), jnp.zeros_like(count)))
      total[name] = (before[0] + value, before[1] + count)
  return total


def build(config: ModelConfig, vocab_size: int, key: jax.Array) -> tuple[nnx.GraphDef, PyTree]:
  """A model with fresh parameters, as (graphdef, pure dict): the dict is trained and saved."""
  graphdef, params = nnx.split(Transformer(config, vocab_size, rngs=nnx.Rngs(key)))
  return graphdef, nnx.to_pure_dict(params)


def merge(
  graphdef: nnx.GraphDef, params: PyTree, constants: PyTree | None = None, gather: Gather | None = None
) -> Transformer:
  """The model of a graphdef and parameters, inside or outside of jit.

  Args:
    graphdef, params: of `build`.
    constants: of `Transformer.constants`, as arguments of the program; None: the program embeds them.
    gather: of parameters that are split over devices: gives them as the model computes with them. It is
      called once with all parameters outside of the blocks, and in each block with those of the block, so
      that a backward pass that computes a block again gathers them again.
  """
  if gather is not None:
    params = gather({**params, 'blocks': []}) | {'blocks': params['blocks']}
  model = nnx.merge(graphdef, nnx.State(params))
  model.gather = gather
  for block in model.blocks if constants is not None else ():
    block.memory.use(constants)
  return model
