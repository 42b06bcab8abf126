"""Errors that end a run early: a one-line message and an exit code."""

import errno
import os

import aiohttp
import pytest
from google.api_core.exceptions import PermissionDenied

from infformer_jax import paths
from infformer_jax.errors import UserError
from infformer_jax.files import write_text
from infformer_jax.train.exits import (
  End,
  NotFiniteError,
  SaveError,
  Stopped,
  Terminated,
  UnreachableError,
  storage,
)


def test_the_error_for_a_value_that_is_not_finite_names_step_tensors_and_checkpoint():
  error = NotFiniteError(8, 'gradient of final_norm')
  assert str(error) == (
    'step 8: gradient of final_norm is not finite; checkpoint 7 holds the state before that step'
  )
  assert error.step == 8


def test_the_error_after_skipped_steps_names_their_number_and_the_limit():
  assert str(NotFiniteError(8, 'loss', skipped=2)).startswith(
    'step 8: loss is not finite after 2 skipped steps in a row (train.max_skipped_steps); checkpoint 7 '
  )


def test_termination_has_the_exit_code_of_the_signal_and_a_bucket_that_of_a_temporary_failure():
  assert (NotFiniteError.code, SaveError.code, Terminated.code) == (1, 1, 128 + 15)
  assert UnreachableError.code == os.EX_TEMPFAIL
  assert all(issubclass(each, Stopped) for each in (NotFiniteError, SaveError, Terminated, UnreachableError))


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_names_the_file_that_could_not_be_written(tmp_path, code):
  line = '^plots/loss.png: no space; free some space and run the same command again$'
  with pytest.raises(SaveError, match=line), storage(tmp_path):
    raise OSError(code, 'no space', 'plots/loss.png')
  with pytest.raises(SaveError, match=f'^{tmp_path}: no space; '), storage(tmp_path):
    raise OSError(code, 'no space')


def test_an_error_about_a_file_in_the_work_directory_is_one_line_with_its_name(tmp_path):
  line = f'^cannot use {tmp_path}/plots: File exists; correct this, or use another --workdir$'
  with pytest.raises(UserError, match=line), storage(tmp_path):
    raise OSError(errno.EEXIST, 'File exists', f'{tmp_path}/plots')
  (tmp_path / 'results.json').mkdir()
  line = f'^cannot use {tmp_path}/results.json: Is a directory; '
  with pytest.raises(UserError, match=line), storage(tmp_path):
    write_text(tmp_path / 'results.json', '{}')


def test_other_errors_keep_their_type(tmp_path):
  with pytest.raises(PermissionError), storage(tmp_path):
    raise OSError(errno.EACCES, 'Permission denied', '/texts/0.txt')
  with pytest.raises(PermissionError), storage(tmp_path):
    raise OSError(errno.EACCES, 'Permission denied')
  with pytest.raises(KeyError), storage(tmp_path):
    raise KeyError('loss')


@pytest.mark.parametrize('error', [aiohttp.ClientError('no'), OSError('no'), PermissionDenied('no')])
def test_a_bucket_out_of_reach_is_one_line_for_a_work_directory_in_it(error, tmp_path, bucket):
  workdir = paths.parse('gs://bucket/run', '--workdir')
  workdir.exists()  # Loads the libraries.
  line = '^gs://bucket/run: .*; run the same command again$'
  with pytest.raises(UnreachableError, match=line), storage(workdir):
    raise error
  with pytest.raises(type(error)), storage(tmp_path):
    raise error
  with pytest.raises(FileNotFoundError), storage(workdir):
    raise FileNotFoundError(errno.ENOENT, 'No such file or directory', '/texts')


def test_the_end_of_all_processes_names_the_one_that_is_its_reason_to_the_others():
  end = End(1, 'host', 2, 'error: no data')
  assert (end.seen_by(1), end.seen_by(0)) == ('error: no data', 'process 1 on host: error: no data')
  assert End(**end.message()['end']) == end
  died = End(1, 'host', 75, 'stopped: process 1 has ended', died=True)
  assert died.seen_by(0) == died.seen_by(1) == 'stopped: process 1 has ended'
