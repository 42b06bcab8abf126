"""`python -m tests.golden`: parity with the published code, and tests of the checkers."""

import json
import pathlib

import numpy as np
import pytest
import scipy.special

from tests import reference
from tests.golden import TOLERANCE, published, published_compressive, published_memorizing, transformer_xl
from tests.golden.__main__ import main
from tests.golden.check import check
from tests.golden.report import relative_error

FOLDER = pathlib.Path(__file__).parents[1] / 'golden'
FILES = sorted(path.name for path in FOLDER.glob('*.npz'))
LTA = 'lta_gpt2_small_sticky_mask.npz'


def load(name):
  with np.load(FOLDER / name, allow_pickle=False) as file:
    return dict(file)


@pytest.mark.parametrize('name', FILES)
def test_the_library_equals_the_published_code(name, capsys):
  assert main([str(FOLDER / name)]) == 0, capsys.readouterr().out


def test_only_the_inputs_are_taken_from_a_file():
  """If all other arrays are overwritten, our results do not change, and every comparison fails."""
  arrays = load(LTA)
  names = ('k', 'q', 'w', 'ts')
  inputs = {f'seg{i}/{name}' for i in range(4) for name in names} - {'seg0/ts', 'seg2/w', 'seg3/w'}
  inputs |= {key for key in arrays if key.startswith('param/')} - {'param/proj_query.weight'} | {'meta'}
  settings = {'bins', 'samples'}  # Only their numbers are used.
  destroyed = {
    key: value if key in inputs | settings else np.full_like(value, 1e9) for key, value in arrays.items()
  }
  report = check(destroyed)
  assert report.inputs == inputs
  assert {key for key, error in report.errors.items() if error < 0.9} == settings
  assert len(report.errors) > 80
  assert set(arrays) == report.inputs | set(report.errors) | set(report.reasons)


SETTINGS = {
  'odd lengths, other widths and mean': (
    {**published.GPT2, 'L': 13, 'sigmas': [0.03, 0.06, 0.2], 'nb': 9, 'mu_0_used': 0.5, 'sigma_0': 0.1},
    {},
  ),
  'gpt2 sparsemax, no gate, stride': (
    {**published.GPT2, 'attn_func': 'sparsemax', 'mask': False, 'r_stride': 3, 'sigmas': [0.05, 0.2]},
    {},
  ),
  'sorting, gate, sticky': ({**published.SORTING, 'sticky': True, 'mask': True, 'H': 3}, {'num_samples': 16}),
  'sorting without affines, first segment longer': (
    {**published.SORTING, 'affines': False, 'tau': 0.4, 'd_model': 7},
    {'lengths': [18, 12, 12]},
  ),
}


@pytest.mark.parametrize('name', SETTINGS)
def test_other_files_in_the_lta_format_pass(name):
  meta, options = SETTINGS[name]
  report = check(published.make(meta, **options))
  assert not report.uncovered
  assert set(report.reasons) <= {'param/proj_query.weight'}
  assert {'seg2/context', 'seg2/kl_reg', 'seg1/xm_tau', 'G_inf', 'positions_inf'} <= set(report.errors)
  assert max(report.errors.values()) < TOLERANCE, report.largest()


@pytest.mark.parametrize(
  'settings',
  [
    {'pre_lnorm': True, 'mem_len': 8},
    {'tie_weight': False, 'mem_len': 0},
    {'same_length': True, 'mem_len': 8, 'clamp_len': 5},
  ],
  ids=lambda settings: ', '.join(f'{key} {value}' for key, value in settings.items()),
)
def test_other_transformer_xl_files_pass(settings):
  """Their values come from tests/reference."""
  meta = json.loads(str(load('transformer_xl.npz')['meta'])) | {'tgt_len': 4, 'bsz': 2} | settings
  rng, arrays = np.random.default_rng(0), {'meta': np.array(json.dumps(meta))}
  params = {key: value for key, value in load('transformer_xl.npz').items() if key.startswith('param/')}
  arrays |= {key: value + 0.1 * rng.normal(size=value.shape) for key, value in params.items()}
  if meta['tie_weight']:
    arrays['param/crit.out_layers.0.weight'] = arrays['param/word_emb.emb_layers.0.weight']
  arrays['param/pos_emb.inv_freq'] = params['param/pos_emb.inv_freq']
  tokens = rng.integers(50, size=(2, 13))

  config = transformer_xl.model_config(meta, 'float64')
  published_params = {key.removeprefix('param/'): value for key, value in arrays.items()}
  ours = transformer_xl.Model(config, 50, published_params).ours(published_params)
  lanes = [reference.run(config, ours, lane[:-1]) for lane in tokens]
  for i in range(3):
    part = slice(4 * i, 4 * i + 4)
    logits = np.stack([lane.logits_tv[part] for lane in lanes], axis=1)
    target = tokens[:, 1:].T[part]
    nll = scipy.special.logsumexp(logits, axis=-1) - np.take_along_axis(logits, target[..., None], 2)[..., 0]
    hidden = np.stack([lane.hidden_td for lane in lanes], axis=1)
    found = {
      'inp': tokens[:, :-1].T[part],
      'target': target,
      'hidden': hidden[part],
      'logits': logits,
      'loss': nll,
    }
    if meta['mem_len']:
      found['new_mems/2'] = hidden[: part.stop][-meta['mem_len'] :]
    arrays |= {f'seg{i}/{name}': value for name, value in found.items()}

  report = check(arrays)
  assert not report.uncovered
  assert not report.reasons
  assert max(report.errors.values()) < TOLERANCE, report.largest()


