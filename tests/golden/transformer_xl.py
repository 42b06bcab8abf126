"""Transformer-XL: consecutive segments of a language model with its cache, pre- or post-norm.

`meta` has the published names (mem_len, tgt_len, pre_lnorm, ...), param/* PyTorch weights. Per segment: inp
and target [l, b]; hidden, logits, loss (nats per token); new_mems/i (the last mem_len inputs of layer i, and
of the output); per layer AC and BD_shifted [l, m, b, h] (content and position scores, unscaled), attn_prob;
seg0 and seg1: gradients of the mean loss, those of tied weights summed.
"""

import json
from collections.abc import Mapping
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from infformer_jax.core import attention, positions
from infformer_jax.errors import ConfigError
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn import transformer
from infformer_jax.nn.model_config import ModelConfig
from infformer_jax.types import Batch
from tests.golden.report import NotCovered, Report, Settings

Params = dict[str, jax.Array]

_EMBEDDING = 'word_emb.emb_layers.0.weight'
_OUTPUT = 'crit.out_layers.0'
_FIXED = {'attn_type': 0, 'ext_len': 0, 'div_val': 1, 'cutoffs': []}
"""Settings for which the library supports only one value."""


def matches(arrays: Mapping[str, np.ndarray]) -> bool:
  """Whether the file has settings, the shared biases and inputs."""
  return {'meta', 'param/r_w_bias', 'seg0/inp', 'seg0/target'} <= set(arrays)


def check(report: Report, dtype: str = 'float64') -> None:
  """Checks all segments of the file, in float64 or another dtype of the model."""
  meta = Settings(json.loads(str(report.input('meta'))))
  config = model_config(meta, dtype)
  names = [key.removeprefix('param/') for key in report.arrays if key.startswith('param/')]
  skip = {'pos_emb.inv_freq'} | ({f'{_OUTPUT}.weight'} if config.tie_embeddings else set())
  params = {name: jnp.asarray(report.input(f'param/{name}'), dtype) for name in names if name not in skip}
  report.compare('param/pos_emb.inv_freq', positions.inverse_frequencies(config.d_model))
  if config.tie_embeddings:
    report.compare(f'param/{_OUTPUT}.weight', params[_EMBEDDING])
  report.unchecked('tokens', 'the same tokens as inp and target')

  model = Model(config, meta['n_token'], params)
  state, outputs = model.with_params(params).init_state(report.input('seg0/inp').shape[1]), []
  while f'seg{len(outputs)}/inp' in report:
    out = _check_segment(report, model, f'seg{len(outputs)}', params, state, first=not outputs)
    state = out.state
    outputs.append(out.hidden_bsld[:, 0])
    memories = [block.cache_btd for block in state.blocks] + [jnp.concatenate(outputs, axis=1)]
    for i, memory_btd in enumerate(memories):
      _check_memory(report, f'seg{len(outputs) - 1}/new_mems/{i}', memory_btd)


def model_config(meta: Settings, dtype: Any) -> ModelConfig:
  """The library's config for the published settings."""
  for name, value in _FIXED.items():
    if meta.get(name, value) != value:
      raise NotCovered(f'the library does not support {name} = {meta[name]!r}')
  if meta.get('d_embed', meta['d_model']) != meta['d_model']:
    raise NotCovered('the library does not project embeddings: d_embed differs from d_model')
  try:
    return ModelConfig(
      d_model=meta['d_model'],
      num_layers=meta['n_layer'],
      num_heads=meta['n_head'],
      head_dim=meta['d_head'],
      d_ff=meta['d_inner'],
      feed_forward='relu',
      norm_position='pre' if meta['pre_lnorm'] else 'post',
      final_norm=False,
      positions='xl',
      clamp_length=meta['clamp_len'] if meta.get('clamp_len', -1) > 0 else None,
      window='sliding' if meta.get('same_length') else 'block',
      segment_length=meta['tgt_len'],
      short_term_length=meta['mem_len'],
      stop_short_term_gradient=True,
      tie_embeddings=meta['tie_weight'],
      scale_embeddings=True,
      output_bias=True,
      compute_dtype=dtype,
      param_dtype=dtype,
      memory=NothingConfig(),
    )
  except ConfigError as error:
    raise NotCovered(f'the library does not support these settings: {error}') from error


