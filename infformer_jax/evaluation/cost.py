"""The cost of a model: parameters, bytes of memory, arithmetic, time.

Memories of equal size in bytes can differ in arithmetic and time.
"""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn import transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.results_schema import Cost, Timing
from infformer_jax.train.parameter_groups import Trained
from infformer_jax.types import Array, Batch, PyTree


def cost(model: ModelConfig, vocab_size: int) -> Cost:
  """The costs that follow from shapes; runs nothing on a device.

  Args:
    model: the trunk and its memory.
    vocab_size: v.
  Returns:
    The figures. forward_flops_per_token excludes the read-out; memory_flops_per_token is the difference to
    the same model without a long memory. Arithmetic is XLA's count for one lane and one segment per chunk:
    the cost of a write counts for one segment, and sorting for top-k counts as 0.
  """
  _, params, state = _shapes(model, vocab_size)
  flops = _flops(model, vocab_size, losses=False)
  nothing = dataclasses.replace(model, memory=NothingConfig())
  return {
    'num_parameters': sum(leaf.size for leaf in jax.tree.leaves(params)),
    'memory_bytes_per_lane': sum(_bytes(block.memory) for block in state.blocks),
    'cache_bytes_per_lane': sum(_bytes((block.cache_btd, block.received)) for block in state.blocks),
    'forward_flops_per_token': flops,
    'memory_flops_per_token': flops - _flops(nothing, vocab_size, losses=False),
  }


def training_flops_per_token(model: ModelConfig, vocab_size: int, trained: Trained) -> float:
  """The arithmetic of a training step per token, as XLA counts it for the forward pass and its losses.

  The backward pass counts twice as much as the forward pass, and once if the trunk is frozen, whose weights
  have no gradient. What is computed again to save memory does not count.
  """
  return (3 if trained == 'all' else 2) * _flops(model, vocab_size, losses=True)


def timed(model: ModelConfig, vocab_size: int, *, lanes: int, segments: int, repeats: int = 5) -> Timing:
  """Compiles a chunk, runs it on the default device, and takes medians.

  Args:
    model, vocab_size: as in `cost`.
    lanes: rows of the chunk.
    segments: s.
    repeats: measured runs, after a first one that is not measured.
  Returns:
    The figures. peak_memory_bytes is that of forward and backward: arguments, results and temporaries.
  """
  graphdef, params = transformer.build(model, vocab_size, jax.random.key(0))
  merged = transformer.merge(graphdef, params)
  arguments = params, merged.init_state(lanes), jax.tree.map(jnp.asarray, merged.constants())
  batch = random_batch(model, vocab_size, lanes, segments)

  def loss(params: PyTree, state: PyTree, constants: PyTree) -> tuple[Array, PyTree]:
    merged = transformer.merge(graphdef, params, constants)
    output = merged(batch, state)
    return merged.vocabulary.token_losses(output.hidden_bsld, batch.targets_bsl).mean(), output.state

  forward = jax.jit(loss).lower(*arguments).compile()
  both = jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(*arguments).compile()
  analysis = both.memory_analysis()
  sizes = ('argument_size_in_bytes', 'output_size_in_bytes', 'temp_size_in_bytes')
  return {
    'ms_per_segment_forward': _median_ms(lambda: forward(*arguments), repeats) / segments,
    'ms_per_segment_forward_backward': _median_ms(lambda: both(*arguments), repeats) / segments,
    'peak_memory_bytes': sum(getattr(analysis, size) for size in sizes) if analysis else None,
  }


@functools.cache
def _shapes(model: ModelConfig, vocab_size: int) -> tuple[nnx.GraphDef, PyTree, Any]:
  """The graph definition, parameters, and the state of one lane."""
  graphdef, params = jax.eval_shape(lambda: transformer.build(model, vocab_size, jax.random.key(0)))
  state = jax.eval_shape(lambda params: transformer.merge(graphdef, params).init_state(1), params)
  return graphdef, params, state


@functools.cache
def _flops(model: ModelConfig, vocab_size: int, *, losses: bool) -> int:
  """Per token of a forward pass, without or with the read-out and the losses."""
  graphdef, params, state = _shapes(model, vocab_size)
  batch = random_batch(model, vocab_size, 1, 1)

  def forward(params: PyTree, state: PyTree) -> Array:
    merged = transformer.merge(graphdef, params)
    hidden_bsld = merged(batch, state).hidden_bsld
    return merged.vocabulary.token_losses(hidden_bsld, batch.targets_bsl) if losses else hidden_bsld

  # XLA counts a loop once and a kernel as 0. On this platform core/ has neither; nothing is compiled for it.
  # Only the client of CPUs counts; those of GPUs and TPUs do not.
  with jax.default_device(jax.local_devices(backend='cpu')[0]):
    lowered = jax.jit(forward).trace(params, state).lower(lowering_platforms=('rocm',))
  analysis: Any = lowered.cost_analysis()
  return round(analysis['flops'] / model.segment_length)


def _bytes(tree: PyTree) -> int:
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def random_batch(model: ModelConfig, vocab_size: int, lanes: int, segments: int) -> Batch:
  """A chunk of random tokens in the middle of a document of every lane, on the host."""
  shape = (lanes, segments, model.segment_length)
  tokens_bsl = np.random.default_rng(0).integers(vocab_size, size=shape, dtype=np.int32)
  return Batch(
    tokens_bsl=tokens_bsl,
    targets_bsl=tokens_bsl,
    ok_bsl=np.ones(shape, bool),
    group_bsl=np.zeros(shape, np.int32),
    new_doc_bs=np.zeros(shape[:2], bool),
    document_bs=np.zeros(shape[:2], np.int32),
    segment_bs=np.zeros(shape[:2], np.int32),
  )


def _median_ms(run: Callable[[], Any], repeats: int) -> float:
  jax.block_until_ready(run())
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(run())
    times.append(time.perf_counter() - start)
  return 1000 * statistics.median(times)
