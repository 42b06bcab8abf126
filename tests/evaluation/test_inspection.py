"""The contents of an inspection: the document, the memory, and their records."""

from infformer_jax.data.base import Corpus, StoredSplit
from infformer_jax.data.tokenizers import Bytes
from infformer_jax.evaluation import inspection
from infformer_jax.records import Inspection
from tests import toy


def test_the_longest_document_and_the_memory_are_saved(tmp_path):
  tokenizer = Bytes()
  text = 'Größe <b> & 漢字\n' * 3
  texts = StoredSplit.from_tokens([tokenizer.encode('a'), tokenizer.encode(text)])
  corpus = Corpus(tokenizer=tokenizer, splits={'validation': texts}, fingerprint={}, note='')
  model = toy.config(toy.MEMORIES['continuous'])
  trained = toy.trained(model, vocabulary=tokenizer.vocab_size, step=5)
  inspection.inspect(trained, corpus, 'validation', tmp_path / 'inspection')
  assert sorted(path.name for path in (tmp_path / 'inspection').iterdir()) == ['about.json', 'arrays.npz']
  saved = Inspection.load(tmp_path / 'inspection')
  assert ''.join(saved.pieces) == text
  assert (saved.step, saved.split, saved.document) == (5, 'validation', 1)
  assert saved.segment_length == toy.LENGTH
  assert saved.memory['kind'] == 'continuous'
  assert saved.record.nll_t.shape == (len(saved.pieces),)
  assert saved.record.counts_t.all()
  assert saved.signals[''].basis_tn.shape[1] == model.memory.num_basis


def test_continuous_memories_in_stacks_are_found():
  assert inspection.continuous_configs(toy.small('none')) == {}
  assert list(inspection.continuous_configs(toy.MEMORIES['even'])) == ['']
  stack = toy.MEMORIES['stacked']
  assert inspection.continuous_configs(stack) == {'first_': stack.first}