class Model:
  """The library's model with the published parameters."""

  def __init__(self, config: ModelConfig, vocab_size: int, params: Params):
    self.config = config
    self.graphdef, fresh = transformer.build(config, vocab_size, jax.random.key(0))
    ours = self.ours(params)
    if jax.tree.map(jnp.shape, ours) != jax.tree.map(jnp.shape, fresh):
      raise NotCovered('the shapes of the parameters do not match the settings')

  def with_params(self, params: Params) -> transformer.Transformer:
    """The model with other values of the published parameters."""
    return transformer.merge(self.graphdef, self.ours(params))

  def ours(self, params: Params) -> dict[str, Any]:
    """The pure dict of parameters of the library."""
    config, w = self.config, Settings(params)
    vocabulary = {'embedding': {'embedding': w[_EMBEDDING]}, 'output_bias_v': w[f'{_OUTPUT}.bias']}
    if not config.tie_embeddings:
      vocabulary['unembedding'] = {'embedding': w[f'{_OUTPUT}.weight']}
    return {
      'u_hk': w['r_w_bias'],
      'v_hk': w['r_r_bias'],
      'vocabulary': vocabulary,
      'blocks': {i: self._block(w, f'layers.{i}') for i in range(config.num_layers)},
    }

  def _block(self, w: Settings, layer: str) -> dict[str, Any]:
    q, k, v = jnp.split(w[f'{layer}.dec_attn.qkv_net.weight'].T, 3, axis=1)

    def norm(part: str) -> dict[str, Any]:
      return {'scale': w[f'{layer}.{part}.layer_norm.weight'], 'bias': w[f'{layer}.{part}.layer_norm.bias']}

    def dense(part: int) -> dict[str, Any]:
      name = f'{layer}.pos_ff.CoreNet.{part}'
      return {'kernel': w[f'{name}.weight'].T, 'bias': w[f'{name}.bias']}

    return {
      'attention': {
        'w_q': {'kernel': q},
        'w_k': {'kernel': k},
        'w_v': {'kernel': v},
        'w_r': {'kernel': w[f'{layer}.dec_attn.r_net.weight'].T},
        'w_o': {'kernel': w[f'{layer}.dec_attn.o_net.weight'].T},
      },
      'attention_norm': norm('dec_attn'),
      'feed_forward': {'w_in': dense(0), 'w_out': dense(3)},
      'feed_forward_norm': norm('pos_ff'),
    }


def _check_segment(
  report: Report, model: Model, seg: str, params: Params, state: transformer.ModelState, *, first: bool
) -> transformer.Output:
  """Compares all arrays of the file for one segment, except its memories."""
  tokens_bsl, targets_bsl = (report.input(f'{seg}/{name}').T[:, None] for name in ('inp', 'target'))
  new_doc_bs = np.full(tokens_bsl.shape[:2], first)
  index_bs = np.zeros(tokens_bsl.shape[:2], np.int32)
  batch = Batch(
    tokens_bsl=jnp.asarray(tokens_bsl, jnp.int32),
    targets_bsl=jnp.asarray(targets_bsl, jnp.int32),
    ok_bsl=np.ones(tokens_bsl.shape, bool),
    group_bsl=np.zeros(tokens_bsl.shape, np.int32),
    new_doc_bs=new_doc_bs,
    document_bs=index_bs,
    segment_bs=index_bs,
  )

  def losses(params: Params) -> tuple[Any, transformer.Output]:
    out = model.with_params(params)(batch, state)
    return model.with_params(params).vocabulary.token_losses(out.hidden_bsld, batch.targets_bsl)[:, 0], out

  with jax.disable_jit(), mock.patch.object(attention, 'attend', wraps=attention.attend) as attend:
    nll_bl, out = losses(params)
  _check_attention(report, seg, attend.call_args_list)
  report.compare(f'{seg}/loss', nll_bl.T)
  report.compare(f'{seg}/hidden', jnp.swapaxes(out.hidden_bsld[:, 0], 0, 1))
  logits_blv = model.with_params(params).vocabulary.logits(out.hidden_bsld[:, 0])
  report.compare(f'{seg}/logits', jnp.swapaxes(logits_blv, 0, 1))
  if any(key.startswith(f'{seg}/grad/') for key in report.arrays):
    gradients = jax.jit(jax.grad(lambda params: losses(params)[0].mean()))(params)
    for name, gradient in gradients.items():
      report.compare(f'{seg}/grad/{name}', gradient)
  return out


def _check_memory(report: Report, key: str, memory_btd: Any) -> None:
  """Compares the last tokens, as many as the published memory holds at this point of the document."""
  if key in report:
    kept = report.arrays[key].shape[0]
    report.compare(key, jnp.swapaxes(memory_btd, 0, 1)[memory_btd.shape[1] - kept :])


def _check_attention(report: Report, seg: str, calls: list[Any]) -> None:
  """Compares the intermediate values of each attention, from the arguments of core.attention."""
  for i, (queries, (window,)) in enumerate(call.args for call in calls):
    pieces = {
      'AC': attention.content_scores(queries, window),
      'BD_shifted': attention.position_scores(queries, window),
      'attn_prob': attention.weights(queries, [window]),
    }
    for name, ours_bhlw in pieces.items():
      key = f'{seg}/{name}/{i}'
      if key in report:
        shape = report.arrays[key].shape
        # Entries above the diagonal are masked.
        seen_lm = np.tri(shape[0], shape[1], shape[1] - shape[0])
        ours = jnp.transpose(ours_bhlw, (2, 3, 0, 1))[:, -shape[1] :]
        weight = seen_lm[:, :, None, None] if name == 'BD_shifted' else 1.0
        report.compare(key, ours, weight=weight)
