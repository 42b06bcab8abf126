"""Expectations of basis functions under the continuous softmax and sparsemax, with their derivatives.

Per tag: theta [M, 2] = (μ/σ², -1/(2σ²)); r = E[ψ]; J [M, 2, n] = dr/dtheta; grad_theta = J grad_out; *_quad
the same by quadrature; dr_dmu, dr_dsigma_sq. The density is inferred from r: a file that matches the
truncated parabola is a sparsemax file.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core import basis as basis_lib
from infformer_jax.core.basis_families import GaussianBasis
from infformer_jax.core.density import Density, GaussianDensity, SparsemaxDensity
from tests.golden.report import Report, relative_error


def matches(arrays: Mapping[str, np.ndarray]) -> bool:
  """Whether any tag has natural parameters and expectations."""
  return bool(_tags(arrays))


def _tags(arrays: Mapping[str, np.ndarray]) -> list[str]:
  tags = dict.fromkeys(key.split('/')[0] for key in arrays if '/' in key)
  return [tag for tag in tags if f'{tag}/theta' in arrays and f'{tag}/r' in arrays]


def check(report: Report) -> None:
  """Checks every Gaussian tag of the file."""
  for tag in _tags(report.arrays):
    if f'{tag}/basis_sigma' not in report:
      report.not_covered(tag, 'the checker supports only Gaussian basis functions')
      continue
    basis = _basis(report.arrays[f'{tag}/basis_sigma'])
    if basis is None:
      report.not_covered(tag, 'the widths differ between centres')
      continue
    _check_tag(report, tag, basis)


def _basis(sigmas_n: np.ndarray) -> GaussianBasis | None:
  groups = next(g for g in range(1, len(sigmas_n) + 1) if _repeats(sigmas_n, g))
  if groups == len(sigmas_n) > 1:
    return None
  return GaussianBasis(
    num_basis=len(sigmas_n), widths=tuple(sigmas_n[:groups].tolist()), width_unit='absolute'
  )


def _repeats(sigmas_n: np.ndarray, groups: int) -> bool:
  return len(sigmas_n) % groups == 0 and bool((sigmas_n.reshape(-1, groups) == sigmas_n[:groups]).all())


def _density(basis: GaussianBasis, mu: np.ndarray, sigma_sq: np.ndarray, r: np.ndarray) -> Density:
  """The density whose expectations are closer to r."""
  return min(
    (GaussianDensity(), SparsemaxDensity()),
    key=lambda density: relative_error(basis_lib.expectation(basis, density, mu, sigma_sq), r),
  )


def _check_tag(report: Report, tag: str, basis: GaussianBasis) -> None:
  theta = report.input(f'{tag}/theta')
  sigma_sq = -0.5 / theta[:, 1]
  mu = theta[:, 0] * sigma_sq
  density = _density(basis, mu, sigma_sq, report.arrays[f'{tag}/r'])

  def compare(name: str, ours: Any, **options: Any) -> None:
    report.compare(f'{tag}/{name}', ours, **options)
    report.compare(f'{tag}/{name}_quad', ours, **options)

  compare('basis_mu', basis.centres_n)
  compare('basis_sigma', basis.sigmas_n)
  compare('mu', mu)
  compare('sigma_sq', sigma_sq)
  expectation = functools.partial(basis_lib.expectation, basis, density)
  compare('r', expectation(mu, sigma_sq))
  dr_dmu, dr_dsigma_sq = jax.vmap(jax.jacfwd(expectation, (0, 1)))(mu, sigma_sq)
  compare('dr_dmu', dr_dmu)
  # With respect to ln σ²: at σ² = 1e-6 the value in the file has lost seven digits to cancellation
  # (its J, with respect to theta, has not).
  dr_dlog_sigma_sq = dr_dsigma_sq * sigma_sq[:, None]
  compare('dr_dsigma_sq', dr_dsigma_sq, weight=sigma_sq[:, None])
  # μ = -theta_1 / (2 theta_2), σ² = -1 / (2 theta_2).
  by_first = dr_dmu * sigma_sq[:, None]
  jacobian = jnp.stack(
    [by_first, 2 * (mu[:, None] * by_first + sigma_sq[:, None] * dr_dlog_sigma_sq)], axis=1
  )
  compare('J', jacobian)
  if f'{tag}/grad_out' in report:
    compare('grad_theta', jnp.einsum('mn,min->mi', report.input(f'{tag}/grad_out'), jacobian))
  report.unchecked(f'{tag}/.*_f32', 'rounded to float32 by the published code')
  report.unchecked(f'{tag}/.*_fd', 'finite differences, accurate to at most seven digits')
