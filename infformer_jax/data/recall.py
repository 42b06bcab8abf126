"""Recall at controlled distances, counted in segments: accuracy against distance is one curve per memory.

Associative recall: pairs of a key and a value lie scattered in noise; later the key comes again after a mark,
and its value is to be named (Graves et al. 2014; in this form Ba et al. 2016).

    ... n n [key 7][value 3] n n n ...   4 segments   ... n [?][key 7] -> [value 3] n n ...

Passkey retrieval: some digits lie in a text that says the same again and again; at the end they are asked for
(Mohtashami & Jaggi 2023).

    ... f f f [!] 5 0 3 1 f f ...        4 segments   ... f f f [?] -> 5 0 3 1
"""

import dataclasses
from typing import Literal

import numpy as np

from infformer_jax.data.tasks import Task, TaskConfig, Uniforms
from infformer_jax.errors import ConfigError

_DIGITS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecallConfig(TaskConfig):
  """A document has `num_segments` segments; every answer is that many segments away from what it asks for."""

  kind: str = 'recall'
  task: Literal['associative', 'passkey'] = 'associative'
  segment_length: int = 64  # tokens, the unit of the distances; the model's
  num_segments: int = 24
  distances: tuple[int, ...] = (1, 2, 4, 8, 16)  # segments
  num_values: int = 16  # associative: guessing is right once in so many
  pairs_per_distance: int = 2  # associative: pairs, and questions, of each distance in a document
  num_fillers: int = 16  # symbols of the noise, or of the text that repeats
  passkey_length: int = 4  # digits

  def __post_init__(self) -> None:
    super().__post_init__()
    if not self.distances or min(self.distances) < 1 or sorted(set(self.distances)) != list(self.distances):
      raise ConfigError(f'distances = {self.distances} must be at least 1, each once, the smallest first')
    if self.distances[-1] >= self.num_segments:
      raise ConfigError(
        f'num_segments = {self.num_segments} must be larger than the largest of distances = {self.distances}'
      )
    for name in ('num_values', 'pairs_per_distance', 'num_fillers', 'passkey_length'):
      if getattr(self, name) < 1:
        raise ConfigError(f'{name} = {getattr(self, name)} is not positive')
    if self.segment_length < self.longest:
      raise ConfigError(
        f'segment_length = {self.segment_length} may not hold all that could fall into one segment, '
        f'{self.longest} tokens; make it longer, or pairs_per_distance or passkey_length smaller'
      )

  def check(self, segment_length: int) -> None:
    if self.segment_length != segment_length:
      raise ConfigError(
        f'segment_length = {self.segment_length}, the unit of the distances, is not '
        f'model.segment_length = {segment_length}; set both'
      )

  @property
  def num_pairs(self) -> int:
    """In a document, each with a key of its own."""
    return self.pairs_per_distance * len(self.distances)

  @property
  def longest(self) -> int:
    """The most tokens that may fall into one segment beside the noise, of which one is the last.

    A model is given every token one place later, so that what lies in a segment's last place would come to it
    with the next segment, one nearer to its question.
    """
    return 1 + (5 * self.num_pairs if self.task == 'associative' else self.passkey_length + 1)


def source(config: RecallConfig) -> Task:
  """The task; a group of answers for each distance.

  Ids: noise, then the marks ? and !, then values and keys, or digits.
  """
  make = _associative if config.task == 'associative' else _passkey
  answers = config.num_values + config.num_pairs if config.task == 'associative' else _DIGITS
  return Task(
    config,
    lambda uniforms: make(config, uniforms),
    num_symbols=config.num_fillers + 2 + answers,
    groups=[f'distance_{distance}' for distance in config.distances],
    length=config.num_segments * config.segment_length,
  )


def _associative(config: RecallConfig, uniforms: Uniforms) -> tuple[np.ndarray, np.ndarray]:
  question, first_value = config.num_fillers, config.num_fillers + 2
  num = config.num_pairs
  group = np.repeat(np.arange(len(config.distances)), config.pairs_per_distance)
  distance = np.array(config.distances)[group]
  keys = first_value + config.num_values + uniforms.choice(num, num)
  values = first_value + uniforms.integers(config.num_values, num)
  where = uniforms.integers(config.num_segments - distance, num)

  # By segment: what lies there, as (tokens, group of the last one or -1).
  parts: list[list[tuple[list[int], int]]] = [[] for _ in range(config.num_segments)]
  for key, value, at, far, of in zip(keys, values, where, distance, group, strict=True):
    parts[at].append(([key, value], -1))
    parts[at + far].append(([question, key, value], of))
  laid = [_laid(part, config, uniforms) for part in parts]
  tokens, groups = (np.concatenate(each).astype(np.int32) for each in zip(*laid, strict=True))
  return tokens, groups


def _laid(
  parts: list[tuple[list[int], int]], config: RecallConfig, uniforms: Uniforms
) -> tuple[np.ndarray, np.ndarray]:
  """One segment: the parts in random order and at random places, noise between them and in the last place."""
  length = config.segment_length
  tokens = uniforms.integers(config.num_fillers, length)
  group = np.full(length, -1)
  free = length - 1 - sum(len(part) for part, _ in parts)
  gaps = np.sort(uniforms.integers(free + 1, len(parts)))
  before = 0
  for gap, index in zip(gaps, uniforms.choice(len(parts), len(parts)), strict=True):
    part, of = parts[index]
    start = before + gap
    tokens[start : start + len(part)] = part
    group[start + len(part) - 1] = of
    before += len(part)
  return tokens, group


def _passkey(config: RecallConfig, uniforms: Uniforms) -> tuple[np.ndarray, np.ndarray]:
  question, mark, first_digit = config.num_fillers, config.num_fillers + 1, config.num_fillers + 2
  size, length = config.passkey_length, config.segment_length
  num_tokens = config.num_segments * length
  tokens = (np.arange(num_tokens) % config.num_fillers).astype(np.int32)
  digits = first_digit + uniforms.integers(_DIGITS, size)
  of = int(uniforms.integers(len(config.distances), 1)[0])
  segment = config.num_segments - 1 - config.distances[of]
  start = segment * length + int(uniforms.integers(length - size - 1, 1)[0])
  tokens[start : start + size + 1] = [mark, *digits]
  tokens[-size - 1 :] = [question, *digits]
  group = np.full(num_tokens, -1, np.int32)
  group[-size:] = of
  return tokens, group
