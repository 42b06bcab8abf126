"""Evaluation of a model: known losses, independence of lanes and chunks, and the controls."""

import dataclasses
import json
import math
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.data.base import Corpus, StoredSplit
from infformer_jax.data.lanes import evaluation_batches
from infformer_jax.errors import ConfigError
from infformer_jax.evaluation import perplexity
from infformer_jax.evaluation.perplexity import EvaluationConfig, evaluate, segment_losses
from infformer_jax.results_schema import Results
from tests import toy
from tests.data.test_tokenizers import write_sentencepiece
from tests.schema import assert_conforms

SPREAD = 0.3  # Parameters far enough from their initial values for the memory to have an effect.
CONTINUOUS = toy.config(toy.small('continuous', sampling='even'))
LENGTHS = (50, 3, 17, 24, 9)
ALL = ('memory', 'emptied', 'exchanged')


@dataclasses.dataclass(frozen=True)
class Tokens:
  """The part of a tokenizer that is used here."""

  bos_id: int = 0
  vocab_size: int = toy.VOCABULARY
  unk_id: int | None = None
  lossless: bool = True


def split_of(*lengths, seed=0):
  rng = np.random.default_rng(seed)
  return StoredSplit.from_tokens([rng.integers(toy.VOCABULARY, size=n) for n in lengths])


def corpus_of(split, tokenizer=Tokens()):
  return Corpus(tokenizer=tokenizer, splits={'validation': split}, fingerprint={'sha256': 'abc'}, note='')


def run(config=CONTINUOUS, split=None, views=ALL, tokenizer=Tokens(), **settings):
  corpus = corpus_of(split_of(*LENGTHS) if split is None else split, tokenizer)
  trained = toy.trained(config, vocabulary=tokenizer.vocab_size, spread=SPREAD)
  config = EvaluationConfig(**{'batch_size': 4, 'segments_per_chunk': 3} | settings)
  results = evaluate(trained, corpus, config, views=views)
  assert_conforms(results, Results)
  return results


def losses_of(split, num_lanes, segments_per_chunk, views=('memory', 'emptied')):
  batches = evaluation_batches(
    split, 0, num_lanes=num_lanes, lanes=range(num_lanes), segment_length=toy.LENGTH,
    segments_per_chunk=segments_per_chunk,
  )  # fmt: skip
  return segment_losses(toy.trained(CONTINUOUS, spread=SPREAD), batches, num_lanes, views=views)


@pytest.fixture(scope='module')
def results():
  return run()


def test_uniform_logits_have_the_loss_ln_v():
  trained = toy.trained(CONTINUOUS)
  trained = dataclasses.replace(trained, params=jax.tree.map(jnp.zeros_like, trained.params))
  config = EvaluationConfig(batch_size=4, segments_per_chunk=3)
  results = evaluate(trained, corpus_of(split_of(*LENGTHS)), config, views=('memory',))
  figures = results['memory']
  assert figures['loss_nats_per_token'] == pytest.approx(math.log(toy.VOCABULARY), rel=1e-6)
  assert figures['perplexity_per_token'] == pytest.approx(toy.VOCABULARY, rel=1e-6)
  # `StoredSplit.from_tokens` counts a word and a byte per token.
  assert figures['bits_per_byte'] == pytest.approx(math.log2(toy.VOCABULARY), rel=1e-6)
  assert results['emptied_reason'] == 'this control was not requested'


def test_results_contain_the_keys_that_scripts_rely_on(results):
  five = ('loss_nats_per_token', 'perplexity_per_token', 'perplexity_per_word', 'bits_per_byte', 'num_tokens')
  for view in ALL:
    for name in five:
      assert name in results[view]
      assert results[view][name] is not None or results[view][f'{name}_reason']
    assert results[view]['beyond_reach']['num_tokens'] > 0
  assert results['split'] == 'validation'
  assert results['corpus'] == {'sha256': 'abc'}
  assert results['num_documents'] == len(LENGTHS)
  leaves = jax.tree.leaves(toy.build(CONTINUOUS, spread=SPREAD)[1])
  assert results['cost']['num_parameters'] == sum(leaf.size for leaf in leaves)
  assert results['settings']['model']['memory']['num_basis'] == CONTINUOUS.memory.num_basis
  json.dumps(results, allow_nan=False)


