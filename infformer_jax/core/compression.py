"""Compression of a segment of the past by a rate c, and the losses that train a compressor.

Source: Compressive Transformers for Long-Range Sequence Modelling (Rae et al. 2020), sections 3.1 and 3.2.
Every compressor takes [b, l, d] to [b, l/c, d], oldest first; slot m covers the tokens m·c to m·c + c - 1,
except of `most_used`, which keeps whole tokens.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from infformer_jax.core import attention
from infformer_jax.core.arrays import at_least_float32
from infformer_jax.errors import ConfigError

Kernel = tuple[Float[Array, '3 d d'], Float[Array, 'd']]
"""A convolution over time of width 3, and its bias."""


def check_rate(length: int, rate: int) -> None:
  """Raises ConfigError where a segment of `length` tokens cannot be compressed by `rate`."""
  if rate < 1 or length % rate:
    near = [r for r in range(1, length + 1) if length % r == 0]
    near = sorted(sorted(near, key=lambda r: abs(r - rate))[:2])
    raise ConfigError(
      f'rate = {rate} must divide a segment of {length} tokens; use {" or ".join(map(str, near))}'
    )


def _cells(x_bld: Array, rate: int) -> Array:
  """[b, l, d] -> [b, l/c, c, d]."""
  check_rate(x_bld.shape[1], rate)
  return x_bld.reshape(x_bld.shape[0], -1, rate, x_bld.shape[2])


@functools.partial(jax.jit, static_argnames='rate')
def mean_pool(x_bld: Float[Array, 'b l d'], rate: int) -> Float[Array, 'b m d']:
  """The mean of every c tokens.

  >>> mean_pool(jnp.array([[[1.0], [3.0], [2.0], [8.0]]]), 2).ravel().tolist()
  [2.0, 5.0]
  """
  return _cells(x_bld, rate).mean(axis=2)


@functools.partial(jax.jit, static_argnames='rate')
def max_pool(x_bld: Float[Array, 'b l d'], rate: int) -> Float[Array, 'b m d']:
  """The maximum of every c tokens, per channel."""
  return _cells(x_bld, rate).max(axis=2)


@jax.jit
def convolve(
  x_bld: Float[Array, 'b l d'], w_cde: Float[Array, 'c d e'], b_e: Float[Array, 'e']
) -> Float[Array, 'b m e']:
  """A convolution whose kernel width and stride are c: every c tokens make one slot.

  Args:
    w_cde: tap 0 is the oldest token's; c is the rate.
  """
  w_cde, b_e = w_cde.astype(x_bld.dtype), b_e.astype(x_bld.dtype)
  return jnp.einsum('bmcd,cde->bme', _cells(x_bld, w_cde.shape[0]), w_cde) + b_e[None, None]


def dilations(rate: int) -> tuple[int, ...]:
  """1, 2, 4, ... below the rate.

  >>> dilations(4), dilations(1)
  ((1, 2), ())
  """
  return tuple(2**i for i in range((rate - 1).bit_length()))


@jax.jit
def dilated(
  x_bld: Float[Array, 'b l d'],
  kernels: tuple[Kernel, ...],
  w_cde: Float[Array, 'c d e'],
  b_e: Float[Array, 'e'],
) -> Float[Array, 'b m e']:
  """Dilated convolutions, each with a residual connection, then `convolve`.

  The paper names dilated convolutions without their sizes, and there is no published code. Our reading:
  kernels of width 3 and dilations 1, 2, 4, ... below c, so that a slot also sees the c - 1 or more tokens
  on either side of its own c; x + relu(conv(x)), zeros beyond the segment.

  Args:
    kernels: one of width 3 for each of `dilations(c)`; tap 0 is the oldest token's.
    w_cde, b_e: of `convolve`.
  """
  for (w_3de, bias_e), step in zip(kernels, dilations(w_cde.shape[0]), strict=True):
    bias_11e = bias_e.astype(x_bld.dtype)[None, None]
    x_bld = x_bld + jax.nn.relu(_around(x_bld, w_3de.astype(x_bld.dtype), step) + bias_11e)
  return convolve(x_bld, w_cde, b_e)


def _around(x_bld: Array, w_3de: Array, step: int) -> Array:
  """Every token with the tokens `step` before and after it."""
  length = x_bld.shape[1]
  padded = jnp.pad(x_bld, ((0, 0), (step, step), (0, 0)))
  taps = jnp.stack([padded[:, i * step : i * step + length] for i in range(3)], axis=2)
  return jnp.einsum('blcd,cde->ble', taps, w_3de)


@functools.partial(jax.jit, static_argnames='rate')
def most_used(
  x_bld: Float[Array, 'b l d'], received_bl: Float[Array, 'b l'], rate: int
) -> tuple[Float[Array, 'b m d'], Int[Array, 'b m']]:
  """The l/c tokens with the highest attention received, in the order of time; of equal ones the older.

  The paper sorts the whole memory by its average attention; here every segment keeps its own most used.

  Returns:
    The tokens' x, and their indices in the segment.
  """
  check_rate(x_bld.shape[1], rate)
  index_bm = jnp.sort(jax.lax.top_k(received_bl, x_bld.shape[1] // rate)[1], axis=-1)
  return jnp.take_along_axis(x_bld, index_bm[:, :, None], axis=1), index_bm


@jax.jit
def expand(
  x_bmd: Float[Array, 'b m d'], w_cde: Float[Array, 'c d e'], b_ce: Float[Array, 'c e']
) -> Float[Array, 'b l e']:
  """The decoder of auto-encoding: every slot is decoded to its c tokens.

  Source: Rae et al. 2020, section 3.2 (g of L_ae, whose form the paper leaves open): a transposed
  convolution of width and stride c, with a bias per tap.
  """
  w_cde, b_ce = w_cde.astype(x_bmd.dtype), b_ce.astype(x_bmd.dtype)
  tokens_bmce = jnp.einsum('bmd,cde->bmce', x_bmd, w_cde) + b_ce[None, None]
  return tokens_bmce.reshape(x_bmd.shape[0], -1, w_cde.shape[2])


@jax.jit
def content_attention(
  q_blhk: Float[Array, 'b l h k'], k_bmgk: Float[Array, 'b m g k'], v_bmgk: Float[Array, 'b m g k']
) -> Float[Array, 'b l h k']:
  """softmax(q·k / √k) v over all m, without any position; float32 or wider. Heads may share keys."""
  k_bmhk, v_bmhk = (attention.by_head(a_bmgk, q_blhk.shape[2]) for a_bmgk in (k_bmgk, v_bmgk))
  scores_bhlm = jnp.einsum('blhk,bmhk->bhlm', q_blhk, k_bmhk) * q_blhk.shape[-1] ** -0.5
  weights_bhlm = attention.softmax(scores_bhlm, jnp.ones_like(scores_bhlm, bool))
  return jnp.einsum('bhlm,bmhk->blhk', weights_bhlm, v_bmhk.astype(weights_bhlm.dtype))


@jax.jit
def attention_reconstruction(
  q_blhk: Float[Array, 'b l h k'],
  old: tuple[Float[Array, 'b t g k'], Float[Array, 'b t g k']],
  new: tuple[Float[Array, 'b m g k'], Float[Array, 'b m g k']],
) -> Float[Array, 'b l']:
  """The mean squared difference of what queries read from a segment and from its slots.

  Source: Rae et al. 2020, algorithm 2 (there the sum); as the published PyTorch port of lucidrains
  (compressive_transformer_pytorch.py, the mean). The caller stops the gradients of
  everything but the compressor.

  Args:
    q_blhk: queries before any position.
    old, new: keys and values of the tokens, and of their slots.
  """
  difference_blhk = content_attention(q_blhk, *old) - content_attention(q_blhk, *new)
  return (difference_blhk**2).mean(axis=(2, 3))


@jax.jit
def auto_encoding(x_bld: Float[Array, 'b l d'], decoded_bld: Float[Array, 'b l d']) -> Float[Array, 'b']:
  """The mean squared error of decoded tokens, per row; float32 or wider."""
  wide = at_least_float32(x_bld.dtype)
  return ((x_bld.astype(wide) - decoded_bld.astype(wide)) ** 2).mean(axis=(1, 2))
