"""Real processes of one tiny model, with random draws: kills, stops and damage do not change the results."""

import contextlib
import json
import pathlib
import random
import shutil
import subprocess
import time

import chex
import numpy as np
import pytest

from tests.bits import bits
from tests.program import (
  STEPS,
  Program,
  arrays,
  assert_same,
  checkpoint_steps,
  kill_when,
  last_step,
  metrics,
  results,
)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope='module')
def program(tmp_path_factory) -> Program:
  return Program(tmp_path_factory.mktemp('program'))


@pytest.fixture(scope='module')
def killed(program, tmp_path_factory) -> pathlib.Path:
  """The work directory of a run that was killed some steps after a checkpoint, in its third epoch."""
  workdir = tmp_path_factory.mktemp('killed') / 'work'
  process = program.start(workdir)
  kill_when(process, lambda: last_step(workdir) >= 16)
  return workdir


def test_a_run_logs_evaluates_and_saves(undisturbed):
  steps = [(line['split'], line['step']) for line in metrics(undisturbed)]
  assert steps == sorted(steps, key=lambda split_step: split_step[1])
  assert [step for split, step in steps if split == 'train'] == [4, 8, 12, 16, 20, 24, 28, 30]
  assert [step for split, step in steps if split == 'validation'] == [10, 20, 30]
  assert checkpoint_steps(undisturbed)[-2:] == [28, 30]
  assert results(undisturbed)['step'] == STEPS
  plots = {path.name for path in (undisturbed / 'plots').iterdir()}
  assert plots >= {'loss.png', 'profit.html', 'held_spans.png'}
  assert json.loads((undisturbed / 'config.json').read_text())['train']['num_steps'] == STEPS


@pytest.mark.slow
def test_a_run_killed_between_checkpoints_has_the_same_results(program, killed, undisturbed, tmp_path):
  workdir = shutil.copytree(killed, tmp_path / 'work')
  assert 0 < checkpoint_steps(workdir)[-1] < last_step(workdir)
  out, _ = program.run(workdir)
  assert f'resuming from checkpoint {checkpoint_steps(killed)[-1]}\n' in out
  assert_same(workdir, undisturbed)


@pytest.mark.slow
def test_a_run_killed_during_a_save_has_the_same_results(program, undisturbed, tmp_path):
  checkpoints = tmp_path / 'work' / 'checkpoints'
  process = program.start(tmp_path / 'work')
  kill_when(process, lambda: any(checkpoints.glob('14.orbax-checkpoint-tmp/*')))
  assert any(checkpoints.glob('14.orbax*')), 'the save finished before the kill'
  program.run(tmp_path / 'work')
  assert not any(checkpoints.glob('*tmp*'))
  assert_same(tmp_path / 'work', undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(8))
def test_a_run_killed_repeatedly_at_random_times_has_the_same_results(program, undisturbed, tmp_path, seed):
  rng, workdir = random.Random(seed), tmp_path / 'work'
  for _ in range(4):
    process = program.start(workdir)
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.communicate(timeout=rng.uniform(2, 14))
    process.kill()
    process.communicate()
  program.run(workdir)
  assert_same(workdir, undisturbed)


def test_sigterm_saves_and_exits_and_the_next_run_resumes(program, undisturbed, tmp_path):
  workdir = tmp_path / 'work'
  process = program.start(workdir)
  while last_step(workdir) < 8:
    assert process.poll() is None
    time.sleep(0.0005)
  process.terminate()
  _, err = process.communicate()
  assert process.returncode == 143, err
  saved = checkpoint_steps(workdir)[-1]
  assert err == (
    f'stopped: received SIGTERM; checkpoint {saved} is saved, run the same command again to resume\n'
  )
  assert saved < STEPS
  out, _ = program.run(workdir)
  assert f'resuming from checkpoint {saved}\n' in out
  assert_same(workdir, undisturbed)


def test_a_finished_run_is_only_evaluated(program, undisturbed, tmp_path):
  workdir = shutil.copytree(undisturbed, tmp_path / 'work')
  (workdir / 'results.json').unlink()
  out, _ = program.run(workdir)
  assert 'compiling' not in out
  assert_same(workdir, undisturbed)


@pytest.mark.slow
def test_a_run_resumes_with_more_steps_but_not_with_another_model(program, undisturbed, tmp_path):
  workdir = shutil.copytree(undisturbed, tmp_path / 'work')
  _, err = program.run(workdir, '--config.model.d_ff=32', '--config.train.optimizer.b1=0.8', code=2)
  assert 'model.d_ff: 16 in the work directory, 32 requested' in err
  assert 'train.optimizer.b1: 0.9 in the work directory, 0.8 requested' in err
  program.run(workdir, '--config.train.num_steps=32', '--config.train.log_every=1')
  assert [line['step'] for line in metrics(workdir) if line['split'] == 'train'][-3:] == [30, 31, 32]


@pytest.mark.slow
def test_other_training_documents_are_rejected(program, undisturbed, tmp_path):
  workdir = shutil.copytree(undisturbed, tmp_path / 'work')
  texts = shutil.copytree(program.texts, tmp_path / 'texts')
  longest = max(texts.iterdir(), key=lambda path: path.stat().st_size)
  longest.write_text(longest.read_text() + ' and more')
  config = json.loads((workdir / 'config.json').read_text())
  config['data']['source_dir'] = str(texts)  # The stored config refers to the new folder.
  (workdir / 'config.json').write_text(json.dumps(config))
  _, err = program.run(workdir, f'--config.data.source_dir={texts}', code=2)
  assert err.startswith('error: the training documents have changed since')


