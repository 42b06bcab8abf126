"""Runs one document through the model: the losses of its tokens, and the reads of each memory."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from infformer_jax.data.base import Split
from infformer_jax.data.lanes import evaluation_batches
from infformer_jax.evaluation.continuous_record import ContinuousRecorder
from infformer_jax.evaluation.neighbours_record import NeighboursRecorder
from infformer_jax.memory.base import Memory
from infformer_jax.memory.continuous import Continuous
from infformer_jax.memory.neighbours import Neighbours
from infformer_jax.memory.views import VIEWS
from infformer_jax.nn import transformer
from infformer_jax.records import DocumentRecord
from infformer_jax.trained_model import TrainedModel
from infformer_jax.types import Array, Batch, PyTree


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document(Split):
  """The beginning of one document of a split."""

  split: Split
  index: int

  def tokens(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    del index
    return self.split.tokens(self.index, start, int(self.offsets[1]) if stop is None else stop)

  def group(self, index: int, start: int, stop: int) -> np.ndarray:
    del index
    return self.split.group(self.index, start, stop)


def longest(split: Split, max_tokens: int) -> Document:
  """The longest document of a split, or its first tokens."""
  index = int(np.argmax(split.lengths))
  length = min(int(split.lengths[index]), max_tokens)
  return Document(offsets=np.array([0, length]), groups=split.groups, split=split, index=index)


def record(
  trained: TrainedModel, document: Document, bos_id: int, *, segments_per_chunk: int = 4
) -> DocumentRecord:
  """Runs a document through the model and records its losses and the reads of its memories.

  Only losses are recorded for a kind of memory that has no recorder. The model runs on one device of this
  process, so that one of several processes can call this. A token is at the position where it is read.
  """
  trained = trained.local()
  model = trained.model()
  memories = list(_memories(model))
  views = ('memory', 'emptied') if memories else ('memory',)
  continuous = {p: ContinuousRecorder(m) for p, m in memories if isinstance(m, Continuous)}
  neighbours = {p: NeighboursRecorder(m) for p, m in memories if isinstance(m, Neighbours)}
  recorders: dict[_Place, ContinuousRecorder | NeighboursRecorder] = {**continuous, **neighbours}
  batches = evaluation_batches(
    document,
    bos_id,
    num_lanes=1,
    lanes=range(1),
    segment_length=model.config.segment_length,
    segments_per_chunk=segments_per_chunk,
  )

  @jax.jit
  def step(
    params: PyTree, states: dict[str, transformer.ModelState], batch: Batch
  ) -> tuple[dict[str, transformer.ModelState], dict[str, Array], list[PyTree]]:
    model = trained.model(params)
    outputs = {view: model(batch, states[view], view=VIEWS[view]) for view in views}
    nll_sl = {
      view: model.vocabulary.token_losses(output.hidden_bsld, batch.targets_bsl)[0]
      for view, output in outputs.items()
    }
    reads = outputs['memory'].reads
    seen = [recorder.seen(place.plots(reads), batch.ok_bsl) for place, recorder in recorders.items()]
    return {view: output.state for view, output in outputs.items()}, nll_sl, seen

  states = {view: model.init_state(1) for view in views}
  nll_t: dict[str, list[np.ndarray]] = {view: [] for view in views}
  for batch in batches:
    states, nll_sl, seen = step(trained.params, states, batch)
    for view in views:
      nll_t[view].append(np.asarray(nll_sl[view]).ravel())
    for recorder, of_chunk in zip(recorders.values(), jax.tree.map(np.asarray, seen), strict=True):
      recorder.add(of_chunk)
  num_tokens = int(document.lengths[0])
  losses = {view: np.concatenate(chunks)[:num_tokens] for view, chunks in nll_t.items()}
  return DocumentRecord(
    counts_t=document.group(0, 0, num_tokens) >= 0,
    nll_t=losses['memory'],
    emptied_nll_t=losses.get('emptied'),
    continuous={place.name: recorder.record(num_tokens) for place, recorder in continuous.items()},
    neighbours={place.name: recorder.record(num_tokens) for place, recorder in neighbours.items()},
  )


class _Place(NamedTuple):
  """Where a memory is: its layer, and its place in a stack, such as 'first_' ('' without a stack)."""

  layer: int
  prefix: str

  @property
  def name(self) -> str:
    return f'layer {self.layer}, {self.prefix}'.strip(', _').replace('_', ' ')

  def plots(self, reads: tuple[dict[str, Array], ...]) -> dict[str, Array]:
    """The memory's own `Read.plots` among those of all layers."""
    of_layer = reads[self.layer]
    return {
      key.removeprefix(self.prefix): array for key, array in of_layer.items() if key.startswith(self.prefix)
    }


def _memories(model: transformer.Transformer) -> Iterator[tuple[_Place, Memory]]:
  """All memories, those inside stacks in place of the stacks."""
  for layer, block in enumerate(model.blocks):
    for prefix, memory in block.memory.parts().items():
      yield _Place(layer, prefix), memory
