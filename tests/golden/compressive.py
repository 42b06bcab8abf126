"""The PyTorch port of the Compressive Transformer: a layer's attention over (compressed, memory, segment).

A case has `meta` = [sequence, width, heads, rate, memory length, compressed length, memory given, compressed
given] (tokens), param/* PyTorch weights, x [b, l, d], mem and cmem [b, given, d]; out (causal attention by
content, through to_out); new_mem, new_cmem; old_mem, evicted from the memory, and compressed_mem; q,
old_mem_k, old_mem_v, cmem_k, cmem_v, attn_old, attn_comp [b, h, t, k] and aux_loss of the
attention-reconstruction loss; grad_aux/*. Other cases are single convolutions: weight, bias, in, out.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.core import compression
from infformer_jax.core.attention import Part
from infformer_jax.memory.base import Site
from infformer_jax.memory.compressive import Compressive, CompressiveConfig, CompressiveState
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn.attention import Attention
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.types import Past, Segment
from tests.golden.report import NotCovered, Report, Settings

Params = dict[str, jax.Array]

_CONV = 'compress_mem_fn.conv'
_META = ('seq', 'width', 'heads', 'rate', 'mem_len', 'cmem_len', 'mem', 'cmem')


def matches(arrays: Mapping[str, np.ndarray]) -> bool:
  """Whether any case has the weights of a compressor, or is a convolution."""
  return bool(_layers(arrays) or _convolutions(arrays))


def _layers(arrays: Mapping[str, np.ndarray]) -> list[str]:
  suffix = f'/param/{_CONV}.weight'
  return [key.removesuffix(suffix) for key in arrays if key.endswith(suffix)]


def _convolutions(arrays: Mapping[str, np.ndarray]) -> list[str]:
  cases = [key.removesuffix('/in') for key in arrays if key.endswith('/in')]
  return [case for case in cases if {f'{case}/{name}' for name in ('weight', 'bias', 'out')} <= set(arrays)]


def check(report: Report, dtype: Any = jnp.float64) -> None:
  """Checks all cases of the file, in float64 or another dtype."""
  for case in _convolutions(report.arrays):
    weight, bias, x_bld = (
      jnp.asarray(report.input(f'{case}/{name}'), dtype) for name in ('weight', 'bias', 'in')
    )
    report.compare(f'{case}/out', compression.convolve(_whole(x_bld, weight.shape[2]), _kernel(weight), bias))
  for case in _layers(report.arrays):
    try:
      _Case(report, case, dtype).check()
    except NotCovered as error:
      report.not_covered(case, str(error))


def _kernel(weight: jax.Array) -> jax.Array:
  """Converts PyTorch's [e, d, c] to our layout."""
  return jnp.transpose(weight, (2, 1, 0))


