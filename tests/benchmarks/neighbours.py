"""The exact search of the memory of neighbours against that of faiss-cpu, an index per head.

One lane, every head with keys of its own. faiss gets contiguous queries and keys; its index is built before.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core import nearest_neighbours
from infformer_jax.core.attention import normalized
from tests.benchmarks.measure import (
  FULL,
  QUICK,
  compiled,
  installed,
  interleaved,
  note,
  num_threads,
  temporary_mib,
)
from tests.benchmarks.table import Goal, Row, exact, timed

FAISS = 'faiss'
GOAL = Goal(at_most=1)


def rows(quick: bool) -> Iterator[Row]:
  """The time of a search for a segment of queries, and its temporary memory."""
  slots, length, h, k, num = (256, 16, 2, 8, 4) if quick else (65536, 512, 12, 64, 32)
  what = f'neighbours, {slots} slots, {h} x {k}, l {length}, nearest {num}'
  note(what)
  keys = jax.random.split(jax.random.key(0))
  q_blhk = normalized(jax.random.normal(keys[0], (1, length, h, k)))
  k_bmhk = normalized(jax.random.normal(keys[1], (1, slots, h, k)))
  arguments = q_blhk, k_bmhk, jnp.ones((1, slots), bool)
  program = compiled(functools.partial(nearest_neighbours.search, num=num), *arguments)
  contestants: dict[str, Callable[[], Any]] = {'ours': lambda: program(*arguments)}
  if installed(FAISS):
    contestants[FAISS] = _faiss(np.asarray(q_blhk[0]), np.asarray(k_bmhk[0]), num)
    _check(program(*arguments)[0], contestants[FAISS]())
  yield timed(what, interleaved(contestants, QUICK if quick else FULL), FAISS, goal=GOAL)
  yield exact(f'{what}, temporary memory', 'MiB', temporary_mib(program))


def _faiss(q_lhk: np.ndarray, k_mhk: np.ndarray, num: int) -> Callable[[], Any]:
  import faiss

  faiss.omp_set_num_threads(num_threads())
  searches = []
  for head in range(q_lhk.shape[1]):
    index = faiss.IndexFlatIP(q_lhk.shape[-1])
    index.add(np.ascontiguousarray(k_mhk[:, head]))
    searches.append((index, np.ascontiguousarray(q_lhk[:, head])))
  return lambda: [index.search(queries, num)[1] for index, queries in searches]


def _check(found_lhj: Any, found_by_faiss: list[np.ndarray]) -> None:
  """Raises AssertionError where the two find different slots, except that rounding may order near ties."""
  agreement = (np.sort(found_lhj, -1) == np.sort(np.stack(found_by_faiss, axis=1), -1)).mean()
  assert agreement > 0.999, f'only {agreement:.4f} of the slots are those that faiss finds'
