"""The continuous memory by its formulas as they are written, for comparison with faster ones."""

import jax
import jax.numpy as jnp

from infformer_jax.core import signal
from infformer_jax.memory.base import Memory
from infformer_jax.memory.continuous import Continuous, ContinuousState
from infformer_jax.types import Array, Past, Project, PyTree, Read, Segment


class PlainContinuous(Continuous):
  """A Gaussian density per head and query; even or sticky sampling. Every weight r is an array in memory."""

  scan = Memory.scan

  def write(
    self, state: ContinuousState, past: Past, project: Project | None = None, *, key_b: Array | None = None
  ) -> ContinuousState:
    x_bld, points_bp = self.gated(past.x_bld), self._points(state, key_b)
    first_bnd = signal.first_write(self.spec, x_bld)
    if points_bp is None:
      later_bnd = signal.update_even(self.spec, state.b_bnd, x_bld)
    else:
      later_bnd = signal.update_at(self.spec, state.b_bnd, x_bld, points_bp)
    written_bnd = jnp.where((state.writes_b == 0)[:, None, None], first_bnd, later_bnd)
    histogram_bj = state.histogram_bj
    return ContinuousState(
      b_bnd=jnp.where(past.whole_b[:, None, None], written_bnd, state.b_bnd),
      writes_b=state.writes_b + past.whole_b,
      histogram_bj=None if histogram_bj is None else jnp.where(past.whole_b[:, None], 0, histogram_bj),
    )

  def prepare(self, state: ContinuousState, project: Project | None = None) -> PyTree:
    values_bnhk = jnp.einsum('bnd,dhk->bnhk', state.b_bnd, self.w_v_dhk[...])
    w_mn = jnp.stack([self.w_mu_n[...], self.w_sigma_n[...]])
    pooled_bmd = jnp.einsum('mn,bnd->bmd', w_mn, state.b_bnd, precision='highest')
    keys_bmhk = jnp.einsum('bmd,dhk->bmhk', pooled_bmd, self.w_k_dhk[...], precision='highest')
    return keys_bmhk, values_bnhk, self.filled(state)

  def answer(self, prepared: PyTree, segment: Segment) -> Read:
    keys_bmhk, values_bnhk, filled_b = prepared
    spec, basis = self.config.read_spec(), self.config.basis_spec()
    q_blhk = segment.q_blhk * segment.q_blhk.shape[-1] ** -0.5
    density = spec.locate(basis, jnp.einsum('blhk,bmhk->bhlm', q_blhk, keys_bmhk, precision='highest'))
    r_bhln = spec.expected(basis, density)
    context_blhk = jnp.einsum('bhln,bnhk->blhk', r_bhln, values_bnhk)
    added_bld = jnp.einsum('blhk,hkd->bld', context_blhk, self.w_o_hkd[...])
    stats = None
    if self.config.sampling != 'even':
      ok_bl, bins = segment.ok_bl & filled_b[:, None], self.config.histogram_bins
      masses_bhj = spec.masses(basis, jax.lax.stop_gradient(density), ok_bl, num_bins=bins, margin=0.0)
      stats = masses_bhj.sum(axis=1)
    return Read(added_bld=jnp.where(filled_b[:, None, None], added_bld, 0), stats=stats)
