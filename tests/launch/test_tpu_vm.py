"""launch/tpu_vm.sh against a fake gcloud, whose workers are directories and whose ssh runs commands here."""

import json
import os
import pathlib
import shlex
import signal
import time

import pytest

PLACE = ('--zone=us-central2-b', '--project=my-project')
SLICE = (*PLACE, '--accelerator_type=v4-32', '--poll_seconds=0')


@pytest.mark.parametrize(
  ('flags', 'command'),
  [
    (
      ['--accelerator_type=v4-32', '--spot'],
      'queued-resources create pg19 --accelerator-type=v4-32 --spot'
      ' --runtime-version=tpu-ubuntu2204-base --node-id=pg19',
    ),
    (
      ['--accelerator_type=v5litepod-16', '--no_queue', '--create_flag=--labels=a=b c'],
      "tpu-vm create pg19 --accelerator-type=v5litepod-16 '--labels=a=b c' --version=v2-alpha-tpuv5-lite",
    ),
    (
      ['--accelerator_type=v6e-16', '--reserved'],
      'queued-resources create pg19 --accelerator-type=v6e-16 --reserved'
      ' --runtime-version=v2-alpha-tpuv6e --node-id=pg19',
    ),
    (
      ['--accelerator_type=v5p-32', '--runtime_version=mine'],
      'queued-resources create pg19 --accelerator-type=v5p-32 --runtime-version=mine --node-id=pg19',
    ),
  ],
)
def test_create_calls_gcloud_once(cloud, flags, command):
  cloud.run('create', 'pg19', *PLACE, *flags)
  assert cloud.calls() == [['compute', 'tpus', *shlex.split(command), *PLACE]]


def test_a_dry_run_prints_the_commands_of_a_run_without_failures(cloud):
  out, _ = cloud.run('run', 'pg19', *SLICE, '--dry_run', '--', 'python', '-m', 'x', '--name=a b')
  commands = [shlex.split(line) for line in out.splitlines()]
  assert [words[3:5] for words in commands if words[0] == 'gcloud'] == [
    *(['queued-resources', 'list'], ['queued-resources', 'create'], ['queued-resources', 'list']),
    *(['tpu-vm', 'ssh'], ['tpu-vm', 'scp'], ['tpu-vm', 'ssh'], ['tpu-vm', 'ssh'], ['tpu-vm', 'ssh']),
    *(['queued-resources', 'list'], ['tpu-vm', 'ssh']),
  ]
  (archive,) = [words for words in commands if words[0] != 'gcloud']
  assert archive[:2] == ['git', 'archive']
  assert pathlib.Path(archive[3].removeprefix('--output=')).parent.exists(), 'the command can be run later'
  assert any("start python -m x '--name=a b'" in word for words in commands for word in words)
  assert cloud.calls() == []


def test_every_worker_receives_the_arguments_unchanged(cloud):
  arguments = [
    *('--config.init_from=TRUNK/points/memory=none,seed={seed}', '--values=none,recent', 'a  b ', '', '*'),
    *('"double"', "'single'", '$HOME `id` $(id)', r'back\slash', 'two\nlines', 'τ', '--', '~', '!x', '%TPU%'),
  ]
  save = (
    "import json, os, sys; json.dump([os.getcwd(), *sys.argv[1:]], open(os.environ['HOME'] + '/seen', 'w'))"
  )
  cloud.run('run', 'pg19', *SLICE, '--', 'python', '-c', save, *arguments)
  for worker in ('0', '1'):
    home = cloud.folder / 'workers' / worker
    assert json.loads((home / 'seen').read_text()) == [str(home / 'infformer_jax/source'), *arguments]
    assert (home / 'infformer_jax/source/configs/pg19.py').exists()
  assert sorted((cloud.folder / 'uv').read_text().splitlines()) == [
    *['pip install --quiet --python=venv/bin/python --editable ./source[tpu,gcs]'] * 2,
    *['venv --quiet --python=3.12 venv'] * 2,
  ]


def test_a_run_survives_a_preemption_and_a_termination(cloud):
  cloud.after_create('WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE')
  train = cloud.training("""
    echo "attempt $attempt"
    case $attempt in
      1)
        sleep 0.5
        if [[ $worker == 0 ]]; then become SUSPENDING SUSPENDED; fi
        sleep 60
        ;;
      2) exit 143 ;;
    esac
  """)
  out, _ = cloud.run('run', 'pg19', *SLICE, '--spot', '--', train)
  assert cloud.attempts == 3
  assert [line for line in out.splitlines() if line.startswith('attempt')] == [
    'attempt 1',
    'attempt 2',
    'attempt 2',  # The end of the log of the attempt before.
    'attempt 3',
  ]
  creations, deletions = cloud.calls('create'), cloud.calls('delete')
  assert len(creations) == 2
  assert creations[0] == creations[1]
  assert deletions == [
    ['compute', 'tpus', 'queued-resources', 'delete', 'pg19', '--quiet', '--force', *PLACE]
  ]
  for state in ('does not exist', 'WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE', 'SUSPENDED'):
    assert f' pg19: {state}\n' in out
  assert out.rstrip().endswith('finished; pg19 is billed until you delete it')


def test_a_preempted_plain_vm_is_created_again_even_if_there_is_no_capacity_at_first(cloud):
  cloud.after_create('READY')
  train = cloud.training("""
    if ((attempt == 1)); then
      touch "$CLOUD/no_capacity" && if [[ $worker == 0 ]]; then become PREEMPTED; fi && sleep 60
    fi
  """)
  process = cloud.start('run', 'pg19', *SLICE, '--no_queue', '--', train)
  cloud.wait_for('no_capacity')
  while len(cloud.calls('create')) < 3:
    assert process.poll() is None
    time.sleep(0.05)
  (cloud.folder / 'no_capacity').unlink()
  cloud.finish(process, code=0)
  assert cloud.attempts == 2
  assert cloud.calls('delete')[0] == ['compute', 'tpus', 'tpu-vm', 'delete', 'pg19', '--quiet', *PLACE]


