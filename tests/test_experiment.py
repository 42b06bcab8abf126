"""Constraints between the sections of a config, and changes that a work directory allows."""

import dataclasses

import pytest

from infformer_jax.config import type_hints
from infformer_jax.config.parsing import override
from infformer_jax.config.stored_config import differences
from infformer_jax.data.base import DataConfig
from infformer_jax.data.sorting import SortingConfig
from infformer_jax.data.text import TextConfig
from infformer_jax.errors import ConfigError
from infformer_jax.experiment import (
  MAY_CHANGE_IN_EVALUATION,
  MAY_CHANGE_IN_TRAINING,
  Experiment,
  resolve_experiment,
)
from infformer_jax.files import write_json
from infformer_jax.memory.memory_config import MemoryConfig
from infformer_jax.train.loop import TrainConfig
from tests import toy

EXPERIMENT = Experiment(model=toy.config(toy.small('continuous')), data=TextConfig(source_dir='books'))
NEEDED = {
  'text': [('data.source_dir', 'books')],
  'tfds': [('data.source_dir', 'books')],
  'wikitext': [('data.source_dir', 'books')],
  'recall': [('model.segment_length', '64'), ('model.short_term_length', '64')],
  'stacked': [('model.memory.first.kind', 'recent'), ('model.memory.second.source', 'evicted')],
}
INTEGERS = (int, int | None, tuple[int, ...], tuple[int, ...] | None)
SHORT = 2.0  # Mean tokens per document, so short that every lane reads many.


def changed(section: str, **changes) -> Experiment:
  return dataclasses.replace(
    EXPERIMENT, **{section: dataclasses.replace(getattr(EXPERIMENT, section), **changes)}
  )


@pytest.mark.parametrize(
  ('source', 'short', 'needed'), [('evicted', 2, 4), ('evicted', 1, 3), ('evicted', 0, 2), ('previous', 2, 2)]
)
def test_too_few_segments_for_gradients_through_the_memory_cause_a_warning(source, short, needed):
  memory = toy.small('continuous', source=source)
  model = dataclasses.replace(EXPERIMENT.model, memory=memory, short_term_length=short * toy.LENGTH)
  for segments in range(1, 6):
    train = TrainConfig(segments_per_chunk=segments)
    warnings = dataclasses.replace(EXPERIMENT, model=model, train=train).warnings(SHORT)
    assert len(warnings) == (segments < needed)
    if warnings:
      assert f'train.segments_per_chunk = {segments}' in warnings[0]
      assert f'use {needed} or more' in warnings[0]


def test_sticky_sampling_with_equal_contraction_causes_a_warning():
  equal = toy.small('continuous', contraction='equal', sampling='sticky')
  for memory, key in ((equal, ''), (toy.small('stacked', second=equal), 'second.')):
    warnings = changed('model', memory=memory).warnings(SHORT)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"model.memory.{key}contraction = 'equal' with sampling = 'sticky'")
  assert changed('model', memory=dataclasses.replace(equal, sampling='even')).warnings(SHORT) == []


def test_sticky_sampling_with_a_gibbs_density_causes_a_warning():
  gibbs = toy.small('continuous', density='gibbs', kl_weight=0.0, sampling='sticky')
  (warning,) = changed('model', memory=gibbs).warnings(SHORT)
  assert warning.startswith("model.memory.density = 'gibbs' with sampling = 'sticky'")
  assert changed('model', memory=dataclasses.replace(gibbs, sampling='even')).warnings(SHORT) == []


def test_too_few_documents_per_lane_cause_a_warning():
  """The proposed limit gives every lane four times the required number of documents."""
  train = TrainConfig(num_steps=100, segments_per_chunk=4)
  experiment = dataclasses.replace(
    EXPERIMENT, model=dataclasses.replace(EXPERIMENT.model, memory=toy.small('continuous')), train=train
  )
  lane_tokens = 400 * toy.LENGTH
  assert experiment.warnings(document_tokens=lane_tokens / 4) == []
  (warning,) = experiment.warnings(document_tokens=lane_tokens * 2)
  assert 'train.num_steps = 100: a lane reads about 0.5 documents; ' in warning
  assert f'train.max_document_tokens = {lane_tokens // 16}' in warning
  assert experiment.warnings(document_tokens=lane_tokens // 16) == []
  stacked = toy.small('stacked', first=toy.small('none'), second=toy.small('continuous'))
  for memory, expected in ((stacked, 1), (toy.small('recent'), 0)):  # Exact tokens are not affected.
    other = dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, memory=memory))
    assert len(other.warnings(document_tokens=lane_tokens * 2)) == expected
  joined = dataclasses.replace(experiment, init_from='W')  # It gains on whole books, too.
  assert joined.warnings(document_tokens=lane_tokens * 2) == []
  trial = dataclasses.replace(experiment, train=dataclasses.replace(train, num_steps=5))
  assert trial.warnings(document_tokens=lane_tokens * 2) == []


