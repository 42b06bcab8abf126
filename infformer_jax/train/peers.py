"""The processes of a run end together: with the error of one of them, after SIGTERM, or when one has died.

Process 0 is the hub: each of the others is connected to it alone. It announces to all, itself included, in
one order, and the first end that it announces holds. Threads receive the messages, since the main thread may
be blocked in a collective operation. JAX would notice a dead process after its heartbeat timeout, and abort.

    to the hub                              announced
    {'step': s}  last step, None: no loop   {'where': p}  process p has received SIGTERM: say your step
    {'sigterm': True}, {'done': True}       {'stop': s}, {'done': True}
    {'end': End}                            {'end': End}
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from infformer_jax.train.connections import Message, Other
from infformer_jax.train.exits import End, Terminated

_PULSE = 1.0
_OWN_SECONDS = 2.0  # An end waits for an error of the main thread, and the error for an end that caused it.
_LAST_SECONDS = 10.0  # Process 0, which has JAX's coordinator, waits for the others to end before it.


class Peers:
  """The other processes of the run."""

  def __init__(
    self,
    index: int,
    others: Sequence[Other],
    *,
    timeout: float,
    grace: float,
    leave: Callable[[int], NoReturn] = os._exit,
  ):
    """Starts threads.

    Args:
      index: of this process.
      others: process 0 is connected to all others, they to process 0.
      timeout: seconds without any message after which a process is dead.
      grace: seconds from SIGTERM until all have reached a common step.
      leave: ends the process with an exit code.
    """
    self.index, self._others, self._timeout, self._grace = index, others, timeout, grace
    self._hosts = {index: socket.gethostname()} | {other.index: other.host for other in others}
    self._exit = leave
    self._changed = threading.Condition()  # Its lock, which is reentrant, protects all that follows.
    self._end: End | None = None
    self._failing = self._finished = self._reached = False
    self._leaving = threading.Lock()
    self._done: set[int] = set()  # of the hub
    self._step: int | None = None
    self._steps: dict[int, int | None] = {}  # of the hub
    self._terminated: int | None = None  # the process that has received SIGTERM first
    self._grace_starts = threading.Event()
    self._stop: int | None = None
    self._last: Callable[[], str] = lambda: 'run the same command again to resume'
    self._readers = [self._thread(self._listen, other) for other in others]
    self._thread(self._pulse)
    self._thread(self._limit)

  @property
  def terminated(self) -> bool:
    """Whether a process of the run has received SIGTERM."""
    return self._terminated is not None

  def enter_loop(self, last: Callable[[], str]) -> None:
    """From now on SIGTERM stops the run after a common step; `last` says which checkpoint is the last one."""
    with self._changed:
      self._step, self._last = 0, last

  def stops_after(self, step: int) -> bool:
    """Whether the run stops after this step. Every process calls this after every step of its loop."""
    with self._changed:
      self._changed.wait_for(lambda: self._terminated is None or self._stop is not None)
      self._step = step
      self._reached = self._stop is not None and step >= self._stop
      return self._reached

  def leave_loop(self) -> None:
    with self._changed:
      self._step, self._reached = None, True

  def fail(self, code: int, line: str, show: Callable[[], object], *, own: bool) -> NoReturn:
    """Ends all processes with the error of this one, unless another one is the cause.

    Args:
      code: the exit code.
      line: what the others say.
      show: prints the error here.
      own: no other process can be the cause.
    """
    with self._changed:
      self._failing = True
      if not own:
        self._changed.wait_for(lambda: self._end, _OWN_SECONDS)
      end = self._end or self._end_all(code, line)
    if own or (end.process == self.index and not end.died):
      self.leave(code, show)
    self._leave_by(end)

  def finish(self) -> None:
    """Waits for the end of the others; from now on SIGTERM is ignored."""
    with self._changed:
      self._to_hub({'done': True})
      self._changed.wait_for(lambda: self._finished or self._end)
    if self._end is not None:
      self._leave_by(self._end)

  def leave(self, code: int, show: Callable[[], object] = lambda: None) -> NoReturn:
    """Exits at once, since a regular exit waits for threads of Orbax; other threads that try it wait."""
    if not self._leaving.acquire(blocking=False):
      threading.Event().wait()
    show()
    if self.index == 0:
      last = time.monotonic() + _LAST_SECONDS
      for reader in self._readers:
        reader.join(max(last - time.monotonic(), 0.0))
    self._exit(code)

  def received_sigterm(self) -> None:
    """To be called by a thread."""
    with self._changed:
      if not (self._finished or self._end or self.terminated):
        self._grace_starts.set()
        self._to_hub({'sigterm': True})

  def _listen(self, other: Other) -> None:
    """Handles the messages of another process until it ends."""
    try:
      while (message := other.connection.receive(self._timeout)) is not None:
        with self._changed:
          self._at_hub(other.index, message) if self.index == 0 else self._announced(message)
      end = End.dead(other.index, other.host)
    except TimeoutError:
      problem = f'has not answered for {self._timeout:.0f} s: its host or network is down, or it is suspended'
      end = End.dead(other.index, other.host, problem)
    with self._changed:
      if not (self._finished or self._end):
        (self._announce if self.index == 0 else self._announced)(end.message())

  def _pulse(self) -> None:
    while True:
      time.sleep(_PULSE)
      for other in self._others:
        other.connection.send({})

  def _limit(self) -> None:
    """Ends the processes if they have not reached a common step some time after SIGTERM."""
    self._grace_starts.wait()
    time.sleep(self._grace)
    if self._reached or self._finished:
      return
    problem = f'the processes reached no common step within {self._grace:.0f} s'
    line = f'stopped: received SIGTERM, but {problem}; {self._last()}'
    with self._changed:
      if not (self._reached or self._finished or self._end):
        self._end_all(Terminated.code, line)

  def _end_soon(self, end: End) -> None:
    """Ends this process, unless its main thread ends with an error of its own."""
    if not end.died:
      time.sleep(_OWN_SECONDS)
    if end.died or not self._failing:
      self._leave_by(end)

  def _thread(self, function: Callable[..., None], *args: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread

  def _to_hub(self, message: Message) -> None:
    self._at_hub(0, message) if self.index == 0 else self._others[0].connection.send(message)

  def _announce(self, message: Message) -> None:
    for other in self._others:
      other.connection.send(message)
    self._announced(message)

  def _at_hub(self, sender: int, message: Message) -> None:
    everyone = set(self._hosts)
    match message:
      case {'end': _} if self._end is None:
        self._announce(message)
      case {'done': _}:
        self._done.add(sender)
        if self._done == everyone and self._end is None:
          self._announce({'done': True})
      case {'sigterm': _} if self._terminated is None:
        self._announce({'where': sender})
      case {'step': step}:
        self._steps[sender] = step
        if set(self._steps) == everyone and self._end is None:
          self._decide()

  def _decide(self) -> None:
    """A common step, which no process has begun: they wait for the answer before they begin another one."""
    steps = [step for step in self._steps.values() if step is not None]
    if len(steps) == len(self._steps):
      self._announce({'stop': max(steps) + 1})
      return
    process = self._terminated or 0
    self._announce(End(process, self._hosts[process], Terminated.code, 'terminated').message())

  def _announced(self, message: Message) -> None:
    match message:
      case {'end': end} if self._end is None:
        self._end = End(**end)
        self._thread(self._end_soon, self._end)
      case {'done': _}:
        self._finished = True
      case {'where': process}:
        self._terminated = process
        self._grace_starts.set()
        self._to_hub({'step': self._step})
      case {'stop': step}:
        self._stop = step
    self._changed.notify_all()

  def _end_all(self, code: int, line: str) -> End:
    """Ends all processes with an error of this one; returns what the hub has announced."""
    end = End(self.index, self._hosts[self.index], code, line)
    self._to_hub(end.message())
    if not self._changed.wait_for(lambda: self._end, _OWN_SECONDS):  # It does not answer.
      self._announced(end.message())
    return self._end or end

  def _leave_by(self, end: End) -> NoReturn:
    line = f'{end.seen_by(self.index)}\n'.encode()
    self.leave(end.code, lambda: os.write(2, line))  # Not `print`, whose lock the main thread may hold.