@pytest.mark.parametrize(
  ('training', 'code', 'attempts'),
  [
    ('exit 2', 2, 1),
    ('exit 1', 1, 1),
    ('exit $worker', 1, 1),
    ('exit 134', 134, 3),
    ('exit 75', 75, 3),
    ('exit 143', 143, 3),
    ('if [[ $worker == 1 ]]; then sleep 1; exit 134; else exit 1; fi', 134, 3),
    ('if ((attempt == 1)); then exit 134; elif ((attempt == 2)); then exit 2; fi', 0, 3),
  ],
)
def test_the_exit_status_decides_whether_the_command_is_started_again(cloud, training, code, attempts):
  cloud.run('run', 'pg19', *SLICE, '--', cloud.training(training), code=code)
  assert cloud.attempts == attempts
  assert len(cloud.calls('create')) == 1
  assert cloud.calls('delete') == []


@pytest.mark.parametrize('answer', ['', 'idle - w-0:\nidle - w-1:\n', 'exited 0 w-0:\nidle - w-1:\n'])
def test_workers_that_do_not_say_how_the_command_has_ended_are_a_failure(cloud, answer):
  (cloud.folder / 'answer').write_text(answer)
  _, err = cloud.run('run', 'pg19', *SLICE, '--', cloud.training('true'), code=1)
  assert err.endswith('error: 3 failures in a row\n')
  assert cloud.attempts == 3


def test_a_lost_connection_does_not_end_or_repeat_the_command(cloud):
  (cloud.folder / 'drop').write_text('follow')
  out, _ = cloud.run('run', 'pg19', *SLICE, '--', cloud.training('sleep 1; echo done'))
  assert cloud.attempts == 1
  assert '\ndone\n' in out
  assert not (cloud.folder / 'drop').exists()


def test_an_interrupted_run_goes_on_and_the_same_command_joins_it(cloud):
  train = cloud.training('touch "$CLOUD/runs-$worker"; while [[ ! -e $CLOUD/go ]]; do sleep 0.05; done')
  process = cloud.start('run', 'pg19', *SLICE, '--', train)
  cloud.wait_for('runs-0')
  cloud.wait_for('runs-1')  # An interrupt before would leave a command on one worker alone.
  os.killpg(process.pid, signal.SIGINT)
  out, _ = cloud.finish(process, code=130)
  assert 'the command goes on' in out

  _, err = cloud.run('setup', 'pg19', *SLICE, code=1)
  assert 'stop it before installing' in err
  _, err = cloud.run('run', 'pg19', *SLICE, '--', 'another', code=1)
  assert f'another command is running on {os.uname().nodename}: {train}' in err

  follow = '--command=bash infformer_jax/source/launch/tpu_worker.sh follow'
  follows = len(cloud.calls(follow))
  process = cloud.start('run', 'pg19', *SLICE, '--', train)
  while len(cloud.calls(follow)) == follows:
    assert process.poll() is None
    time.sleep(0.05)
  (cloud.folder / 'go').touch()
  cloud.finish(process, code=0)
  assert cloud.attempts == 1


def test_stop_ends_the_command_and_its_run_but_not_the_slice(cloud):
  train = cloud.training(
    'trap "echo saved; exit 143" TERM; touch "$CLOUD/up-$worker"; while :; do sleep 0.05; done'
  )
  process = cloud.start('run', 'pg19', *SLICE, '--', train)
  cloud.wait_for('up-0')
  cloud.wait_for('up-1')
  stopped = [f'stopped 143 {os.uname().nodename}: saved'] * 2
  assert cloud.run('stop', 'pg19', *PLACE)[0].splitlines() == stopped
  out, err = cloud.finish(process, code=143)
  assert '\nsaved\n' in out
  assert err.endswith('error: the command was stopped; pg19 stays, and is billed until you delete it\n')
  assert cloud.attempts == 1
  assert cloud.calls('delete') == []

  assert cloud.run('status', 'pg19', *PLACE)[0].splitlines()[1:] == stopped
  assert cloud.run('logs', 'pg19', *PLACE, '--worker=1')[0].endswith('\nsaved\n')
  cloud.run('delete', 'pg19', *PLACE)
  assert 'pg19: does not exist' in cloud.run('status', 'pg19', *PLACE)[0]


def test_a_slice_that_cannot_be_used_ends_the_run(cloud):
  cloud.after_create('WAITING_FOR_RESOURCES', 'FAILED')
  _, err = cloud.run('run', 'pg19', *SLICE, '--', 'true', code=1)
  assert 'error: pg19 is FAILED; `gcloud compute tpus queued-resources describe pg19` may say why' in err
  (cloud.folder / 'unreachable').touch()
  assert 'error: the slices cannot be listed' in cloud.run('run', 'pg19', *SLICE, '--', 'true', code=1)[1]


def test_setup_installs_a_wheel_with_the_configs_of_a_revision(cloud, tmp_path):
  wheel = tmp_path / 'infformer_jax-1.0-py3-none-any.whl'
  wheel.touch()
  cloud.run('create', 'pg19', *SLICE)
  cloud.run('setup', 'pg19', *SLICE, f'--wheel={wheel}')
  home = cloud.folder / 'workers' / '1'
  assert (home / 'infformer_jax/source/configs/pg19.py').exists()
  assert not (home / 'infformer_jax/source/infformer_jax').exists()
  assert f'infformer_jax[tpu,gcs] @ file://{home}/{wheel.name}' in (cloud.folder / 'uv').read_text()
