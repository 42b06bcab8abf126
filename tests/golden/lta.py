"""The published long-term memory attention: consecutive segments, each written and then read.

`meta` holds the settings (lta_case.py), param/* PyTorch weights. Per segment: k the values written, q the
queries, w a cotangent of the context; B, mu, sigma_sq, r, scores, context_pre (before the output
projection), context, kl_reg and kl_reg_nomu, reg_mask (the gate), xm_tau (samples of the past); sticky: p the
histogram and ts the points that were used; seg0, seg1: gradients of sum(context w) and mean(kl_reg), the past
detached.

Only inputs, parameters and ts are taken from the file; everything else is computed by `memory.continuous`.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core import basis as basis_lib
from infformer_jax.core import density, read, signal
from infformer_jax.core.signal_spec import even_points, first_times, later_times
from infformer_jax.memory.continuous import Continuous, ContinuousState
from infformer_jax.types import Read
from tests.golden.lta_case import Case, Params, unused
from tests.golden.report import Report


def matches(arrays: Mapping[str, np.ndarray]) -> bool:
  """Whether the file has settings and projections of the memory, written values and queries."""
  return {'meta', 'param/proj_key.weight', 'seg0/k', 'seg0/q'} <= set(arrays)


def check(report: Report, dtype: Any = jnp.float64) -> None:
  """Checks all segments of the file, in float64 or another dtype of the parameters."""
  case = Case(report, dtype)
  _check_constants(report, case)
  state, i = case.memory(case.later_length, case.params).init_state(case.batch, dtype), 0
  while f'seg{i}/k' in report:
    state = _check_segment(report, case, f'seg{i}', state, first=i == 0)
    i += 1
  report.unchecked(r'param/proj_query\.weight', 'not used: the queries in the file are projected')
  report.unchecked(r'seg\d+/bin_idx', 'the random draw for ts, which is an input')
  if case.config.density != 'gaussian':
    report.unchecked(r'seg\d+/p', 'the published code uses the masses of a Gaussian for every density')


def _check_constants(report: Report, case: Case) -> None:
  """Checks basis and operators, also those of a first write with another length."""
  basis = case.config.basis_spec()
  report.compare('basis_mu', basis.centres_n)
  report.compare('basis_sigma', basis.sigmas_n)
  report.compare('bins', density.bin_edges(case.config.histogram_bins))
  spec = case.config.signal_spec(case.later_length)
  report.compare('samples', basis_lib.evaluate_on_host(basis, even_points(spec.num_samples)))
  report.compare('positions_inf', later_times(spec)[0])
  constants = signal.operators(spec)
  report.compare('G_inf', np.concatenate([constants.past_pn, constants.new_ln]))
  for length in {match[1] for key in report.arrays if (match := re.fullmatch(r'(?:positions|G)/(\d+)', key))}:
    spec = case.config.signal_spec(int(length))
    report.compare(f'positions/{length}', first_times(spec)[0])
    report.compare(f'G/{length}', signal.first_operator(spec))


def _check_segment(
  report: Report, case: Case, seg: str, state: ContinuousState, *, first: bool
) -> ContinuousState:
  """Compares all arrays of the file for one segment; returns the state after its read."""
  inputs = (case.params, case.array(f'{seg}/k'), case.array(f'{seg}/q'))
  points_bp = case.array(f'{seg}/ts') if case.config.sampling != 'even' and not first else None
  if not first:
    _check_past(report, case, seg, state, points_bp)

  def step(params: Params, k: jax.Array, q: jax.Array) -> tuple[Continuous, ContinuousState, Read]:
    memory = case.memory(case.values(k).shape[1], params)
    written = case.write(memory, state, k, points_bp)
    return memory, written, case.read(memory, written, q)

  memory, written, answer = step(*inputs)
  _check_values(report, case, seg, memory, written, answer, inputs)

  def context_loss(inputs: tuple[Params, jax.Array, jax.Array]) -> Any:
    return (case.published(step(*inputs)[2].added_bld) * case.array(f'{seg}/w')).sum()

  def kl_loss(inputs: tuple[Params, jax.Array, jax.Array]) -> Any:
    total, count = step(*inputs)[2].aux['kl']
    return total / count

  for name, loss in (('ctx', context_loss), ('kl', kl_loss)):
    if f'{seg}/loss_{name}' in report:
      value, (by_param, by_k, by_q) = jax.value_and_grad(loss)(inputs)
      report.compare(f'{seg}/loss_{name}', value)
      report.compare(f'{seg}/grad_{name}/k', by_k)
      report.compare(f'{seg}/grad_{name}/q', by_q)
      for param, gradient in by_param.items():
        report.compare(f'{seg}/grad_{name}/param/{param}', gradient)
  report.unchecked(f'{seg}/w', 'used only by gradients that the file does not contain')
  return memory.observe(written, answer.stats)


def _check_past(
  report: Report, case: Case, seg: str, state: ContinuousState, points_bp: jax.Array | None
) -> None:
  """Compares the inputs of a later write: the histogram of the last reads and the samples of the past."""
  if points_bp is None:
    even_p = even_points(case.config.signal_spec(1).num_samples)
    points_bp = jnp.broadcast_to(jnp.asarray(even_p, case.dtype), (case.batch, len(even_p)))
  elif case.config.density == 'gaussian':
    report.compare(f'{seg}/p', state.histogram_bj / state.histogram_bj.sum(axis=-1, keepdims=True))
  samples_bpd = signal.sample(case.config.basis_spec(), state.b_bnd, points_bp)
  report.compare(f'{seg}/xm_tau', jnp.swapaxes(samples_bpd, 1, 2))


def _check_values(
  report: Report,
  case: Case,
  seg: str,
  memory: Continuous,
  written: ContinuousState,
  answer: Read,
  inputs: tuple[Params, jax.Array, jax.Array],
) -> None:
  """Compares the write and the read of the segment, without gradients."""
  config, (_, k, q) = case.config, inputs
  if config.gate:
    report.compare(f'{seg}/reg_mask', jnp.swapaxes(jax.nn.sigmoid(memory.gate(case.values(k))), 1, 2))
  report.compare(f'{seg}/B', written.b_bnd)
  mu_bhl, sigma_sq_bhl = answer.plots['mu_bhl'], answer.plots['sigma_sq_bhl']
  report.compare(f'{seg}/mu', mu_bhl)
  report.compare(f'{seg}/sigma_sq', sigma_sq_bhl)
  r_bhln = basis_lib.expectation(
    config.basis_spec(), config.read_spec().density, mu_bhl, sigma_sq_bhl, renormalize=config.renormalize
  )
  report.compare(f'{seg}/r', r_bhln[:, :, :: case.r_stride])
  report.compare(f'{seg}/context', case.published(answer.added_bld))

  prepared = memory.prepare(written, unused)[0]
  head_context_blhk = read.read(
    config.read_spec(), config.basis_spec(), prepared, case.queries(q)
  ).context_blhk
  report.compare(f'{seg}/context_pre', case.published(head_context_blhk))
  # Training never computes these scores with affines; use its preparation without affines.
  all_keys = read.prepare(written.b_bnd, memory.w_k_dhk[...], memory.w_v_dhk[...])
  scores_bhln = read.scores(all_keys.keys_bmhk, case.queries(q))
  scores_bhln = scores_bhln if config.affine else jax.nn.softmax(scores_bhln)
  stored = report.arrays.get(f'{seg}/scores')
  stride = 1 if stored is None or stored.shape[2] == scores_bhln.shape[2] else case.r_stride
  report.compare(f'{seg}/scores', scores_bhln[:, :, ::stride])

  without_mean = density.kl_regularizer(sigma_sq_bhl, config.kl_sigma)
  report.compare(f'{seg}/kl_reg_nomu', without_mean.reshape(case.batch, -1))
  kl_bhl = density.kl_regularizer(sigma_sq_bhl, config.kl_sigma, mu=mu_bhl, mu_0=config.kl_mu)
  report.compare(f'{seg}/kl_reg', kl_bhl.reshape(case.batch, -1))
