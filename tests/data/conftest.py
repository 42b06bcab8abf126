"""Fixtures that the tests of data/ share."""

import uuid

import pytest

from infformer_jax import paths
from tests.data.books import run, write_books


@pytest.fixture(scope='session')
def prepared(tmp_path_factory):
  """The data_dir of a prepared PG-19 dataset."""
  root = tmp_path_factory.mktemp('pg19')
  assert run(write_books(root / 'copy'), root / 'data') == 0
  return root / 'data'


@pytest.fixture
def folder_in_bucket(bucket):
  """An empty folder in an emulated bucket."""
  return paths.parse(f'gs://bucket/{uuid.uuid4().hex}', 'data.source_dir')
