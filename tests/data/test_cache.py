"""The cache directory: marked as one, locked, and named in errors."""

import pytest

from infformer_jax.data import cache
from infformer_jax.errors import UserError


def test_the_directory_is_marked_as_a_cache(tmp_path):
  with cache.locked(tmp_path / 'C', 'tokens', 'x') as folder:
    assert folder == tmp_path / 'C' / 'tokens'
  assert (
    (tmp_path / 'C' / 'CACHEDIR.TAG').read_text().startswith('Signature: 8a477f597d28d172789f06886806bc55\n')
  )


def test_a_directory_that_cannot_be_written_is_an_error_that_names_the_key(tmp_path):
  (tmp_path / 'C').write_text('a file where the directory should be')
  with (
    pytest.raises(UserError, match=r'^cannot write to data\.cache_dir = .*/C: .*; make space there, or use'),
    cache.locked(tmp_path / 'C', 'tokens', 'x'),
  ):
    pass
