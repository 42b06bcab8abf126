"""One long-term memory layer, a write and a read of a segment, against its matrix products and PyTorch.

The floor are the matrix products that every implementation of these formulas computes (b rows, l tokens,
n basis functions, P samples, h heads of k, d = h·k), with the constants, Ψ(points) and the weights r given.

    product                            FLOPs             b 1, l 512, n 512, P 512, 12 x 64
    gate: X in three shifts · W        6 b l d²          1.81 G    with a gate only
    sticky: G_pastᵀ · Ψ(points)        2 b n² P          0.27 G    with sticky sampling only; no gradient
    write: A · B                       2 b n² d          0.40 G
    write: C · X                       2 b l n d         0.40 G
    values: B · W_V                    2 b n d²          0.60 G
    pooled: w · B                      4 b n d           0.00 G    w_μ and w_σ
    keys: pooled · W_K                 4 b d²            0.00 G
    scores: q · keys                   4 b l d           0.00 G
    context: r · V                     2 b l n d         0.40 G
    output: context · W_O              2 b l d²          0.60 G

A product of two arguments that are not constant costs twice as much again in the backward pass, one with a
constant once.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.memory.continuous import Continuous
from infformer_jax.types import Array
from tests.benchmarks.ltm_case import Case, Inputs, half_square
from tests.benchmarks.measure import (
  FULL,
  QUICK,
  Effort,
  compiled,
  installed,
  interleaved,
  note,
  temporary_mib,
)
from tests.benchmarks.table import Goal, Row, exact, timed

FLOOR, TORCH = 'matrix products', 'torch'
CASES = (
  *(
    Case(batch=batch, num_basis=num_basis, sampling=sampling)
    for batch in (1, 4)
    for num_basis in (512, 1024)
    for sampling in ('even', 'sticky')
  ),
  Case(batch=4, num_basis=512, sampling='sticky', gate=True),
)
TINY = Case(batch=2, num_basis=16, sampling='sticky', gate=True, num_heads=2, head_dim=8, length=32)
FLOOR_GOAL, TORCH_GOAL = Goal(at_most=1.15), Goal(at_most=0.4)
TEMPORARY_GOALS = {512: Goal(at_most=50, of='ours'), 1024: Goal(at_most=80, of='ours')}  # batch 4, MiB


class Products:
  """The matrix products of a layer, for its own inputs; Ψ and r are random numbers."""

  def __init__(self, inputs: Inputs):
    case, operators = inputs.case, inputs.case.constants()
    params, b_bnd, x_bld, q_blhk = inputs.differentiated
    rng = np.random.default_rng(1)

    def positive(*shape: int) -> Array:
      return jnp.asarray(rng.random(shape), jnp.float32)

    self.constants = {
      'carry_nn': jnp.asarray(operators.carry_nn, jnp.float32),
      'new_ln': jnp.asarray(operators.new_ln, jnp.float32),
    }
    if case.sampling == 'sticky':
      self.constants['past_pn'] = jnp.asarray(operators.past_pn, jnp.float32)
      self.constants['psi_bpm'] = positive(case.batch, len(operators.past_pn), case.num_basis)
    self.arguments = {
      'b_bnd': b_bnd,
      'x_bld': x_bld,
      'q_blhk': q_blhk,
      'r_bhln': positive(case.batch, case.num_heads, case.length, case.num_basis),
      'w_mn': jnp.stack([params['w_mu_n'], params['w_sigma_n']]),
      **{name: params[name] for name in ('w_k_dhk', 'w_v_dhk', 'w_o_hkd')},
    }
    if case.gate:
      self.arguments['kernel_sdd'] = params['gate']['kernel']

  @staticmethod
  def forward(arguments: dict[str, Array], constants: dict[str, Array]) -> tuple[Array, ...]:
    """The results that no other product uses."""
    x_bld, gate = arguments['x_bld'], ()
    if 'kernel_sdd' in arguments:
      padded = jnp.pad(x_bld, ((0, 0), (1, 1), (0, 0)))
      shifts_blsd = jnp.stack([padded[:, i : i + x_bld.shape[1]] for i in range(3)], axis=2)
      gate = (jnp.einsum('blsd,sde->ble', shifts_blsd, arguments['kernel_sdd']),)
    if 'psi_bpm' in constants:
      carry_bnm = jnp.einsum('pn,bpm->bnm', constants['past_pn'], constants['psi_bpm'])
      old_bnd = jnp.einsum('bnm,bmd->bnd', carry_bnm, arguments['b_bnd'])
    else:
      old_bnd = jnp.einsum('nm,bmd->bnd', constants['carry_nn'], arguments['b_bnd'])
    b_bnd = old_bnd + jnp.einsum('ln,bld->bnd', constants['new_ln'], x_bld)
    values_bnhk = jnp.einsum('bnd,dhk->bnhk', b_bnd, arguments['w_v_dhk'])
    pooled_bmd = jnp.einsum('mn,bnd->bmd', arguments['w_mn'], b_bnd)
    keys_bmhk = jnp.einsum('bmd,dhk->bmhk', pooled_bmd, arguments['w_k_dhk'])
    scores_bhlm = jnp.einsum('blhk,bmhk->bhlm', arguments['q_blhk'], keys_bmhk)
    context_blhk = jnp.einsum('bhln,bnhk->blhk', arguments['r_bhln'], values_bnhk)
    out_bld = jnp.einsum('blhk,hkd->bld', context_blhk, arguments['w_o_hkd'])
    return out_bld, scores_bhlm, *gate

  @classmethod
  def loss(cls, arguments: dict[str, Array], constants: dict[str, Array]) -> Array:
    """A loss of all results, so that every product has its gradients."""
    return half_square(*cls.forward(arguments, constants))


def rows(quick: bool) -> Iterator[Row]:
  """Of every case: forward, forward and backward, each against both contestants, and temporary memory."""
  for case in (TINY,) if quick else CASES:
    note(f'LTM layer: {case}')
    yield from _of(case, QUICK if quick else FULL)


def _of(case: Case, effort: Effort) -> Iterator[Row]:
  inputs = Inputs(case)
  products = Products(inputs)
  ours, floor = inputs.arguments, (products.arguments, products.constants)
  forward = compiled(inputs.forward(Continuous.step), *ours)
  both = compiled(inputs.gradients(Continuous.step), *ours)
  floor_forward = compiled(products.forward, *floor)
  floor_both = compiled(jax.value_and_grad(products.loss), *floor)
  contestants: dict[str, dict[str, Callable[[], Any]]] = {
    'forward': {'ours': lambda: forward(*ours), FLOOR: lambda: floor_forward(*floor)},
    'forward and backward': {'ours': lambda: both(*ours), FLOOR: lambda: floor_both(*floor)},
  }
  if installed('torch'):
    from tests.benchmarks.ltm_torch import TorchLayer

    layer = TorchLayer(inputs)
    layer.check(*forward(*ours))
    contestants['forward'][TORCH] = layer.forward
    contestants['forward and backward'][TORCH] = layer.forward_and_gradients
  for direction, runs in contestants.items():
    times, what = interleaved(runs, effort), f'LTM layer, {case}, {direction}'
    yield timed(what, times, FLOOR, goal=None if case.gate else FLOOR_GOAL)
    yield timed(what, times, TORCH, goal=TORCH_GOAL)
  goal = TEMPORARY_GOALS.get(case.num_basis) if case.batch == 4 and not case.gate else None
  yield exact(f'LTM layer, {case}, temporary memory', 'MiB', temporary_mib(both), goal=goal)
