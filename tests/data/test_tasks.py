"""The tasks: what a document is, that only answers count, and that whoever reads them reads the same."""

import collections
import itertools

import numpy as np
import pytest

from infformer_jax.data import registry
from infformer_jax.data.lanes import evaluation_batches, train_batches
from infformer_jax.data.load import load_corpus, load_tokenizer
from infformer_jax.data.recall import RecallConfig
from infformer_jax.data.sorting import SortingConfig
from infformer_jax.data.tasks import Symbols, TaskConfig
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.evaluation.perplexity import EvaluationConfig, require_targets
from infformer_jax.experiment import Experiment
from tests import toy

SORTING = SortingConfig(length=300, num_symbols=6, num_train=50, num_evaluation=20)
RECALL = RecallConfig(
  segment_length=40,
  num_segments=9,
  distances=(1, 3, 8),
  pairs_per_distance=2,
  num_train=50,
  num_evaluation=20,
)
PASSKEY = RecallConfig(
  task='passkey', segment_length=16, num_segments=5, distances=(1, 4), num_train=50, num_evaluation=20
)
TASKS = pytest.mark.parametrize('config', [SORTING, RECALL, PASSKEY], ids=['sorting', 'recall', 'passkey'])


def corpus(config, tmp_path):
  return load_corpus(config, tmp_path / 'tokens')


def test_every_task_of_the_registry_is_here():
  tasks = {kind for kind, config in registry.CONFIGS.items() if issubclass(config, TaskConfig)}
  assert tasks == {'sorting', 'recall'}


@TASKS
def test_documents_depend_on_their_split_and_index_alone(config, tmp_path):
  splits, again = corpus(config, tmp_path).splits, corpus(config, tmp_path).splits
  assert set(splits) == {'train', 'validation', 'test'}
  read = {}
  for name, split in splits.items():
    for index in (0, 7):
      read[name, index] = split.tokens(index)
      np.testing.assert_array_equal(again[name].tokens(index), read[name, index])
      np.testing.assert_array_equal(split.tokens(index, 5, 9), read[name, index][5:9])
      assert len(read[name, index]) == split.lengths[index]
  assert all(np.any(a != b) for a, b in itertools.combinations(read.values(), 2))
  assert not (tmp_path / 'tokens').exists()


@TASKS
def test_ids_fit_the_vocabulary_and_all_are_used(config, tmp_path):
  loaded = corpus(config, tmp_path)
  tokens = np.concatenate([loaded.splits['train'].tokens(index) for index in range(50)])
  assert set(tokens) <= set(range(loaded.tokenizer.bos_id))
  assert len(set(tokens)) >= loaded.tokenizer.bos_id - (config.kind == 'recall')  # The mark ! is of one task.
  assert load_tokenizer(config, tmp_path).identity == loaded.tokenizer.identity


def test_the_answer_sorts_the_symbols_by_frequency(tmp_path):
  split = corpus(SORTING, tmp_path).split('train')
  for index in range(50):
    tokens = split.tokens(index)
    sequence, mark, answer = tokens[:300], tokens[300], tokens[301:]
    counts = collections.Counter(sequence.tolist())
    assert mark == 6
    occurred_first = sequence.tolist().index
    assert answer.tolist() == sorted(counts, key=lambda symbol: (-counts[symbol], occurred_first(symbol)))
    np.testing.assert_array_equal(split.group(index, 0, 307), [-1] * 301 + [0] * 6)


@pytest.mark.parametrize('weights', ['integers', 'exponential'])
def test_a_sequence_moves_from_one_distribution_to_another(weights):
  config = SortingConfig(length=200_000, num_symbols=5, weights=weights)
  tokens = load_corpus(config, None).split('train').tokens(0)
  shares = [np.bincount(part, minlength=5) / len(part) for part in np.split(tokens[:200_000], 20)]
  first, last, middle = shares[0], shares[-1], np.mean(shares[9:11], axis=0)
  assert np.abs(first - last).max() > 0.05
  np.testing.assert_allclose(middle, (first + last) / 2, atol=0.01)


