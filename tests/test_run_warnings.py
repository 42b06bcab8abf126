"""Warnings about the data and the schedule of a run, on the inputs of the reports that asked for them."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from infformer_jax import run_warnings
from infformer_jax.data.base import StoredSplit
from infformer_jax.data.cut_documents import cut_documents
from infformer_jax.data.lanes import train_batches
from infformer_jax.data.sorting import SortingConfig
from infformer_jax.data.text import TextConfig
from infformer_jax.experiment import Experiment
from infformer_jax.memory.stacked import StackedConfig
from infformer_jax.train.loop import TrainConfig
from infformer_jax.train.optimizer import OptimizerConfig
from tests import toy

EXPERIMENT = Experiment(model=toy.config(), data=TextConfig(source_dir='texts'))


def split_of(*lengths) -> StoredSplit:
  rng = np.random.default_rng(0)
  return StoredSplit.from_tokens([rng.integers(256, size=length) for length in lengths])


def equal_rows(*lengths, experiment=EXPERIMENT) -> list[str]:
  return list(run_warnings.equal_rows(experiment, split_of(*lengths), split_of(*lengths)))


def test_fewer_documents_than_lanes_are_reported_with_the_different_rows_and_a_length():
  (one,) = equal_rows(1000)
  assert 'train.batch_size = 16 exceeds the number of training documents, 1: ' in one
  assert 'one has 1 different rows; ' in one
  assert one.endswith('use train.max_document_tokens = 64 or less')
  assert len(cut_documents(split_of(1000), 64)) == 16
  assert len(cut_documents(split_of(1000), 64 + toy.LENGTH)) < 16
  assert equal_rows(*[100] * 16) == []
  (short,) = equal_rows(20)
  assert short.endswith('different rows; use train.batch_size = 1')


def test_the_length_of_enough_pieces_is_the_longest_also_of_long_documents():
  lengths = (3, 50, 1000, 77)
  for lanes in (5, 30, 250, 1000):
    pieces = {n: sum(-(-length // (n * 4)) for length in lengths) for n in range(1, 251)}
    longest = max((n for n, count in pieces.items() if count >= lanes), default=None)
    expected = None if longest is None else longest * 4
    assert run_warnings._enough_pieces(split_of(*lengths), lanes, 4) == expected
  long = StoredSplit(ids=np.zeros(0), offsets=np.array([0, 2**40]), words=(), bytes=(), names=['a'])
  assert run_warnings._enough_pieces(long, 2**20, 1) == 2**20 + 1


def test_the_number_of_different_rows_is_that_of_real_chunks():
  lengths = (300, 401, 530)
  stream = train_batches(
    split_of(*lengths),
    0,
    num_lanes=16,
    lanes=range(16),
    segment_length=toy.LENGTH,
    segments_per_chunk=4,
    seed=0,
  )
  rows = [len({row.tobytes() for row in chunk.tokens_bsl}) for chunk in itertools.islice(stream, 8)]
  assert f'one has {min(rows)} different rows; ' in equal_rows(*lengths)[0]


def test_documents_of_a_task_are_not_to_be_cut():
  task = dataclasses.replace(EXPERIMENT, data=SortingConfig(length=400, num_symbols=4))
  (warning,) = equal_rows(1000, experiment=task)
  assert warning.endswith('different rows; use train.batch_size = 1')


def test_padding_of_more_than_half_of_the_batch_is_reported_with_its_share():
  documents = split_of(*(2 + index % 39 for index in range(200)))
  model = dataclasses.replace(EXPERIMENT.model, segment_length=64, short_term_length=64)
  (warning,) = run_warnings.padding(dataclasses.replace(EXPERIMENT, model=model), documents)
  share = 1 - documents.lengths.sum() / (200 * 64)
  assert f'model.segment_length = 64: {share:.0%} of a batch is padding, ' in warning
  assert 'use a shorter model.segment_length, such as 32 (' in warning
  assert list(run_warnings.padding(EXPERIMENT, documents)) == []


def logarithmic(stacked=False, **settings):
  """An experiment with segments of 16 tokens and scale 1."""
  memory = toy.small('continuous', contraction='log', scale=1.0, **settings)
  if stacked:
    memory = StackedConfig(first=toy.small('recent', length=16), second=memory)
  return dataclasses.replace(EXPERIMENT, model=toy.config(memory, segment_length=16, short_term_length=16))


def test_a_document_beyond_the_horizon_is_reported_with_its_length_and_the_key():
  def warnings(experiment) -> list[str]:
    return list(run_warnings.beyond_horizon(experiment, 'test', np.array([100, 130, 120]), 'document'))

  (warning,) = warnings(logarithmic(horizon=129.0))
  assert warning.startswith("model.memory.horizon = 129: 130 tokens of document 1 of split 'test' are read, ")
  assert warning.endswith('use model.memory.horizon = 130 or more')
  assert warnings(logarithmic(horizon=130.0)) == []
  (stacked,) = warnings(logarithmic(stacked=True, horizon=100.0))
  assert stacked.startswith('model.memory.second.horizon = 100: ')
  assert warnings(EXPERIMENT) == []


def test_a_cut_document_is_reported_as_a_piece_with_its_length(tmp_path):
  """100 and 200 tokens are cut into 50, 50 and 66, 67, 67: the first of the longest is piece 3."""
  experiment = logarithmic(horizon=60.0, num_basis=24, num_samples=48)
  for most, expected in ((80, '67 tokens of piece 3'), (None, '200 tokens of document 1'), (48, None)):
    train = TrainConfig(num_steps=400, batch_size=2, max_document_tokens=most)
    lines = run_warnings.run_warnings(
      dataclasses.replace(experiment, train=train), split_of(100, 200), tmp_path
    )
    found = [line.split(' of split ')[0] for line in lines if 'horizon = 60: ' in line]
    assert found == ([] if expected is None else [f'model.memory.horizon = 60: {expected}'])


def test_few_functions_per_octave_are_reported_with_a_size_and_a_horizon():
  (warning,) = run_warnings.few_functions(logarithmic(num_basis=24, num_samples=48, horizon=255.0))
  assert warning.startswith('model.memory.num_basis = 24: ')
  assert 'horizon = 255 an octave of age has 3 functions' in warning
  assert warning.endswith('use 32 or more, or model.memory.horizon = 63')
  for better in ({'num_basis': 32, 'num_samples': 64, 'horizon': 255.0}, {'num_basis': 24, 'horizon': 63.0}):
    assert list(run_warnings.few_functions(logarithmic(**{'num_samples': 48} | better))) == []
  # No horizon of two segments has enough with four functions.
  (few,) = run_warnings.few_functions(logarithmic(num_basis=4, horizon=255.0))
  assert few.endswith('use 32 or more')
  assert list(run_warnings.few_functions(EXPERIMENT)) == []


def test_both_are_among_the_warnings_of_a_run(tmp_path):
  experiment = logarithmic(num_basis=4, horizon=47.0)
  lines = list(run_warnings.run_warnings(experiment, split_of(*[48] * 16), tmp_path))
  assert [line for line in lines if line.startswith('model.memory.horizon = 47: 48 tokens of document 0 ')]
  lines = list(run_warnings.run_warnings(experiment, split_of(*[47] * 16), tmp_path))
  assert not [line for line in lines if 'horizon = 47: ' in line]
  lines = list(run_warnings.run_warnings(logarithmic(num_basis=4), split_of(*[48] * 16), tmp_path))
  assert [line for line in lines if line.startswith('model.memory.num_basis = 4: ')]


def test_a_warm_up_that_is_longer_than_the_training_is_reported():
  optimizer = OptimizerConfig(warmup_steps=100)
  (warning,) = run_warnings.long_warmup(TrainConfig(num_steps=50, optimizer=optimizer))
  assert warning.startswith('train.optimizer.warmup_steps = 100 is longer than train.num_steps = 50: ')
  assert warning.endswith('use 5 or less')
  (short,) = run_warnings.long_warmup(TrainConfig(num_steps=4, optimizer=optimizer))
  assert short.endswith('use 0')
  assert list(run_warnings.long_warmup(TrainConfig(num_steps=100, optimizer=optimizer))) == []


@pytest.mark.parametrize(('before', 'step', 'rises'), [(200, 200, True), (200, 50, False), (400, 200, False)])
def test_a_learning_rate_that_rises_at_a_resume_is_reported(before, step, rises):
  train = TrainConfig(num_steps=400, optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=100))
  lines = list(run_warnings.rising_rate(train, before, step))
  assert len(lines) == rises
  if rises:
    assert 'train.num_steps = 400, before 200: the learning rate rises from 0.0001 to 0.00077 at' in lines[0]
    assert 'at step 201; ' in lines[0]


def test_the_earlier_length_is_read_from_the_work_directory(tmp_path):
  train = TrainConfig(num_steps=200, batch_size=1, optimizer=OptimizerConfig(warmup_steps=10))
  experiment = dataclasses.replace(EXPERIMENT, train=dataclasses.replace(train, num_steps=400))
  assert list(run_warnings.run_warnings(experiment, split_of(1000), tmp_path)) == []
  (tmp_path / 'checkpoints' / '200').mkdir(parents=True)
  (tmp_path / 'config.json').write_text(json.dumps({'train': dataclasses.asdict(train)}))
  (warning,) = run_warnings.run_warnings(experiment, split_of(1000), tmp_path)
  assert warning.startswith('train.num_steps = 400, before 200: ')
