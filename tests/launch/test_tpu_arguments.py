"""The arguments of launch/tpu_vm.sh are checked before anything is created."""

import pytest

V4 = ['--accelerator_type=v4-32']


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['create'], "NAME = '' must consist of lowercase letters, digits and hyphens"),
    (['create', '--spot'], "NAME = '--spot' must consist of"),
    (['create', 'pg19-'], "NAME = 'pg19-' must consist of"),
    (['create', 'pg19'], '--accelerator_type is missing'),
    (['create', 'pg19', '--accelerator_type=tpu7x-8'], 'no default is known for tpu7x-8'),
    (['create', 'pg19', '--zone='], "unknown option '--zone=', or it has no value"),
    (['create', 'pg19', '--preemptible'], "unknown option '--preemptible'"),
    (['run', 'pg19', '--accelerator_type=v4-8'], 'the command is missing'),
    (['stop', 'pg19', '--', 'python'], 'only `run` takes a command'),
    (['setup', 'pg19', '--revision=nothing'], '--revision = nothing must be a commit'),
    (['setup', 'pg19', '--wheel=/nothing.whl'], "--wheel = '/nothing.whl' must be a file *.whl"),
    (['run', 'pg19', '--wheel=no/x.whl', *V4, '--', 'true'], "--wheel = 'no/x.whl' must be a file *.whl"),
    (['run', 'pg19', '--wheel=/bin/sh', *V4, '--', 'true'], "--wheel = '/bin/sh' must be a file *.whl"),
    (['run', 'pg19', '--poll_seconds=abc', *V4, '--', 'true'], "--poll_seconds = 'abc' must be a number"),
    (['logs', 'pg19', '--worker=abc'], "--worker = 'abc' must be a number from 0"),
    (['logs', 'pg19', '--worker=-1'], "--worker = '-1' must be a number from 0"),
    (['create', 'pg19', *V4, '--spot', '--reserved'], '--spot and --reserved are two tiers; give one'),
    (['create', 'pg19', '--accelerator_type=v4-banana'], "'v4-banana' must be NAME-NUMBER"),
    (['create', 'pg19', '--accelerator_type=v4-32,'], "'v4-32,' must be NAME-NUMBER"),
    (['setup', 'pg19'], 'pg19 does not exist; create it, or check --zone, --project and --no_queue'),
  ],
)
def test_an_error_is_one_line_before_anything_is_done(cloud, arguments, message):
  _, err = cloud.run(*arguments, code=2)
  assert message in err
  assert err.startswith('error: ')
  assert err.count('\n') == 1
  assert [call for call in cloud.calls() if 'list' not in call] == []


def test_help_and_an_unknown_command_print_the_usage(cloud):
  usage, _ = cloud.run('--help')
  assert usage.startswith('Trains on a Cloud TPU slice')
  assert '--dry_run' in usage
  assert cloud.run('start', code=2)[0] == usage
