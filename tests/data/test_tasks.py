"""The tasks: deterministic documents, in which only answers are counted as targets."""

import collections
import itertools

import numpy as np
import pytest

from infformer_jax.data.lanes import evaluation_batches, train_batches
from infformer_jax.data.tasks import Symbols
from infformer_jax.errors import UserError
from infformer_jax.evaluation.perplexity import EvaluationConfig, require_targets
from tests.data.tasks import PASSKEY, RECALL, SORTING, corpus

TASKS = pytest.mark.parametrize('config', [SORTING, RECALL, PASSKEY], ids=['sorting', 'recall', 'passkey'])


@TASKS
def test_documents_depend_only_on_their_split_and_index(config, tmp_path):
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
  assert len(set(tokens)) >= loaded.tokenizer.bos_id - (config.kind == 'recall')  # Only one task uses !.
  assert config.source(tmp_path).tokenizer().identity == loaded.tokenizer.identity


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


def test_symbols_are_written_as_numbers():
  symbols = Symbols(20)
  assert symbols.encode('3 0 19').tolist() == [3, 0, 19]
  assert symbols.decode([3, 0, 20, 19]) == '3 0 19 '
  for word in ('20', '-1', 'word', '1.5'):
    with pytest.raises(UserError, match=f"cannot encode '{word}'; use numbers from 0 to 19"):
      symbols.encode(f'3 {word}')


def test_an_evaluation_that_ends_before_the_first_answer_is_rejected(tmp_path):
  split = corpus(SORTING, tmp_path).split('validation')
  before = int((split.group(0, 0, int(split.lengths[0])) < 0).sum())
  require_targets(split, EvaluationConfig(max_tokens=before + 1))
  with pytest.raises(UserError, match=f'evaluation.max_tokens = {before} must include the first answer'):
    require_targets(split, EvaluationConfig(max_tokens=before))
