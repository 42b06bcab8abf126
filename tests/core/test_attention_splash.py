"""The splash kernel, interpreted: equal to attention over whole arrays, gradients too."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infformer_jax.core import attention, attention_splash
from infformer_jax.core.attention import Part, Queries, WeightDropout
from infformer_jax.core.positions import Buckets

B, L, M, H, KV_HEADS, K = 2, 128, 128, 2, 1, 4


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), 'float32')


def arguments(dtype='float32', *, length=L, size=K, **changes):
  """Queries and a window. In the first row one key exists, which the older queries do not see."""
  width = M + length
  ok_bm = jnp.asarray(np.random.default_rng(1).random((B, width)) < 0.8).at[0].set(False).at[0, 200].set(True)
  queries = Queries(
    q_blhk=normal(2, B, length, H, size).astype(dtype), offset_bl=jnp.arange(length, dtype='float32')[None]
  )
  part = Part(
    k_bmhk=normal(3, B, width, KV_HEADS, size).astype(dtype),
    v_bmhk=normal(4, B, width, KV_HEADS, size).astype(dtype),
    ok_bm=ok_bm,
    age_bm=M - jnp.arange(width, dtype='float32')[None],
    window='block',
    reach=M,
    consecutive=True,
  )
  return queries, [dataclasses.replace(part, **changes)]


@pytest.mark.skipif(jax.config.jax_enable_x64, reason='the kernel computes in float32')
@pytest.mark.parametrize('window', ['block', 'sliding'])
def test_the_kernel_equals_whole_arrays(window):
  queries, (part,) = arguments(window=window)
  assert attention_splash.covers(queries, [part], None)

  def results(attend):
    def total(q_blhk, k_bmhk, v_bmhk):
      changed = dataclasses.replace(part, k_bmhk=k_bmhk, v_bmhk=v_bmhk)
      context_blhk = attend(dataclasses.replace(queries, q_blhk=q_blhk), [changed])
      return (context_blhk * normal(5, B, L, H, K)).sum(), context_blhk

    if window == 'block':  # The masks of the gradients are those of the values.
      return total(queries.q_blhk, part.k_bmhk, part.v_bmhk)
    return jax.grad(total, (0, 1, 2), has_aux=True)(queries.q_blhk, part.k_bmhk, part.v_bmhk)

  actual = results(lambda *given: attention_splash.attend(*given, interpret=True))
  assert not actual[1][0, 0].any(), 'a query that sees no key'
  chex.assert_trees_all_close(actual, results(attention.attend), atol=1e-5, rtol=1e-5)


def test_the_kernel_covers_only_what_it_computes_exactly():
  def covered(dropout=None, more=(), scale_h=None, **settings):
    queries, parts = arguments(**settings)
    queries = dataclasses.replace(queries, scale_h=scale_h)
    return attention_splash.covers(queries, [*parts, *more], dropout)

  assert covered()
  assert covered(window='sliding', dtype='bfloat16')
  assert covered(scale_h=jnp.ones(H))
  assert not covered(scale_h=jnp.ones(H), dtype='bfloat16')
  assert not covered(size=8, dtype='bfloat16')
  assert not covered(window='past')
  assert not covered(consecutive=False)
  assert not covered(length=64)
  assert not covered(position=Buckets(table_jh=jnp.zeros((8, H))))
  assert not covered(more=arguments()[1])
  assert not covered(dropout=WeightDropout(key_b=jax.random.split(jax.random.key(0), B), rate=0.1))


def test_attention_is_lowered_to_the_kernel_only_for_a_tpu(monkeypatch):
  monkeypatch.setattr(attention, 'MIN_SCORES', 0)
  queries, parts = arguments()

  def total(q_blhk):
    return attention.attend(dataclasses.replace(queries, q_blhk=q_blhk), parts).sum()

  traced = jax.jit(jax.grad(total)).trace(queries.q_blhk)
  for platform in ('cpu', 'tpu', 'cuda', 'rocm'):
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ('tpu_custom_call' in text) == (platform == 'tpu')
    assert ('stablehlo.while' in text) == (platform in ('cpu', 'cuda'))