@pytest.mark.parametrize(('tokens', 'enough'), [(3, 1), (toy.LENGTH - 1, 1), (2 * toy.LENGTH + 1, 3)])
def test_the_maximum_length_of_documents_must_be_whole_segments(tokens, enough):
  wrong = f'train.max_document_tokens = {tokens} must be a multiple .*; use {enough * toy.LENGTH}$'
  with pytest.raises(ConfigError, match=wrong):
    changed('train', max_document_tokens=tokens)


@pytest.mark.parametrize('section', ['train', 'evaluation'])
def test_a_chunk_has_fewer_tokens_than_its_indices(section):
  lanes, segments = 2**20, 2**31 // (2**20 * toy.LENGTH)
  message = f'{section}.batch_size = {lanes} times {section}.segments_per_chunk = {segments} times model.segm'
  with pytest.raises(ConfigError, match=message):
    changed(section, batch_size=lanes, segments_per_chunk=segments)
  assert changed(section, batch_size=lanes, segments_per_chunk=segments - 1)


def test_tasks_with_answers_cannot_be_cut_and_no_warning_proposes_it():
  task, model = SortingConfig(length=400, num_symbols=4), toy.config(toy.small('continuous'))
  experiment = Experiment(model=model, data=task, train=TrainConfig(num_steps=100))
  assert experiment.warnings(document_tokens=1e6) == []
  cut = dataclasses.replace(experiment.train, max_document_tokens=4 * toy.LENGTH)
  with pytest.raises(ConfigError, match=r"must be None with data.kind = 'sorting', "):
    dataclasses.replace(experiment, train=cut)


@pytest.mark.parametrize(
  'memory',
  [
    toy.small('none'),
    toy.small('neighbours'),
    toy.small('stacked', source='previous', first=toy.small('neighbours'), second=toy.small('none')),
  ],
)
def test_memories_without_gradients_through_writes_cause_no_warning(memory):
  model = dataclasses.replace(EXPERIMENT.model, memory=memory)
  assert (
    dataclasses.replace(EXPERIMENT, model=model, train=TrainConfig(segments_per_chunk=1)).warnings(SHORT)
    == []
  )


@pytest.mark.parametrize(
  ('section', 'changes', 'in_training', 'in_evaluation'),
  [
    ('train', {'num_steps': 7}, True, True),
    ('train', {'log_every': 7, 'evaluate_every': 7, 'checkpoint_every': 7}, True, True),
    ('train', {'accumulate_steps': 4, 'profile_steps': (1, 2)}, True, True),
    ('train', {'on_nonfinite': 'skip', 'max_skipped_steps': 7}, True, True),
    ('evaluation', {'max_tokens': 7, 'split': 'test', 'batch_size': 1}, True, True),
    ('model', {'short_term_length': 8 * toy.LENGTH}, False, True),
    ('model', {'window': 'sliding', 'clamp_length': 7}, False, True),
    ('model', {'compute_dtype': 'bfloat16'}, False, True),
    ('model', {'memory': toy.small('none')}, False, True),
    ('data', {'source_dir': 'other'}, False, True),
    ('data', {'cache_dir': 'other'}, True, True),
    ('model', {'d_ff': 7}, False, False),
    ('train', {'batch_size': 7}, False, False),
  ],
)
def test_only_some_settings_may_change_in_a_work_directory(section, changes, in_training, in_evaluation):
  other = changed(section, **changes)
  assert (differences(EXPERIMENT, other, except_for=MAY_CHANGE_IN_TRAINING) == []) == in_training
  assert (differences(EXPERIMENT, other, except_for=MAY_CHANGE_IN_EVALUATION) == []) == in_evaluation


def test_the_config_of_the_work_directory_is_the_default(tmp_path):
  with pytest.raises(ConfigError, match='has no config.json yet'):
    resolve_experiment(None, [], tmp_path, may_change=())
  write_json(tmp_path / 'config.json', dataclasses.asdict(EXPERIMENT))
  assert resolve_experiment(None, [], tmp_path, may_change=()) == EXPERIMENT
  longer = resolve_experiment(None, [('train.num_steps', '7')], tmp_path, may_change=MAY_CHANGE_IN_TRAINING)
  assert longer == changed('train', num_steps=7)


