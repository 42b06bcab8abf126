"""Random command lines of `infformer_jax.main`, each determined by a config file and a seed."""

import dataclasses
import functools
import pathlib
import random
import typing
from typing import Any

from infformer_jax.config import type_hints
from infformer_jax.core.rotary import RotaryScaling
from infformer_jax.data.base import DataConfig
from infformer_jax.experiment import Experiment, load_experiment
from infformer_jax.memory.memory_config import MemoryConfig

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
FILES = sorted(file for file in CONFIGS.glob('*.py') if file.stem != '__init__')

ARGUMENTS = {
  'gpt2_pg19.py': ('size=tiny', 'size=tiny,memory=none', 'size=tiny,memory=continuous_log', ''),
  'gpt2_wikitext103.py': ('size=tiny', 'size=tiny,memory=neighbours', ''),
  'llama_books.py': ('size=tiny', 'size=tiny,memory=recent_4x', 'size=tiny,memory=continuous_gibbs', ''),
  'pg19.py': ('size=tiny', 'size=tiny,memory=compressive', 'size=tiny,memory=continuous_log', ''),
  'quickstart.py': ('', 'memory=none', 'memory=continuous_log'),
  'recall.py': ('', 'task=passkey', 'memory=neighbours', 'size=gpu'),
  'sort.py': ('', 'memory=compressive', 'length=43,memory=none', 'size=paper'),
}
"""Valid arguments after the colon, from which a command line starts; mostly those of small models."""

TEXTS = (
  *('', ' ', '-', '.', '..', 'None', 'none', 'true', 'False', 'null', 'nan', '-inf', '1e309', '-1e309'),
  *('0', '-1', '1', '2', '3', '5', '7', '63', '1e3', '0.5', '-0.0', '1e-320', '3.0', '1_000', '0x10', '1j'),
  *('2147483647', '2147483648', '-2147483649', '4294967296', '18446744073709551616', '9' * 400, '9' * 5000),
  *('()', '[]', '{}', '(', ')', '(1,', '1,', '1,2', '(1, "a")', '[[1]]', '{"a": 1}', '0,1,2', '1,1', '2,0'),
  *("'x'", '"', "b'1'", '...', 'lambda: 0', '__import__("os")', '$HOME', '%s', '{seed}', '~', '~nobody/x'),
  *('a' * 5000, '(' * 500, '[' * 5000, '-' * 3000 + '1', 'é', '\u202e', '\udcff'),
  *('\x00', '\n', 'a\nb', '\t1', 'https://x/y', 'file:///x'),
  *('/', '/dev/null', '/dev/zero', '/nowhere', '/dev/null/x', 'gs://', 'gs://b/../c', 'hf:', 'hf:a', 's3:x'),
  *('bytes', 'bpe:', 'bpe:256', 'bpe:257', 'bpe:99999999', 'bpe:٣٠٠', 'gpt2:', 'gpt2:x', 'sentencepiece:/'),
  *('pretrained:', 'pretrained:hf:', 'symbols', 'a' * 300 + '/b'),
)
"""What is mistyped, at the ends of ranges, or hard for a parser."""

INTEGERS = ('1', '2', '3', '4', '6', '8', '12', '16', '24', '32', '64', '96', '128', '0', '-1', '2147483647')
NUMBERS = ('0', '0.1', '0.25', '0.5', '0.75', '0.999999', '1', '1.5', '2', '10', '1000', '1e-3', '1e-9', '-1')
TUPLES = ('0', '1', '0,1', '1,2', '1,2,4,8', '0,1,2', '0.5,1.0', '0.75,1.5', '(0.01,0.05)', '2,', '100')


@functools.cache
def keys(config: str) -> dict[str, Any]:
  """The dotted keys of a config and of all kinds that its sections may have, with their types."""
  found: dict[str, Any] = {}

  def add(cls: Any, path: str) -> None:
    for name, hint in type_hints.fields(cls).items():
      section = type_hints.section(hint)
      if section is MemoryConfig and path.count('.') < 3:
        for kind in MemoryConfig.kinds().values():
          add(kind, f'{path}{name}.')
      elif section is DataConfig:
        for kind in DataConfig.kinds().values():
          add(kind, f'{path}{name}.')
      elif section is not None and section is not MemoryConfig:
        add(section, f'{path}{name}.')
      elif section is None:
        found.setdefault(f'{path}{name}', hint)

  add(Experiment, '')
  assert f'model.rotary_scaling.{next(iter(type_hints.fields(RotaryScaling)))}' in found
  found['data.kind'] = typing.Literal[tuple(DataConfig.kinds())]
  for place in ('model.memory', 'model.memory.first', 'model.memory.second'):
    found[f'{place}.kind'] = typing.Literal[tuple(MemoryConfig.kinds())]
  return found


