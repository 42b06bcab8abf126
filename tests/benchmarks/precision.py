"""What fewer passes of bfloat16 would cost: `python -m tests.benchmarks.precision`, 15 seconds on one core.

A TPU computes a float32 product in one, three or six passes of bfloat16: `precision` 'default', 'high' or
'highest'. The passes are emulated with NumPy: operands are split into bfloat16 summands, and the
products of the largest summands are added in float32.
"""

import ml_dtypes
import numpy as np

from infformer_jax.core import signal
from infformer_jax.core.basis import evaluate_on_host
from infformer_jax.memory.continuous_config import PUBLISHED_GPT2, PUBLISHED_SORTING, ContinuousConfig

SETTINGS = {
  'default, N 512, l 512': (ContinuousConfig(num_basis=512), 512),
  'default, N 1024, l 512': (ContinuousConfig(num_basis=1024), 512),
  'GPT-2 (published), l 512': (PUBLISHED_GPT2, 512),
  'sorting (published), l 1024': (PUBLISHED_SORTING, 1024),
}
PASSES = {1: ((0, 0),), 3: ((0, 0), (0, 1), (1, 0)), 6: ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0))}
WRITES, D = 20, 64


def product(a: np.ndarray, b: np.ndarray, passes: int | None) -> np.ndarray:
  """a b in that many passes; None: in float64."""
  if passes is None:
    return a.astype(np.float64) @ b.astype(np.float64)
  left, right = summands(a), summands(b)
  return np.sum([left[i] @ right[j] for i, j in PASSES[passes]], axis=0)


def summands(a: np.ndarray) -> list[np.ndarray]:
  """Three bfloat16 arrays, as float32, whose sum is nearly a."""
  parts, rest = [], a.astype(np.float32)
  for _ in range(3):
    parts.append(rest.astype(ml_dtypes.bfloat16).astype(np.float32))
    rest = rest - parts[-1]
  return parts


def error(found: np.ndarray, exact: np.ndarray) -> float:
  return float(np.abs(found - exact).max() / np.abs(exact).max())


def main() -> None:
  print('| settings | row sum of A | error of | 1 pass | 3 passes | 6 passes |')
  print('|---|---|---|---|---|---|')
  for name, (config, length) in SETTINGS.items():
    spec = config.signal_spec(length)
    first, later = signal.first_operator(spec), signal.operators(spec)
    psi_tn = evaluate_on_host(spec.basis, np.linspace(0, 1, 2048))
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(length, D)).astype(np.float32) for _ in range(WRITES)]
    w_2n, w_dk, q_lk = (
      rng.normal(size=(2, config.num_basis)),
      rng.normal(size=(D, D)),
      rng.normal(size=(length, D)),
    )
    coefficients, scores = {}, {}
    for passes in (None, *PASSES):
      b_nd = product(first.T, values[0], passes)
      for x_ld in values[1:]:
        b_nd = product(later.carry_nn, b_nd, passes) + product(later.new_ln.T, x_ld, passes)
      coefficients[passes] = b_nd
      keys_2k = product(product(w_2n, coefficients[None], passes), w_dk, passes)  # For the same signal.
      scores[passes] = product(q_lk, keys_2k.T, passes)
    row_sum = np.abs(later.carry_nn).sum(axis=1).max()
    written = [error(psi_tn @ coefficients[passes], psi_tn @ coefficients[None]) for passes in PASSES]
    located = [error(scores[passes], scores[None]) for passes in PASSES]
    for what, errors in ((f'the signal after {WRITES} writes', written), ('w·s of the signal', located)):
      print(f'| {name} | {row_sum:.1f} | {what} | {" | ".join(f"{e:.1e}" for e in errors)} |', flush=True)


if __name__ == '__main__':
  main()
