"""The regression error of continuous memories on the activations of real documents."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core import signal
from infformer_jax.data.base import Split, StoredSplit
from infformer_jax.data.lanes import evaluation_batches
from infformer_jax.memory.continuous import Continuous
from infformer_jax.nn.block import Block, BlockState
from infformer_jax.trained_model import TrainedModel
from infformer_jax.types import Array, Batch, Past, PyTree


def regression_error(
  trained: TrainedModel,
  split: Split,
  bos_id: int,
  *,
  num_documents: int = 8,
  max_segments: int = 64,
) -> float | None:
  """Σ|X - X̄|² / Σ|X|² of all segments, each directly after its own write.

  X is the input of the ridge regression (after the gate, if there is one), X̄ the signal at its positions.
  Both sums are over layers, writes and lanes. The first write of a document is left out, since its segment
  has all of [0, 1]. Source: Martins et al. 2022, section 4.1 (Figure 3, right).

  The model runs on one device of this process.

  Args:
    trained: the model.
    split: its first documents are read.
    bos_id: the first input of a document.
    num_documents: the number of documents.
    max_segments: each document is cut after this number of segments.
  Returns:
    The relative squared error; None if there is no continuous memory or no document with a second write.
  """
  model = trained.model()
  memories = [memory for block in model.blocks for memory in block.memory.parts().values()]
  if not any(isinstance(memory, Continuous) for memory in memories):
    return None
  trained = trained.local()
  length, lanes = model.config.segment_length, min(num_documents, len(split))
  batches = evaluation_batches(
    StoredSplit.from_tokens([split.tokens(index, 0, max_segments * length) for index in range(lanes)]),
    bos_id,
    num_lanes=lanes,
    lanes=range(lanes),
    segment_length=length,
    segments_per_chunk=1,
  )

  @jax.jit
  def step(params: PyTree, state: Any, batch: Batch) -> tuple[Any, Array]:
    model = trained.model(params)
    after = model(batch, state).state
    sums = [
      _sums(block, before, now, batch.segment_bs[:, 0])
      for block, before, now in zip(model.blocks, state.blocks, after.blocks, strict=True)
    ]
    return after, jnp.stack(sums).sum(0)

  state, total = model.init_state(lanes), np.zeros(2)
  for batch in batches:
    state, sums = step(trained.params, state, batch)
    total += np.asarray(sums, np.float64)
  return float(total[0] / total[1]) if total[1] else None


def _sums(block: Block, before: BlockState, after: BlockState, segment_b: Array) -> Array:
  """(Σ|X - X̄|², Σ|X|²) of the writes of the memories of one layer between two states."""
  total = jnp.zeros(2)
  if before.cache_btd is None:
    return total
  residual_bld = before.cache_btd[:, block.timeline.past]
  written_b = block.timeline.has_past(segment_b)
  past = Past(x_bld=block.attention_input(residual_bld), whole_b=written_b, residual_bld=residual_bld)
  states = block.memory.part_states(after.memory)
  for place, memory in block.memory.parts().items():
    if not isinstance(memory, Continuous):
      continue
    state = states[place]
    x_bld = memory.gated(memory.fed(past).astype(state.b_bnd.dtype))
    spec = memory.spec
    present_bl = spec.axis.new_times((state.writes_b - 1).astype(x_bld.dtype))
    held_bld = signal.sample(spec.basis, state.b_bnd, present_bl)
    sums = jnp.stack([((x_bld - held_bld) ** 2).sum((1, 2)), (x_bld**2).sum((1, 2))])
    total += jnp.where(written_b & (state.writes_b > 1), sums, 0).sum(-1)
  return total
