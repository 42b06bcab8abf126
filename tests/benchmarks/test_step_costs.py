"""The costs of a training step, read from a trace."""

import json
import os

import jax
import pytest

from tests.benchmarks import step_costs

PROGRAM = """
HloModule jit_step

%fused (p: f32[4]) -> f32[4] {
  ROOT %multiply.2 = f32[4]{0} multiply(%p, %p), metadata={op_name="jit(step)/optimizer/mul"}
}

ENTRY %main (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  %fusion.1 = f32[4]{0} fusion(%p), kind=kLoop, calls=%fused, metadata={op_name="jit(step)/optimizer/mul"}
  %while.3 = (s32[], /*index=1*/f32[4]{0}) while(%t), condition=%c, body=%b, metadata={op_name="jit(step)/while"}
  ROOT copy.1 = f32[4]{0} copy(%fusion.1)
}
"""  # fmt: skip # noqa: E501


@pytest.fixture
def settings(monkeypatch):
  """The program changes settings of its process."""
  monkeypatch.setenv('XLA_FLAGS', os.environ.get('XLA_FLAGS', ''))
  monkeypatch.setenv('NPROC', os.environ.get('NPROC', '2'))
  before = jax.config.jax_enable_compilation_cache
  yield
  jax.config.update('jax_enable_compilation_cache', before)


def test_operations_have_the_opcode_and_the_jax_name_that_the_program_gives_them():
  found = step_costs.operations(PROGRAM)
  assert found['fusion.1'] == ('fusion', 'jit(step)/optimizer/mul')
  assert found['while.3'] == ('while', 'jit(step)/while')
  assert found['copy.1'] == ('copy', '')
  assert found.keys() == {'multiply.2', 'p', 'fusion.1', 'while.3', 'copy.1'}


@pytest.mark.parametrize(
  ('name', 'part'),
  [
    ('jit(step)/transpose(jvp(jit(_run_block)))/attention/memory/while/body/mul', 'memory'),
    ('jit(step)/jvp(vocabulary)/while/body/closed_call/reduce_sum', 'vocabulary'),
    ('jit(step)/memory/feed_forward/dot_general', 'feed_forward'),
    ('jit(step)/attention_of_another/mul', 'others'),
    ('', 'others'),
  ],
)
def test_the_innermost_scope_of_a_part_counts(name, part):
  assert step_costs.part_of(name) == part


def test_the_parts_of_the_model_cover_the_time_of_the_kernels(settings, tmp_path, capsys):
  sizes = 'num_layers=1', 'd_model=16', 'num_heads=2', 'd_ff=16', 'memory.num_basis=8', 'memory.num_samples=8'
  lanes = 'batch_size=2', 'segments_per_chunk=2'
  overrides = [f'--config.model.{each}' for each in sizes] + [f'--config.train.{each}' for each in lanes]
  own = '--config=configs/quickstart.py', '--vocab_size=32', '--steps=2', f'--json={tmp_path / "costs.json"}'
  step_costs.main([*own, *overrides])
  found = json.loads((tmp_path / 'costs.json').read_text())
  parts, each = found['parts'], found['operations']
  assert parts.keys() - {'others'} == set(step_costs.PARTS)  # No 'unknown': the program has all operations.
  assert min(parts.values()) > 0
  assert sum(parts.values()) == pytest.approx(found['traced_seconds'])
  assert parts.get('others', 0) < 0.5 * found['traced_seconds']
  assert 0.5 * found['traced_seconds'] < sum(each.values()) <= 1.001 * found['traced_seconds']
  assert found['tokens_per_step'] == 2 * 2 * 16
  assert found['tokens_per_second'] == pytest.approx(64 / found['step_seconds'])
  text = capsys.readouterr().out
  assert all(part in text for part in step_costs.PARTS)


@pytest.mark.parametrize(
  ('argument', 'problem'),
  [
    ('--steps=1', "argument --steps: '1' must be an integer of at least 2"),
    ('--vocab_size=0', "argument --vocab_size: '0' must be an integer of at least 1"),
    ('--mesh=foo', "--mesh=foo: unknown key 'foo'"),
    ('--mesh=data=3', 'train.mesh: data 3 × fsdp 1 × tensor 1 = 3 must be the number of devices, 1'),
    ('--config=nothing.py', "unknown config file 'nothing.py'"),
    ('--config.model.layers=3', "unknown key 'model.layers'"),
    ('--config.train', 'flag --config.train has no value'),
  ],
)
def test_a_mistake_on_the_command_line_is_one_line(settings, capsys, argument, problem):
  with pytest.raises(SystemExit) as stopped:
    step_costs.main(['--config=configs/quickstart.py', '--vocab_size=32', argument])
  message = str(stopped.value.code)
  if stopped.value.code == 2:  # argparse
    message = capsys.readouterr().err.splitlines()[-1]
  assert 'error: ' in message
  assert problem in message
  assert '\n' not in message
