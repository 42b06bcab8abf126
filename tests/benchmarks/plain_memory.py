"""The continuous memory by its formulas as they are written, for comparison with faster ones."""

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core import signal, sticky
from infformer_jax.core.basis import evaluate
from infformer_jax.memory.base import Memory
from infformer_jax.memory.continuous import Continuous, ContinuousState
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment


class PlainContinuous(Continuous):
  """A Gaussian density per head and query; even or sticky sampling. Every weight r is an array in memory."""

  scan = Memory.scan

  def write(
    self, state: ContinuousState, past: Past, project: Project | None = None, *, key_b: Array | None = None
  ) -> ContinuousState:
    spec, x_bld, histogram_bj = self.spec, self.gated(past.x_bld), state.histogram_bj
    first_ln, later = signal.first_operator(spec), signal.operators(spec)
    if histogram_bj is None:
      old_bnd = product('nm,bmd->bnd', later.carry_nn, state.b_bnd)
    else:
      psi_bpm = evaluate(spec.basis, sticky.points(histogram_bj, spec.num_samples))
      old_bnd = product('bnm,bmd->bnd', product('pn,bpm->bnm', later.past_pn, psi_bpm), state.b_bnd)
      histogram_bj = jnp.where(past.whole_b[:, None], 0, histogram_bj)
    later_bnd = old_bnd + product('ln,bld->bnd', later.new_ln, x_bld)
    is_first = (state.writes_b == 0)[:, None, None]
    written_bnd = jnp.where(is_first, product('ln,bld->bnd', first_ln, x_bld), later_bnd)
    return ContinuousState(
      b_bnd=jnp.where(past.whole_b[:, None, None], written_bnd, state.b_bnd),
      writes_b=state.writes_b + past.whole_b,
      histogram_bj=histogram_bj,
    )

  def prepare(self, state: ContinuousState, project: Project | None = None) -> PyTree:
    values_bnhk = jnp.einsum('bnd,dhk->bnhk', state.b_bnd, self.w_v_dhk[...])
    w_mn = jnp.stack([self.w_mu_n[...], self.w_sigma_n[...]])
    keys_bmhk = product('bmd,dhk->bmhk', product('mn,bnd->bmd', w_mn, state.b_bnd), self.w_k_dhk[...])
    return keys_bmhk, values_bnhk, self.filled(state)

  def answer(self, prepared: PyTree, segment: Segment) -> Read:
    keys_bmhk, values_bnhk, filled_b = prepared
    spec, basis = self.config.read_spec(), self.config.basis_spec()
    q_blhk = segment.q_blhk * segment.q_blhk.shape[-1] ** -0.5
    density = spec.locate(basis, product('blhk,bmhk->bhlm', q_blhk, keys_bmhk))
    r_bhln = spec.expected(basis, density)
    context_blhk = jnp.einsum('bhln,bnhk->blhk', r_bhln, values_bnhk)
    added_bld = jnp.einsum('blhk,hkd->bld', context_blhk, self.w_o_hkd[...])
    stats = None
    if self.config.sampling != 'even':
      ok_bl, bins = segment.ok_bl & filled_b[:, None], self.config.histogram_bins
      masses_bhj = spec.masses(basis, jax.lax.stop_gradient(density), ok_bl, num_bins=bins, margin=0.0)
      stats = masses_bhj.sum(axis=1)
    return Read(added_bld=jnp.where(filled_b[:, None, None], added_bld, 0), stats=stats)


def product(subscripts: str, *arrays: Array | np.ndarray) -> Array:
  """In float32, like the library's own products of coefficients and scores."""
  return jnp.einsum(subscripts, *(jnp.asarray(a, jnp.float32) for a in arrays), precision='highest')
