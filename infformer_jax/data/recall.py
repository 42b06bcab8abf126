"""Recall at controlled distances, in segments: accuracy against distance is one curve per memory.

Associative recall: pairs of a key and a value are scattered in noise; later the key is repeated after a mark,
and the answer is its value (Graves et al. 2014; in this form Ba et al. 2016).

    ... n n [key 7][value 3] n n n ...   4 segments   ... n [?][key 7] -> [value 3] n n ...

Passkey retrieval: some digits are hidden in repetitive text, and the question for them is at the end
(Mohtashami & Jaggi 2023).

    ... f f f [!] 5 0 3 1 f f ...        4 segments   ... f f f [?] -> 5 0 3 1
"""

import dataclasses
from typing import Literal

import numpy as np
from etils import epath

from infformer_jax.data.tasks import MOST_TOKENS, Task, TaskConfig, Uniforms
from infformer_jax.errors import ConfigError, check_range

_DIGITS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecallConfig(TaskConfig):
  """A document has `num_segments` segments; the distance is from what is asked for to the answer."""

  kind: str = 'recall'
  task: Literal['associative', 'passkey'] = 'associative'
  segment_length: int = 64  # tokens, the unit of the distances; the model's
  num_segments: int = 24
  distances: tuple[int, ...] = (1, 2, 4, 8, 16)  # segments
  num_values: int = 16  # associative: a guess is right with probability 1 / num_values
  pairs_per_distance: int = 2  # associative: pairs and questions per distance in a document
  num_fillers: int = 16  # symbols of the noise, or of the repetitive text
  passkey_length: int = 4  # digits

  def __post_init__(self) -> None:
    super().__post_init__()
    for name in ('segment_length', 'pairs_per_distance', 'passkey_length'):
      check_range(name, getattr(self, name), 1)
    for name in ('num_values', 'num_fillers'):
      check_range(name, getattr(self, name), 1, 1_000_000)
    check_range('num_segments', self.num_segments, 1, MOST_TOKENS // self.segment_length)
    if not self.distances or min(self.distances) < 1 or sorted(set(self.distances)) != list(self.distances):
      raise ConfigError(
        f'distances = {self.distances} must be positive, distinct and in ascending order, such as (1, 2, 4)'
      )
    if self.distances[-1] >= self.num_segments:
      raise ConfigError(
        f'num_segments = {self.num_segments} must be larger than each of data.distances = {self.distances}'
      )
    if self.segment_length < self.longest:
      raise ConfigError(
        f'segment_length = {self.segment_length} must be at least {self.longest}, the tokens that may fall '
        'into one segment; increase it, or decrease data.pairs_per_distance or data.passkey_length'
      )

  def check(self, segment_length: int) -> None:
    if self.segment_length != segment_length:
      raise ConfigError(
        f'segment_length = {self.segment_length}, the unit of data.distances, must equal '
        f'model.segment_length = {segment_length}; use the same value for both'
      )

  def source(self, workdir: epath.Path) -> Task:
    """The task, with a group of answers for each distance.

    Ids: noise, then the marks ? and !, then values and keys, or digits.
    """
    del workdir
    make = _associative if self.task == 'associative' else _passkey
    answers = self.num_values + self.num_pairs if self.task == 'associative' else _DIGITS
    return Task(
      self,
      lambda uniforms: make(self, uniforms),
      num_symbols=self.num_fillers + 2 + answers,
      groups=[f'distance_{distance}' for distance in self.distances],
      length=self.num_segments * self.segment_length,
    )

  @property
  def num_pairs(self) -> int:
    """Pairs in a document, each with its own key."""
    return self.pairs_per_distance * len(self.distances)

  @property
  def longest(self) -> int:
    """The most tokens besides the noise that may fall into one segment, plus one.

    The plus one keeps the last place of a segment free: the inputs of a model are shifted by one, so the
    token in the last place would be read with the next segment, one segment nearer to its question.
    """
    return 1 + (5 * self.num_pairs if self.task == 'associative' else self.passkey_length + 1)


def _associative(config: RecallConfig, uniforms: Uniforms) -> tuple[np.ndarray, np.ndarray]:
  question, first_value = config.num_fillers, config.num_fillers + 2
  num = config.num_pairs
  group = np.repeat(np.arange(len(config.distances)), config.pairs_per_distance)
  distance = np.array(config.distances)[group]
  keys = first_value + config.num_values + uniforms.choice(num, num)
  values = first_value + uniforms.integers(config.num_values, num)
  where = uniforms.integers(config.num_segments - distance, num)

  # By segment, its parts as (tokens, group of the last token or -1).
  parts: list[list[tuple[list[int], int]]] = [[] for _ in range(config.num_segments)]
  for key, value, stored_at, far, own_group in zip(keys, values, where, distance, group, strict=True):
    parts[stored_at].append(([key, value], -1))
    parts[stored_at + far].append(([question, key, value], own_group))
  segments = [_arranged(own, config, uniforms) for own in parts]
  tokens, groups = (np.concatenate(each).astype(np.int32) for each in zip(*segments, strict=True))
  return tokens, groups


def _arranged(
  parts: list[tuple[list[int], int]], config: RecallConfig, uniforms: Uniforms
) -> tuple[np.ndarray, np.ndarray]:
  """One segment: the parts in random order and at random positions, noise elsewhere and in the last place."""
  length = config.segment_length
  tokens = uniforms.integers(config.num_fillers, length)
  group = np.full(length, -1)
  free = length - 1 - sum(len(part) for part, _ in parts)
  gaps = np.sort(uniforms.integers(free + 1, len(parts)))
  before = 0
  for gap, index in zip(gaps, uniforms.choice(len(parts), len(parts)), strict=True):
    part, last_group = parts[index]
    start = before + gap
    tokens[start : start + len(part)] = part
    group[start + len(part) - 1] = last_group
    before += len(part)
  return tokens, group


def _passkey(config: RecallConfig, uniforms: Uniforms) -> tuple[np.ndarray, np.ndarray]:
  question, mark, first_digit = config.num_fillers, config.num_fillers + 1, config.num_fillers + 2
  size, length = config.passkey_length, config.segment_length
  num_tokens = config.num_segments * length
  tokens = (np.arange(num_tokens) % config.num_fillers).astype(np.int32)
  digits = first_digit + uniforms.integers(_DIGITS, size)
  own_group = int(uniforms.integers(len(config.distances), 1)[0])
  segment = config.num_segments - 1 - config.distances[own_group]
  start = segment * length + int(uniforms.integers(length - size - 1, 1)[0])
  tokens[start : start + size + 1] = [mark, *digits]
  tokens[-size - 1 :] = [question, *digits]
  group = np.full(num_tokens, -1, np.int32)
  group[-size:] = own_group
  return tokens, group
