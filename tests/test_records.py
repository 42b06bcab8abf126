"""The schema of inspections: saving and loading, and errors for files that do not conform to it."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest

from infformer_jax import records
from infformer_jax.errors import UserError
from tests.plotting.inspections import inspection


@pytest.fixture
def folder(tmp_path):
  inspection().save(tmp_path / 'inspection')
  return tmp_path / 'inspection'


def assert_same(actual, expected):
  """Asserts equal values, types, dtypes and orders of dicts, at any depth."""
  assert type(actual) is type(expected)
  if isinstance(expected, np.ndarray):
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
  elif dataclasses.is_dataclass(expected):
    for field in dataclasses.fields(expected):
      assert_same(getattr(actual, field.name), getattr(expected, field.name))
  elif isinstance(expected, dict):
    assert list(actual) == list(expected)
    for key in expected:
      assert_same(actual[key], expected[key])
  elif isinstance(expected, tuple):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
      assert_same(one, other)
  else:
    assert actual == expected


def change(file, path, change):
  """Applies a change to the entry of about.json with a path such as 'record/neighbours'."""
  about = json.loads(file.read_text())
  place = about
  *parents, last = path.split('/')
  for name in parents:
    place = place[name]
  change(place, last)
  file.write_text(json.dumps(about))


def test_a_loaded_inspection_equals_the_saved_one(folder):
  assert_same(records.Inspection.load(folder), inspection())
  assert sorted(path.name for path in folder.iterdir()) == ['about.json', 'arrays.npz']


def test_saving_again_replaces_the_files(folder):
  alone = dataclasses.replace(inspection(), signals={}, step=7)
  alone.save(folder)
  assert_same(records.Inspection.load(folder), alone)


def test_the_tokens_read_are_those_of_all_memories_with_writes(folder):
  record = records.Inspection.load(folder).record
  assert list(record.held_th) == ['layer 0, first', 'layer 1']
  record = dataclasses.replace(record, neighbours={})
  assert list(record.held_th) == ['layer 0, first']


def test_a_missing_field_is_an_error_with_its_name_and_a_remedy(folder):
  change(folder / 'about.json', 'record/continuous/layer 0, first/density_shj', lambda d, k: d.pop(k))
  message = (
    f"{folder}/about.json: no field 'record/continuous/layer 0, first/density_shj'; to write it again, run "
    f"'python -m infformer_jax.main --workdir={folder.parent}' with the other flags of that run"
  )
  with pytest.raises(UserError, match=f'^{re.escape(message)}$'):
    records.Inspection.load(folder)


def test_the_remedy_for_an_evaluation_contains_its_name(folder):
  longer = folder.rename(folder.with_name('inspection_much_longer'))
  (longer / 'arrays.npz').unlink()
  with pytest.raises(UserError, match='arrays.npz is missing; .* --mode=eval --name=much_longer'):
    records.Inspection.load(longer)


def test_an_unknown_field_is_an_error(folder):
  change(folder / 'about.json', 'record/densities', lambda d, k: d.update({k: {}}))
  with pytest.raises(UserError, match="about.json: unknown field 'record/densities'; "):
    records.Inspection.load(folder)


@pytest.mark.parametrize(
  'path', ['step', 'pieces', 'record', 'record/nll_t', 'signals/first_/reconstructions']
)
def test_a_field_of_another_type_is_an_error(folder, path):
  change(folder / 'about.json', path, lambda d, k: d.update({k: 1.5}))
  with pytest.raises(UserError, match=f'about.json: {path} = 1.5 must be of type '):
    records.Inspection.load(folder)


@pytest.mark.parametrize('renamed', ['record/nll_t', 'signals/first_/basis_tn'])
def test_a_renamed_array_is_an_error(folder, renamed):
  change(folder / 'about.json', renamed, lambda d, k: d.update({k: 'renamed'}))
  with pytest.raises(UserError, match=f"{renamed} = 'renamed' must be the name of an array in arrays.npz; "):
    records.Inspection.load(folder)


def test_an_array_without_a_field_is_an_error(folder):
  change(folder / 'about.json', 'record/emptied_nll_t', lambda d, k: d.update({k: None}))
  with pytest.raises(UserError, match="arrays.npz: unknown array 'record/emptied_nll_t'; "):
    records.Inspection.load(folder)


@pytest.mark.parametrize('name', ['about.json', 'arrays.npz'])
@pytest.mark.parametrize('content', [b'', b'{"step": ', b'[]'])
def test_a_damaged_file_is_an_error_with_its_name(folder, name, content):
  (folder / name).write_bytes(content)
  with pytest.raises(UserError, match=f'{folder}/{name}(:| is damaged)'):
    records.Inspection.load(folder)


def test_the_folder_of_a_relative_workdir_is_named_as_given(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match="^inspection/about.json is missing; .* --workdir=[.]' "):
    records.Inspection.load(pathlib.Path('inspection'))
