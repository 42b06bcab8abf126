"""What the plots of the memory show: where a long document is read, and what the signal can hold."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.core import basis, signal
from infformer_jax.data.base import Split, StoredSplit
from infformer_jax.data.lanes import evaluation_batches
from infformer_jax.memory.base import Memory, MemoryConfig
from infformer_jax.memory.continuous import PLOT_BINS, Continuous
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.stacked import Stacked, StackedConfig
from infformer_jax.nn import transformer
from infformer_jax.types import Array, Batch, PyTree

DENSITY_BINS = PLOT_BINS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reads:
  """How each continuous memory read one document: rows are its segments, NaN while the memory was empty."""

  density_sj: dict[str, np.ndarray]  # mean over heads and tokens in equal bins of [0, 1]; uniform is 1
  histogram_sj: dict[str, np.ndarray]  # what a sticky memory's next write samples by, not normalized


def collect_reads(
  graphdef: nnx.GraphDef,
  params: PyTree,
  split: Split,
  bos_id: int,
  *,
  segments_per_chunk: int = 4,
  max_segments: int = 256,
) -> Reads | None:
  """Runs the longest document of a split, or its beginning, through the model and looks at its memories.

  On one device of this process: of several processes one can call this alone.

  Args:
    graphdef, params: the model.
    split: the documents.
    bos_id: the first input of a document.
    segments_per_chunk: s.
    max_segments: where the document is cut.
  Returns:
    The reads by layer; None where no layer has a continuous memory.
  """
  model = transformer.merge(graphdef, params)
  if not any(continuous_memories(block.memory) for block in model.blocks):
    return None
  params = jax.device_put(jax.tree.map(np.asarray, params), jax.local_devices()[0])
  length = model.config.segment_length
  batches = evaluation_batches(
    StoredSplit.of([split.tokens(int(np.argmax(split.lengths)), 0, max_segments * length)]),
    bos_id,
    num_lanes=1,
    lanes=range(1),
    segment_length=length,
    segments_per_chunk=segments_per_chunk,
  )

  @jax.jit
  def step(params: PyTree, state: PyTree, batch: Batch) -> tuple[PyTree, list[dict[str, Array]]]:
    model = transformer.merge(graphdef, params)
    output = model(batch, state)
    looks: list[dict[str, Array]] = [{}, {}]
    for layer, (block, plots) in enumerate(zip(model.blocks, output.reads, strict=True)):
      for part, memory in continuous_memories(block.memory).items():
        name = f'layer {layer}, {part}'.strip(', _').replace('_', ' ')
        masses_bsj = plots[f'{part}masses_bhj'].mean(axis=2)
        counts_bs = jnp.where(plots[f'{part}ok_b'], batch.ok_bsl.sum(-1), jnp.nan)
        looks[0][name] = DENSITY_BINS * masses_bsj / counts_bs[..., None]
        if memory.config.sampling != 'even':
          looks[1][name] = plots[f'{part}histogram_bj'] / (counts_bs * model.config.num_heads)[..., None]
    return output.state, looks

  state, chunks = model.init_state(1), []
  for batch in batches:
    state, looks = step(params, state, batch)
    chunks.append(jax.tree.map(np.asarray, looks))
  num_segments = int(np.sum(batch.segment_bs >= 0)) + (len(chunks) - 1) * segments_per_chunk
  density_sj, histogram_sj = jax.tree.map(
    lambda *parts: np.concatenate([part[0] for part in parts])[:num_segments], *chunks
  )
  return Reads(density_sj=density_sj, histogram_sj=histogram_sj)


def basis_functions(config: ContinuousConfig) -> tuple[np.ndarray, np.ndarray]:
  """A grid over [0, 1] that is finer than the narrowest function, and the functions on it [t, n]."""
  times_t = np.linspace(0, 1, max(2001, int(8 / config.basis_spec().finest) + 1))
  return times_t, basis.evaluate_on_host(config.basis_spec(), times_t)


def reconstructions(config: ContinuousConfig, segment_length: int) -> list[dict[str, Any]]:
  """A smooth random signal that is written segment by segment, and what the memory holds of it.

  By the very operators of a write (core/signal.py), sampled evenly.

  Returns:
    After one, three and eight writes what plotting/memory.py `reconstruction` takes: where the values of all
    writes now stand in [0, 1], the values, and the signal on a grid.
  """
  spec = config.signal_spec(segment_length)
  first, in_first = signal.first_times(spec)
  num_writes = 8
  noise_t = np.random.default_rng(0).normal(size=(num_writes + 1) * segment_length)
  width = max(1, segment_length // 8)
  values_wl = np.convolve(noise_t, np.hanning(width + 2), 'same')[: num_writes * segment_length]
  values_wl = (values_wl / values_wl.std()).reshape(num_writes, segment_length)
  times_t, basis_tn = basis_functions(config)

  fits = []
  b_n, times_p = signal.first_operator(spec).T @ values_wl[0], first[in_first]
  for write in range(1, num_writes + 1):
    if write > 1:
      constants, (later, in_later) = signal.operators(spec, write - 1), signal.later_times(spec, write - 1)
      b_n = constants.carry_nn @ b_n + constants.new_ln.T @ values_wl[write - 1]
      times_p = np.concatenate([spec.tau(write - 1) * times_p, later[in_later][spec.num_samples :]])
    if write in (1, 3, 8):
      fits.append(
        {
          'title': f'After {write} writes' if write > 1 else 'After the first write',
          'times_p': times_p,
          'values_p': values_wl[:write].ravel(),
          'times_t': times_t,
          'signal_t': basis_tn @ b_n,
        }
      )
  return fits


def continuous_configs(config: MemoryConfig, part: str = '') -> dict[str, ContinuousConfig]:
  """The continuous memories in a config, by their place in a stack ('' where there is none)."""
  if isinstance(config, StackedConfig):
    first, second = (
      continuous_configs(c, f'{part}{n}_') for n, c in (('first', config.first), ('second', config.second))
    )
    return first | second
  return {part: config} if isinstance(config, ContinuousConfig) else {}


def continuous_memories(memory: Memory, part: str = '') -> dict[str, Continuous]:
  """The same of a memory: the names are the prefixes of its plots."""
  if isinstance(memory, Stacked):
    return continuous_memories(memory.first, f'{part}first_') | continuous_memories(
      memory.second, f'{part}second_'
    )
  return {part: memory} if isinstance(memory, Continuous) else {}
