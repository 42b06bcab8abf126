"""Generation: reads prompts of any length in constant space, then yields one token at a time."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from infformer_jax.errors import ConfigError, check_range
from infformer_jax.evaluation.not_finite import require_finite
from infformer_jax.nn import append_token, open_segment
from infformer_jax.nn.open_segment import Open, Prepared, Tokens
from infformer_jax.nn.transformer import ModelState, Transformer
from infformer_jax.trained_model import TrainedModel
from infformer_jax.types import Array, Batch, PyTree


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
  """How the next token is sampled: top_k, then top_p, are applied to the probabilities at the temperature."""

  temperature: float = 1.0  # 0: greedy
  top_k: int | None = None
  top_p: float | None = None

  def __post_init__(self) -> None:
    if not (self.temperature >= 0 and math.isfinite(self.temperature)):
      raise ConfigError(f'temperature = {self.temperature} must be finite and at least 0; 0 is greedy')
    check_range('top_k', self.top_k, 1)
    if self.top_p is not None and not 0 < self.top_p <= 1:
      raise ConfigError(f'top_p = {self.top_p} must be in (0, 1]')


def sample(logits_bv: Array, sampling: Sampling, key: jax.Array) -> Array:
  """One token per row [b], int32.

  top_p keeps the fewest most likely tokens with at least that probability in total (Holtzman et al. 2020).
  """
  if sampling.temperature == 0:
    return jnp.argmax(logits_bv, axis=-1).astype(jnp.int32)
  # The largest logit becomes 0, which cannot overflow at a low temperature.
  temperature = max(sampling.temperature, float(jnp.finfo(logits_bv.dtype).tiny))
  logits_bv = (logits_bv - logits_bv.max(axis=-1, keepdims=True)) / temperature
  if sampling.top_k is not None:
    lowest = jax.lax.top_k(logits_bv, min(sampling.top_k, logits_bv.shape[-1]))[0][..., -1:]
    logits_bv = jnp.where(logits_bv >= lowest, logits_bv, -jnp.inf)
  if sampling.top_p is not None:
    ordered = jnp.sort(logits_bv, axis=-1)[..., ::-1]
    probabilities = jax.nn.softmax(ordered, axis=-1)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    lowest = jnp.where(before < sampling.top_p, ordered, jnp.inf).min(axis=-1, keepdims=True)
    logits_bv = jnp.where(logits_bv >= lowest, logits_bv, -jnp.inf)
  return jax.random.categorical(key, logits_bv, axis=-1).astype(jnp.int32)


class Generator:
  """A model with compiled functions, which prompts of the same batch size share."""

  def __init__(self, trained: TrainedModel, *, bos_id: int, segments_per_chunk: int = 8):
    self.params, self.bos_id, self.segments_per_chunk = _cast_once(trained), bos_id, segments_per_chunk
    model = trained.model()
    self.segment_length, self.init_state = model.config.segment_length, model.init_state

    def with_model(function: Callable, **options: Any) -> Callable:
      def run(params: PyTree, constants: PyTree, *args: Any) -> Any:
        return function(trained.model(params, constants), *args)

      jitted = jax.jit(run, **options)
      return lambda *args: jitted(self.params, trained.constants, *args)

    self._read_chunk = with_model(_read_chunk, donate_argnums=3)
    self._open = with_model(open_segment.open_segment)
    self._append = with_model(append_token.append, donate_argnums=3)
    self._read_out = with_model(_read_out)
    self._next = with_model(_next, static_argnums=5, donate_argnums=3)
    self._renew = with_model(open_segment.renew, donate_argnums=2)

  def read(
    self, prompts: Sequence[np.ndarray], progress: Callable[[int], None] | None = None
  ) -> tuple[Array, Open]:
    """Reads one prompt per row, each of them a document that starts with BOS.

    Whole segments are right-aligned, after idle ones, and read in chunks. The remaining tokens, at least one,
    are appended to the open segment.

    Args:
      prompts: token ids without BOS; of any lengths, including 0.
      progress: called after every chunk with the number of tokens read of the longest prompt.
    Returns:
      The logits [b, v] of each row's next token, and the open segments.
    Raises:
      NotFiniteModelError: a value is not finite.
    """
    inputs = [np.concatenate([[self.bos_id], prompt]).astype(np.int32) for prompt in prompts]
    whole = np.array([(len(ids) - 1) // self.segment_length for ids in inputs])
    state = self.init_state(len(inputs))
    chunks = -(-int(whole.max()) // self.segments_per_chunk)
    checks: list[Array] = []
    for chunk in range(chunks):
      batch = self._chunk(inputs, whole, chunk, chunks)
      state, finite_bi = self._read_chunk(batch, state)
      checks.append(finite_bi)
      if chunk:  # One chunk late, so that the device never waits for the host.
        self._require_finite(checks.pop(0), 'in the prompt')
      if progress:
        read = (chunk + 1 - chunks) * self.segments_per_chunk + int(whole.max())
        progress(read * self.segment_length)
    opened = self._open(state, jnp.asarray(whole == 0))
    rest = [ids[count * self.segment_length :] for ids, count in zip(inputs, whole, strict=True)]
    tokens = opened.tokens
    for i in range(max(map(len, rest))):  # At most a segment, so that none is full before the last token.
      active_b = np.array([i < len(ids) for ids in rest])
      token_b = np.array([ids[i] if i < len(ids) else 0 for ids in rest], np.int32)
      tokens = self._append(opened.prepared, tokens, token_b, active_b)
    logits_bv, last_bi = self._read_out(tokens)
    for finite_bi in (*checks, last_bi):
      self._require_finite(finite_bi, 'in the prompt')
    return logits_bv, Open(prepared=opened.prepared, tokens=tokens)

  def generate(
    self, logits_bv: Array, opened: Open, max_new_tokens: int, sampling: Sampling, key: jax.Array
  ) -> Iterator[np.ndarray]:
    """Yields one token per row [b] at a time, which the memory reads too. Consumes `opened`.

    Raises:
      NotFiniteModelError: a value is not finite; the tokens before it have been yielded.
    """
    token_b = jax.jit(sample, static_argnums=1)(logits_bv, sampling, jax.random.fold_in(key, 0))
    count_b = np.asarray(opened.tokens.count_b)  # From here on the host counts.
    for i in range(max_new_tokens):
      yield np.asarray(token_b)
      if i + 1 < max_new_tokens:
        if (full_b := count_b == self.segment_length).any():
          opened, count_b = self._renew(opened), np.where(full_b, 0, count_b)
        token_b, tokens, finite_bi = self._next(opened.prepared, opened.tokens, token_b, sampling, key, i + 1)
        opened, count_b = dataclasses.replace(opened, tokens=tokens), count_b + 1
        self._require_finite(finite_bi, f'after {i + 1} generated tokens')

  def _require_finite(self, finite_bi: Array, when: str) -> None:
    require_finite(finite_bi, self.params, when)

  def _chunk(self, inputs: list[np.ndarray], whole: np.ndarray, chunk: int, chunks: int) -> Batch:
    """Segments of all rows, aligned so that the last whole segment of every row ends the last chunk."""
    s, length = self.segments_per_chunk, self.segment_length
    tokens = np.zeros((len(inputs), s, length), np.int32)
    segment_bs = (chunk - chunks) * s + np.arange(s) + whole[:, None]  # negative: idle
    for row, ids in enumerate(inputs):
      for i in np.flatnonzero(segment_bs[row] >= 0):
        start = segment_bs[row, i] * length
        tokens[row, i] = ids[start : start + length]
    ok_bsl = np.broadcast_to((segment_bs >= 0)[:, :, None], tokens.shape)
    return Batch(
      tokens_bsl=tokens,
      targets_bsl=tokens,
      ok_bsl=ok_bsl,
      group_bsl=np.where(ok_bsl, 0, -1).astype(np.int32),
      new_doc_bs=segment_bs <= 0,
      document_bs=np.where(segment_bs < 0, -1, np.arange(len(inputs))[:, None]).astype(np.int32),
      segment_bs=np.maximum(segment_bs, -1).astype(np.int32),
    )


def _read_chunk(model: Transformer, batch: Batch, state: ModelState) -> tuple[ModelState, Array]:
  output = model(batch, state)
  return output.state, output.finite_bi


def _read_out(model: Transformer, tokens: Tokens) -> tuple[Array, Array]:
  """The logits of every row's next token, and which parts of the model are finite."""
  logits_bv = model.vocabulary.logits(tokens.hidden_bd)
  finite_b1 = jnp.isfinite(logits_bv).all(axis=-1, keepdims=True)
  return logits_bv, jnp.concatenate([tokens.finite_bi, finite_b1], axis=1)


def _next(
  model: Transformer,
  prepared: Prepared,
  tokens: Tokens,
  token_b: Array,
  sampling: Sampling,
  key: jax.Array,
  index: Array,
) -> tuple[Array, Tokens, Array]:
  """Appends a token of every row and samples the next one with key `index`."""
  tokens = append_token.append(model, prepared, tokens, token_b, jnp.ones_like(token_b, bool))
  logits_bv, finite_bi = _read_out(model, tokens)
  return sample(logits_bv, sampling, jax.random.fold_in(key, index)), tokens, finite_bi


def _cast_once(trained: TrainedModel) -> PyTree:
  """The parameters, those of dense layers and embeddings in the dtype to which each use casts them."""
  if trained.config.compute_dtype == trained.config.param_dtype:
    return trained.params

  @jax.jit
  def cast(params: PyTree) -> PyTree:
    model = trained.model(params)
    for _, module in nnx.iter_modules(model):
      if isinstance(module, nnx.Linear | nnx.Embed) and module.dtype is not None:
        for param in vars(module).values():
          if isinstance(param, nnx.Param):
            param.set_value(param[...].astype(module.dtype))
    return nnx.to_pure_dict(nnx.state(model))

  return cast(trained.params)
