"""Tiny models and batches that tests share, in float32, or in float64 if it is enabled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.memory.base import identity
from infformer_jax.memory.none import NothingConfig
from infformer_jax.memory.registry import CONFIGS
from infformer_jax.memory.stacked import StackedConfig
from infformer_jax.nn import transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.mesh import make_mesh
from infformer_jax.trained_model import TrainedModel
from infformer_jax.types import Batch

WIDE = jax.config.jax_enable_x64
DTYPE = 'float64' if WIDE else 'float32'
TOLERANCE = 1e-12 if WIDE else 1e-5
"""Tolerance of equalities, relative to the largest absolute value of the array."""

SPREAD = 0.2 if WIDE else 0.0
"""Narrow densities amplify rounding errors, so float32 equalities are tested near the initial parameters."""

THREADS = '64'
"""$NPROC of programs with several devices of a CPU: XLA takes it as the size of the pool of threads that they
share, and in a small one independent collectives wait for each other until XLA aborts."""

LENGTH = 4  # l
SEGMENTS = 12
VOCABULARY = 13
DOCUMENTS = ((48,), (26, 18), (3, 6, 25), (5,))
"""Tokens per document and lane, with documents that start inside chunks, partial segments and idle lanes."""

SMALL = {
  'num_basis': 8,
  'num_samples': 16,
  'histogram_bins': 16,
  'kl_weight': 0.1,
  'length': 2 * LENGTH,
  'neighbours': 3,
  'rate': 2,
}
"""Small settings, which are applied to the fields that the default config of a kind has."""


LOG = {'contraction': 'log', 'horizon': 4.0 * LENGTH, 'scale': 1.0 * LENGTH}
"""The longest documents pass the horizon, where a write drops the oldest samples."""


def small(kind, **changes):
  """The default config of a kind with small sizes."""
  fields = CONFIGS[kind].__dataclass_fields__
  return CONFIGS[kind](**{name: value for name, value in SMALL.items() if name in fields} | changes)


MEMORIES = {kind: small(kind) for kind in CONFIGS} | {
  'recent_previous': small('recent', source='previous'),
  'even': small('continuous', sampling='even'),
  'gate': small('continuous', gate=True, sampling='even', widths=(0.75, 1.5)),
  'random': small('continuous', sampling='random', gate=True),
  'edges': small('continuous', sampling='edges', signal_positions='padded', feed='residual'),
  'sparsemax': small('continuous', density='sparsemax'),
  'affine_free': small('continuous', affine=False, initial_sigma=None, kl_mu=0.5),
  'renormalized': small('continuous', renormalize=True, sampling='even', layers=(1,)),
  'neighbours_evicted': small('neighbours', source='evicted', layers=(0, 1), search='approximate'),
  'neighbours_many': small('neighbours', neighbours=7, length=3 * LENGTH),
  'compressive_mean': small('compressive', compression='mean', loss=None, source='previous'),
  'compressive_max': small('compressive', compression='max', loss=None, positions='index'),
  'dilated': small('compressive', compression='dilated', loss='auto_encoding', rate=LENGTH, length=3),
  'most_used': small('compressive', compression='most_used', loss=None),
  'most_used_index': small(
    'compressive', compression='most_used', loss=None, positions='index', source='previous'
  ),
  'stacked_most_used': StackedConfig(
    first=small('compressive', compression='most_used', loss=None, length=2, layers=None),
    second=small('continuous', feed='residual'),
    layers=(0,),
  ),
  'equal': small('continuous', contraction='equal', mixture=2),
  'gibbs': small('continuous', density='gibbs', gibbs_grid=20, kl_weight=0.0, layers=(1,)),
  'gibbs_rectangular': small('continuous', density='gibbs', basis='rectangular', kl_weight=0.0),
  'rectangular': small('continuous', basis='rectangular', renormalize=True),
  'fourier': small('continuous', basis='fourier', mixture=3, contraction='equal', sampling='even'),
  'fourier_sparsemax': small('continuous', basis='fourier', density='sparsemax'),
  'log': small('continuous', **LOG, sampling='even'),
  'log_renormalized': small('continuous', **LOG, renormalize=True, kl_mu=0.5),
  'log_fourier': small(
    'continuous', **LOG, basis='fourier', density='gibbs', gibbs_grid=20, kl_weight=0.0, sampling='random'
  ),
  'stacked': StackedConfig(first=small('continuous'), second=small('recent', length=LENGTH)),
  'stacked_neighbours': StackedConfig(
    source='previous', first=small('neighbours'), second=small('continuous', source='previous')
  ),
}
"""A config of every registered kind, and variants that use other branches of the code."""


def config(memory=None, **changes):
  """The config of a model with two layers."""
  sizes = {'d_model': 16, 'num_layers': 2, 'num_heads': 4, 'd_ff': 16, 'segment_length': LENGTH}
  precision = {'compute_dtype': DTYPE, 'param_dtype': DTYPE}
  settings = {'short_term_length': LENGTH, 'memory': memory or NothingConfig()}
  return ModelConfig(**sizes | precision | settings | changes)


@functools.cache
def build(config, *, vocabulary=VOCABULARY, spread=SPREAD):
  """(graphdef, params); noise with standard deviation `spread` is added to all parameters, also biases."""
  graphdef, params = transformer.build(config, vocabulary, jax.random.key(0))
  leaves, structure = jax.tree.flatten(params)
  noise = np.random.default_rng(0)
  leaves = [leaf + spread * noise.normal(size=leaf.shape).astype(leaf.dtype) for leaf in leaves]
  return graphdef, jax.tree.unflatten(structure, leaves)


def trained(config, *, vocabulary=VOCABULARY, spread=SPREAD, step=0):
  """`build` as a TrainedModel."""
  graphdef, params = build(config, vocabulary=vocabulary, spread=spread)
  return TrainedModel(graphdef=graphdef, params=params, mesh=make_mesh(), step=step)


def batch(documents=DOCUMENTS, segments=SEGMENTS, length=LENGTH, *, seed=1, vocabulary=VOCABULARY):
  """Random documents with the given numbers of tokens, consecutive in each lane, then idle segments."""
  shape = (len(documents), segments, length)
  rng = np.random.default_rng(seed)
  tokens_bsl, targets_bsl = rng.integers(vocabulary, size=(2, *shape)).astype(np.int32)
  ok_bsl, new_doc_bs = np.zeros(shape, bool), np.ones(shape[:2], bool)
  document_bs, segment_bs = np.full((2, *shape[:2]), -1, np.int32)
  for lane, sizes in enumerate(documents):
    place = 0
    for index, size in enumerate(sizes):
      count = -(-size // length)
      rows = slice(place, place + count)
      ok_bsl[lane, rows] = np.arange(count * length).reshape(count, length) < size
      new_doc_bs[lane, rows] = np.arange(count) == 0
      document_bs[lane, rows], segment_bs[lane, rows] = index, np.arange(count)
      place += count
    assert place <= segments
  return Batch(
    tokens_bsl=tokens_bsl,
    targets_bsl=targets_bsl,
    ok_bsl=ok_bsl,
    group_bsl=np.where(ok_bsl, 0, -1).astype(np.int32),
    new_doc_bs=new_doc_bs,
    document_bs=document_bs,
    segment_bs=segment_bs,
  )


def documents_of(batch):
  """Yields (lane, mask [s, l] of its tokens) of every document."""
  for lane, document_s in enumerate(batch.document_bs):
    for index in range(document_s.max() + 1):
      yield lane, batch.ok_bsl[lane] & (document_s == index)[:, None]


def quickly(function, **settings):
  """jax.jit with less optimization, which halves the time of compilation, the largest part of most tests."""
  options = {'xla_backend_optimization_level': 0, 'xla_llvm_disable_expensive_passes': True}
  return jax.jit(function, compiler_options=options, **settings)


def stream(graphdef, params, batch, key=None, state=None, *, size=SEGMENTS, view=identity):
  """Processes the batch in chunks of `size` segments, without gradients between chunks, as in training.

  Returns:
    The outputs of all chunks, concatenated.
  """
  model = transformer.merge(graphdef, params)
  num = batch.tokens_bsl.shape[1] // size

  def step(state, chunk):
    output = model(chunk, jax.lax.stop_gradient(state), key=key, view=view)
    return output.state, (output.hidden_bsld, output.aux, output.ok_bs, output.reads, output.finite_bi)

  chunks = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(len(a), num, size, *a.shape[2:]), 1, 0), batch)
  state = model.init_state(len(batch.tokens_bsl)) if state is None else state
  state, (hidden, aux, ok, reads, finite) = jax.lax.scan(step, state, chunks)
  hidden, ok, reads = jax.tree.map(
    lambda a: jnp.moveaxis(a, 0, 1).reshape(a.shape[1], num * size, *a.shape[3:]), (hidden, ok, reads)
  )
  aux = jax.tree.map(lambda a: a.sum(axis=0), aux)
  return transformer.Output(
    hidden_bsld=hidden, state=state, aux=aux, ok_bs=ok, reads=reads, finite_bi=finite.all(0)
  )


run = quickly(stream, static_argnames=('graphdef', 'size', 'view'))


def real(output, batch):
  """The defined outputs: hidden states of real tokens, states of lanes that are not idle, losses, plots."""
  busy_b = np.asarray(batch.ok_bsl[:, -1, 0])
  state = jax.tree.map(lambda leaf: leaf[busy_b], output.state)
  return output.hidden_bsld[np.asarray(batch.ok_bsl)], state, output.aux, output.reads


def error(actual, expected):
  """The largest error of any leaf, relative to the largest absolute value of the leaf."""
  worst = 0.0
  for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    assert np.isfinite(a).all()
    if a.size:
      worst = max(worst, np.abs(a - b).max() / max(np.abs(b).max(), np.finfo(np.float32).tiny))
  return float(worst)
