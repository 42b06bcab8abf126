"""What a training step of a config costs on devices that need not exist: memory per device, communication.

    python -m tests.benchmarks.scaling --config=configs/pg19.py:size=base --topology=v5e:4x4 --mesh=data=16
    python -m tests.benchmarks.scaling --config=configs/pg19.py:size=base --topology=cpu:8 --mesh=fsdp=8
    python -m tests.benchmarks.scaling ... --config.train.batch_size=32 --json FILE

The program is compiled ahead of time and not run. A topology of TPUs, such as v5e:4x4, v4:2x2x4 or v5p:2x2x1,
needs libtpu (pip install -e '.[tpu]'). Its compiler runs without a TPU, in one process at a time; it refuses
a program that does not fit the memory of a device. cpu:N is N devices of this host, whose compiler stores
more intermediate results than those of TPUs and GPUs.
"""

import argparse
import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from infformer_jax.config import parsing
from infformer_jax.config.command_line import split_overrides
from infformer_jax.errors import ConfigError, UserError
from infformer_jax.experiment import Experiment, load_experiment
from infformer_jax.train.mesh import MeshConfig
from tests.benchmarks.measure import check_writable, note
from tests.benchmarks.scaling_step import Step

GIB = 2**30
_MOST_CPU_DEVICES = 1024


def devices_of(topology: str) -> list[Any]:
  """The devices of a topology; JAX must not have been used before.

  Raises:
    SystemExit: there is no such topology, or libtpu is missing.
  """
  jax.config.update('jax_platforms', 'cpu')
  kind, _, size = topology.partition(':')
  if kind == 'cpu':
    if not size.isdecimal() or not 1 <= int(size) <= _MOST_CPU_DEVICES:
      raise SystemExit(
        f'error: --topology={topology} must be cpu:N with 1 to {_MOST_CPU_DEVICES:,} devices, '
        'or TPUs such as v5e:4x4'
      )
    jax.config.update('jax_num_cpu_devices', int(size))
    return jax.devices()
  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')  # There is no metadata server outside of a TPU VM.
  from jax.experimental import topologies  # Reads the variable.

  try:
    return topologies.get_topology_desc(platform='tpu', topology_name=topology).devices
  except Exception as error:  # Several types, by what is wrong.
    line = next(iter(str(error).splitlines()), type(error).__name__)
    raise SystemExit(f'error: --topology={topology}: {line}; TPUs need libtpu, cpu:N does not') from None


def mesh_of(text: str) -> MeshConfig:
  """'data=2,fsdp=4' -> the mesh; axes that are not given have their defaults."""
  pairs = [pair.partition('=') for pair in text.split(',') if pair]
  try:
    return parsing.override(MeshConfig(), [(name, value) for name, _, value in pairs])
  except ConfigError as error:
    raise ConfigError(f'--mesh={text}: {error}') from None


def at_least(least: int) -> Callable[[str], int]:
  """The type of an argument that is an integer of at least `least`."""

  def parsed(text: str) -> int:
    if not text.isdecimal() or int(text) < least:
      raise argparse.ArgumentTypeError(f'{text!r} must be an integer of at least {least}')
    return int(text)

  return parsed


def vocabulary(experiment: Experiment) -> int:
  """The size that the name of a tokenizer says, such as 'bpe:8192'.

  Raises:
    SystemExit: it does not say one.
  """
  kind, _, size = str(experiment.data.tokenizer).partition(':')
  if kind != 'bpe' or not size.isdecimal():
    text = repr(experiment.data.tokenizer)
    raise SystemExit(f'error: --vocab_size is needed: data.tokenizer = {text} says no size')
  return int(size)


def figures(step: Step) -> dict[str, Any]:
  """The costs of a step, and how long its compilation took. Sizes are bytes per device."""
  start = time.monotonic()
  program = step.compiled()
  seconds = time.monotonic() - start
  sizes = step.bytes_per_device()
  analysis: Any = program.memory_analysis()
  # What is donated is in the same place before and after the step.
  total = (
    analysis.argument_size_in_bytes
    + analysis.output_size_in_bytes
    - analysis.alias_size_in_bytes
    + analysis.temp_size_in_bytes
  )
  return {
    'devices': math.prod(step.mesh.shape.values()),
    'mesh': dict(step.mesh.shape),
    'num_parameters': step.num_parameters,
    'training_flops_per_token': step.flops_per_token(),
    **{f'bytes_of_{name}': size for name, size in sizes.items()},
    'bytes_of_temporaries': analysis.temp_size_in_bytes,
    'bytes': total,
    'collectives': step.collectives(program.as_text()),
    'communicating_loops': step.communicating_loops(program.as_text()),
    'compilation_seconds': round(seconds, 1),
  }


def table(found: dict[str, Any]) -> str:
  """The figures as lines of text."""
  lines = [
    f'{found["devices"]} devices, {", ".join(f"{axis} {size}" for axis, size in found["mesh"].items())}',
    f'parameters            {found["num_parameters"] / 1e6:10,.1f} M',
    f'training step         {found["training_flops_per_token"] / 1e6:10,.1f} MFLOPs per token',
  ]
  for key, size in found.items():
    if key.startswith('bytes_of_'):
      lines.append(f'{key.removeprefix("bytes_of_"):22}{size / GIB:10.3f} GiB per device')
  lines.append(f'{"all":22}{found["bytes"] / GIB:10.3f} GiB per device')
  for kind, (count, size) in found['collectives'].items():
    lines.append(f'{kind:22}{count:10} in the program, {size / 1e6:,.1f} MB')
  for loop, kinds in found['communicating_loops'].items():
    lines.append(f'in the loop {loop}: {", ".join(kinds)}')
  return '\n'.join([*lines, f'compiled in {found["compilation_seconds"]} s'])


def asked_step(
  parser: argparse.ArgumentParser,
  arguments: Sequence[str] | None,
  devices: Callable[[argparse.Namespace], Sequence[Any]],
) -> tuple[argparse.Namespace, Experiment, Step]:
  """What a command line about a training step asks for.

  Args:
    parser: has the command's own arguments; gets those of the config, the mesh and the file for the figures.
    arguments: the command line; None: that of the process.
    devices: for these arguments.
  Raises:
    SystemExit: in one line, what cannot be.
  """
  parser.add_argument('--config', required=True, help='FILE or FILE:argument')
  parser.add_argument('--mesh', default='', help='such as data=2,fsdp=8; default: that of the config')
  parser.add_argument('--vocab_size', type=at_least(1), help='default: that of a tokenizer bpe:SIZE')
  parser.add_argument('--json', type=pathlib.Path, help='a file for the figures')
  try:
    own, overrides = split_overrides(sys.argv[1:] if arguments is None else arguments)
    asked = parser.parse_args(own)
    check_writable(asked.json)
    experiment = load_experiment(asked.config, overrides)
    mesh = mesh_of(asked.mesh) if asked.mesh else experiment.train.mesh
    return (
      asked,
      experiment,
      Step(experiment, asked.vocab_size or vocabulary(experiment), mesh, devices(asked)),
    )
  except UserError as error:
    raise SystemExit(error.line) from None


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description='Memory and communication of a training step.')
  parser.add_argument('--topology', required=True, help='v5e:4x4 and others of TPUs, or cpu:N')
  asked, _, step = asked_step(parser, arguments, lambda asked: devices_of(asked.topology))
  note('compiling')
  found = {'config': asked.config, 'topology': asked.topology, **figures(step)}
  print(table(found))
  if asked.json:
    asked.json.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
  main()
