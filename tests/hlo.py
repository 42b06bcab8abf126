"""Loops of a compiled program, and the communication between devices in them."""

import collections
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_COLLECTIVE = re.compile(
  r'\s(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast)(-start)?\('
)
_ARRAY = re.compile(r'(pred|[a-z]+[0-9]\w*)\[([\d,]*)\]')
_COMPUTATION = re.compile(r'^(?:ENTRY )?%?([\w.\-]+) .*\{$')
_ONE = re.compile(r'(?:to_apply|calls|body|condition)=%?([\w.\-]+)')
_SEVERAL = re.compile(r'(?:called_computations|branch_computations)=\{([^}]*)\}')


class Loop(NamedTuple):
  """A loop, with the names of the JAX operations from which it and the collectives in it come."""

  name: str
  collectives: tuple[str, ...]  # 'all-reduce of jit(step)/...'


class _Collective(NamedTuple):
  kind: str
  name: str
  num_bytes: int  # of the result on one device
  chain: str  # the steps of one collective share it; '': it has none


def loops(text: str) -> Iterator[Loop]:
  """The loops of a compiled program, those in loops too.

  The compiler for TPUs executes a collective in steps beside other work (`async_collective_fusion`). One that
  has steps before or after a loop as well is no communication of the loop: it is overlapped with it.

  Args:
    text: `jax.stages.Compiled.as_text()`.
  """
  computations = _computations(text)
  found = {
    name: list(map(_collective, filter(_COLLECTIVE.search, computations[name]))) for name in computations
  }
  for lines in computations.values():
    for line in lines:
      if ' while(' in line:
        body = re.search(r'body=%?([\w.\-]+)', line)
        assert body is not None
        inside = _reached(body[1], computations)
        outside = {each.chain for name in found.keys() - inside for each in found[name]} - {''}
        own = [each for name in inside for each in found[name] if each.chain not in outside]
        yield Loop(_name(line), tuple(f'{each.kind} of {each.name}' for each in own))


def collectives(text: str) -> collections.Counter[str]:
  """How many of each kind the program has."""
  return collections.Counter({kind: len(sizes) for kind, sizes in results(text).items()})


def results(text: str) -> dict[str, list[int]]:
  """The bytes of the result of every collective on one device, by its kind."""
  whole: dict[tuple, _Collective] = {}
  for i, line in enumerate(filter(_COLLECTIVE.search, text.splitlines())):
    each = _collective(line)
    whole.setdefault((each.kind, each.chain or i), each)
  sizes: dict[str, list[int]] = {}
  for each in whole.values():
    sizes.setdefault(each.kind, []).append(each.num_bytes)
  return sizes


def _collective(line: str) -> _Collective:
  found = _COLLECTIVE.search(line)
  assert found is not None
  types = line[: found.start()].partition(' = ')[2]
  # Not the channel, which the collectives of equal layers share.
  chain = re.search(r'chain_id="(\d+)"', line)
  return _Collective(
    kind=found[1],
    name=_name(line),
    num_bytes=sum(map(_bytes, _ARRAY.findall(types))),
    chain=chain[1] if chain else '',
  )


def _bytes(array: tuple[str, str]) -> int:
  dtype, shape = array
  bits = 8 if dtype == 'pred' else int(re.sub(r'\D', '', dtype.partition('e')[0]))
  return math.prod(int(size) for size in shape.split(',') if size) * bits // 8


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
