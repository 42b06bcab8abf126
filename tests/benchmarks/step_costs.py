"""Where the time of a training step goes on the devices of this machine: speed, memory, the largest costs.

    python -m tests.benchmarks.step_costs --config=configs/pg19.py:size=small
    python -m tests.benchmarks.step_costs --config=configs/pg19.py:size=small --steps=20 --json FILE

Steps with random tokens are timed, then some are traced. A kernel belongs to the part of the model that its
operation names (`jax.named_scope`); on a CPU, where the operations of a step run on several threads, their
times can add up to more than the step. Kernels of CUDA graphs have no operation, so that graphs are off.
Traces of TPUs are not read.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax

from infformer_jax import startup
from infformer_jax.train.device_peaks import bfloat16_peak
from tests.benchmarks.measure import note
from tests.benchmarks.scaling import GIB, asked_step, at_least
from tests.benchmarks.scaling_step import Step

PARTS = 'memory', 'attention', 'feed_forward', 'vocabulary', 'optimizer'
_WITHOUT_GRAPHS = '--xla_gpu_enable_command_buffer='
_CONTROL = 'while', 'conditional', 'call'  # Their time is that of the operations in them.
_INSTRUCTION = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = .*?\s([a-z][\w\-]*)\(')


class Kernel(NamedTuple):
  """One execution of an operation on a device."""

  operation: str  # its name in the compiled program
  seconds: float


def operations(text: str) -> dict[str, tuple[str, str]]:
  """The opcode and the JAX name of every operation of a compiled program, by its name there."""
  found = {}
  for line in text.splitlines():
    if match := _INSTRUCTION.match(line):
      name = re.search(r'op_name="([^"]*)"', line)
      found[match[1]] = match[2], name[1] if name else ''
  return found


def part_of(name: str) -> str:
  """The part of the model of an operation: the innermost scope of its JAX name that is one.

  >>> part_of('jit(train_step)/transpose(jvp(jit(_run_block)))/attention/memory/while/body/mul')
  'memory'
  >>> part_of('jit(train_step)/reduce_and')
  'others'
  """
  scopes = [scope for scope in re.split(r'[/()]', name) if scope in PARTS]
  return scopes[-1] if scopes else 'others'


def kernels(folder: pathlib.Path) -> Iterator[Kernel]:
  """What ran in a trace of the profiler: the kernels of GPUs, or the operations of the step on CPUs."""
  for file in folder.rglob('*.xplane.pb'):
    for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
      for line in plane.lines:
        for event in line.events:
          stats = dict(event.stats)
          if 'hlo_op' in stats:
            yield Kernel(str(stats['hlo_op']), event.duration_ns / 1e9)
          elif plane.name.startswith('/device:GPU') and line.name.startswith('Stream'):
            yield Kernel(event.name, event.duration_ns / 1e9)


def figures(step: Step, num_steps: int, tokens: int) -> dict[str, Any]:
  """Seconds, FLOP/s and memory of a step, and its largest costs in seconds.

  Args:
    step: on devices of this machine.
    num_steps: that are timed.
    tokens: of a step.
  """
  note('compiling')
  program = step.compiled()
  known = operations(program.as_text())
  state, *inputs = step.arguments()
  state, _ = jax.block_until_ready(program(state, *inputs))
  note('timing')
  seconds = []
  for _ in range(num_steps):
    start = time.perf_counter()
    state, _ = jax.block_until_ready(program(state, *inputs))
    seconds.append(time.perf_counter() - start)
  traced = 3
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      for _ in range(traced):
        state, _ = jax.block_until_ready(program(state, *inputs))
    found = [
      kernel
      for kernel in kernels(pathlib.Path(folder))
      if known.get(kernel.operation, ('',))[0] not in _CONTROL
    ]
  parts: collections.Counter[str] = collections.Counter()
  each: collections.Counter[str] = collections.Counter()
  for kernel in found:
    opcode, name = known.get(kernel.operation, ('unknown', kernel.operation))
    parts[part_of(name) if kernel.operation in known else 'unknown'] += kernel.seconds / traced
    each[f'{opcode} {name}'] += kernel.seconds / traced
  device, median = step.mesh.devices.flat[0], statistics.median(seconds)
  peak = bfloat16_peak(device.device_kind)
  rate = step.flops_per_token() * tokens / median / step.mesh.size
  statistics_of_memory = device.memory_stats() or {}
  return {
    'device': device.device_kind,
    'devices': step.mesh.size,
    'jax': jax.__version__,
    'num_parameters': step.num_parameters,
    'tokens_per_step': tokens,
    'step_seconds': median,
    'step_seconds_quartiles': statistics.quantiles(seconds, n=4)[::2],
    'tokens_per_second': tokens / median,
    'flops_per_second_per_device': rate,
    'bfloat16_peak_fraction': rate / peak if peak else None,
    'peak_bytes': statistics_of_memory.get('peak_bytes_in_use'),
    'traced_seconds': sum(parts.values()),
    'parts': dict(parts.most_common()),
    'operations': dict(each.most_common(30)),
  }


def table(found: dict[str, Any]) -> str:
  """The figures as lines of text."""
  low, high = found['step_seconds_quartiles']
  lines = [
    f'{found["devices"]} x {found["device"]}, jax {found["jax"]}',
    f'parameters            {found["num_parameters"] / 1e6:10,.1f} M',
    f'step                  {found["step_seconds"] * 1e3:10,.1f} ms [{low * 1e3:,.1f}, {high * 1e3:,.1f}]',
    f'tokens/s              {found["tokens_per_second"]:10,.0f}',
    f'FLOP/s per device     {found["flops_per_second_per_device"] / 1e12:10,.2f} T',
  ]
  if found['bfloat16_peak_fraction'] is not None:
    lines.append(f'fraction of the peak  {found["bfloat16_peak_fraction"]:10.3f}')
  if found['peak_bytes'] is not None:
    lines.append(f'memory of a device    {found["peak_bytes"] / GIB:10.2f} GiB')
  for title in ('parts', 'operations'):
    lines.append(f'{title}, of {found["traced_seconds"] * 1e3:,.1f} ms of kernels per step:')
    for name, seconds in list(found[title].items())[:8]:
      lines.append(f'{seconds * 1e3:10,.2f} ms {seconds / found["traced_seconds"]:6.1%}  {name}')
  return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
  jax.config.update('jax_enable_compilation_cache', False)  # A cached program may have other names.
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {_WITHOUT_GRAPHS}'.strip()
  startup.widen_thread_pool()
  parser = argparse.ArgumentParser(description='Speed, memory and the largest costs of a training step.')
  parser.add_argument('--steps', type=at_least(2), default=20, help='that are timed')
  asked, experiment, step = asked_step(parser, arguments, lambda _: jax.devices())
  train = experiment.train
  tokens = train.batch_size * train.segments_per_chunk * experiment.model.segment_length
  found = {'config': asked.config, **figures(step, asked.steps, tokens)}
  print(table(found))
  if asked.json:
    asked.json.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
  main()
