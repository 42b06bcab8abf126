"""Warnings about the data and the schedule of a training run: allowed, but probably not intended."""

import bisect
import itertools
from collections.abc import Iterator

import numpy as np
from etils import epath

from infformer_jax.config import stored_config
from infformer_jax.core.time_axis import Logarithmic
from infformer_jax.data.base import Split
from infformer_jax.data.cut_documents import cut_documents
from infformer_jax.data.lanes import train_batches
from infformer_jax.experiment import Experiment
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.train.checkpoint import Checkpoints
from infformer_jax.train.loop import TrainConfig
from infformer_jax.train.optimizer import make_schedules

MOST_PADDING = 0.5
"""A run warns if a larger share of its batches is padding."""

OCTAVE_FUNCTIONS = 4
"""A run warns if an octave of age has fewer functions."""


def run_warnings(experiment: Experiment, split: Split, workdir: epath.Path) -> Iterator[str]:
  """One line for each setting that is allowed but probably not intended.

  Args:
    experiment: what is trained.
    split: the training documents, before `train.max_document_tokens` cuts them.
    workdir: its config.json is that of the run that is resumed, if there is one.
  """
  documents = cut_documents(split, experiment.train.max_document_tokens)
  yield from experiment.warnings(document_tokens=float(documents.lengths.mean()))
  yield from equal_rows(experiment, split, documents)
  yield from padding(experiment, documents)
  yield from few_functions(experiment)
  unit = 'document' if len(documents) == len(split) else 'piece'
  yield from beyond_horizon(experiment, 'train', documents.lengths, unit)
  yield from long_warmup(experiment.train)
  file, steps = workdir / 'config.json', Checkpoints(workdir / 'checkpoints', warn=lambda line: None).steps()
  if steps and file.exists():
    before = stored_config.read_config(TrainConfig, file, 'train')
    yield from rising_rate(experiment.train, before.num_steps, steps[-1])


def equal_rows(experiment: Experiment, split: Split, documents: Split) -> Iterator[str]:
  """Lanes that read the same document at the same time, since there are fewer documents than lanes."""
  train, length = experiment.train, experiment.model.segment_length
  lanes = train.batch_size
  if len(documents) >= lanes:
    return
  stream = train_batches(
    documents,
    0,
    num_lanes=lanes,
    lanes=range(lanes),
    segment_length=length,
    segments_per_chunk=train.segments_per_chunk,
    seed=experiment.seed,
  )
  places = [np.hstack([chunk.document_bs, chunk.segment_bs]) for chunk in itertools.islice(stream, 8)]
  rows = min(len(np.unique(place, axis=0)) for place in places)
  remedy = f'train.batch_size = {len(documents)}'
  if not experiment.data.indivisible and (tokens := _enough_pieces(split, lanes, length)) is not None:
    remedy = f'train.max_document_tokens = {tokens} or less'
  yield (
    f'train.batch_size = {lanes} exceeds the number of training documents, {len(documents)}: lanes read the '
    f'same document at the same time; of the first batches, one has {rows} different rows; use {remedy}'
  )


