"""Paths of users: local ones and those in buckets."""

import importlib.util
import pathlib

import pytest
from etils import epath

from infformer_jax import paths
from infformer_jax.errors import ConfigError


def test_a_local_path_is_absolute_and_begins_at_the_home_directory_if_it_says_so(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert paths.parse('a/b', '--workdir') == epath.Path(tmp_path / 'a' / 'b')
  assert paths.parse('~/run', '--workdir') == epath.Path(pathlib.Path.home() / 'run')
  assert paths.is_local(paths.parse('a/b', '--workdir'))


def test_a_path_in_a_bucket_keeps_its_scheme():
  path = paths.parse('gs://bucket/run', '--workdir')
  assert not paths.is_local(path / 'config.json')
  assert str(path / 'config.json') == 'gs://bucket/run/config.json'
  assert str(path.parent) == 'gs://bucket'


@pytest.mark.parametrize('scheme', ['s3://', 'file://', 'hdfs://', 'gs:/'])
def test_another_scheme_is_refused_with_the_key_and_what_works(scheme):
  with pytest.raises(ConfigError) as caught:
    paths.parse(f'{scheme}b/run', 'data.source_dir')
  assert str(caught.value) == (
    f"data.source_dir = '{scheme}b/run' must be a local path or begin with gs://; {scheme} is not supported"
  )


def test_an_empty_path_and_one_without_a_bucket_are_refused():
  with pytest.raises(ConfigError, match="--workdir = '' must be a path"):
    paths.parse('', '--workdir')
  for text in ('gs://', 'gs:///run'):
    with pytest.raises(ConfigError, match=f"--workdir = '{text}' must name a bucket, as in gs://bucket/run"):
      paths.parse(text, '--workdir')


def test_a_bucket_without_its_libraries_names_the_extra(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ConfigError, match=r'--workdir = .* run: pip install infformer_jax\[gcs\]'):
    paths.parse('gs://bucket/run', '--workdir')
  assert paths.is_local(paths.parse('/run', '--workdir'))