def test_other_memorizing_files_pass():
  """Fewer keys than requested, no keys, a window that is not a segment, and a missing case."""
  cases = {'few': published_memorizing.FEW, 'large': published_memorizing.LARGE}
  arrays = published_memorizing.make(cases)
  arrays['meta'] = np.array(json.dumps(cases | {'absent': published_memorizing.FEW}))
  report = check(arrays)
  assert not report.uncovered
  assert not report.reasons
  assert {f'{case}/{name}' for case in cases for name in ('y', 'y_ext', 'topk_idx')} <= set(report.errors)
  assert max(report.errors.values()) < TOLERANCE, report.largest()
  arrays['few/y'] = arrays['few/y'] + 1e-6
  assert check(arrays).errors['few/y'] > TOLERANCE


@pytest.mark.parametrize(
  'meta',
  [(6, 8, 2, 3, 6, 4, 6, 4), (8, 12, 3, 2, 16, 5, 16, 3), (8, 8, 1, 4, 3, 6, 0, 0), (8, 8, 2, 4, 8, 8, 4, 0)],
  ids=['full', 'a longer memory', 'no memory', 'a memory half full'],
)
def test_other_compressive_files_pass(meta):
  report = check(published_compressive.make(meta))
  assert not report.uncovered
  assert {'full/out', 'full/new_cmem', 'full/compressed_mem'} <= set(report.errors)
  assert ('full/aux_loss' in report.errors) == (meta[6] > 0)
  assert all('port compares' in reason for reason in report.reasons.values())
  assert max(report.errors.values()) < TOLERANCE, report.largest()


def test_a_compressive_file_without_compressed_tokens_passes():
  report = check(published_compressive.make((8, 8, 2, 4, 8, 8, 0, 0)))
  assert {'full/out', 'full/new_mem', 'full/aux_loss'} <= set(report.errors)
  assert not report.uncovered
  assert max(report.errors.values()) < TOLERANCE, report.largest()


def test_gradients_of_a_compressive_file_are_compared():
  """Small errors in gradients of the compressor are detected, and gradients that must not exist."""
  arrays = load('compressive.npz')
  arrays['full/grad_aux/conv.bias'] = arrays['full/grad_aux/conv.bias'] * (1 + 1e-8)
  arrays['full/grad_aux/to_kv.weight'] = np.full((64, 32), 1e-8)
  beyond = {key for key, error in check(arrays).errors.items() if error > TOLERANCE}
  assert beyond == {'full/grad_aux/conv.bias', 'full/grad_aux/to_kv.weight'}


@pytest.fixture
def small():
  return published.make({**published.SORTING, 'nb': 4, 'L': 6, 'Q': 2, 'Bt': 1}, num_samples=4)


def test_an_error_beyond_the_tolerance_exits_1(small, tmp_path, capsys):
  context = small['seg2/context'].copy()
  context[0, 0, 0] += 1e-8 * np.abs(context).max()
  np.savez(tmp_path / 'changed.npz', **small | {'seg2/context': context})
  assert main([str(tmp_path / 'changed.npz')]) == 1
  lines = [line for line in capsys.readouterr().out.splitlines() if 'ABOVE' in line]
  assert [line.split()[0] for line in lines] == ['context']


@pytest.mark.parametrize('change', ['attention', 'setting', 'parameter', 'format', 'bytes'])
def test_a_file_without_covered_arrays_exits_2(small, change, tmp_path, capsys):
  meta = json.loads(str(small['meta']))
  if change == 'attention':
    small['meta'] = np.array(json.dumps(meta | {'attn_func': 'gibbs'}))
  elif change == 'setting':
    small['meta'] = np.array(json.dumps({key: meta[key] for key in meta if key != 'tau'}))
  elif change == 'parameter':
    del small['param/mu.weight']
  elif change == 'format':
    small = {'a': np.ones(3)}
  path = tmp_path / 'file.npz'
  np.savez(path, **small)
  if change == 'bytes':
    path.write_bytes(b'no archive')
  assert main([str(path)]) == 2
  said = {
    'attention': 'gibbs',
    'setting': "'tau'",
    'parameter': 'mu.weight',
    'format': 'no checker',
    'bytes': 'cannot be read',
  }
  assert said[change] in capsys.readouterr().out


def test_no_file_is_an_error(capsys):
  assert main([]) == 2
  assert 'usage' in capsys.readouterr().out


def test_an_array_that_no_rule_covers_is_reported_as_unchecked(small):
  report = check(small | {'seg0/surprise': np.ones(2)})
  assert 'no rule' in report.reasons['seg0/surprise']


def test_errors_are_relative_to_the_largest_value():
  assert relative_error([1.0, 101.0], np.array([1.0, 100.0])) == pytest.approx(0.01)
  assert relative_error([np.nan], np.ones(1)) == np.inf
  assert relative_error([1.0], np.ones(2)) == np.inf
  assert relative_error([0.5], np.zeros(1)) == 0.5