def _enough_pieces(split: Split, num: int, segment_length: int) -> int | None:
  """The longest pieces, in whole segments, of which there are at least `num`; None: the text is too short."""
  shortest = -(-4 // segment_length)  # A piece has at least 4 tokens.

  def is_short(segments: int) -> bool:
    return (-(-split.lengths // (segments * segment_length))).sum() >= num

  longest = int(split.lengths.max()) // segment_length
  # The number of pieces decreases with their length.
  enough = bisect.bisect_left(range(shortest, longest + 1), True, key=lambda segments: not is_short(segments))
  return (shortest + enough - 1) * segment_length if enough else None


def padding_share(documents: Split, segment_length: int) -> float:
  """The share of an epoch that is padding; only the last segment of a document has any."""
  read = (-(-documents.lengths // segment_length)).sum() * segment_length
  return float(1 - documents.lengths.sum() / read)


def padding(experiment: Experiment, documents: Split) -> Iterator[str]:
  """Documents that are much shorter than a segment."""
  length = experiment.model.segment_length
  share, shorter = padding_share(documents, length), length
  if share <= MOST_PADDING:
    return
  while shorter % 2 == 0 and padding_share(documents, shorter) > MOST_PADDING:
    shorter //= 2
  such = f', such as {shorter} ({padding_share(documents, shorter):.0%} padding)' if shorter < length else ''
  yield (
    f'model.segment_length = {length}: {share:.0%} of a batch is padding, since documents have '
    f'{documents.lengths.mean():.3g} tokens on average and are not packed: memories are reset at segment '
    f'boundaries; use a shorter model.segment_length{such}, or longer documents'
  )


def few_functions(experiment: Experiment) -> Iterator[str]:
  """A logarithmic axis with so many octaves, or so few functions, that each octave has only a few."""
  for key, axis, num_basis in _logarithmic(experiment):
    octaves = float(np.log2(1 + axis.horizon / axis.scale))
    if num_basis >= OCTAVE_FUNCTIONS * octaves:
      continue
    nearer = int(axis.scale * (2 ** (num_basis / OCTAVE_FUNCTIONS) - 1))
    remedy = f', or {key}.horizon = {nearer}' if nearer >= 2 * experiment.model.segment_length else ''
    yield (
      f"{key}.num_basis = {num_basis}: with contraction = 'log', scale = {axis.scale:g} and horizon = "
      f'{axis.horizon:.0f} an octave of age has {num_basis / octaves:.2g} functions, too few for more than a '
      f'mean of its text; use {int(np.ceil(OCTAVE_FUNCTIONS * octaves))} or more{remedy}'
    )


def beyond_horizon(
  experiment: Experiment, split_name: str, lengths_i: np.ndarray, unit: str
) -> Iterator[str]:
  """A document that is read beyond the horizon of a logarithmic axis.

  Args:
    experiment: its model reads the documents.
    split_name: for the text.
    lengths_i: the tokens that are read of every document.
    unit: what i counts, 'document' or, for documents that are cut, 'piece'.
  """
  longest = int(np.argmax(lengths_i))
  tokens = int(lengths_i[longest])
  for key, axis, _ in _logarithmic(experiment):
    if tokens > axis.horizon:
      yield (
        f"{key}.horizon = {axis.horizon:.0f}: {tokens} tokens of {unit} {longest} of split '{split_name}' "
        f'are read, and what is older than the horizon is dropped; use {key}.horizon = {tokens} or more'
      )


def _logarithmic(experiment: Experiment) -> Iterator[tuple[str, Logarithmic, int]]:
  """The key of each continuous memory with a logarithmic axis, its axis, and its number of functions."""
  model = experiment.model
  for place, config in model.memory.parts().items():
    if not isinstance(config, ContinuousConfig):
      continue
    axis = config.signal_spec(model.segment_length).axis
    if isinstance(axis, Logarithmic):
      yield f'model.memory.{place.replace("_", ".")}'.removesuffix('.'), axis, config.num_basis


def long_warmup(train: TrainConfig) -> Iterator[str]:
  """A warm-up that does not end."""
  warmup, short = train.optimizer.warmup_steps, train.num_steps // 10
  if warmup > train.num_steps:
    yield (
      f'train.optimizer.warmup_steps = {warmup} is longer than train.num_steps = {train.num_steps}: the '
      f'learning rate never reaches train.optimizer.learning_rate; use {f"{short} or less" if short else 0}'
    )


def rising_rate(train: TrainConfig, num_steps: int, step: int) -> Iterator[str]:
  """A run that was made longer, so that its learning rate rises where it resumes.

  Args:
    train: the settings with which it resumes.
    num_steps: its length before.
    step: steps done.
  """
  old, new = (next(iter(make_schedules(train.optimizer, n).values())) for n in (num_steps, train.num_steps))
  last, following = float(old(step - 1)), float(new(step))
  if following > 1.1 * max(last, float(old(step))):  # In the warm-up, both schedules rise.
    yield (
      f'train.num_steps = {train.num_steps}, before {num_steps}: the learning rate rises from {last:.2g} to '
      f'{following:.2g} at step {step + 1}; for a single decay, use another --workdir'
    )
