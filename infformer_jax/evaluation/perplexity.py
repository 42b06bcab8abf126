"""Perplexity on a split, with the memory and with its controls.

Every token counts once, and memories are empty at the start of a document. The controls show whether a gain
comes from the memory: the same parameters read an emptied memory, or that of another lane (memory/views.py).
All views read the same batches, so that their losses are paired.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from infformer_jax.console import Progress
from infformer_jax.data.base import Corpus, Split
from infformer_jax.data.lanes import EvaluationBatches, evaluated_lengths, evaluation_batches
from infformer_jax.errors import UserError, check_range
from infformer_jax.evaluation.cost import cost
from infformer_jax.evaluation.results import summarize
from infformer_jax.evaluation.segment_losses import SegmentLosses, joined
from infformer_jax.memory.views import VIEWS
from infformer_jax.nn import transformer
from infformer_jax.results_schema import Results
from infformer_jax.train import sharding
from infformer_jax.train.mesh import lane_shards, require_lanes, within
from infformer_jax.trained_model import TrainedModel
from infformer_jax.types import Batch, PyTree

PROGRESS_SECONDS = 5.0
_SIZE_OF_CHUNK = ('batch_size', 'segments_per_chunk')


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
  """The evaluated text, and the size of a chunk, which changes the speed but not the loss of any token."""

  batch_size: int = 8  # lanes over all devices; at most the documents, rounded up to what the mesh divides
  segments_per_chunk: int = 4
  max_tokens: int | None = None  # None: the whole split
  split: Literal['train', 'validation', 'test'] = 'validation'

  def __post_init__(self) -> None:
    for name in ('batch_size', 'segments_per_chunk', 'max_tokens'):
      check_range(name, getattr(self, name), 1)


def evaluate(
  trained: TrainedModel,
  corpus: Corpus,
  config: EvaluationConfig,
  *,
  views: Sequence[str] = tuple(VIEWS),
  report: Callable[[str], None] = lambda line: None,
) -> Results:
  """The figures of results.json, the same on every process.

  Args:
    trained: the model.
    corpus: its split `config.split` is evaluated.
    config: the evaluated text, and the size of a chunk.
    views: names in memory/views.py, 'memory' among them; the time grows with their number.
    report: called with a line of progress every few seconds.
  Returns:
    The losses of every view, as `summarize` in evaluation/results.py describes them, and beside them the
    step, the split, the corpus's fingerprint, what the model costs (evaluation/cost.py) and the settings.
  Raises:
    ConfigError: the lanes are not divisible by the devices, or the split is unknown.
    UserError: no target of the split would be evaluated.
  """
  require_lanes(trained.mesh, config.batch_size, 'evaluation.batch_size')
  split = corpus.split(config.split)
  require_targets(split, config)
  num_lanes = _num_lanes(split, config, trained.mesh)
  model = trained.model()
  length, short = model.config.segment_length, model.config.short_term_length
  absent = _absent(model, config, num_lanes, views)
  batches = evaluation_batches(
    split,
    corpus.tokenizer.bos_id,
    num_lanes=num_lanes,
    lanes=sharding.local_lanes(trained.mesh, num_lanes),
    segment_length=length,
    segments_per_chunk=config.segments_per_chunk,
    max_tokens=config.max_tokens,
  )
  present = [view for view in views if view not in absent]
  losses = segment_losses(
    trained,
    batches,
    num_lanes,
    views=present,
    num_groups=len(split.groups),
    unk_id=corpus.tokenizer.unk_id,
    report=report,
  )
  return {
    'step': trained.step,
    'split': config.split,
    'corpus': corpus.fingerprint,
    'cost': cost(model.config, model.vocabulary.size),
    'settings': {'evaluation': dataclasses.asdict(config), 'model': dataclasses.asdict(model.config)},
    **summarize(
      losses,
      split,
      lossless=corpus.tokenizer.lossless,
      segment_length=length,
      short_term_length=short,
      absent=absent,
    ),
  }


def measured_on(corpus: Corpus, config: EvaluationConfig) -> dict[str, Any]:
  """What decides which losses can be compared: the evaluated text and its tokens, by key, ready for JSON."""
  facts = corpus.fingerprint['splits'][config.split]
  settings = dataclasses.asdict(config)
  return {
    **{f'evaluation.{key}': settings[key] for key in settings if key not in _SIZE_OF_CHUNK},
    **{f'{key} of the split': facts[key] for key in ('documents', 'tokens', 'sha256') if key in facts},
    'sha256 of the tokenizer': corpus.fingerprint['tokenizer_sha256'],
  }


def require_targets(split: Split, config: EvaluationConfig) -> None:
  """Raises UserError if an evaluation would read no target that counts in the loss."""
  lengths = evaluated_lengths(split, config.max_tokens)
  if not any((split.group(index, 0, n) >= 0).any() for index, n in enumerate(lengths.tolist()) if n):
    raise UserError(
      f'evaluation.max_tokens = {config.max_tokens} must include the first answer; use more, or None for all'
    )


def segment_losses(
  trained: TrainedModel,
  batches: EvaluationBatches,
  num_lanes: int,
  *,
  views: Sequence[str],
  num_groups: int = 1,
  unk_id: int | None = None,
  report: Callable[[str], None] = lambda line: None,
) -> SegmentLosses:
  """The loss of every segment with each view, ordered by document and segment, independent of the lanes.

  Args:
    trained: the model.
    batches: this process's lanes.
    num_lanes: over all processes.
    views: names in memory/views.py.
    num_groups: of the split's targets (data/base.py).
    unk_id: <unk>, whose targets are counted, of tokenizers that have it.
    report: called with a line of progress every few seconds.
  """
  steps = {view: _make_step(trained.graphdef, view, trained.mesh, num_groups, unk_id) for view in views}
  states = {view: _empty_state(trained, num_lanes) for view in views}
  rows: list[dict[str, dict[str, Any]]] = []
  waiting: dict[str, dict[str, Any]] | None = None
  progress = Progress(
    report, 'evaluation: chunk', len(batches), every=PROGRESS_SECONDS, after=PROGRESS_SECONDS, compiles=True
  )

  def rate(seconds: float) -> str:  # The clock starts after the first chunk.
    tokens = sum(int(row[views[0]]['read'].sum()) for row in rows[1:])
    return f'{tokens / seconds:,.0f} tokens/s'

  for batch in batches:
    placed = sharding.put_batch(batch, trained.mesh, num_lanes)
    given = {}
    for view in views:
      states[view], given[view] = steps[view](trained.params, trained.constants, states[view], placed)
    if waiting is not None:  # The host waits for the previous batch, so that the devices are always busy.
      rows.append(jax.tree.map(np.asarray, waiting))
      progress.update(len(rows), rate)
    waiting = given
  rows.append(jax.tree.map(np.asarray, waiting))
  return joined(rows, views)


def _num_lanes(split: Split, config: EvaluationConfig, mesh: Mesh) -> int:
  """At most one lane per document, because a lane without a document only costs time."""
  num_documents = int(np.count_nonzero(evaluated_lengths(split, config.max_tokens)))
  shards = lane_shards(mesh)
  return min(config.batch_size, max(1, -(-num_documents // shards)) * shards)


def _absent(
  model: transformer.Transformer, config: EvaluationConfig, num_lanes: int, views: Sequence[str]
) -> dict[str, str]:
  """The reasons why views are not evaluated, by view."""
  absent = {view: 'this control was not requested' for view in VIEWS if view not in views}
  if num_lanes == 1:
    why = 'evaluation.batch_size = 1' if config.batch_size == 1 else 'one document is evaluated'
    absent['exchanged'] = f'{why}: there is no other lane to exchange memories with'
  if not any(block.memory.parts() for block in model.blocks):
    absent |= {view: 'the model has no long-term memory' for view in VIEWS if view != 'memory'}
  return absent


def _empty_state(trained: TrainedModel, num_lanes: int) -> PyTree:
  """Empty memories, spread over the devices from the start."""

  def empty(params: PyTree) -> PyTree:
    return trained.model(params).init_state(num_lanes)

  shapes = {'memory': jax.eval_shape(empty, trained.params)}
  return jax.jit(empty, out_shardings=sharding.shardings(shapes, trained.mesh)['memory'])(trained.params)


@functools.cache
def _make_step(
  graphdef: nnx.GraphDef, view: str, mesh: Mesh, num_groups: int, unk_id: int | None
) -> Callable[[PyTree, PyTree, PyTree, Batch], Any]:
  """The jitted step of one view, compiled once per run. Without keys, so that there is no dropout."""
  everywhere = NamedSharding(mesh, PartitionSpec())

  @functools.partial(jax.jit, donate_argnums=2)
  @within(mesh)
  def step(params: PyTree, constants: PyTree, state: PyTree, batch: Batch) -> tuple[PyTree, dict[str, Any]]:
    model = transformer.merge(graphdef, params, constants, sharding.gather(mesh))
    output = model(batch, state, view=VIEWS[view])
    nll_bsl, correct_bsl = model.vocabulary.losses_and_hits(output.hidden_bsld, batch.targets_bsl)
    counts_bslg = batch.group_bsl[..., None] == jnp.arange(num_groups)
    unk_bsl = jnp.zeros_like(correct_bsl) if unk_id is None else batch.targets_bsl == unk_id
    rows: dict[str, Any] = {
      'nll_nats': jnp.where(counts_bslg, nll_bsl[..., None], 0).sum(2),
      'correct': (counts_bslg & correct_bsl[..., None]).sum(2),
      'ok': output.ok_bs,
      'read': batch.ok_bsl.sum(-1),
      'tokens': counts_bslg.sum(2),
      'unk': (counts_bslg & unk_bsl[..., None]).sum(2),
      'document': batch.document_bs,
      'segment': batch.segment_bs,
    }
    if view == 'memory':  # Excludes the auxiliary losses, which only training needs.
      rows['figures'] = {name: sums for name, sums in output.aux.items() if name not in model.aux_weights()}
    if jax.process_count() > 1:  # All get these few numbers per segment, and compute the same results.
      rows = jax.lax.with_sharding_constraint(rows, everywhere)
    return output.state, rows

  return step
