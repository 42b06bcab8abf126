"""The removal of tokens that no file of a work directory refers to."""

import fcntl

from infformer_jax.data import token_cache, tokenizers
from infformer_jax.data.documents import Document, InMemoryDocuments
from infformer_jax.data.unused_tokens import remove_unused_tokens
from infformer_jax.files import write_json

BYTES = tokenizers.Bytes()


def folders(folder):
  return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_tokens_that_no_file_refers_to_are_removed(tmp_path):
  cache = tmp_path / 'tokens'

  def corpus(split, text):
    before = folders(cache) if cache.exists() else []
    loaded, facts = token_cache.tokenized(InMemoryDocuments([Document('a', text)]), BYTES, cache, split)
    (name,) = set(folders(cache)) - set(before)
    return name, loaded, {'tokenizer_sha256': BYTES.identity, 'splits': {split: facts}}

  trained, _, data = corpus('train', 'documents of the run')
  old, mapped, _ = corpus('train', 'documents of the run before they changed')
  other, _, evaluated = corpus('test', 'another book')
  unused, _, _ = corpus('test', 'documents of the run')  # of this split, no file refers to them
  earlier = ('train_0123456789abcdef', 'train_0123456789abcdef.01234567.partial', 'test.01234567.partial')
  for name in (*earlier, 'of the user'):
    (cache / name).mkdir()
  (cache / 'bpe_280.json').write_text('{}')
  write_json(tmp_path / 'data.json', data)
  write_json(tmp_path / 'results_other.json', {'corpus': evaluated})
  (tmp_path / 'results_damaged.json').write_text('{')

  with open(cache / 'lock', 'a') as file:  # Another process writes tokens.
    fcntl.flock(file, fcntl.LOCK_EX)
    remove_unused_tokens(tmp_path)
  assert {old, unused, *earlier} <= set(folders(cache))
  remove_unused_tokens(tmp_path)
  assert folders(cache) == sorted([trained, other, 'of the user'])
  assert (cache / 'bpe_280.json').is_file()
  assert BYTES.decode(mapped.tokens(0)) == 'documents of the run before they changed'
  (tmp_path / 'results_other.json').unlink()
  remove_unused_tokens(tmp_path)
  assert folders(cache) == sorted([trained, 'of the user'])


def test_nothing_is_created_where_there_are_no_tokens(tmp_path):
  remove_unused_tokens(tmp_path)
  assert not any(tmp_path.iterdir())
