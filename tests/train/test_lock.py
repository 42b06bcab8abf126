"""The lock that allows one training run at a time in a work directory."""

import pytest

from infformer_jax.errors import UserError
from infformer_jax.train.lock import lock


def test_the_work_directory_is_created_and_a_second_training_run_is_rejected(tmp_path):
  workdir = tmp_path / 'new' / 'W'
  with lock(workdir):
    assert workdir.is_dir()
    with pytest.raises(UserError, match=f'another run is training in {workdir}; .*--workdir'), lock(workdir):
      pass
  with lock(workdir):
    pass


def test_a_directory_that_cannot_be_created_is_a_user_error(tmp_path):
  (tmp_path / 'file').write_text('')
  error = f'cannot write to {tmp_path}/file/W: Not a directory'
  with pytest.raises(UserError, match=error), lock(tmp_path / 'file' / 'W'):
    pass


def test_an_error_in_the_block_keeps_its_type(tmp_path):
  with pytest.raises(BlockingIOError), lock(tmp_path):
    raise BlockingIOError
