"""Memorizing Transformer: local attention to strictly past tokens, retrieval and gate of one layer.

A file holds cases, named by `meta`: T queries, M slots, K retrieved. Per case q_raw, k_raw before their
normalization, v; prev_k, normalized, and prev_v of the window before the queries; mem_k, mem_v, mem_valid;
attention_scale, shared by both softmaxes, gate_bias; pbias [h, queries, keys], any position bias, where the
library's are functions of the distance. Results: q, k normalized; y_local, topk_idx, topk_scores, y_ext,
gate, y; grad/* of Σ y·w. Where nothing is stored, y_ext is 0 and is still mixed into y; the gate of the
library is 0 there (tests/memory/test_contract.py).
"""

import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core import attention, nearest_neighbours
from tests.golden.report import NotCovered, Report

_LEARNED = ('q_raw', 'k_raw', 'v', 'attention_scale', 'gate_bias', 'pbias')


def matches(arrays: Mapping[str, np.ndarray]) -> bool:
  """Whether any case has retrieved slots."""
  return 'meta' in arrays and any(key.endswith('/topk_idx') for key in arrays)


def check(report: Report, dtype: Any = 'float64') -> None:
  """Checks every case in the file, in float64 or another dtype; `meta` may name more cases."""
  report.input('meta')
  report.unchecked(
    '.*/(y_bucket|bucket_idx)', "the published code's approximate search, which is specific to TPUs"
  )
  report.unchecked('.*/y(_ext)?_meliad_zeros', 'attends empty slots, as published; here they are masked')
  report.unchecked('.*/y_joint_softmax', 'one softmax over both, which is not the published model')
  for case, meta in json.loads(str(report.arrays['meta'])).items():
    if f'{case}/q_raw' not in report:
      continue
    try:
      _check_case(report, case, meta['K'], dtype)
    except (NotCovered, KeyError) as error:
      report.not_covered(case, f'something is missing: {error}')


def _check_case(report: Report, case: str, num: int, dtype: Any) -> None:
  def given(name: str) -> jax.Array:
    array = report.input(f'{case}/{name}')
    return jnp.asarray(array, bool if array.dtype == bool else dtype)

  learned = {name: given(name) for name in _LEARNED}
  w_blhk, ok_bm = given('w') if f'{case}/w' in report else None, given('mem_valid')
  older, stored = (given('prev_k'), given('prev_v')), (given('mem_k'), given('mem_v'))
  length, width = learned['q_raw'].shape[1], learned['pbias'].shape[2]
  reach = width - length
  age_w, offset_l = reach - jnp.arange(width, dtype=dtype), jnp.arange(length, dtype=dtype)
  mask_lw = attention.seen('past', offset_l[:, None] + age_w, reach)

  def forward(learned: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Computes the results with the functions that the trunk and the memory call."""
    scale_h = learned['attention_scale']
    q_blhk, k_blhk = attention.normalized(learned['q_raw']), attention.normalized(learned['k_raw'])
    k_bwhk, v_bwhk = (
      jnp.concatenate(pair, axis=1) for pair in zip(older, (k_blhk, learned['v']), strict=True)
    )
    # Any bias is a dot product: of the i-th unit vector for query i and a column of the bias for every key.
    unit_lhl = jnp.broadcast_to(jnp.eye(length, dtype=dtype)[:, None], (*q_blhk.shape[1:3], length))
    bias_whl = jnp.transpose(learned['pbias'], (2, 0, 1))
    q_and_unit, k_and_bias = (
      jnp.concatenate([a, jnp.broadcast_to(b, (*a.shape[:3], length))], axis=-1)
      for a, b in ((q_blhk, unit_lhl), (k_bwhk, bias_whl))
    )
    queries = attention.Queries(q_blhk=q_and_unit, offset_bl=offset_l[None], scale_h=jnp.abs(scale_h))
    window = attention.Part(
      k_bmhk=k_and_bias,
      v_bmhk=v_bwhk,
      ok_bm=jnp.ones(v_bwhk.shape[:2], bool),
      age_bm=age_w[None],
      window='past',
      reach=reach,
    )
    local_blhk = attention.attend(queries, [window])
    index_blhj = nearest_neighbours.search(q_blhk, stored[0], ok_bm, num)
    ok_blhj = jax.vmap(lambda ok_m, index_lhj: ok_m[index_lhj])(ok_bm, index_blhj)
    k_blhjk, v_blhjk = (nearest_neighbours.retrieve(slots, index_blhj) for slots in stored)
    retrieved_blhk = nearest_neighbours.attend(q_blhk, k_blhjk, v_blhjk, ok_blhj, scale_h[None])
    gate_h = jax.nn.sigmoid(learned['gate_bias'])
    return {
      'q': q_blhk,
      'k': k_blhk,
      'gate': gate_h,
      'y_local': local_blhk,
      'topk_idx': jnp.moveaxis(index_blhj, 1, 2),
      'topk_valid': jnp.moveaxis(ok_blhj, 1, 2),
      'topk_scores': jnp.einsum('blhk,blhjk->bhlj', q_blhk, k_blhjk) * jnp.abs(scale_h)[:, None, None],
      'y_ext': retrieved_blhk,
      'y': attention.mixed(local_blhk, retrieved_blhk, jnp.broadcast_to(gate_h, q_blhk.shape[:3])),
    }

  ours = jax.jit(forward)(learned)
  report.compare(f'{case}/causal_mask', mask_lw)
  valid_bhlj = ours['topk_valid']  # Other slots are empty.
  for name, value in ours.items():
    weight = valid_bhlj if name in ('topk_idx', 'topk_scores') else 1.0
    report.compare(f'{case}/{name}', value, weight=weight)
  if w_blhk is not None:
    gradients = jax.jit(jax.grad(lambda learned: (forward(learned)['y'] * w_blhk).sum()))(learned)
    for name, gradient in gradients.items():
      report.compare(f'{case}/grad/{name}', gradient)
