"""Time per generated token, with and without a memory: `python -m tests.benchmarks.generation`, 3 minutes."""

import statistics
import time
from collections.abc import Iterator, Mapping

import jax
import numpy as np

from infformer_jax.evaluation.generation import Generator, Sampling
from infformer_jax.memory.continuous_config import ContinuousConfig
from infformer_jax.memory.memory_config import MemoryConfig
from infformer_jax.memory.none import NothingConfig
from infformer_jax.nn import transformer
from infformer_jax.nn.model_config import ModelConfig, Positions
from infformer_jax.train import sharding
from infformer_jax.trained_model import TrainedModel

GREEDY = Sampling(temperature=0)
STICKY = ContinuousConfig(num_basis=512, sampling='sticky')


def wide(positions: Positions, memory: MemoryConfig) -> ModelConfig:
  """Three layers of the width of GPT-2 small."""
  return ModelConfig(
    d_model=768,
    num_layers=3,
    num_heads=12,
    d_ff=3072,
    positions=positions,
    segment_length=512,
    short_term_length=512,
    memory=memory,
  )


def tiny(memory: MemoryConfig) -> ModelConfig:
  """A model whose time is the host's more than the device's."""
  return ModelConfig(
    d_model=128,
    num_layers=3,
    num_heads=4,
    d_ff=512,
    positions='rotary',
    segment_length=64,
    short_term_length=64,
    memory=memory,
  )


def measure(
  models: Mapping[str, ModelConfig],
  *,
  vocab_size: int = 32_000,
  lanes: int = 1,
  tokens: int = 16,
  rounds: int = 9,
) -> dict[str, float]:
  """Milliseconds per token, greedy, inside a segment: medians over rounds in which the models alternate.

  Args:
    models: the contestants by name.
    vocab_size: tokens of the vocabulary.
    lanes: texts that are generated at the same time.
    tokens: of each contestant in a round.
    rounds: the first one, which compiles, is not counted.
  """
  streams = {name: _stream(config, vocab_size, lanes, tokens * rounds + 1) for name, config in models.items()}
  seconds: dict[str, list[float]] = {name: [] for name in models}
  for index in range(rounds):
    for name, stream in streams.items():
      began = time.perf_counter()
      for _ in range(tokens):
        next(stream)
      if index:
        seconds[name].append((time.perf_counter() - began) / tokens)
  return {name: 1e3 * statistics.median(each) for name, each in seconds.items()}


def _stream(config: ModelConfig, vocab_size: int, lanes: int, tokens: int) -> Iterator[np.ndarray]:
  graphdef, params = transformer.build(config, vocab_size, jax.random.key(0))
  trained = TrainedModel(graphdef=graphdef, params=params, mesh=sharding.make_mesh(), step=0)
  generator = Generator(trained, bos_id=0)
  yield from generator.generate(
    *generator.read([np.zeros(0, int)] * lanes), tokens, GREEDY, jax.random.key(0)
  )


def main() -> None:
  tiny_memory = ContinuousConfig(num_basis=64, num_samples=128, sampling='sticky')
  cases = {
    '768 x 3, xl': (wide('xl', NothingConfig()), wide('xl', STICKY)),
    '768 x 3, rotary': (wide('rotary', NothingConfig()), wide('rotary', STICKY)),
    'tiny': (tiny(NothingConfig()), tiny(tiny_memory)),
  }
  print(f'{"ms per token":<16} {"no memory":>9} {"sticky":>7} {"ratio":>6}')
  for name, pair in cases.items():
    size = 1_000 if name == 'tiny' else 32_000
    without, sticky = measure(dict(enumerate(pair)), vocab_size=size).values()
    print(f'{name:<16} {without:>9.2f} {sticky:>7.2f} {sticky / without:>6.2f}', flush=True)


if __name__ == '__main__':
  main()
