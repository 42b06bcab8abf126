"""What a window costs a model with learned positions that was trained without one (nn/window.py).

A small GPT-2 reads the bytes of the standard library in contexts of 128, each at rows 0..127 of its table.
Then it reads documents in segments of 32 with M = 96, or with no window. It is compared with the same model
that reads the 128 bytes again for every segment, at the rows at which it was trained. Every contestant is
then trained for some more steps as it reads. A row is the mean loss after the first M + l bytes of texts of
the validation split; stderr also has the standard error over texts of its difference from reading again.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping

import jax
import numpy as np
from etils import epath

from infformer_jax.data.base import Corpus, Split
from infformer_jax.data.lanes import train_batches
from infformer_jax.data.load import load_corpus
from infformer_jax.data.stdlib import StdlibConfig
from infformer_jax.initial import with_position_drift
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn import transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.train.checkpoint import named_arrays
from infformer_jax.train.mesh import make_mesh
from infformer_jax.train.optimizer import OptimizerConfig, make_optimizer
from infformer_jax.train.restore import replaced
from infformer_jax.train.state import initial_state
from infformer_jax.train.step import make_train_step
from infformer_jax.types import Array, Batch, PyTree
from tests.benchmarks.measure import note
from tests.benchmarks.table import Row, exact

Params = Mapping[str, np.ndarray]  # by name, 'params/...'

CONTEXT, LENGTH, LANES, TEXT, SEED = 128, 32, 16, 512, 0
TRUNK = ModelConfig(
  d_model=128, num_layers=4, num_heads=4, d_ff=512, qkv_bias=True, attention_output_bias=True,
  positions='learned', max_positions=CONTEXT, segment_length=CONTEXT, short_term_length=0,
  memory=NothingConfig(),
)  # fmt: skip
WINDOW = dataclasses.replace(TRUNK, segment_length=LENGTH, short_term_length=CONTEXT - LENGTH)
NO_WINDOW = dataclasses.replace(TRUNK, segment_length=LENGTH)
PRETRAINING = OptimizerConfig(learning_rate=2e-3, weight_decay=0.1)
FINE_TUNING = OptimizerConfig(learning_rate=5e-4, warmup_steps=10)
AGAIN = 'read again'
AT_ONCE = 8  # texts


def rows(quick: bool) -> Iterator[Row]:
  """The losses of every contestant, unchanged and after more training, against those of reading again."""
  num_steps, more_steps, num_texts = (1, 1, AT_ONCE) if quick else (1500, 100, None)
  corpus = load_corpus(StdlibConfig(tokenizer='bytes'), epath.Path('unused'))
  texts_nt = texts_of(corpus.split('validation'), num_texts)
  again, window, none = (Reader(model, corpus) for model in (TRUNK, WINDOW, NO_WINDOW))
  note(f'training a model for {num_steps} steps')
  trunk = again.trained({}, PRETRAINING, num_steps)

  drifts = _drifts(trunk, corpus)
  windows = {f'M {WINDOW.short_term_length}, {name}': (window, params) for name, params in drifts.items()}
  readers = {AGAIN: (again, trunk), **windows, 'M 0': (none, trunk)}
  unchanged = {name: reader.losses(params, texts_nt) for name, (reader, params) in readers.items()}
  yield from compared(f'learned positions, l {LENGTH}, ', unchanged, AGAIN)
  after = {}
  for name, (reader, params) in readers.items():
    note(f'training for {more_steps} more steps: {name}')
    after[name] = reader.losses(reader.trained(params, FINE_TUNING, more_steps), texts_nt)
  yield from compared(f'learned positions after {more_steps} more steps, l {LENGTH}, ', after, AGAIN)


def _drifts(trunk: Params, corpus: Corpus) -> dict[str, Params]:
  """The parameters of a model with a window, by what its layers exchange."""
  measured = jax.device_get(with_position_drift(trunk, WINDOW, corpus.split('train'), make_mesh(), note))
  names = [name for name in measured if name not in trunk]
  table_td = trunk['params/position_embedding/embedding']
  return {
    'drift measured': measured,
    'drift 0': measured | dict.fromkeys(names, np.zeros_like(table_td)),
    # What was measured has no part in any row, and neither has the embedding.
    'nothing exchanged above the first layer': measured | dict.fromkeys(names, -table_td),
  }


def texts_of(split: Split, count: int | None) -> np.ndarray:
  """Consecutive texts [n, TEXT + 1] of the documents of a split, a multiple of `AT_ONCE`."""
  tokens = np.concatenate([split.tokens(index) for index in range(len(split))])
  size = (TEXT + 1) * AT_ONCE
  return tokens[: len(tokens) // size * size].reshape(-1, TEXT + 1)[:count]


class Reader:
  """A model that is trained and evaluated as it reads: in segments, or again if a segment is a context."""

  def __init__(self, model: ModelConfig, corpus: Corpus):
    self._model, self._corpus = model, corpus
    build = functools.partial(transformer.build, model, corpus.tokenizer.vocab_size)
    self._graphdef, self._shapes = jax.eval_shape(build, jax.random.key(0))

    def losses(params: PyTree, batch: Batch) -> Array:
      built = transformer.merge(self._graphdef, params)
      output = built(batch, built.init_state(len(batch.tokens_bsl)))
      return built.vocabulary.token_losses(output.hidden_bsld, batch.targets_bsl)

    self._losses = jax.jit(losses)
    self._step = functools.cache(functools.partial(make_train_step, self._graphdef))

  def trained(self, given: Params, config: OptimizerConfig, num_steps: int) -> Params:
    """The parameters after some steps of LANES contexts, which start from the given ones or are drawn."""
    optimizer, tokenizer = make_optimizer(config, num_steps), self._corpus.tokenizer
    _, state = initial_state(
      self._model, optimizer, vocab_size=tokenizer.vocab_size, batch_size=LANES, seed=SEED
    )
    state = dataclasses.replace(state, params=replaced(state.params, given))
    batches = train_batches(
      self._corpus.split('train'),
      tokenizer.bos_id,
      num_lanes=LANES,
      lanes=range(LANES),
      segment_length=self._model.segment_length,
      segments_per_chunk=CONTEXT // self._model.segment_length,
      seed=SEED + bool(given),  # More training does not begin with the same documents.
    )
    for number, batch in enumerate(itertools.islice(batches, num_steps), 1):
      state, report = self._step(config, num_steps)(state, batch)
      if number % 250 == 0:
        total, count = report.metrics['loss_nats_per_token']
        note(f'step {number}: {total / count:.3f}')
    return jax.device_get(named_arrays({'params': state.params}))

  def model(self, params: Params) -> transformer.Transformer:
    """The model with these parameters."""
    return transformer.merge(self._graphdef, replaced(self._shapes, params))

  def losses(self, params: Params, texts_nt: np.ndarray, *, first: int | None = None) -> np.ndarray:
    """The mean loss of every text after its first CONTEXT bytes, nats per byte [n].

    Args:
      params: of the model.
      texts_nt: [n, TEXT + 1].
      first: replaces the first byte of what is read again; None: nothing does.
    """
    given, length = replaced(self._shapes, params), self._model.segment_length
    means = []
    for texts_bt in texts_nt.reshape(-1, AT_ONCE, TEXT + 1):
      if length == CONTEXT:
        contexts_bt = _contexts(texts_bt)
        if first is not None:
          contexts_bt[:, 0] = first
        losses = self._losses(given, _batch(contexts_bt, length))[..., -LENGTH:]
        means.append(losses.reshape(AT_ONCE, -1).mean(axis=1))
      else:
        losses = self._losses(given, _batch(texts_bt, length))
        means.append(losses.reshape(AT_ONCE, -1)[:, CONTEXT:].mean(axis=1))
    return np.concatenate(means)


def _contexts(texts_bt: np.ndarray) -> np.ndarray:
  """For every segment after the first CONTEXT bytes, the M + l bytes that end with it and a target."""
  starts = range(LENGTH, TEXT - CONTEXT + 1, LENGTH)
  contexts = np.stack([texts_bt[:, start : start + CONTEXT + 1] for start in starts], axis=1)
  return contexts.reshape(-1, CONTEXT + 1)


def _batch(texts_bt: np.ndarray, length: int) -> Batch:
  """Texts with a last target, each a document."""
  tokens_bsl, targets_bsl = (
    texts_bt[:, part].reshape(len(texts_bt), -1, length) for part in (slice(-1), slice(1, None))
  )
  segment_bs = np.broadcast_to(np.arange(tokens_bsl.shape[1]), tokens_bsl.shape[:2])
  return Batch(
    tokens_bsl=tokens_bsl,
    targets_bsl=targets_bsl,
    ok_bsl=np.ones(tokens_bsl.shape, bool),
    group_bsl=np.zeros(tokens_bsl.shape, np.int32),
    new_doc_bs=segment_bs == 0,
    document_bs=np.zeros_like(segment_bs),
    segment_bs=segment_bs,
  )


def compared(what: str, losses: Mapping[str, np.ndarray], other: str) -> Iterator[Row]:
  """Rows of the losses of texts [n] against those of another contestant, and notes of the differences."""
  for name, losses_n in losses.items():
    difference_n = losses_n - losses[other]
    error = difference_n.std(ddof=1) / np.sqrt(len(losses_n))
    note(
      f'{what}{name}: {losses_n.mean():.3f}, {difference_n.mean():+.4f} ± {error:.4f} ({len(losses_n)} texts)'
    )
    if name != other:
      means = (float(each.mean()) for each in (losses_n, losses[other]))
      yield exact(what + name, 'nats per byte', *means, other)