def test_every_question_has_its_answer_at_its_distance(tmp_path):
  split = corpus(RECALL, tmp_path).split('train')
  question, first_value, first_key = 16, 18, 18 + 16
  where = set()
  for index in range(50):
    tokens, group = split.tokens(index), split.group(index, 0, 360)
    asked = np.flatnonzero(group >= 0)
    assert collections.Counter(group[asked].tolist()) == {0: 2, 1: 2, 2: 2}
    for at in asked:
      mark, key, value = tokens[at - 2 : at + 1]
      assert (mark, key >= first_key, first_value <= value < first_key) == (question, True, True)
      (stored,) = [i for i in np.flatnonzero(tokens == key) if i != at - 1]
      assert tokens[stored + 1] == value
      assert at // 40 - stored // 40 == RECALL.distances[group[at]]
      where.add((at // 40, int(group[at])))
  assert {segment for segment, of in where if of == 0} == set(range(1, 9))  # Everywhere it could be.


def test_a_passkey_lies_as_far_back_as_its_group_says(tmp_path):
  split = corpus(PASSKEY, tmp_path).split('train')
  seen = set()
  for index in range(50):
    tokens, group = split.tokens(index), split.group(index, 0, 80)
    (mark,) = np.flatnonzero(tokens == 17)
    np.testing.assert_array_equal(tokens[mark + 1 : mark + 5], tokens[-4:])
    assert tokens[-5] == 16
    assert np.flatnonzero(group >= 0).tolist() == [76, 77, 78, 79]
    assert 4 - mark // 16 == PASSKEY.distances[group[-1]]
    rest = np.delete(np.arange(80), [*range(mark, mark + 5), *range(75, 80)])
    np.testing.assert_array_equal(tokens[rest], rest % 16)
    seen.add(int(group[-1]))
  assert seen == {0, 1}


@TASKS
def test_lanes_carry_the_groups_of_the_targets(config, tmp_path):
  loaded = corpus(config, tmp_path)
  split, bos_id = loaded.split('validation'), loaded.tokenizer.bos_id
  shape = {'num_lanes': 3, 'lanes': range(3), 'segment_length': 16, 'segments_per_chunk': 2}
  batches = list(evaluation_batches(split, bos_id, **shape))
  counted = collections.Counter(
    group for batch in batches for group in batch.group_bsl.ravel().tolist() if group >= 0
  )
  length = int(split.lengths[0])
  assert counted == collections.Counter(
    group for i in range(20) for group in split.group(i, 0, length).tolist() if group >= 0
  )
  for batch in batches:
    assert np.all(batch.group_bsl[~batch.ok_bsl] == -1)
  batch = next(train_batches(loaded.split('train'), bos_id, seed=0, **shape))
  document = batch.document_bs[0, 0]
  here = batch.segment_bs[0, 0] * 16 + np.arange(16)
  np.testing.assert_array_equal(batch.group_bsl[0, 0], split_of(loaded, document)[here])


def split_of(loaded, document):
  split = loaded.split('train')
  return split.group(document, 0, int(split.lengths[0]))


def test_symbols_are_numbers():
  symbols = Symbols(20)
  assert symbols.encode('3 0 19').tolist() == [3, 0, 19]
  assert symbols.decode([3, 0, 20, 19]) == '3 0 19 '
  for word in ('20', '-1', 'word', '1.5'):
    with pytest.raises(UserError, match=f"'{word}' is no symbol of this task; write numbers in 0 to 19"):
      symbols.encode(f'3 {word}')


def test_distances_are_counted_in_the_models_segments():
  model = toy.config()
  with pytest.raises(ConfigError, match=r'data.segment_length = 64, .*model.segment_length = 4; set both'):
    Experiment(model=model, data=RecallConfig())


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: SortingConfig(length=1), 'length = 1 must be at least 2'),
    (lambda: RecallConfig(num_segments=16), 'num_segments = 16 must be larger than'),
    (lambda: RecallConfig(distances=(4, 2)), 'the smallest first'),
    (lambda: RecallConfig(pairs_per_distance=3), 'segment_length = 64 may not hold'),
    (lambda: SortingConfig(num_train=0), 'num_train = 0 is not in'),
  ],
)
def test_what_makes_no_sense_is_refused(make, message):
  with pytest.raises(ConfigError, match=message):
    make()


def test_an_evaluation_that_ends_before_the_first_answer_is_refused(tmp_path):
  split = corpus(SORTING, tmp_path).split('validation')
  before = int((split.group(0, 0, int(split.lengths[0])) < 0).sum())
  require_targets(split, EvaluationConfig(max_tokens=before + 1))
  with pytest.raises(UserError, match=f'evaluation.max_tokens = {before} ends before the first answer'):
    require_targets(split, EvaluationConfig(max_tokens=before))
