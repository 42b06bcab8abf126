"""Stands in for `gcloud` on the PATH: a slice of two workers, whose home directories are in $CLOUD/workers.

It records its arguments in $CLOUD/calls. $CLOUD/state has the state of the slice, one line per look at it
until the last one, which stays; without this file there is no slice. Commands sent by ssh run here, in the
home directory of their worker. When the state becomes another one than ACTIVE or READY, as at a preemption,
the workers vanish: their processes are killed, their files are deleted, and connections end with status 255.
$CLOUD/drop names a remote command whose next connection is lost. $CLOUD/unreachable and $CLOUD/no_capacity
make `list` and `create` fail. $CLOUD/answer is what every worker answers in place of its status.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

CLOUD = pathlib.Path(os.environ.get('CLOUD', ''))  # pytest imports this file too, to look for doctests.
STATE = CLOUD / 'state'
WORKERS = [CLOUD / 'workers' / str(worker) for worker in range(2)]
LOST = 255
"""The exit status of ssh if there is no connection."""


def states() -> list[str]:
  return STATE.read_text().split() if STATE.exists() else []


def alive() -> bool:
  return states()[:1] in (['ACTIVE'], ['READY'])


def vanish() -> None:
  for worker in WORKERS:
    script = worker / 'infformer_jax/source/launch/tpu_worker.sh'
    if script.exists():
      subprocess.run(['bash', script, 'settle', '0'], stdout=subprocess.DEVNULL, check=True)
    shutil.rmtree(worker, ignore_errors=True)


def chosen(flags: dict[str, str]) -> list[pathlib.Path]:
  return WORKERS if flags['worker'] == 'all' else [WORKERS[int(flags['worker'])]]


def ssh(flags: dict[str, str]) -> int:
  if not alive():
    return LOST
  drop = CLOUD / 'drop'
  if drop.exists() and drop.read_text() in flags['command']:
    drop.unlink()
    return LOST
  if ' status' in flags['command'] and (CLOUD / 'answer').exists():
    print((CLOUD / 'answer').read_text(), end='')
    return 0
  processes = []
  for worker in chosen(flags):
    worker.mkdir(parents=True, exist_ok=True)
    # As gcloud does: ssh joins the parts with spaces, and the shell of the user runs the result.
    command = ' '.join(flags['command'].split(' '))
    processes.append(
      subprocess.Popen(['bash', '-c', command], cwd=worker, env=os.environ | {'HOME': str(worker)})
    )
  while any(process.poll() is None for process in processes):
    if not alive():
      vanish()
      for process in processes:
        process.kill()
      return LOST
    time.sleep(0.02)
  return next((process.returncode for process in processes if process.returncode), 0)


def scp(sources: list[str], flags: dict[str, str]) -> int:
  for worker in chosen(flags):
    worker.mkdir(parents=True, exist_ok=True)
    for source in sources:
      shutil.copy(source, worker)
  return 0


def main(arguments: list[str]) -> int:
  with (CLOUD / 'calls').open('a') as calls:
    calls.write(json.dumps(arguments) + '\n')
  flags = dict(argument[2:].partition('=')[::2] for argument in arguments if argument.startswith('--'))
  match [argument for argument in arguments if not argument.startswith('--')]:
    case ['compute', 'tpus', _, 'list']:
      if (CLOUD / 'unreachable').exists():
        return 1
      print(*states()[:1])
      if len(states()) > 1:
        STATE.write_text('\n'.join(states()[1:]))
      return 0
    case ['compute', 'tpus', _, 'create', _]:
      if STATE.exists() or (CLOUD / 'no_capacity').exists():
        return 1
      STATE.write_text((CLOUD / 'states_after_create').read_text())
      return 0
    case ['compute', 'tpus', _, 'delete', _]:
      STATE.unlink()
      vanish()
      return 0
    case ['compute', 'tpus', 'tpu-vm', 'scp', *sources, _]:
      return scp(sources, flags)
    case ['compute', 'tpus', 'tpu-vm', 'ssh', _]:
      return ssh(flags)
    case ['auth' | 'config' | 'projects' | 'services' | 'storage', *_] | ['compute', 'config-ssh']:
      return 0
  raise AssertionError(f'not a known command: {arguments}')


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