@functools.cache
def _own_keys(config: str) -> tuple[str, ...]:
  """The keys that the config has now, most of which a command line changes."""

  def leaves(instance: Any, path: str) -> list[str]:
    values = [(field.name, getattr(instance, field.name)) for field in dataclasses.fields(instance)]
    return [
      key
      for name, value in values
      for key in (leaves(value, f'{path}{name}.') if dataclasses.is_dataclass(value) else [path + name])
    ]

  return tuple(key for key in leaves(load_experiment(config), '') if key in keys(config))  # Not a section.


def command_line(file: pathlib.Path, seed: int) -> list[str]:
  """The flags of one command line: a config with its argument, and up to five overrides.

  Every third one has only values that may be valid, most of them of the model.
  """
  draw = random.Random(f'{file.name} {seed}')
  argument = draw.choice(ARGUMENTS[file.name])
  start = f'{file}:{argument}' if argument else str(file)
  if seed % 3 == 0:
    return [f'--config={start}', *plausible(draw, start)]
  flags = [f'--config={_config(draw, start) if draw.random() < 0.15 else start}']
  for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 5))):
    flags.append('--config.' + _override(draw, start))
  return flags


def plausible(draw: random.Random, start: str) -> list[str]:
  """Up to six overrides of values that may be valid, most of them of the model."""
  known, flags = keys(start), []
  sections = ['model.memory.', 'model.', 'train.', 'data.']
  if draw.random() < 0.4:
    kind = draw.choice(list(MemoryConfig.kinds()))
    flags.append(f'--config.model.memory.kind={kind}')
    if kind == 'stacked':
      for place in ('first', 'second'):
        kind = draw.choice(list(MemoryConfig.kinds()))
        flags.append(f'--config.model.memory.{place}.kind={kind}')
  kinds = MemoryConfig.kinds()
  memory = load_experiment(start).model.memory
  inside = type_hints.fields(kinds[flags[0].partition('=')[2]] if flags else type(memory))
  for _ in range(draw.choice((1, 1, 2, 3))):
    section = draw.choices(sections, (6, 4, 1, 1))[0]
    own = [key for key in _own_keys(start) if key.startswith(section) and not key.startswith('model.memory.')]
    if section == 'model.memory.':
      own = [section + name for name in inside if name != 'kind' and section + name in known]
    if own:
      key = draw.choice(own)
      flags.append(f'--config.{key}={_value(draw, known[key])}')
  return flags


def _config(draw: random.Random, start: str) -> str:
  name, _, argument = start.partition(':')
  items = argument.split(',') if argument else []
  key = draw.choice(('size', 'memory', 'task', 'length', 'checkpoint', 'x', '', 'Size'))
  items.append(f'{key}={_text(draw)}')
  draw.shuffle(items)
  return draw.choice(
    (
      *(f'{name}:{",".join(items)}',) * 6,
      f'{name}:{_text(draw)}',
      f'{name}:{_mistyped(draw, argument or "size=tiny")}',
      f'{_mistyped(draw, name)}:{argument}',
      _text(draw),
    )
  )


def _override(draw: random.Random, start: str) -> str:
  known = keys(start)
  key = draw.choice(_own_keys(start)) if draw.random() < 0.7 else draw.choice(sorted(known))
  value = _value(draw, known[key]) if draw.random() < 0.7 else _text(draw)
  if draw.random() < 0.12:
    parts = key.split('.')
    key = draw.choice(
      (_mistyped(draw, key), '.'.join(parts[:-1]), parts[-1], f'{key}.{parts[-1]}', f'{key}.', f'.{key}', '')
    )
  return f'{key}={value}'


def _value(draw: random.Random, hint: Any) -> str:
  """A value that may be valid."""
  options = type_hints.options(hint)
  pool = [str(choice) for choice in type_hints.choices(hint)]
  for option in options:
    if option is int:
      pool += INTEGERS
    elif option is float:
      pool += NUMBERS
    elif option is bool:
      pool += ['true', 'false']
    elif typing.get_origin(option) is tuple:
      pool += TUPLES
    elif option is type(None):
      pool.append('None')
    elif option is str:
      pool += ['bytes', 'bpe:300', 'nowhere', '/nowhere/x']
  return draw.choice(pool)


def _text(draw: random.Random) -> str:
  text = draw.choice(TEXTS)
  return _mistyped(draw, text) if draw.random() < 0.1 else text


def _mistyped(draw: random.Random, text: str) -> str:
  """One character less, more, or another one."""
  place, other = draw.randrange(len(text) + 1), draw.choice('abz019_.-:=,é \x00')
  return text[:place] + draw.choice(('', other)) + text[place + draw.choice((0, 1)) :]
