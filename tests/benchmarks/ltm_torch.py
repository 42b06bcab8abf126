"""The long-term memory layer in eager PyTorch, written from the formulas of core/signal.py and core/read.py.

It only does the write after the first, and writes every row. PyTorch uses all cores.
"""

import math
from typing import Any

import jax
import numpy as np
import torch

from infformer_jax.core import sticky
from tests.benchmarks.ltm_case import Inputs, half_square
from tests.benchmarks.measure import num_threads


class TorchLayer:
  """The same layer with the same parameters, state and inputs."""

  def __init__(self, inputs: Inputs):
    torch.set_num_threads(num_threads())
    case, config = inputs.case, inputs.case.memory().config
    basis, read, operators = config.basis_spec(), config.read_spec(), inputs.case.constants()
    params, b_bnd, x_bld, q_blhk = inputs.differentiated
    self.case, self.num_bins = case, config.histogram_bins
    self.carry_nn, self.new_nl = tensor(operators.carry_nn), tensor(operators.new_ln.T)
    self.past_np = tensor(operators.past_pn.T)
    self.centres_n, self.width = tensor(basis.centres_n), float(basis.sigmas_n[0])
    times_h = (np.arange(case.num_heads) + 0.5) / case.num_heads
    self.mu_offset_h11 = tensor(np.log(times_h / (1 - times_h)))[:, None, None]
    self.sigma_offset, self.variance_floor = read.softplus_offset, read.variance_floor
    d = case.d_model
    self.w_mn = leaf(np.stack([params['w_mu_n'], params['w_sigma_n']]))
    self.w_k_dd, self.w_v_dd = (leaf(params[name].reshape(d, d)) for name in ('w_k_dhk', 'w_v_dhk'))
    self.w_o_dd = leaf(params['w_o_hkd'].reshape(d, d))
    self.b_bnd, self.x_bld = leaf(b_bnd), leaf(x_bld)
    self.q_bhlk = leaf(q_blhk.transpose(0, 2, 1, 3))
    self.leaves = [self.w_mn, self.w_k_dd, self.w_v_dd, self.w_o_dd, self.b_bnd, self.x_bld, self.q_bhlk]
    if case.gate:
      self.conv_dds = leaf(params['gate']['kernel'].transpose(2, 1, 0))
      self.conv_bias_d = leaf(params['gate']['bias'])
      self.leaves += [self.conv_dds, self.conv_bias_d]
    if case.sampling == 'sticky':
      self.histogram_bj = tensor(inputs.rest[0].histogram_bj)

  def forward(self) -> tuple[torch.Tensor, ...]:
    """The result without gradients."""
    with torch.no_grad():
      return self._forward()

  def forward_and_gradients(self) -> tuple[torch.Tensor, ...]:
    """The gradients of the same loss as ours."""
    return torch.autograd.grad(half_square(self._forward()[0]), self.leaves)

  def check(self, added_bld: jax.Array, state: Any) -> None:
    """Raises AssertionError where our results differ: then the times of the two could not be compared."""
    results = self.forward()
    expected = [added_bld, state.b_bnd, *([state.histogram_bj] if len(results) == 3 else [])]
    for ours, theirs in zip(expected, results, strict=True):
      difference = np.linalg.norm(np.asarray(ours) - theirs.numpy()) / np.linalg.norm(ours)
      assert difference < 1e-3, (
        f'PyTorch computes something else: the relative difference is {difference:.1e}'
      )

  def _forward(self) -> tuple[torch.Tensor, ...]:
    case, x_bld = self.case, self.x_bld
    if case.gate:
      gate_bdl = torch.nn.functional.conv1d(x_bld.mT, self.conv_dds, self.conv_bias_d, padding=1)
      x_bld = x_bld * torch.sigmoid(gate_bdl).mT
    b_bnd = self._carry() @ self.b_bnd + self.new_nl @ x_bld
    mu_bhl1, sigma_sq_bhl1 = self._located(b_bnd)
    precision_bhl1 = 1 / (sigma_sq_bhl1 + self.width**2)
    r_bhln = torch.exp(-0.5 * precision_bhl1 * (mu_bhl1 - self.centres_n) ** 2)
    r_bhln = r_bhln * torch.sqrt(precision_bhl1 / (2 * math.pi))
    context_bhlk = r_bhln @ self._heads(b_bnd @ self.w_v_dd)
    added_bld = context_bhlk.transpose(1, 2).flatten(2) @ self.w_o_dd
    if case.sampling == 'even':
      return added_bld, b_bnd
    return added_bld, b_bnd, self._histogram(mu_bhl1.detach(), sigma_sq_bhl1.detach())

  def _carry(self) -> torch.Tensor:
    """A, or G_pastᵀ Ψ(points)."""
    if self.case.sampling == 'even':
      return self.carry_nn
    points_bp1 = self._points()[..., None]
    psi_bpn = torch.exp(-0.5 * ((points_bp1 - self.centres_n) / self.width) ** 2)
    return self.past_np @ (psi_bpn / (math.sqrt(2 * math.pi) * self.width))

  def _points(self) -> torch.Tensor:
    """The quantiles (1..P)/P of the histogram, mixed with a uniform one."""
    share = sticky.UNIFORM_SHARE
    total_b1 = self.histogram_bj.sum(-1, keepdim=True)
    mass_bj = (1 - share) * self.histogram_bj / total_b1 + share / self.num_bins
    edges_bj = torch.nn.functional.pad(mass_bj.cumsum(-1), (1, 0))
    num = self.past_np.shape[1]
    u_bp = (torch.arange(1, num + 1) / num).expand(len(mass_bj), num).contiguous()
    bin_bp = (torch.searchsorted(edges_bj, u_bp) - 1).clamp(0, self.num_bins - 1)
    within_bp = (u_bp - edges_bj.gather(1, bin_bp)) / mass_bj.gather(1, bin_bp)
    return ((bin_bp + within_bp) / self.num_bins).clamp(0, 1)

  def _located(self, b_bnd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """μ and σ² [b, h, l, 1], from the pooled keys."""
    keys_bhmk = self._heads(self.w_mn @ b_bnd @ self.w_k_dd)
    mu_bhl1, sigma_bhl1 = (self.q_bhlk @ keys_bhmk.mT / math.sqrt(self.case.head_dim)).chunk(2, dim=-1)
    sigma_sq_bhl1 = torch.nn.functional.softplus(sigma_bhl1 + self.sigma_offset)
    return torch.sigmoid(mu_bhl1 + self.mu_offset_h11), sigma_sq_bhl1.clamp(min=self.variance_floor)

  def _histogram(self, mu_bhl1: torch.Tensor, sigma_sq_bhl1: torch.Tensor) -> torch.Tensor:
    """The mass of the densities in each bin, from their cumulative distributions at the edges."""
    edges_j = torch.linspace(0, 1, self.num_bins + 1)
    cdf_bhlj = 0.5 * torch.erf((edges_j - mu_bhl1) * torch.rsqrt(2 * sigma_sq_bhl1))
    return cdf_bhlj.sum((1, 2)).diff(dim=-1)

  def _heads(self, x_btd: torch.Tensor) -> torch.Tensor:
    """[b, t, h·k] -> [b, h, t, k]."""
    return x_btd.unflatten(-1, (self.case.num_heads, self.case.head_dim)).transpose(1, 2)


def tensor(array: Any) -> torch.Tensor:
  """A constant in float32."""
  return torch.tensor(np.asarray(array, np.float32))


def leaf(array: Any) -> torch.Tensor:
  """What gets a gradient."""
  return tensor(array).requires_grad_()
