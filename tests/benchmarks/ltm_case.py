"""One long-term memory layer and its inputs: it writes and reads whole segments, inside a document."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.core import signal
from infformer_jax.memory.base import Site
from infformer_jax.memory.continuous import Continuous, ContinuousState
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.types import Array, Past, PyTree, Read, Segment

Run = Callable[..., tuple[ContinuousState, Read]]
"""(memory, state, segment, past, new_doc_b) -> (next state, read): `Continuous.step`, or a scan."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
  """The sizes of a layer; d = h·k."""

  batch: int
  num_basis: int  # n
  sampling: Literal['even', 'sticky']
  gate: bool = False
  num_heads: int = 12
  head_dim: int = 64
  length: int = 512  # l

  @property
  def d_model(self) -> int:
    return self.num_heads * self.head_dim

  def __str__(self) -> str:
    gate = ', gate' if self.gate else ''
    return f'batch {self.batch}, N {self.num_basis}, {self.sampling}{gate}'

  def memory(self, cls: type[Continuous] = Continuous) -> Continuous:
    """The layer, with larger output weights than those at initialization, which are nearly zero."""
    config = ContinuousConfig(num_basis=self.num_basis, sampling=self.sampling, gate=self.gate)
    site = Site(
      d_model=self.d_model, num_heads=self.num_heads, head_dim=self.head_dim, segment_length=self.length
    )
    memory = cls(config, site, rngs=nnx.Rngs(0))
    memory.w_o_hkd[...] = memory.w_v_dhk[...].transpose(1, 2, 0)
    return memory

  def constants(self) -> signal.Operators:
    """The operators of a write after the first."""
    return signal.operators(self.memory().spec)


class Inputs:
  """What a layer gets inside a document, as arguments of a compiled function.

  Args:
    case: the sizes.
    segments: s, of a chunk, as the second axis of what is read and written; None: one segment, no such axis.
  Attributes:
    differentiated: the parameters, the coefficients B, the values to write and the queries.
    rest: the state after two writes and reads, the segment, the past, and which rows are emptied.
  """

  def __init__(self, case: Case, segments: int | None = None):
    self.case = case
    rng = np.random.default_rng(0)
    rows = (case.batch,) if segments is None else (case.batch, segments)

    def normal(*shape: int) -> Array:
      return jnp.asarray(rng.normal(size=shape), jnp.float32)

    def given(rows: tuple[int, ...]) -> tuple[Segment, Past, Array]:
      segment = Segment(
        q_blhk=normal(*rows, case.length, case.num_heads, case.head_dim),
        ok_bl=jnp.ones((*rows, case.length), bool),
        offset_bl=jnp.broadcast_to(jnp.arange(case.length, dtype=jnp.float32), (*rows, case.length)),
      )
      past = Past(x_bld=normal(*rows, case.length, case.d_model), whole_b=jnp.ones(rows, bool))
      return segment, past, jnp.zeros(rows, bool)

    memory = case.memory()
    state: ContinuousState = memory.init_state(case.batch, jnp.float32)
    step = jax.jit(memory.step)
    for _ in range(2):
      state, _ = step(state, *given((case.batch,)))
    segment, past, new_doc_b = given(rows)
    params = nnx.to_pure_dict(nnx.split(memory)[1])
    self.differentiated: tuple[PyTree, Array, Array, Array] = params, state.b_bnd, past.x_bld, segment.q_blhk
    self.rest = state, segment, past, new_doc_b

  @property
  def arguments(self) -> tuple[Any, ...]:
    """Of what `forward` and `loss` return."""
    return *self.differentiated, self.rest

  def forward(
    self, run: Run, cls: type[Continuous] = Continuous
  ) -> Callable[..., tuple[Array, ContinuousState]]:
    """A function of `arguments`: what is added to the layer's output, and the next state.

    Args:
      run: `step` for a segment, or a `scan` for a chunk.
      cls: of the memory.
    """
    graphdef = nnx.split(self.case.memory(cls))[0]

    def forward(params: PyTree, b_bnd: Array, x_bld: Array, q_blhk: Array, rest: Any) -> Any:
      state, segment, past, new_doc_b = rest
      state = dataclasses.replace(state, b_bnd=b_bnd)
      segment = dataclasses.replace(segment, q_blhk=q_blhk)
      past = dataclasses.replace(past, x_bld=x_bld)
      state, read = run(nnx.merge(graphdef, nnx.State(params)), state, segment, past, new_doc_b)
      return read.added_bld, state

    return forward

  def gradients(self, run: Run, cls: type[Continuous] = Continuous) -> Callable[..., Any]:
    """A function of `arguments`: a loss of what is added, and its gradients for `differentiated`."""
    forward = self.forward(run, cls)
    return jax.value_and_grad(lambda *arguments: half_square(forward(*arguments)[0]), argnums=(0, 1, 2, 3))


def half_square(*arrays: Any) -> Any:
  """A loss whose gradient is the arrays themselves."""
  return 0.5 * sum((a * a).sum() for a in arrays)