@pytest.mark.slow
def test_an_evaluation_with_a_longer_cache_does_not_change_the_run(program, undisturbed, tmp_path):
  workdir = shutil.copytree(undisturbed, tmp_path / 'work')
  flags = '--mode=eval', '--name=longer', '--config.model.short_term_length=32'
  out, _ = program.run(workdir, *flags)
  longer = json.loads((workdir / 'results_longer.json').read_text())
  assert longer['step'] == STEPS
  assert longer['memory']['num_tokens'] == results(workdir)['memory']['num_tokens']
  assert longer['memory']['loss_nats_per_token'] != results(workdir)['memory']['loss_nats_per_token']
  assert 'results_longer.json' in out
  ours, theirs = (workdir / name / 'about.json' for name in ('inspection', 'inspection_longer'))
  assert ours.read_text() == theirs.read_text()
  assert f'--against={workdir / "inspection_longer"}' in out
  assert_same(workdir, undisturbed)
  program.run(workdir, '--mode=eval', '--name=earlier', f'--step={checkpoint_steps(workdir)[0]}')
  earlier = json.loads((workdir / 'results_earlier.json').read_text())
  assert earlier['step'] == checkpoint_steps(workdir)[0] < STEPS
  _, err = program.run(workdir, '--mode=eval', '--step=1', code=2)
  _, err_train = program.run(workdir, '--step=1', code=2)
  assert err_train == 'error: --step is for --mode=eval; a training run resumes from the newest checkpoint\n'
  assert err.endswith(f'has no checkpoint 1 (available: {", ".join(map(str, checkpoint_steps(workdir)))})\n')
  _, err = program.run(workdir, '--mode=eval', '--config.model.memory.num_basis=16', code=2)
  assert 'w_mu' in err
  _, err = program.run(workdir, '--mode=eval', '--config.model.memory.kind=none', code=2)
  assert 'lacks parameters that' in err
  assert 'memory.w_mu' in err.replace('/', '.')


@pytest.mark.slow
def test_an_evaluation_with_another_tokenizer_is_rejected(program, undisturbed, tmp_path):
  """A tokenizer of the same size would fit the model, but the losses would be meaningless."""
  workdir = shutil.copytree(undisturbed, tmp_path / 'work')
  _, err = program.run(workdir, '--mode=eval', '--config.data.tokenizer=bpe:257', code=2)
  assert "data.tokenizer = 'bpe:257'" in err
  assert '--config.data.tokenizer=bytes' in err
  assert not list(workdir.glob('bpe*'))


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_reported_and_the_previous_one_is_used(program, undisturbed, tmp_path):
  workdir = shutil.copytree(undisturbed, tmp_path / 'work')
  largest = max((workdir / 'checkpoints/30/state').rglob('*'), key=lambda path: path.stat().st_size)
  content = bytearray(largest.read_bytes())
  for place in range(0, len(content), 64):  # Many bytes, because some are unused.
    content[place] ^= 16
  largest.write_bytes(content)
  out, err = program.run(workdir)
  reports = [line for line in out.splitlines() if 'is damaged' in line]
  assert len(reports) == 1
  assert reports[0].startswith('checkpoint 30 is damaged (')
  assert reports[0].endswith('; falling back to checkpoint 28')
  assert err == ''
  assert (workdir / 'checkpoints/30.damaged').is_dir()
  assert_same(workdir, undisturbed)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_in_one_line_and_it_resumes(program, killed, undisturbed, tmp_path):
  workdir = shutil.copytree(killed, tmp_path / 'work')
  good = checkpoint_steps(workdir)[-1]
  before = arrays(workdir, good)
  largest = max(array.nbytes for array in before.values())  # How a checkpoint splits into files varies.
  _, err = program.run(workdir, '--config.train.evaluate_every=100', code=1, kilobytes=largest // 2048)
  assert err.startswith('stopped: a checkpoint could not be written')
  assert f'(File too large); checkpoint {good} is the last complete one' in err
  assert checkpoint_steps(workdir)[-1] == good
  after = arrays(workdir, good)
  chex.assert_trees_all_equal(bits(after), bits(before))
  program.run(workdir)
  assert_same(workdir, undisturbed)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_finite_state(program, tmp_path):
  flags = '--config.train.optimizer.learning_rate=1e36', '--config.train.optimizer.clip_norm=1e36'
  workdir = tmp_path / 'work'
  _, err = program.run(workdir, *flags, code=1)
  step = checkpoint_steps(workdir)[-1] + 1
  assert err.startswith(f'stopped: step {step}: ')
  assert f'is not finite; checkpoint {step - 1} holds the state before that step' in err
  saved = arrays(workdir, step - 1)
  assert all(np.isfinite(np.asarray(array, np.float64)).all() for array in saved.values())
  assert saved['finite']
  assert saved['step'] == step - 1
  _, again = program.run(workdir, *flags, code=1)
  assert again == err


@pytest.mark.parametrize(
  ('flag', 'words'),
  [
    ('--config.train.num_step=3', ('train.num_step', 'num_steps')),
    pytest.param(
      *('--config.model.short_term_length=24', ('model.short_term_length', '24', '16 or 32')),
      marks=pytest.mark.slow,
    ),
    pytest.param('--mode=test', ('mode', 'test', 'eval'), marks=pytest.mark.slow),
  ],
)
def test_an_invalid_setting_is_a_one_line_error_before_any_data_are_read(program, tmp_path, flag, words):
  _, err = program.run(tmp_path / 'work', flag, '--config.data.source_dir=/nowhere', code=2)
  assert err.startswith('error: ')
  assert all(word in err for word in words), err
  assert not (tmp_path / 'work').exists()
