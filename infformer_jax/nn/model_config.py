"""The configuration of a model, its trunk and its memory, checked before the model is built."""

import dataclasses
from typing import Literal

import jax

from infformer_jax.core.attention import WindowKind
from infformer_jax.core.rotary import RotaryScaling
from infformer_jax.errors import ConfigError, check_range
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.memory_config import MemoryConfig
from infformer_jax.nn.layers import FeedForwardKind

Positions = Literal['xl', 'rotary', 't5', 'learned']

MAX_LAYERS = 10_000
"""Programs grow with every layer, and so do checks of configs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
  """The trunk and its memories; sizes in the letters of types.py."""

  d_model: int = 512
  num_layers: int = 8
  num_heads: int = 8
  num_kv_heads: int | None = None  # heads of keys and values, a divisor of num_heads; None: num_heads
  head_dim: int | None = None  # None: d_model / num_heads
  d_ff: int = 2048
  feed_forward: FeedForwardKind = 'gelu'  # 'gelu' is the tanh form of GPT-2, 'gelu_erf' the exact one
  feed_forward_bias: bool | None = None  # None: with all but 'swiglu'
  norm: Literal['layernorm', 'rmsnorm'] = 'layernorm'
  norm_epsilon: float = 1e-5  # added to the variance, as in Transformer-XL, GPT-2 and Llama 2
  norm_position: Literal['pre', 'post'] = 'pre'
  final_norm: bool = True
  positions: Positions = 'xl'
  clamp_length: int | None = None  # 'xl': larger distances score as this one, in tokens; None: none do
  rotary_base: float = 10_000.0  # 'rotary': feature pair i turns by base^(-2i/k) per token
  rotary_scaling: RotaryScaling | None = None  # 'rotary': Llama 3's, for longer contexts
  max_positions: int | None = None  # 'learned': rows of the table; None: what M and l need
  qkv_bias: bool = False  # biases of W_q, W_k, W_v
  attention_output_bias: bool = False  # a bias of W_o
  normalize_qk: bool = False  # unit queries and keys, a learned scale per head instead of 1/√k
  segment_length: int = 512  # l, tokens
  short_term_length: int = 512  # M, tokens of the past that local attention sees; a multiple of l
  # The tokens that a token sees. 'block': all M, and its segment up to itself. Across segments, the last M
  # with itself ('sliding', Transformer-XL's same_length) or without ('past'): tokens leave the window up to l
  # tokens before they are evicted. It has no parameters, and may change at evaluation, as clamp_length may.
  window: WindowKind = 'block'
  stop_short_term_gradient: bool = False  # True: Transformer-XL's training
  dropout: float = 0.0  # of the embeddings and of what attention and feed-forward add to the residual stream
  feed_forward_dropout: float | None = None  # of the hidden units; None: as `dropout`; GPT-2 has none
  attention_dropout: float = 0.0  # of the weights of local attention, those of a memory's slots too
  tie_embeddings: bool = True
  scale_embeddings: bool = False  # by √d_model, as in Transformer-XL
  output_bias: bool = False
  remat: bool = False  # recompute each layer in the backward pass
  compute_dtype: Literal['float32', 'bfloat16', 'float64'] = 'float32'
  param_dtype: Literal['float32', 'float64'] = 'float32'
  memory: MemoryConfig = dataclasses.field(default_factory=ContinuousConfig)

  @property
  def width_of_head(self) -> int:
    """k."""
    return self.head_dim or self.d_model // self.num_heads

  @property
  def kv_heads(self) -> int:
    """Heads of keys and values."""
    return self.num_kv_heads or self.num_heads

  @property
  def num_positions(self) -> int:
    """The rows of the table of learned positions."""
    return self.max_positions or self.short_term_length + self.segment_length

  @property
  def layers_with_drift(self) -> range:
    """The layers with a `position_drift_td` (nn/window.py)."""
    moves = self.positions == 'learned' and self.short_term_length > 0
    return range(1, self.num_layers) if moves else range(0)

  @property
  def biased_feed_forward(self) -> bool:
    """Whether the feed-forwards have biases."""
    return self.feed_forward != 'swiglu' if self.feed_forward_bias is None else self.feed_forward_bias

  @property
  def hidden_dropout(self) -> float:
    """The dropout of the hidden units of the feed-forwards."""
    return self.dropout if self.feed_forward_dropout is None else self.feed_forward_dropout

  def __post_init__(self) -> None:
    sizes = ('d_model', 'num_heads', 'd_ff', 'segment_length')
    check_range('num_layers', self.num_layers, 1, MAX_LAYERS)
    for name in (*sizes, 'head_dim', 'num_kv_heads', 'clamp_length', 'max_positions'):
      check_range(name, getattr(self, name), 1)
    check_range('short_term_length', self.short_term_length, 0)
    length, short = self.segment_length, self.short_term_length
    if short % length:
      near = short // length * length
      raise ConfigError(
        f'short_term_length = {short} must be a multiple of segment_length = {length}; '
        f'use {near} or {near + length}'
      )
    if self.window != 'block' and not short:
      raise ConfigError(
        f"window = '{self.window}' must be 'block' with short_term_length = 0; or use {length} or more"
      )
    for name, positions in (('clamp_length', 'xl'), ('max_positions', 'learned')):
      if (value := getattr(self, name)) is not None and self.positions != positions:
        raise ConfigError(
          f"{name} = {value} must be None with positions = '{self.positions}'; or use '{positions}'"
        )
    if self.num_positions < short + length:
      raise ConfigError(
        f'max_positions = {self.max_positions} must be at least short_term_length + segment_length = '
        f'{short} + {length} = {short + length}; use shorter ones, or a larger table'
      )
    for name in ('norm_epsilon', 'rotary_base'):
      if (value := getattr(self, name)) <= 0:
        raise ConfigError(f'{name} = {value} must be positive')
    if self.positions != 'rotary' and (self.rotary_base, self.rotary_scaling) != (10_000.0, None):
      raise ConfigError(
        f'rotary_base = {self.rotary_base} and rotary_scaling = {self.rotary_scaling} must be 10000.0 and '
        f"None with positions = '{self.positions}'; or use 'rotary'"
      )
    if self.head_dim is None and self.d_model % self.num_heads:
      raise ConfigError(
        f'd_model = {self.d_model} must be a multiple of num_heads = {self.num_heads}; '
        'change one, or set head_dim'
      )
    if self.num_heads % self.kv_heads:
      raise ConfigError(
        f'num_kv_heads = {self.num_kv_heads} must divide num_heads = {self.num_heads}; '
        'use a divisor, or None for as many'
      )
    if self.positions == 'rotary' and self.width_of_head % 2:
      raise ConfigError(f"head_dim = {self.width_of_head} must be even with positions = 'rotary'")
    if self.positions == 'xl' and self.d_model % 2:
      raise ConfigError(f"d_model = {self.d_model} must be even with positions = 'xl'")
    if self.positions == 'learned' and self.memory.traits.gives_slots:
      raise ConfigError(
        "positions = 'learned' must not be used with a memory that keeps tokens, as 'recent' does, whose "
        "tokens would have no position; use 'xl', 'rotary' or 't5', or another memory"
      )
    if self.positions == 'learned' and short and self.norm_position == 'post':
      raise ConfigError(
        f"norm_position = 'post' must be 'pre' with positions = 'learned' and short_term_length = {short}: "
        'after a norm, the embedding of a position is not a summand that can be exchanged; or use 0'
      )
    if self.norm_position == 'post' and self.memory.traits.uses_residual:
      raise ConfigError(
        "norm_position = 'post' has the residual stream as the input of its attention; "
        "use feed = 'normed' in the memory, which is that stream, or norm_position = 'pre'"
      )
    for name in ('dropout', 'feed_forward_dropout', 'attention_dropout'):
      if (rate := getattr(self, name)) is not None and not 0 <= rate < 1:
        raise ConfigError(f'{name} = {rate} must be in [0, 1)')
    layers = self.memory.layers
    if layers is not None and (not layers or list(layers) != sorted({*layers} & {*range(self.num_layers)})):
      raise ConfigError(
        f'memory.layers = {layers} must be one or more ascending layers in [0, {self.num_layers - 1}] with '
        f'num_layers = {self.num_layers}; or use None'
      )
    for name in ('compute_dtype', 'param_dtype'):
      if getattr(self, name) == 'float64' and not jax.config.read('jax_enable_x64'):
        raise ConfigError(f"{name} = 'float64' needs the environment variable JAX_ENABLE_X64 = 1; set it")
    try:
      self.memory.check(length)
    except ConfigError as error:
      raise ConfigError(f'memory.{error}') from None
