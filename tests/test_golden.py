"""Layers and a model in float32, compared with published values; x64/test_golden.py uses float64."""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from tests.golden import (
  TOLERANCE_FLOAT32,
  TOLERANCE_FLOAT32_MODEL,
  compressive,
  lta,
  memorizing,
  transformer_xl,
)
from tests.golden.report import Report

FOLDER = pathlib.Path(__file__).parent / 'golden'


def values(name):
  """The file without gradients, because those of very narrow densities amplify the rounding error of μ."""
  with np.load(FOLDER / name, allow_pickle=False) as file:
    return {key: value for key, value in file.items() if '/grad' not in key and '/loss_' not in key}


@pytest.mark.parametrize('name', sorted(path.name for path in FOLDER.glob('lta_*.npz')))
def test_the_float32_memory_equals_the_published_float64(name):
  """For all four segments, without the histogram, which also amplifies the rounding error of μ."""
  report = Report(values(name))
  lta.check(report, jnp.float32)
  errors = {key: error for key, error in report.largest().items() if key != 'p'}
  assert {'B', 'mu', 'sigma_sq', 'r', 'context', 'kl_reg', 'xm_tau'} <= set(errors)
  assert max(errors.values()) < TOLERANCE_FLOAT32, errors


def test_the_float32_transformer_xl_equals_the_published_float64():
  report = Report(values('transformer_xl.npz'))
  transformer_xl.check(report, 'float32')
  assert {'logits', 'loss', 'new_mems/1', 'attn_prob/1'} <= set(report.largest())
  assert max(report.errors.values()) < TOLERANCE_FLOAT32_MODEL, report.largest()


def test_the_float32_neighbours_equal_the_published_float64():
  report = Report(values('memorizing.npz'))
  memorizing.check(report, 'float32')
  assert {f'{case}/{name}' for case in ('basic', 'partial') for name in ('y', 'topk_idx')} <= set(
    report.errors
  )
  assert max(report.errors.values()) < TOLERANCE_FLOAT32, report.errors


def test_the_float32_compressive_layer_equals_the_published_float64():
  report = Report(values('compressive.npz'))
  compressive.check(report, jnp.float32)
  assert {'conv/out', 'full/out', 'full/new_cmem', 'full/attn_comp', 'full/aux_loss'} <= set(report.errors)
  assert max(report.errors.values()) < TOLERANCE_FLOAT32, report.errors
