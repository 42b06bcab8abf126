"""Token by token: every row has an open segment.

Opening a segment empties and writes the memories as a chunk does; each token reads them and adds its
statistics; where a segment is full it becomes part of the cache and the next one opens. The numbers are those
of the forward pass over the whole document.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core import attention as attention_core
from infformer_jax.core.pytree import pytree
from infformer_jax.nn.attention_received import ReceivedAttention
from infformer_jax.nn.block import Block, BlockState
from infformer_jax.nn.transformer import ModelState, Transformer, all_finite
from infformer_jax.types import Array, Past, PyTree, Segment, Slots


@pytree
class OpenBlock:
  """The open segment of one layer: its tokens so far, and what stays constant while it is open."""

  x_bld: Array  # the layer's inputs
  own: Slots  # their keys and values, at ages 0, -1, ...
  window: Slots | None  # the short-term memory's, if there is one
  prepared: PyTree  # the long memory's
  received: ReceivedAttention | None  # as BlockState's, of the cache and of the open segment


@pytree
class Open:
  """An open segment of every row."""

  state: ModelState  # caches before this segment; memories written, with this segment's statistics
  count_b: Array  # int32, tokens so far, < l
  blocks: tuple[OpenBlock, ...]
  # bool: whether the embeddings (i = 0), the outputs of layer i - 1 and, last, the logits of all tokens that
  # were appended are finite
  finite_bi: Array


def open_segment(model: Transformer, state: ModelState, new_doc_b: Array) -> Open:
  """Opens the next segment in every row.

  Args:
    state: after the last whole segment.
    new_doc_b: rows that start a document.
  """
  since_b = jnp.where(new_doc_b, 0, state.segments_b)
  opened = [
    _open_block(block, block_state, since_b, new_doc_b)
    for block, block_state in zip(model.blocks, state.blocks, strict=True)
  ]
  state = ModelState(
    segments_b=since_b, index_b=state.index_b, blocks=tuple(block_state for block_state, _ in opened)
  )
  blocks = tuple(block for _, block in opened)
  finite_bi = jnp.ones((len(since_b), len(blocks) + 2), bool)
  return Open(state=state, count_b=jnp.zeros_like(since_b), blocks=blocks, finite_bi=finite_bi)


def append(model: Transformer, opened: Open, token_b: Array, active_b: Array) -> tuple[Array, Open]:
  """Appends a token in the rows where active_b; the other rows do not change.

  Returns:
    The logits [b, v] of the next token, and the open segment: a new one where the last is full.
  """
  x_bld = model.embed(token_b[:, None], opened.count_b[:, None])
  ok_bl = active_b[:, None]
  blocks, states, finite = [], [], [all_finite(x_bld, ok_bl)]
  for block, block_state, open_block in zip(model.blocks, opened.state.blocks, opened.blocks, strict=True):
    x_bld, block_state, open_block = _append_block(
      model, block, x_bld, block_state, open_block, opened.count_b, active_b
    )
    blocks.append(open_block)
    states.append(block_state)
    finite.append(all_finite(x_bld, ok_bl))
  hidden_bld = model.final_norm(x_bld) if model.config.final_norm else x_bld
  logits_bv = model.vocabulary.logits(hidden_bld[:, 0])
  finite.append(all_finite(logits_bv, active_b))
  state = ModelState(segments_b=opened.state.segments_b, index_b=opened.state.index_b, blocks=tuple(states))
  opened = Open(
    state=state,
    count_b=opened.count_b + active_b.astype(jnp.int32),
    blocks=tuple(blocks),
    finite_bi=opened.finite_bi & jnp.stack(finite, axis=1),
  )
  full_b = opened.count_b == model.config.segment_length
  opened = jax.lax.cond(full_b.any(), lambda: _renewed(model, opened, full_b), lambda: opened)
  return logits_bv, opened


def _open_block(
  block: Block, state: BlockState, since_b: Array, new_doc_b: Array
) -> tuple[BlockState, OpenBlock]:
  config, attention, timeline = block.config, block.attention, block.timeline
  batch, length = since_b.shape[0], config.segment_length
  shape = (batch, length, config.kv_heads, config.width_of_head)
  dtype = jnp.dtype(config.compute_dtype)
  past_bld = x_bld = jnp.zeros((batch, length, config.d_model), dtype)
  window, received = None, state.received
  if state.cache_btd is not None:
    h_btd = block.attention_input(state.cache_btd)
    if timeline.lag:
      past_bld = h_btd[:, timeline.past]
    if config.short_term_length:
      age_m = config.short_term_length - np.arange(config.short_term_length, dtype=np.float32)
      kv_bmhk = attention.project(h_btd[:, timeline.window])
      window = _slots(*kv_bmhk, age_m, timeline.in_document(since_b))
  past = Past(x_bld=past_bld, whole_b=timeline.has_past(since_b))
  if received is not None:
    past = dataclasses.replace(past, received_bl=received.past(timeline))
    received = received.extend(length)
  memory, project = block.memory, attention.project
  written = memory.write(memory.reset(state.memory, new_doc_b), past, project, key_b=None)
  zeros = jnp.zeros(shape, dtype)
  own = _slots(zeros, zeros, -np.arange(length, dtype=np.float32), jnp.zeros(shape[:2], bool))
  prepared = memory.prepare(written, project)
  opened = OpenBlock(x_bld=x_bld, own=own, window=window, prepared=prepared, received=received)
  return dataclasses.replace(state, memory=written), opened


def _append_block(
  model: Transformer,
  block: Block,
  x_bld: Array,
  state: BlockState,
  opened: OpenBlock,
  count_b: Array,
  active_b: Array,
) -> tuple[Array, BlockState, OpenBlock]:
  attention = block.attention
  h_bld = block.attention_input(x_bld)
  q_blhk, (k_blhk, v_blhk) = attention.queries(h_bld), attention.project(h_bld)
  place_1l = jnp.arange(block.config.segment_length, dtype=count_b.dtype)[None]
  here_bl = active_b[:, None] & (count_b[:, None] == place_1l)

  def put(buffer_bl: Array, new_bl: Array) -> Array:
    where = here_bl.reshape(here_bl.shape + (1,) * (buffer_bl.ndim - 2))
    return jnp.where(where, new_bl.astype(buffer_bl.dtype), buffer_bl)

  own = Slots(
    k_bmhk=put(opened.own.k_bmhk, k_blhk),
    v_bmhk=put(opened.own.v_bmhk, v_blhk),
    age_bm=opened.own.age_bm,
    ok_bm=opened.own.ok_bm | here_bl,
  )
  offset_bl = count_b[:, None].astype(jnp.float32)
  segment = Segment(q_blhk=q_blhk, ok_bl=active_b[:, None], offset_bl=offset_bl)
  read = block.memory.answer(opened.prepared, segment)
  memory = block.memory.observe(state.memory, read.stats)
  local = [own] if opened.window is None else [opened.window, own]  # In the order of time.
  parts = [attention.keys(each.k_bmhk, each.v_bmhk, each.age_bm, each.ok_bm) for each in local]
  parts += map(attention.slots, read.slots)
  queries = attention.ask(q_blhk, offset_bl, model.biases())
  out_bld = attention.attend(queries, parts, read.gated)
  if read.added_bld is not None:
    out_bld = out_bld + read.added_bld.astype(out_bld.dtype)
  joined = block.joined(x_bld[:, None], out_bld[:, None], keys_bs=None)[:, 0]
  received = opened.received
  if received is not None:
    width = block.config.short_term_length + block.config.segment_length
    received = received.accumulate(attention_core.sum_received(queries, parts, segment.ok_bl, width=width))
  opened = dataclasses.replace(opened, x_bld=put(opened.x_bld, x_bld), own=own, received=received)
  return joined, dataclasses.replace(state, memory=memory), opened


def _renewed(model: Transformer, opened: Open, full_b: Array) -> Open:
  """Moves the segments of the full rows into their caches and opens the next ones."""
  length = model.config.segment_length

  def choose(new: Array, old: Array) -> Array:
    return jnp.where(full_b.reshape(full_b.shape + (1,) * (new.ndim - 1)), new, old)

  def closed(state: BlockState, block: OpenBlock) -> BlockState:
    if state.cache_btd is None:
      return state
    pushed_btd = jnp.concatenate([state.cache_btd, block.x_bld], axis=1)[:, length:]
    received = None if block.received is None else block.received.close(length)
    pushed = dataclasses.replace(state, cache_btd=pushed_btd, received=received)
    return jax.tree.map(choose, pushed, state)

  state = ModelState(
    segments_b=opened.state.segments_b + full_b.astype(jnp.int32),
    index_b=opened.state.index_b + full_b.astype(jnp.int32),
    blocks=tuple(map(closed, opened.state.blocks, opened.blocks)),
  )
  renewed = open_segment(model, state, jnp.zeros_like(full_b))
  renewed = dataclasses.replace(renewed, finite_bi=opened.finite_bi)
  return jax.tree.map(choose, renewed, opened)


def _slots(k_bmhk: Array, v_bmhk: Array, age_m: np.ndarray, ok_bm: Array) -> Slots:
  return Slots(
    k_bmhk=k_bmhk, v_bmhk=v_bmhk, age_bm=jnp.broadcast_to(jnp.asarray(age_m), ok_bm.shape), ok_bm=ok_bm
  )
