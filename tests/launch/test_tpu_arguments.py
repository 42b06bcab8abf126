"""The arguments of launch/tpu_vm.sh are checked before anything is created."""

import pytest


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['create'], "NAME = '' must consist of lowercase letters, digits and hyphens"),
    (['create', '--spot'], "NAME = '--spot' must consist of"),
    (['create', 'pg19'], '--accelerator_type is missing'),
    (['create', 'pg19', '--accelerator_type=tpu7x-8'], 'no default is known for tpu7x-8'),
    (['create', 'pg19', '--zone='], "unknown option '--zone=', or it has no value"),
    (['create', 'pg19', '--preemptible'], "unknown option '--preemptible'"),
    (['run', 'pg19', '--accelerator_type=v4-8'], 'the command is missing'),
    (['stop', 'pg19', '--', 'python'], 'only `run` takes a command'),
    (['setup', 'pg19', '--revision=nothing'], '--revision = nothing must be a commit'),
    (['setup', 'pg19', '--wheel=/nothing.whl'], '--wheel = //nothing.whl must be a file'),
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
