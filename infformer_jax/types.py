"""Dimension letters, array aliases and the pytrees that pass between the parts.

Letters, used as name suffixes (`q_blhk`) and in the shape strings of public functions:

    b lane                 s segment in the chunk    l token in the segment   t any time axis
    d model width          h head                    k head width             v vocabulary
    n basis function       p sample point            m memory slot            j histogram bin

The suffix alone also marks what varies only per row or head (`whole_b`, `gate_bh`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from infformer_jax.core.pytree import pytree

Array = jax.Array
HostArray = Any
"""NumPy on the host, jax inside a step."""

PyTree = Any
SumCount = tuple[Array, Array]
"""A metric before its division: (sum, count), both float32 scalars, so that it can be added up."""

Project = Callable[[Array], tuple[Array, Array]]
"""The layer's own W_K, W_V: x [b, t, d] -> k, v [b, t, h, k], before any position; h is Site.kv_heads.

Any function, such as a method of the layer.
"""


@pytree
class Batch:
  """One chunk of every lane: s consecutive segments of l tokens. Padding and idle lanes have ok False."""

  tokens_bsl: HostArray  # int32 inputs: BOS and the first T-1 tokens of a document
  targets_bsl: HostArray  # int32, the T tokens of the document
  ok_bsl: HostArray  # bool, real tokens: the mask of every memory
  group_bsl: HostArray  # int32, the group of figures that a target counts in; -1: none, and not in the loss
  new_doc_bs: HostArray  # bool, this segment starts a document; True for idle segments
  document_bs: HostArray  # int32, the document's index in its split; -1 where the lane idles
  segment_bs: HostArray  # int32, the segment's index in its document; -1 where the lane idles


@pytree
class Segment:
  """What a memory reads for: one segment of every lane, or some of its tokens."""

  q_blhk: Array  # the layer's queries, before any position
  ok_bl: Array  # bool, real tokens
  offset_bl: Array  # float, tokens from the segment's first


@pytree
class Past:
  """The segment that is written to a memory: segment i - lag of the same document."""

  x_bld: Array  # the attention's input: after the pre-norm; the residual stream in a post-norm layer
  whole_b: Array  # bool; False: the document has no such segment; nothing is written
  received_bl: Array | None = None  # attention received, where the memory uses it (Traits.uses_attention)
  residual_bld: Array | None = None  # the residual stream before that norm (Traits.uses_residual)


@pytree
class Slots:
  """Discrete memory slots that join the local softmax; the trunk applies the positions, by age."""

  k_bmhk: Array  # before any position
  v_bmhk: Array
  age_bm: Array  # float > 0, tokens back from the segment's first token
  ok_bm: Array  # bool


@pytree
class Gated:
  """Context in head space, mixed with the local result before W_o: gate·context + (1 - gate)·local."""

  context_blhk: Array
  gate_blh: Array  # in [0, 1]; 0 while the memory is empty


@pytree
class Read:
  """What a memory answers; a field is None or empty where the memory does not provide it."""

  slots: tuple[Slots, ...] = ()
  gated: Gated | None = None
  added_bld: Array | None = None  # context after the memory's own projection, added after W_o; 0 while empty
  stats: PyTree = None  # additive over tokens, padding 0: what the next write uses of this read
  aux: dict[str, SumCount] = dataclasses.field(default_factory=dict)  # losses, metrics; count 0 while empty
  plots: dict[str, Array] = dataclasses.field(default_factory=dict)  # rows first; never used in training
  ok_b: Array | None = None  # bool; False: the view could not be applied to this row (views.py)
