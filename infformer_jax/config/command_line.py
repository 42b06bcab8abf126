"""The frame of all command lines: absl flags, `--config.a.b=value` overrides, and errors of one line.

flags.DEFINE_string('config', None, 'FILE[:argument]')

def main(overrides): ...

if __name__ == '__main__':
  command_line.run(main)
"""

import contextlib
import difflib
import os
import re
import signal
import sys
import types
from collections.abc import Callable, Sequence
from typing import Literal, NoReturn

from absl import app, flags, logging
from etils import epath

from infformer_jax import paths
from infformer_jax.config import type_hints
from infformer_jax.errors import ConfigError, UserError, unknown

_PREFIX = '--config.'


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
  """Separates `--config.a.b=value` and `--config.a.b value` from the other arguments.

  Returns:
    The other arguments, for absl, and the overrides (dotted key, text), in order.
  Raises:
    ConfigError: an override has no value.
  """
  rest, overrides, arguments = [], [], iter(argv)
  for argument in arguments:
    if not argument.startswith(_PREFIX):
      rest.append(argument)
      continue
    name, equals, text = argument.partition('=')
    value = text if equals else next(arguments, None)
    if value is None or (not equals and value.startswith('--')):
      raise ConfigError(f'flag {name} has no value; write {name}=value')
    overrides.append((name.removeprefix(_PREFIX), value))
  return rest, overrides


def path(flag: flags.FlagHolder[str] | flags.FlagHolder[str | None]) -> epath.Path:
  """The path that a flag names, as `paths.parse` returns it.

  Raises:
    ConfigError: as `paths.parse`.
  """
  return paths.parse(flag.value or '', f'--{flag.name}')


def run(main: Callable[[list[tuple[str, str]]], None]) -> None:
  """Parses the command line, calls `main` with the overrides and exits.

  An error that the user can correct, a `UserError`, an invalid flag, a platform without devices or sizes for
  which the memory is too small, becomes one line on stderr and exit code 2; that of a bucket has exit code
  75, since the same command may succeed later. Any other error is a bug and keeps its traceback. SIGTERM ends
  the program with one line and exit code 143, except where `main` handles it, as the training loop does.
  """
  signal.signal(signal.SIGTERM, _terminate)
  overrides: list[tuple[str, str]] = []

  def parse(argv: list[str]) -> list[str]:
    # A command line without --config has no overrides either: absl refuses them.
    rest, overrides[:] = split_overrides(argv) if 'config' in flags.FLAGS else (argv, [])
    names = [f'--{flag.name}' for flag in flags.FLAGS.get_key_flags_for_module(argv[0])]
    quiet = f'--verbosity={logging.WARNING}'  # Hides the logs of libraries.
    try:
      positional = flags.FLAGS([rest[0], quiet, *rest[1:]])[1:]
    except flags.UnrecognizedFlagError as error:
      first, dot, rest_of_key = error.flagname.partition('.')
      key = rest_of_key if difflib.get_close_matches(first, ['config']) else error.flagname
      elsewhere = [_PREFIX + key] if dot and '--config' in names else []
      raise ConfigError(unknown('flag', f'--{error.flagname}', f'--{first}', names, elsewhere)) from None
    except flags.Error as error:
      raise ConfigError(_sentence(str(error))) from None
    if positional:
      raise ConfigError(unknown('argument', positional[0], positional[0], names))
    return rest

  def flushed(_: list[str]) -> None:
    main(overrides)
    sys.stdout.flush()

  try:
    app.run(flushed, flags_parser=parse)
  except UserError as error:
    print(error.line, file=sys.stderr)
    sys.exit(error.code)
  except paths.bucket_errors() as error:
    print(f'error: a bucket cannot be used: {paths.reason(error)}', file=sys.stderr)
    sys.exit(os.EX_TEMPFAIL)
  except (MemoryError, RuntimeError) as error:
    if str(error).startswith('Unable to initialize backend'):  # As JAX says it.
      platforms = os.environ.get('JAX_PLATFORMS', '')
      print(f"error: $JAX_PLATFORMS = '{platforms}': {paths.reason(error)}", file=sys.stderr)
      sys.exit(UserError.code)
    if isinstance(error, RuntimeError) and not str(error).startswith('RESOURCE_EXHAUSTED'):  # As XLA says it.
      raise
    reason = paths.reason(error)
    print(f'error: memory is too small for these sizes ({reason}); use smaller ones', file=sys.stderr)
    sys.exit(UserError.code)
  except KeyboardInterrupt:
    with contextlib.suppress(BrokenPipeError):
      sys.stdout.flush()
    os.write(2, b'interrupted\n')
    os._exit(130)  # At a regular exit Python aborts if a thread is still compiling, as after two signals.
  except BrokenPipeError:  # The reader of a pipe has exited, as in `... | head`.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)


def _terminate(number: int, frame: types.FrameType | None) -> NoReturn:
  del frame
  os.write(2, b'terminated\n')
  # Not SystemExit: where JAX calls Python from its garbage collection, exceptions are ignored.
  os._exit(128 + number)


def _sentence(absl_error: str) -> str:
  """absl's message about the value of a flag, in the style of the errors of configs."""
  refused = re.match(r'flag --(\w+)=(.*?): ', absl_error, re.DOTALL)
  if refused is None:
    return absl_error
  name, value = refused.groups()
  flag = flags.FLAGS[name]
  if value == 'None':
    return f'--{name} is missing: {flag.help}'
  choices = tuple(getattr(flag.parser, 'enum_values', ()))
  types = {'int': int, 'float': float, 'bool': bool, 'string enum': Literal[choices]}
  if flag.flag_type() not in types:
    return absl_error
  try:
    type_hints.convert(value, types[flag.flag_type()])
  except TypeError as error:
    return f"--{name} = '{value}' {error}"
  return absl_error