def _whole(x_bld: jax.Array, rate: int) -> jax.Array:
  """Drops the tokens that do not fill the kernel of a strided convolution."""
  return x_bld[:, : x_bld.shape[1] // rate * rate]


def _heads_second(x_blhk: jax.Array) -> jax.Array:
  return jnp.swapaxes(x_blhk, 1, 2)


class _Case:
  """One layer: the settings, the weights, and the corresponding parts of the library."""

  def __init__(self, report: Report, case: str, dtype: Any):
    self.report, self.case, self.dtype = report, case, dtype
    self.meta = Settings(zip(_META, map(int, report.input(f'{case}/meta').ravel()), strict=False))
    names = [key.removeprefix(f'{case}/param/') for key in report.arrays if key.startswith(f'{case}/param/')]
    self.params: Params = {name: self.array(f'param/{name}') for name in names}
    d = self.meta['width']
    if Settings(self.params)['to_kv.weight'].shape != (2 * d, d) or d % self.meta['heads']:
      raise NotCovered(
        'the library requires as many key heads as query heads, with d_model channels in total'
      )
    self.x_bld = self.array('x')
    self.mem_bld, self.cmem_bmd = self.given('mem'), self.given('cmem')
    timeline_btd = jnp.concatenate([self.mem_bld, self.x_bld], axis=1)
    self.gone = max(0, timeline_btd.shape[1] - self.meta['mem_len'])
    self.old_bld, self.kept_btd = timeline_btd[:, : self.gone], timeline_btd[:, self.gone :]

  def array(self, name: str) -> jax.Array:
    return jnp.asarray(self.report.input(f'{self.case}/{name}'), self.dtype)

  def given(self, name: str) -> jax.Array:
    """The given memory, or an empty one."""
    batch, _, d = self.x_bld.shape
    return self.array(name) if self.meta[name] else jnp.zeros((batch, 0, d), self.dtype)

  def compare(self, name: str, ours: Any) -> None:
    self.report.compare(f'{self.case}/{name}', ours)

  def attention(self, params: Params) -> Attention:
    """A layer without positions, with these parameters."""
    d, h, w = self.meta['width'], self.meta['heads'], Settings(params)
    graphdef = _graphdef(d, h, jnp.dtype(self.dtype).name)
    k, v = jnp.split(w['to_kv.weight'].T, 2, axis=1)
    kernels = {'w_q': w['to_q.weight'].T, 'w_k': k, 'w_v': v, 'w_o': w['to_out.weight'].T}
    return nnx.merge(graphdef, nnx.State({name: {'kernel': kernel} for name, kernel in kernels.items()}))

  def memory(self, params: Params, length: int) -> Compressive:
    """The memory for segments of `length` tokens."""
    d, h, rate = self.meta['width'], self.meta['heads'], self.meta['rate']
    slots = length // rate
    config = CompressiveConfig(
      length=-(-max(self.meta['cmem_len'], slots) // slots) * slots,
      rate=rate,
      compression='convolution',
      loss='attention',
    )
    config.check(length)
    site = Site(
      d_model=d, num_heads=h, head_dim=d // h, segment_length=length, param_dtype=jnp.dtype(self.dtype)
    )
    graphdef = nnx.split(Compressive(config, site, rngs=nnx.Rngs(0)))[0]
    ours = {'w_cde': _kernel(params[f'{_CONV}.weight']), 'b_e': params[f'{_CONV}.bias']}
    return nnx.merge(graphdef, nnx.State({'compressor': ours}))

  def check(self) -> None:
    """Checks attention, memories, loss and gradients."""
    self._check_attention()
    self.compare('new_mem', self.kept_btd)
    # The port prepends as many zeros as there are remaining tokens, then drops what does not fill a kernel.
    padded_bld = jnp.pad(self.old_bld, ((0, 0), (self.gone % self.meta['rate'], 0), (0, 0)))
    stored = self.report.arrays.get(f'{self.case}/old_mem', self.old_bld)
    self.compare('old_mem', padded_bld if stored.shape == padded_bld.shape else self.old_bld)
    whole_bld = _whole(padded_bld, self.meta['rate'])
    if not whole_bld.shape[1] or not self.meta['cmem_len']:
      self.compare('new_cmem', self.cmem_bmd)
      self._compare_loss(0.0)
      self.report.unchecked(
        f'{self.case}/(compressed_mem|old_mem_.|cmem_.|attn_.*|grad_aux/.*)', 'nothing was compressed'
      )
      return
    self._check_memory(whole_bld)

  def _check_attention(self) -> None:
    attention, x_bld = self.attention(self.params), self.x_bld
    mem_bmd, cmem_bmd = self.mem_bld, self.cmem_bmd

    def part(x_bmd: jax.Array, age_m: jax.Array) -> Part:
      k_bmhk, v_bmhk = attention.project(x_bmd)
      return attention.keys(k_bmhk, v_bmhk, age_m[None], jnp.ones(x_bmd.shape[:2], bool))

    window_bwd = jnp.concatenate([mem_bmd, x_bld], axis=1)
    parts = [part(window_bwd, mem_bmd.shape[1] - jnp.arange(window_bwd.shape[1], dtype=self.dtype))]
    if cmem_bmd.shape[1]:
      parts.append(part(cmem_bmd, jnp.ones(cmem_bmd.shape[1], self.dtype)))
    q_blhk = attention.queries(x_bld)
    queries = attention.ask(q_blhk, jnp.arange(x_bld.shape[1], dtype=self.dtype)[None], None)
    self.compare('out', attention.attend(queries, parts, None) + self.params['to_out.bias'])
    self.compare('q', _heads_second(q_blhk))

  def _check_memory(self, past_bld: jax.Array) -> None:
    attention = self.attention(self.params)
    batch, length = past_bld.shape[:2]
    memory = self.memory(self.params, length)
    num, new = memory.config.length, memory.per_segment
    empty = memory.init_state(batch, past_bld.dtype)
    stored_bmd = jnp.concatenate([empty.x_bmd, self.cmem_bmd], axis=1)[:, -num:]
    state = CompressiveState(
      x_bmd=stored_bmd, index_bm=None, segments_b=empty.segments_b, old_bld=empty.old_bld
    )
    past = Past(x_bld=past_bld, whole_b=jnp.ones(batch, bool))
    written = memory.write(state, past, attention.project)
    compressed_bmd = written.x_bmd[:, -new:]
    self.compare('compressed_mem', compressed_bmd)
    held = min(self.meta['cmem_len'], self.cmem_bmd.shape[1] + new)
    self.compare('new_cmem', written.x_bmd[:, num - held :])

    for name, ours in zip(('cmem_k', 'cmem_v'), attention.project(compressed_bmd), strict=True):
      self.compare(name, _heads_second(ours))
    if not self.mem_bld.shape[1]:
      reason = 'without a memory, the port compares with attention over no keys'
      self.report.unchecked(f'{self.case}/(old_mem_|attn_|aux_loss|grad_aux).*', reason)
      return
    # The port compares with the whole memory, the library only with the evicted tokens.
    old = attention.project(self.mem_bld)
    for name, ours in zip(('old_mem_k', 'old_mem_v'), old, strict=True):
      self.compare(name, _heads_second(ours))
    q_blhk, new_kv = attention.queries(self.x_bld), attention.project(compressed_bmd)
    self.compare('attn_old', _heads_second(compression.content_attention(q_blhk, *old)))
    self.compare('attn_comp', _heads_second(compression.content_attention(q_blhk, *new_kv)))
    loss = functools.partial(self._loss, state, past)
    value, gradient = jax.value_and_grad(loss)(self.params)
    self._compare_loss(value)
    for name, ours in gradient.items():
      self.compare(f'grad_aux/{name}', ours)
      self.compare(f'grad_aux/{name.removeprefix("compress_mem_fn.")}', ours)

  def _compare_loss(self, ours: Any) -> None:
    """Compares the loss, which the file has as a scalar or as an array of size one."""
    stored = self.report.arrays.get(f'{self.case}/aux_loss')
    if stored is not None:
      self.compare('aux_loss', jnp.reshape(ours, stored.shape))

  def _loss(self, state: CompressiveState, past: Past, params: Params) -> jax.Array:
    """The auxiliary loss of training, from the reads of the segment after the write."""
    attention, memory = self.attention(params), self.memory(params, past.x_bld.shape[1])
    q_blhk = attention.queries(self.x_bld)
    if not self.gone == past.x_bld.shape[1] == self.mem_bld.shape[1]:
      stopped = jax.lax.stop_gradient(jax.tree_util.Partial(Attention.project, attention))
      slots, q_blhk = stopped(memory.compressor(past.x_bld)), jax.lax.stop_gradient(q_blhk)
      return compression.attention_reconstruction(q_blhk, stopped(self.mem_bld), slots).mean()
    written = memory.write(state, past, attention.project)
    ok_bl = jnp.ones(self.x_bld.shape[:2], bool)
    offset_bl = jnp.broadcast_to(jnp.arange(ok_bl.shape[1], dtype=self.dtype), ok_bl.shape)
    segment = Segment(q_blhk=q_blhk, ok_bl=ok_bl, offset_bl=offset_bl)
    total, count = memory.read(written, segment, attention.project).aux['attention']
    return total / count


@functools.cache
def _graphdef(d: int, heads: int, dtype: str) -> Any:
  config = ModelConfig(
    d_model=d,
    num_heads=heads,
    positions='learned',
    short_term_length=0,
    compute_dtype=dtype,
    param_dtype=dtype,
    memory=NothingConfig(),
  )
  return nnx.split(Attention(config, rngs=nnx.Rngs(0)))[0]
