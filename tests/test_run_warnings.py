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
