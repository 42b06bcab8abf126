"""Compression functions, compared with loops over single tokens."""

import jax
import numpy as np
import pytest

from infformer_jax.core import compression
from infformer_jax.errors import ConfigError
from tests import toy

B, L, D, E = 2, 12, 3, 5
RATES = (1, 3, 4, 12)


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(toy.DTYPE)


X = normal(0, B, L, D)


def cells(x_ld, rate):
  return [x_ld[start : start + rate] for start in range(0, len(x_ld), rate)]


def around(x_ld, w_3de, b_e, step):
  """x + relu(convolution of width 3), computed token by token."""
  out = []
  for i, x_d in enumerate(x_ld):
    seen = [(tap, i + (tap - 1) * step) for tap in range(3)]
    total = b_e + sum(x_ld[at] @ w_3de[tap] for tap, at in seen if 0 <= at < len(x_ld))
    out.append(x_d + np.maximum(total, 0))
  return np.array(out)


@pytest.mark.parametrize('rate', RATES)
def test_pooling_reduces_every_cell(rate):
  for pool, reduce in ((compression.mean_pool, np.mean), (compression.max_pool, np.max)):
    expected = [[reduce(cell, axis=0) for cell in cells(x_ld, rate)] for x_ld in X]
    assert toy.error(pool(X, rate), np.array(expected)) < toy.TOLERANCE


@pytest.mark.parametrize('rate', RATES)
def test_convolutions_cover_their_cell_and_dilated_ones_its_neighbourhood(rate):
  w_cde, b_e = normal(1, rate, D, E), normal(2, E)
  kernels = [(normal(3 + i, 3, D, D), normal(9 + i, D)) for i in range(len(compression.dilations(rate)))]
  plain, dilated = [], []
  for x_ld in X:
    plain.append([sum(x_d @ w for x_d, w in zip(c, w_cde, strict=True)) + b_e for c in cells(x_ld, rate)])
    for i, (w_3de, bias_e) in enumerate(kernels):
      x_ld = around(x_ld, w_3de, bias_e, 2**i)
    dilated.append([sum(x_d @ w for x_d, w in zip(c, w_cde, strict=True)) + b_e for c in cells(x_ld, rate)])
  assert toy.error(compression.convolve(X, w_cde, b_e), np.array(plain)) < toy.TOLERANCE
  assert toy.error(compression.dilated(X, tuple(kernels), w_cde, b_e), np.array(dilated)) < toy.TOLERANCE


def test_a_dilated_slot_depends_on_the_tokens_around_its_cell():
  rate = 4
  kernels = [(normal(3 + i, 3, D, D), normal(9 + i, D)) for i in range(2)]

  def slot(x_bld):
    return compression.dilated(x_bld, tuple(kernels), normal(1, rate, D, E), normal(2, E))[0, 1].sum()

  seen_l = np.abs(jax.grad(slot)(100 * X)[0]).max(axis=-1) > 0
  assert seen_l[4:8].all()
  assert seen_l[:4].any()
  assert seen_l[8:].any()
  assert not seen_l[[0, 11]].any()  # 3 tokens on either side: 1 from the first layer, 2 from the second.


@pytest.mark.parametrize('rate', RATES)
def test_most_used_selects_the_tokens_with_the_most_attention_in_temporal_order(rate):
  received_bl = np.abs(normal(5, B, L))
  x_bmd, index_bm = compression.most_used(X, received_bl, rate)
  for b in range(B):
    kept = set(np.argsort(-received_bl[b])[: L // rate])
    assert index_bm[b].tolist() == sorted(kept)
    np.testing.assert_array_equal(x_bmd[b], X[b, sorted(kept)])


def test_most_used_keeps_the_older_of_equally_used_tokens():
  _, index_bm = compression.most_used(X, np.ones((B, L), toy.DTYPE), 4)
  assert index_bm.tolist() == [[0, 1, 2]] * B


def test_every_slot_expands_to_its_tokens():
  w_cde, b_ce = normal(1, 4, D, E), normal(2, 4, E)
  expected = np.stack([X[:, l // 4] @ w_cde[l % 4] + b_ce[l % 4] for l in range(4 * L)], axis=1)
  assert toy.error(compression.expand(X, w_cde, b_ce), expected) < toy.TOLERANCE


def test_the_reconstruction_loss_compares_content_based_reads():
  q_blhk, old, new = (normal(1, B, 4, 2, 3), *(normal(2 + i, 2, B, 6 - 3 * i, 2, 3) for i in range(2)))

  def read(q_k, k_mk, v_mk):
    weights_m = np.exp(k_mk @ q_k / np.sqrt(3))
    return weights_m @ v_mk / weights_m.sum()

  error_bl = np.zeros((B, 4))
  for b, l, h in np.ndindex(B, 4, 2):
    reads = [read(q_blhk[b, l, h], k[b, :, h], v[b, :, h]) for k, v in (old, new)]
    error_bl[b, l] += ((reads[0] - reads[1]) ** 2).mean() / 2
  actual = compression.attention_reconstruction(q_blhk, tuple(old), tuple(new))
  assert toy.error(actual, error_bl) < toy.TOLERANCE
  assert not compression.attention_reconstruction(q_blhk, tuple(old), tuple(old)).any()


def test_a_rate_that_does_not_divide_the_segment_is_rejected():
  with pytest.raises(ConfigError, match='rate = 5 must divide a segment of 12 tokens; use 4 or 6'):
    compression.mean_pool(X, 5)
  with pytest.raises(ConfigError, match='use 6 or 12'):
    compression.most_used(X, X[:, :, 0], 11)
