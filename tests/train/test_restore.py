"""`init_from`: a memory is added to a model trained without one, and then made longer."""

import shutil

import chex
import pytest

from tests.program import Program, arrays, metrics

NEIGHBOURS = ('kind=neighbours', 'length=16', 'neighbours=4', 'search=approximate')


def flags(steps, *memory, **others):
  named = {'train.num_steps': steps, 'train.checkpoint_every': 2} | others
  return [f'--config.{key}={value}' for key, value in named.items()] + [
    f'--config.model.memory.{setting}' for setting in memory
  ]


@pytest.fixture(scope='module')
def program(tmp_path_factory):
  return Program(tmp_path_factory.mktemp('program'))


@pytest.fixture(scope='module')
def trained(program):
  """A work directory of a model without a memory."""
  workdir = program.config.parent / 'trained'
  program.run(workdir, *flags(3, 'kind=none'))
  return workdir


def parameters(workdir, step):
  return {key: value for key, value in arrays(workdir, step).items() if key.startswith('params/')}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_only_memory_parameters_are_new_and_a_longer_memory_adds_none(program, trained):
  """A learning rate of almost 0 leaves the parameters of the other run unchanged."""
  still = {'train.optimizer.learning_rate': 1e-30, 'train.optimizer.weight_decay': 0}
  added, enlarged, source = (program.config.parent / name for name in ('added', 'enlarged', 'source'))
  shutil.copytree(trained, source)
  out, err = program.run(added, *flags(3, *NEIGHBOURS, init_from=source, **still))
  lines = [line for line in (out + err).splitlines() if 'new parameters' in line]
  assert lines == [
    f'starting from the parameters of {source} after step 3; '
    'new parameters: blocks/0/memory/gate_h, blocks/0/memory/scale_h'
  ]
  before, after = parameters(trained, 3), parameters(added, 3)
  assert after.keys() - before.keys() == {'params/blocks/0/memory/gate_h', 'params/blocks/0/memory/scale_h'}
  chex.assert_trees_all_equal({key: after[key] for key in before}, before)
  recalls = [line['neighbours_recall'] for line in metrics(added) if line['split'] == 'train']
  assert recalls[-1] == 1

  shutil.rmtree(source)  # It must not be read again.
  out, err = program.run(added, *flags(5, *NEIGHBOURS, init_from=source, **still))
  assert 'resuming from checkpoint 3' in out + err
  assert 'new parameters' not in out + err
  assert metrics(added)[-1]['step'] == 5

  larger = [field.replace('length=16', 'length=64') for field in NEIGHBOURS]
  out, err = program.run(enlarged, *flags(3, *larger, init_from=added, **still))
  assert f'parameters of {added} after step 5; new parameters: none' in out + err
  chex.assert_trees_all_close(parameters(enlarged, 3), after, rtol=0, atol=1e-20)


@pytest.mark.parametrize(
  ('changes', 'messages'),
  [
    (
      {'model.d_ff': 32, 'model.num_layers': 2},
      ['blocks/0/feed_forward/w_in/bias is float32[16] in the checkpoint, float32[32] in the model'],
    ),
    ({'model.positions': 'rotary'}, ['params/u_hk is float32[2,8] in the checkpoint, missing in the model']),
    (
      {'data.tokenizer': 'bpe:300'},
      ["data.tokenizer = 'bpe:300' must be the tokenizer of the model in", '--config.data.tokenizer=bytes'],
    ),
  ],
)
def test_incompatible_parameters_are_rejected_before_training(program, trained, tmp_path, changes, messages):
  _, err = program.run(tmp_path / 'new', *flags(3, 'kind=none', init_from=trained, **changes), code=2)
  line = err.strip().splitlines()[-1]
  assert all(message in line for message in messages)
  assert not (tmp_path / 'new' / 'config.json').exists()


def test_a_directory_without_a_training_run_is_rejected(program, tmp_path):
  _, err = program.run(tmp_path / 'new', *flags(3, 'kind=none', init_from=tmp_path / 'nothing'), code=2)
  assert 'nothing/data.json' in err
  assert not list((tmp_path / 'new').glob('*.json'))  # Another run can still use the directory.