def test_every_token_is_counted_once_and_idle_lanes_are_not_counted(results):
  reach = 2 * toy.LENGTH
  assert results['memory']['num_tokens'] == results['emptied']['num_tokens'] == sum(LENGTHS)
  beyond = sum(max(0, n - reach) for n in LENGTHS)
  assert results['memory']['beyond_reach']['num_tokens'] == beyond
  table = losses_of(split_of(*LENGTHS), num_lanes=4, segments_per_chunk=3)
  rows = [(d, s) for d, n in enumerate(LENGTHS) for s in range(-(-n // toy.LENGTH))]
  assert list(zip(table.document_r, table.segment_r, strict=True)) == rows


def test_the_loss_of_a_segment_does_not_depend_on_lanes_or_chunks():
  table, other = (losses_of(split_of(*LENGTHS), *lanes_and_chunk) for lanes_and_chunk in ((4, 3), (5, 1)))
  for view in ('memory', 'emptied'):
    assert toy.error(table.nll_nats_r[view], other.nll_nats_r[view]) < toy.TOLERANCE


def test_losses_equal_those_of_the_model_on_single_documents():
  trained, split = toy.trained(CONTINUOUS, spread=SPREAD), split_of(*LENGTHS)
  alone = StoredSplit.from_tokens([split.tokens(0)])
  sizes = {'segment_length': toy.LENGTH, 'segments_per_chunk': 13}
  (batch,) = evaluation_batches(alone, 0, num_lanes=1, lanes=range(1), **sizes)
  model = trained.model()
  output = jax.jit(lambda batch: trained.model()(batch, model.init_state(1)))(batch)
  nll_bsl = np.where(batch.ok_bsl, model.vocabulary.token_losses(output.hidden_bsld, batch.targets_bsl), 0)
  table = losses_of(split, num_lanes=4, segments_per_chunk=3)
  first = table.document_r == 0
  assert toy.error(table.nll_nats_r['memory'][first], nll_bsl[0].sum(-1)) < toy.TOLERANCE


def test_controls_change_only_losses_beyond_the_reach_of_the_window():
  table = losses_of(split_of(*LENGTHS), 4, 3, views=ALL)
  beyond = table.segment_r >= 2
  for view in ('emptied', 'exchanged'):
    change = np.abs(table.nll_nats_r[view] - table.nll_nats_r['memory'])
    assert change[~beyond].max() < toy.TOLERANCE
    assert change[beyond & table.ok_r[view]].min() > 10 * toy.TOLERANCE


def test_segments_without_another_filled_memory_are_excluded_from_the_exchange():
  # Six segments in one lane, three in the other. Memories are filled from the third segment on. The last
  # three segments of the first lane have no other lane to exchange with.
  results = run(split=split_of(6 * toy.LENGTH, 3 * toy.LENGTH))
  assert results['exchanged']['num_segments_left_out'] == 3
  assert results['exchanged']['num_tokens'] == 6 * toy.LENGTH
  assert results['exchanged']['beyond_reach']['num_tokens'] == 2 * toy.LENGTH


def test_without_a_long_memory_there_are_no_controls():
  results = run(toy.config())
  for view in ('emptied', 'exchanged'):
    assert results[view] is None
    assert results[f'{view}_reason'] == 'the model has no long-term memory'
  assert results['memory']['beyond_reach']['num_tokens'] > 0


@pytest.mark.slow
def test_the_recall_of_an_approximate_search_is_in_the_results():
  """It covers all reads, does not depend on the chunks, and excludes the auxiliary losses of training."""
  config, views = toy.config(toy.small('neighbours', search='approximate')), ('memory',)
  found = [run(config, views=views, **sizes)['memory'] for sizes in ({}, {'segments_per_chunk': 1})]
  assert found[0]['neighbours_recall'] == pytest.approx(1.0)  # On a CPU the search is exact.
  assert found[1]['neighbours_recall'] == pytest.approx(found[0]['neighbours_recall'])
  short = run(config, split_of(toy.LENGTH), views)['memory']
  assert short['neighbours_recall'] is None
  assert short['neighbours_recall_reason'] == 'nothing was read from the memory'


def test_one_lane_has_no_other_lane_to_exchange_with():
  results = run(batch_size=1, views=('memory', 'exchanged'))
  assert results['exchanged'] is None
  assert 'evaluation.batch_size = 1' in results['exchanged_reason']
  assert results['memory']['num_tokens'] == sum(LENGTHS)


def test_there_are_no_more_lanes_than_documents():
  """Two documents use two of five lanes, and each reads the memory of the other."""
  two, shapes = split_of(50, 24), []
  seen = perplexity.segment_losses

  def spy(trained, batches, num_lanes, **others):
    shapes.append(num_lanes)
    return seen(trained, batches, num_lanes, **others)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(perplexity, 'segment_losses', spy)
    results = run(split=two, batch_size=5)
    alone = run(split=two, batch_size=5, max_tokens=50)
  assert shapes == [2, 1]
  assert results['memory']['loss_nats_per_token'] == pytest.approx(
    run(split=two, batch_size=1, views=('memory',))['memory']['loss_nats_per_token'], rel=1e-6
  )
  assert results['exchanged']['num_tokens'] > 0
  assert alone['exchanged_reason'].startswith('one document is evaluated')


def test_max_tokens_cuts_documents_and_explains_missing_figures():
  results = run(max_tokens=60)
  assert results['memory']['num_tokens'] == 60
  assert results['memory']['perplexity_per_word'] is None
  assert 'max_tokens' in results['memory']['perplexity_per_word_reason']
  assert run(max_tokens=53)['memory']['perplexity_per_word'] is not None  # Two whole documents.


def test_evaluated_text_that_the_tokenizer_cannot_spell_has_no_perplexity_per_word(tmp_path):
  tokenizer = write_sentencepiece(tmp_path / 'own.model')
  texts = tokenizer.encode_batch(['hello world', 'hello \N{CJK UNIFIED IDEOGRAPH-6F22} world'])
  same = {'split': StoredSplit.from_tokens(texts), 'tokenizer': tokenizer, 'batch_size': 1}
  results, first = (run(toy.config(num_layers=1), **same, max_tokens=n) for n in (None, len(texts[0])))
  assert results['unk_share'] == 1 / sum(map(len, texts))
  assert '1 of 10 targets are <unk>' in results['memory']['perplexity_per_word_reason']
  assert first['unk_share'] == 0
  assert first['memory']['perplexity_per_word'] > 1


def test_progress_reports_speed_and_remaining_time(monkeypatch):
  monkeypatch.setattr(perplexity, 'PROGRESS_SECONDS', 0.0)
  config, lines = EvaluationConfig(batch_size=4, segments_per_chunk=3), []
  corpus, trained = corpus_of(split_of(*LENGTHS)), toy.trained(CONTINUOUS, spread=SPREAD)
  evaluate(trained, corpus, config, views=('memory',), report=lines.append)
  assert len(lines) == 5 - 2  # No line for the first chunk, which compiles, and the last.
  assert re.fullmatch(r'evaluation: chunk 2 of 5, [\d,]+ tokens/s, 0:\d\d left', lines[0])


def test_the_number_of_lanes_must_be_a_multiple_of_the_devices_that_split_them():
  mesh = jax.sharding.AbstractMesh((2, 4, 2), ('data', 'fsdp', 'tensor'))
  trained = dataclasses.replace(toy.trained(CONTINUOUS), mesh=mesh)
  with pytest.raises(ConfigError, match=r'evaluation\.batch_size = 12 .* data 2 × fsdp 4 .*; use 8 or 16'):
    evaluate(trained, corpus_of(split_of(*LENGTHS)), EvaluationConfig(batch_size=12))


def test_sizes_must_be_positive():
  with pytest.raises(ConfigError, match='max_tokens = 0'):
    EvaluationConfig(max_tokens=0)


ON_FOUR_DEVICES = """import jax, json; jax.config.update('jax_num_cpu_devices', 4)
from tests.evaluation.test_perplexity import run
assert jax.device_count() == 4
print(json.dumps(run(views=('memory', 'exchanged'))))
"""


def test_four_devices_give_the_same_results_as_one(results):
  command, environment = [sys.executable, '-c', ON_FOUR_DEVICES], os.environ | {'NPROC': toy.THREADS}
  four = json.loads(subprocess.check_output(command, env=environment))
  for view in ('memory', 'exchanged'):
    assert four[view]['num_tokens'] == results[view]['num_tokens']
    losses = (each[view]['loss_nats_per_token'] for each in (four, results))
    assert toy.error(*losses) < toy.TOLERANCE