def test_a_work_directory_with_another_config_is_rejected_with_the_differences(tmp_path):
  write_json(tmp_path / 'config.json', dataclasses.asdict(EXPERIMENT))
  overrides = [('model.d_ff', '32'), ('seed', '1'), ('train.num_steps', '7')]
  with pytest.raises(ConfigError) as error:
    resolve_experiment(None, overrides, tmp_path, may_change=MAY_CHANGE_IN_TRAINING)
  assert 'model.d_ff: 16 in the work directory, 32 requested' in str(error.value)
  assert 'seed: 0 in the work directory, 1 requested' in str(error.value)
  assert 'num_steps' not in str(error.value)


def integer_keys(instance, path='') -> list[str]:
  """The dotted keys of all integers in a config."""
  keys = []
  for name, hint in type_hints.fields(type(instance)).items():
    value = getattr(instance, name)
    if dataclasses.is_dataclass(value):
      keys += integer_keys(value, f'{path}{name}.')
    elif hint in INTEGERS:
      keys.append(path + name)
  return keys


@pytest.mark.parametrize('kind', [*MemoryConfig.kinds(), *DataConfig.kinds()])
def test_every_integer_of_every_config_has_a_range(kind):
  """Neither negative values nor those beyond 32 bits pass, and the error names the key."""
  section = 'model.memory' if kind in MemoryConfig.kinds() else 'data'
  experiment = override(EXPERIMENT, [(f'{section}.kind', kind), *NEEDED.get(kind, [])])
  keys = integer_keys(experiment)
  assert 'seed' in keys
  assert 'train.optimizer.warmup_steps' in keys
  for key in keys:
    for value in ('-2' if '.mesh.' in key else '-1', str(2**40)):  # -1 devices: all that the others leave.
      with pytest.raises(ConfigError, match=f'{key} = '):
        override(experiment, [(key, value)])


@pytest.mark.parametrize(
  ('kind', 'key'),
  [
    *((None, key) for key in ('init_from', 'data.tokenizer=gpt2:', 'data.tokenizer=sentencepiece:')),
    *((kind, f'data.{key}') for kind, config in DataConfig.kinds().items() for key in config.paths),
  ],
)
def test_no_path_of_a_config_may_have_another_scheme_or_be_empty(kind, key):
  key, _, prefix = key.partition('=')
  overrides = [('data.kind', kind), *NEEDED.get(kind, [])] if kind else []
  with pytest.raises(ConfigError, match=f"{key} = '.*s3://bucket/x' must be a local path.*; s3:// is not"):
    override(EXPERIMENT, [*overrides, (key, f'{prefix}s3://bucket/x')])
  if not prefix:
    with pytest.raises(ConfigError, match=f"{key} = '' must be a path"):
      override(EXPERIMENT, [*overrides, (key, '')])


@pytest.mark.parametrize(
  ('before', 'overrides', 'allowed'),
  [
    ({}, [('data.source_dir', 'moved')], True),
    ({'tokenizer': 'gpt2:a'}, [('data.tokenizer', 'gpt2:b')], True),
    ({'tokenizer': 'sentencepiece:a'}, [('data.tokenizer', 'sentencepiece:b')], True),
    ({'tokenizer': 'gpt2:a'}, [('data.tokenizer', 'sentencepiece:a')], False),
    ({'tokenizer': 'bpe:512'}, [('data.tokenizer', 'bpe:1024')], False),
    ({'init_from': 'a'}, [('init_from', 'b')], True),
    ({}, [('init_from', 'b')], False),
    ({'init_from': 'a'}, [('init_from', 'None')], False),
  ],
)
def test_paths_may_change_in_a_work_directory(before, overrides, allowed, tmp_path):
  stored = dataclasses.asdict(EXPERIMENT)
  stored['init_from'] = before.get('init_from')
  stored['data'] |= {key: value for key, value in before.items() if key != 'init_from'}
  write_json(tmp_path / 'config.json', stored)
  if allowed:
    resolve_experiment(None, overrides, tmp_path, may_change=())
  else:
    with pytest.raises(ConfigError, match='was made with another config'):
      resolve_experiment(None, overrides, tmp_path, may_change=())
