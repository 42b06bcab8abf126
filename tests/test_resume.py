"""What a run and the one that resumes it share: documents, tokenizer and initial parameters."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest

from infformer_jax import resume
from infformer_jax.data.base import Corpus
from infformer_jax.data.text import TextConfig
from infformer_jax.data.tokenizers import Bytes
from infformer_jax.errors import UserError
from infformer_jax.experiment import Experiment
from infformer_jax.files import write_json
from infformer_jax.train.checkpoint import Checkpoints
from tests import toy

TRAIN, VALIDATION = {'documents': 2, 'sha256': 'a'}, {'documents': 1, 'sha256': 'b'}


def experiment(**changes):
  asked = Experiment(
    model=toy.config(toy.small('none')), data=TextConfig(source_dir='new', tokenizer='bytes')
  )
  return dataclasses.replace(asked, **changes)


def corpus(tokenizer='t', **splits):
  facts = {'train': TRAIN, 'validation': VALIDATION} | splits
  return Corpus(
    tokenizer=Bytes(),
    splits={},
    fingerprint={'source_dir': 'anywhere', 'tokenizer_sha256': tokenizer, 'splits': facts},
    note='',
  )


def parameters(value):
  return {'params/w': np.full(3, value, np.float32)}


def saved(workdir, value):
  checkpoints = Checkpoints(workdir / 'checkpoints', warn=pytest.fail)
  run = {'data_position': 1, 'totals': {}, 'best': None}
  checkpoints.save(1, {'params': {'w': np.full(3, value, np.float32)}}, run, best=None)
  checkpoints.wait()
  return str(workdir)


def test_other_documents_or_another_tokenizer_are_rejected_with_their_key(tmp_path):
  record = resume.data_record(experiment(), tmp_path, corpus(), None)
  assert record == corpus().fingerprint
  write_json(tmp_path / 'data.json', record)
  other = {'documents': 2, 'sha256': 'c'}
  for now, message in (
    (
      corpus(train=other),
      r"the training documents have changed .*\(data\.source_dir = 'new'\): .*sha256 c, not ",
    ),
    (corpus(tokenizer='u'), r"the tokenizer has changed .* \(data\.tokenizer = 'bytes'\): u, not t; give"),
  ):
    with pytest.raises(UserError, match=message):
      resume.data_record(experiment(), tmp_path, now, None)
  # Validation documents may change; of two runs of a sweep they must be the same.
  resume.data_record(experiment(), tmp_path, corpus(validation=other), None)
  with pytest.raises(UserError, match="the documents of the split 'validation' have changed since"):
    resume.data_record(experiment(), tmp_path / 'point', corpus(validation=other), None, like=tmp_path)


def test_a_run_without_a_checkpoint_needs_the_parameters_that_it_starts_from(tmp_path):
  missing = experiment(init_from=str(tmp_path / 'none,seed=3'))
  with pytest.raises(UserError, match='init_from = .*none,seed=3 has no checkpoint; use the directory of'):
    resume.require_initial_parameters(missing, tmp_path / 'W')
  resume.require_initial_parameters(experiment(), tmp_path / 'W')
  resume.require_initial_parameters(missing, pathlib.Path(saved(tmp_path / 'started', 1)))
  there = experiment(init_from=saved(tmp_path / 'trunk', 1))
  resume.require_initial_parameters(there, tmp_path / 'W')


def test_initial_parameters_may_move_but_not_differ(tmp_path):
  old, other = saved(tmp_path / 'old', 1), saved(tmp_path / 'other', 2)
  first = experiment(init_from=old)
  record = resume.data_record(first, tmp_path, corpus(), parameters(1))
  write_json(tmp_path / 'data.json', record)
  write_json(tmp_path / 'config.json', dataclasses.asdict(first))
  with pytest.raises(UserError, match='does not have the parameters from which .*; give those of the run'):
    resume.data_record(first, tmp_path, corpus(), parameters(2))
  shutil.move(old, tmp_path / 'new')
  for path in (old, str(tmp_path / 'new')):  # If the path is the same, nothing is read.
    assert resume.data_record(experiment(init_from=path), tmp_path, corpus(), None) == record
  with pytest.raises(UserError, match=rf'other does not have the parameters .*; use init_from = {old}'):
    resume.data_record(experiment(init_from=other), tmp_path, corpus(), None)
  write_json(tmp_path / 'data.json', corpus().fingerprint)  # as an earlier version of the package
  assert resume.data_record(first, tmp_path, corpus(), None) == corpus().fingerprint
  with pytest.raises(UserError, match=rf'cannot be compared with {old}.*; use init_from = {old}'):
    resume.data_record(experiment(init_from=other), tmp_path, corpus(), None)
