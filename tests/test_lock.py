"""Locks on a disk and in a bucket."""

import pytest

from infformer_jax.lease import Held
from infformer_jax.lock import lock


@pytest.fixture
def path(place, tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  return place / 'new' / 'lock'


def test_a_lock_excludes_others_until_its_end(path):
  with lock(path, pytest.fail), pytest.raises(Held), lock(path, pytest.fail):
    pass
  with lock(path, pytest.fail):
    pass


def test_an_error_in_the_block_keeps_its_type(path):
  with pytest.raises(BlockingIOError), lock(path, pytest.fail):
    raise BlockingIOError
