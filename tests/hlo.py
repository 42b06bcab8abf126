"""Loops of a compiled program, and the communication between devices in them."""

import collections
import re
from collections.abc import Iterator
from typing import NamedTuple

_COLLECTIVE = re.compile(
  r'\s(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast)(-start)?\('
)
_COMPUTATION = re.compile(r'^(?:ENTRY )?%?([\w.\-]+) .*\{$')
_ONE = re.compile(r'(?:to_apply|calls|body|condition)=%?([\w.\-]+)')
_SEVERAL = re.compile(r'(?:called_computations|branch_computations)=\{([^}]*)\}')


class Loop(NamedTuple):
  """A loop, with the names of the JAX operations from which it and the collectives in it come."""

  name: str
  collectives: tuple[str, ...]  # 'all-reduce of jit(step)/...'


def loops(text: str) -> Iterator[Loop]:
  """The loops of a compiled program, those in loops too.

  Args:
    text: `jax.stages.Compiled.as_text()`.
  """
  computations = _computations(text)
  for lines in computations.values():
    for line in lines:
      if ' while(' in line:
        body = re.search(r'body=%?([\w.\-]+)', line)
        assert body is not None
        inside = [each for name in _reached(body[1], computations) for each in computations[name]]
        yield Loop(_name(line), tuple(_collectives(inside)))


def collectives(text: str) -> collections.Counter[str]:
  """How many of each kind the program has."""
  return collections.Counter(found[1] for line in text.splitlines() if (found := _COLLECTIVE.search(line)))


def _collectives(lines: list[str]) -> Iterator[str]:
  for line in lines:
    if found := _COLLECTIVE.search(line):
      yield f'{found[1]} of {_name(line)}'


def _name(line: str) -> str:
  found = re.search(r'op_name="([^"]*)"', line)
  return found[1] if found else ''


def _computations(text: str) -> dict[str, list[str]]:
  """The lines of each computation, by its name."""
  computations: dict[str, list[str]] = {}
  lines: list[str] = []
  for line in text.splitlines():
    if found := _COMPUTATION.match(line):
      lines = computations.setdefault(found[1], [])
    else:
      lines.append(line)
  return computations


def _reached(name: str, computations: dict[str, list[str]]) -> set[str]:
  """The computation and all that it calls."""
  reached, todo = set(), [name]
  while todo:
    if (name := todo.pop()) in reached:
      continue
    reached.add(name)
    for line in computations[name]:
      todo += _ONE.findall(line)
      todo += [each.strip().lstrip('%') for several in _SEVERAL.findall(line) for each in several.split(',')]
  return reached
