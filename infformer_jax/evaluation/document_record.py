"""One document through the model, looked at on the way: losses of tokens, densities, what is retrieved."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core import sticky
from infformer_jax.data.base import Split
from infformer_jax.data.lanes import evaluation_batches
from infformer_jax.evaluation import token_spans
from infformer_jax.memory.base import Memory
from infformer_jax.memory.continuous import PLOT_BINS, Continuous
from infformer_jax.memory.neighbours import Neighbours
from infformer_jax.memory.none import Nothing
from infformer_jax.memory.stacked import Stacked
from infformer_jax.memory.views import VIEWS
from infformer_jax.nn import transformer
from infformer_jax.trained_model import TrainedModel
from infformer_jax.types import Array, Batch, PyTree

Arrays = dict[str, dict[str, np.ndarray]]
"""What is seen: by what it is, then by layer or view."""

MOMENTS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document(Split):
  """The beginning of one document of a split."""

  of: Split
  index: int

  def tokens(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    del index
    return self.of.tokens(self.index, start, int(self.offsets[1]) if stop is None else stop)

  def group(self, index: int, start: int, stop: int) -> np.ndarray:
    del index
    return self.of.group(self.index, start, stop)


def longest(split: Split, max_tokens: int) -> Document:
  """The longest document of a split, or its first tokens."""
  index = int(np.argmax(split.lengths))
  length = min(int(split.lengths[index]), max_tokens)
  return Document(offsets=np.array([0, length]), groups=split.groups, of=split, index=index)


def look(trained: TrainedModel, document: Document, bos_id: int, *, segments_per_chunk: int = 4) -> Arrays:
  """Runs a document through the model and looks at its memories.

  On one device of this process: of several processes one can call this alone. Letters: t tokens of the
  document, s its segments, h heads, j bins of [0, 1], a age in tokens, m moments. A position of the document
  is counted as the token that the model has just read there.

  Returns:
    `nll_t` by view (nats; 'emptied' where there is a long memory), and by layer, of continuous memories
    `density_shj` (uniform is 1; NaN while the memory is empty), `held_th` (the token that stands where a head
    reads; -1: none), and but for even sampling `histogram_sj` (not normalized) and, at some moments,
    `moment_m` (tokens written), `share_mt` and `even_share_mt` (how much of the memory each token holds, and
    how much it would by even sampling); of neighbours `retrieved_a` (how often an age was retrieved),
    `expected_a` (the same if drawn evenly from all that is stored) and `held_th` (the most similar).
  """
  model, params = trained.model(), trained.local_params()
  has_memory = not all(isinstance(block.memory, Nothing) for block in model.blocks)
  views = ('memory', 'emptied') if has_memory else ('memory',)
  batches = evaluation_batches(
    document,
    bos_id,
    num_lanes=1,
    lanes=range(1),
    segment_length=model.config.segment_length,
    segments_per_chunk=segments_per_chunk,
  )

  @jax.jit
  def step(params: PyTree, states: PyTree, batch: Batch) -> tuple[PyTree, dict[str, Any]]:
    model = trained.model(params)
    looks: dict[str, Any] = {'nll': {}}
    for view in views:
      output = model(batch, states[view], view=VIEWS[view])
      states = states | {view: output.state}
      looks['nll'][view] = model.vocabulary.token_losses(output.hidden_bsld, batch.targets_bsl)
      if view == 'memory':
        looks |= _plots(model, output.reads, batch.ok_bsl)
    return states, jax.tree.map(lambda a_bs: a_bs[0], looks)

  states, chunks = {view: model.init_state(1) for view in views}, []
  retrieved: dict[str, np.ndarray] = {}
  num_tokens = int(document.lengths[0])
  for batch in batches:
    states, looks = step(params, states, batch)
    looks = jax.tree.map(np.asarray, looks)
    for name, age_slhj in looks.pop('age', {}).items():
      ages = np.bincount(age_slhj.astype(np.int64).ravel(), minlength=num_tokens + 1)[: num_tokens + 1]
      retrieved[name] = retrieved.get(name, 0) + ages
      looks['nearest_age'][name] = age_slhj[..., 0]
    chunks.append(looks)
  num_segments = -(-num_tokens // model.config.segment_length)
  seen = jax.tree.map(lambda *parts: np.concatenate(parts)[:num_segments], *chunks)
  return _arrays(model, seen, retrieved, num_tokens)


def memories(memory: Memory, kind: type, part: str = '') -> dict[str, Any]:
  """The memories of one kind, by their place in a stack: the prefixes of their plots."""
  if isinstance(memory, Stacked):
    first, second = (
      memories(m, kind, f'{part}{n}_') for n, m in (('first', memory.first), ('second', memory.second))
    )
    return first | second
  return {part: memory} if isinstance(memory, kind) else {}


def _layers(model: transformer.Transformer, kind: type) -> dict[str, tuple[int, str, Any]]:
  """All memories of a kind by their names in the plots: (layer, prefix, memory)."""
  return {
    f'layer {layer}, {part}'.strip(', _').replace('_', ' '): (layer, part, memory)
    for layer, block in enumerate(model.blocks)
    for part, memory in memories(block.memory, kind).items()
  }


def _plots(
  model: transformer.Transformer, reads: tuple[dict[str, Array], ...], ok_bsl: Array
) -> dict[str, dict[str, Array]]:
  looks: dict[str, dict[str, Array]] = {n: {} for n in ('density', 'histogram', 'mu', 'age', 'nearest_age')}
  for name, (layer, part, memory) in _layers(model, Continuous).items():
    plots = reads[layer]
    counts_bs = jnp.where(plots[f'{part}ok_b'], ok_bsl.sum(-1), jnp.nan)
    looks['density'][name] = PLOT_BINS * plots[f'{part}masses_bhj'] / counts_bs[..., None, None]
    if memory.config.sampling != 'even':
      heads = model.config.num_heads
      looks['histogram'][name] = plots[f'{part}histogram_bj'] / (counts_bs * heads)[..., None]
    if f'{part}mu_bhl' in plots:
      looks['mu'][name] = plots[f'{part}mu_bhl']
  for name, (layer, part, _) in _layers(model, Neighbours).items():
    plots = reads[layer]
    ok_bslhj = plots[f'{part}retrieved_ok_blhj'] & ok_bsl[..., None, None]
    looks['age'][name] = jnp.where(ok_bslhj, plots[f'{part}retrieved_age_blhj'], 0)
  return looks


def _arrays(
  model: transformer.Transformer,
  seen: Mapping[str, Mapping[str, np.ndarray]],
  retrieved: Mapping[str, np.ndarray],
  num_tokens: int,
) -> Arrays:
  found: Arrays = {'nll_t': {view: nll.ravel()[:num_tokens] for view, nll in seen['nll'].items()}}

  def put(kind: str, name: str, array: np.ndarray) -> None:
    found.setdefault(kind, {})[name] = array

  for name, (_, _, memory) in _layers(model, Continuous).items():
    put('density_shj', name, seen['density'][name])
    if name in seen['histogram']:
      put('histogram_sj', name, seen['histogram'][name])
    for kind, array in _traced(memory, seen, name, num_tokens).items():
      put(kind, name, array)
  for name, (_, _, memory) in _layers(model, Neighbours).items():
    age_th = seen['nearest_age'][name].reshape(-1, model.config.num_heads)[:num_tokens].astype(np.int32)
    put('held_th', name, np.where(age_th > 0, np.arange(num_tokens)[:, None] - age_th - 1, -1))
    counts_a = retrieved[name].copy()
    counts_a[0] = 0  # Where nothing was.
    put('retrieved_a', name, counts_a)
    put('expected_a', name, _expected(memory, num_tokens))
  return found


def _traced(
  memory: Continuous, seen: Mapping[str, Mapping[str, np.ndarray]], name: str, num_tokens: int
) -> dict[str, np.ndarray]:
  """Which tokens a signal holds and its heads read; {} where nothing was written."""
  spec, lag, length = memory.spec, memory.site.lag, memory.site.segment_length
  density_shj = seen['density'][name]
  num_writes = len(density_shj) - lag
  if num_writes < 1:
    return {}
  even: list[np.ndarray | None] = [None] * num_writes
  points = even
  if name in seen['histogram']:  # The write at segment i samples by the reads of the segment before.
    histogram_wj = np.nan_to_num(seen['histogram'][name][lag - 1 : lag - 1 + num_writes])
    drawn = sticky.left_edge_points if memory.config.sampling == 'edges' else sticky.points
    points = list(np.asarray(drawn(jnp.asarray(histogram_wj), spec.num_samples)))
  edges_w = token_spans.edges(spec, points)
  peak_sh = (np.nan_to_num(density_shj).argmax(-1) + 0.5) / density_shj.shape[-1]
  shape = (len(density_shj), length, density_shj.shape[1])
  mu_shl = seen['mu'].get(name)
  time_slh = np.broadcast_to(peak_sh[:, None], shape) if mu_shl is None else np.swapaxes(mu_shl, 1, 2)
  held_slh = np.full(shape, -1, np.int32)
  for write, edges_e in enumerate(edges_w):
    held_slh[write + lag] = token_spans.token_at(edges_e, time_slh[write + lag]) - 1
  found = {'held_th': held_slh.reshape(-1, shape[-1])[:num_tokens]}
  if points is even:
    return found
  moments = np.unique(np.linspace(0, num_writes, MOMENTS + 1).astype(int)[1:])
  moments = moments[moments > 0]
  even_w = token_spans.edges(spec, even)
  return found | {
    'moment_m': moments * length,
    'share_mt': np.stack([_shares(edges_w[write - 1], num_tokens) for write in moments]),
    'even_share_mt': np.stack([_shares(even_w[write - 1], num_tokens) for write in moments]),
  }


def _shares(edges_e: np.ndarray, num_tokens: int) -> np.ndarray:
  """By token; where the model has just read token t is position t + 1, after BOS."""
  share_t = np.zeros(num_tokens, np.float32)
  share_t[: len(edges_e) - 2] = np.diff(edges_e)[1:]
  return share_t


def _expected(memory: Neighbours, num_tokens: int) -> np.ndarray:
  """How often each age would be retrieved if every query drew as many slots evenly."""
  length, lag, heads = memory.site.segment_length, memory.site.lag, memory.site.num_heads
  change_a = np.zeros(num_tokens + 2)
  position_t = np.arange(num_tokens)
  stop_t = np.maximum(position_t // length - lag + 1, 0) * length
  start_t = np.maximum(stop_t - memory.config.length, 0)
  stored_t = stop_t - start_t
  rate_t = heads * np.minimum(stored_t, memory.config.neighbours) / np.maximum(stored_t, 1)
  np.add.at(change_a, position_t - stop_t + 1, rate_t)
  np.add.at(change_a, position_t - start_t + 1, -rate_t)
  return np.cumsum(change_a)[:-1]
