"""The start and the end of a run of several processes: they join, and an error of one ends all."""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

import jax
from jax._src import distributed  # Its state is not public; Orbax uses it as well.

from infformer_jax import paths
from infformer_jax.console import Console
from infformer_jax.errors import UnavailableError, UserError
from infformer_jax.train.connections import connect
from infformer_jax.train.exits import End, Stopped, Terminated
from infformer_jax.train.peers import Peers
from infformer_jax.train.quiet_abort import filter_stderr

_START_SECONDS = 300
_CONNECT_SECONDS = 60
_LATER = 30
_peers: Peers | None = None


def peers() -> Peers | None:
  """The other processes of the run, if there are any."""
  return _peers


def join(count: int | None, index: int | None, *, timeout: int, grace: int) -> None:
  """Initializes JAX for several processes, and connects them.

  Args:
    count: the number of processes; None: JAX determines it, and the index.
    index: of this process.
    timeout: seconds after which a process from which nothing was heard is dead.
    grace: seconds from SIGTERM until all processes have reached a common step.
  """
  global _peers
  # JAX's own handler of SIGTERM would wait, outside of Python, until all processes have reached a barrier.
  jax.config.update('jax_enable_preemption_service', False)
  before = signal.getsignal(signal.SIGTERM)
  _watch_for_sigterm()
  late = threading.Timer(_START_SECONDS, _give_up)
  late.daemon = True
  late.start()
  # After its own times JAX aborts with the stack of its C++ code; these end before.
  jax.distributed.initialize(
    num_processes=count,
    process_id=index,
    initialization_timeout=_START_SECONDS + _LATER,
    heartbeat_timeout_seconds=timeout + _LATER,
  )
  late.cancel()
  try:
    index, others = connect(distributed.global_state, _CONNECT_SECONDS)
  except UnavailableError as error:
    _say(error.line)
    os._exit(error.code)  # At a regular exit JAX waits for the other processes.
  if index > 0:
    filter_stderr(End.dead(0, others[0].host).line)
  if others:
    _peers = Peers(index, others, timeout=timeout, grace=grace)
  else:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def together() -> Iterator[Console]:
  """What a command does once it has joined: `Stopped` becomes a line on stderr and an exit code.

  The console is that of the run: only process 0 prints.

  In a run of several processes any error in one of them ends all, with its line and its exit code; a bug has
  its traceback in the output of its process. All processes leave the block at the same time.
  """
  console = Console(quiet=_peers is not None and _peers.index > 0)
  try:
    yield console
  except Stopped as stopped:
    console.end_status()
    line = f'stopped: {stopped}'
    if _peers and stopped.of_one_process:
      _peers.fail(stopped.code, line, lambda: _say(line), own=False)
    _say(line)
    if _peers:  # All processes have this error, or are still saving.
      _peers.finish()
      _peers.leave(stopped.code)
    if stopped.of_one_process:
      # A regular exit waits, for minutes, for threads of Orbax that could not save.
      sys.stdout.flush()
      os._exit(stopped.code)
    sys.exit(stopped.code)
  except BaseException as error:
    if not _peers:
      raise
    _fail(_peers, error)
  if _peers:
    _peers.finish()


def _fail(others: Peers, error: BaseException) -> NoReturn:
  """Ends all processes because of an error that is not `Stopped`."""
  if isinstance(error, SystemExit):  # The end of a sweep: all processes have it.
    others.finish()
    raise error
  if isinstance(error, paths.bucket_errors()):
    error = UnavailableError(f'a bucket cannot be used: {paths.reason(error)}')
  if isinstance(error, UserError):
    line = error.line
    others.fail(error.code, line, lambda: _say(line), own=True)
  if isinstance(error, KeyboardInterrupt):
    others.fail(130, 'interrupted', lambda: _say('interrupted'), own=True)
  words = ' '.join([f'{type(error).__name__}:', *str(error).split()])
  line = f'error: {words[:300]}; its output has the traceback'
  others.fail(1, line, lambda: sys.excepthook(type(error), error, error.__traceback__), own=False)


def _say(line: str) -> None:
  sys.stdout.flush()
  print(line, file=sys.stderr, flush=True)


def _give_up() -> NoReturn:
  others = 'all of them must run the same command, and reach the coordinator'
  os.write(2, f'error: not all processes have started within {_START_SECONDS} s; {others}\n'.encode())
  os._exit(UnavailableError.code)


def _watch_for_sigterm() -> None:
  """Handles SIGTERM in a thread, since the main thread may be blocked outside of Python."""
  reading, writing = socket.socketpair()
  writing.setblocking(False)
  signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
  signal.signal(signal.SIGTERM, lambda number, frame: None)

  def watch() -> None:
    while number := reading.recv(1):
      if number[0] == signal.SIGTERM and _peers:
        _peers.received_sigterm()
      elif number[0] == signal.SIGTERM:
        os.write(2, b'terminated\n')
        os._exit(Terminated.code)
    writing.close()  # Never: the thread only keeps it open.

  threading.Thread(target=watch, daemon=True).start()
