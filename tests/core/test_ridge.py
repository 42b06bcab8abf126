"""Ridge regression: the operator computed on the host, and the solve at run time."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from infformer_jax.core.basis import evaluate_on_host
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.core.ridge import ridge_operator, ridge_solve
from infformer_jax.core.signal_spec import even_points

ILL = GaussianBasis(num_basis=256, widths=(0.02, 0.1), width_unit='absolute')  # Condition number 1e5.
TIMES = even_points(256)


def exact_solution(basis, t_p, x_pd, ridge):
  """The minimizer, computed by an SVD of the stacked least-squares problem."""
  stacked = np.concatenate([evaluate_on_host(basis, t_p), np.sqrt(ridge) * np.eye(basis.num_basis)])
  return scipy.linalg.lstsq(stacked, np.concatenate([x_pd, np.zeros((basis.num_basis, x_pd.shape[1]))]))[0]


def test_the_operator_solves_the_ridge_problem():
  x_pd = np.random.default_rng(0).normal(size=(256, 3))
  b_nd = exact_solution(ILL, TIMES, x_pd, 0.5)
  error = np.abs(ridge_operator(ILL, TIMES, 0.5).T @ x_pd - b_nd).max() / np.abs(b_nd).max()
  assert error < 1e-9


def test_the_run_time_solve_is_accurate_in_float32_unlike_the_normal_equations():
  rng = np.random.default_rng(1)
  t_bp, x_bpd = np.sort(rng.uniform(size=(2, 256))), rng.normal(size=(2, 256, 3))
  ours = ridge_solve(ILL, jnp.asarray(t_bp, jnp.float32), jnp.asarray(x_bpd, jnp.float32), 0.5)
  for b_nd, t_p, x_pd in zip(ours, t_bp, x_bpd, strict=True):
    expected_nd = ridge_operator(ILL, t_p, 0.5).T @ x_pd
    psi_pn = evaluate_on_host(ILL, t_p).astype(np.float32)
    gram_nn = psi_pn.T @ psi_pn + np.float32(0.5) * np.eye(256, dtype=np.float32)
    naive_nd = np.linalg.inv(gram_nn) @ (psi_pn.T @ x_pd.astype(np.float32))
    scale = np.abs(expected_nd).max()
    assert np.abs(b_nd - expected_nd).max() / scale < 4e-4
    assert np.abs(naive_nd - expected_nd).max() / scale > 1e-3


def test_gradients_reach_positions_and_values():
  basis = GaussianBasis(num_basis=6, widths=(1.0,))
  t_p, x_pd = jnp.linspace(0.05, 0.95, 9), jnp.ones((9, 2))
  gradients = jax.grad(lambda t_p, x_pd: ridge_solve(basis, t_p, x_pd, 0.5).sum(), (0, 1))(t_p, x_pd)
  assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in gradients)
