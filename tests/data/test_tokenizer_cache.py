"""A tokenizer is trained once per corpus, not once per run."""

import pytest

from infformer_jax.data import tokenizer_cache

TEXTS = ['the quick brown fox ' * 20]


def trained(tmp_path, key='key', texts=None, num_ids=270):
  return tokenizer_cache.trained(num_ids, key, texts or (lambda: pytest.fail('trained again')), tmp_path)


def test_the_same_documents_and_size_are_trained_on_once(tmp_path):
  first = trained(tmp_path, texts=lambda: TEXTS)
  assert trained(tmp_path) == first
  for changes in ({'key': 'other'}, {'num_ids': 280}):
    with pytest.raises(pytest.fail.Exception, match='trained again'):
      trained(tmp_path, **changes)


def test_a_damaged_tokenizer_is_trained_again_with_a_warning(tmp_path, capsys):
  first = trained(tmp_path, texts=lambda: TEXTS)
  (file,) = (tmp_path / 'tokenizers').glob('*.json')
  file.write_text(first.replace('"q"', '"z"'))
  assert trained(tmp_path, texts=lambda: TEXTS) == first
  assert capsys.readouterr().err == f'warning: {file} is damaged; the tokenizer is trained again\n'
  assert trained(tmp_path) == first
