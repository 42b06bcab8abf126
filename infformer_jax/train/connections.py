"""A connection from process 0 of a run to each of the others, besides those of JAX.

The kernel closes the connection of a process that dies, and the other end notices at once. A process sends a
message every second: an end that hears nothing for a while has lost the host or the network of the other.
"""

import dataclasses
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from infformer_jax.errors import UnavailableError

_KEY = 'infformer_jax/connections'
_HANDSHAKE_SECONDS = 5.0

Message = dict[str, Any]


class Connection:
  """Messages from and to another process, as lines of JSON."""

  def __init__(self, peer: socket.socket):
    self._socket, self._lines = peer, peer.makefile('rb')
    self._sending = threading.Lock()

  def send(self, message: Message) -> None:
    """Sends a message; nothing happens if the other process has ended, which `messages` notices."""
    try:
      with self._sending:
        self._socket.sendall(json.dumps(message).encode() + b'\n')
    except OSError:
      pass

  def receive(self, seconds: float) -> Message | None:
    """The next message; None if the other process has closed the connection.

    Raises:
      TimeoutError: there is none for this time.
    """
    self._socket.settimeout(seconds)
    try:
      line = self._lines.readline()
    except TimeoutError:
      raise
    except OSError:
      return None
    return json.loads(line) if line.endswith(b'\n') else None

  def close(self) -> None:
    self._socket.shutdown(socket.SHUT_RDWR)


@dataclasses.dataclass(frozen=True)
class Other:
  """Another process."""

  index: int
  host: str
  connection: Connection


def connect(state: Any, seconds: float) -> tuple[int, list[Other]]:
  """Returns the index of this process, and those to which it now has a connection: process 0 to all others.

  Args:
    state: `jax._src.distributed.global_state`, which has the address and a store of all processes.
    seconds: to wait for all of them.
  Raises:
    UnavailableError: a process has not connected, or cannot connect.
  """
  if state.num_processes == 1:
    return 0, []
  if state.process_id == 0:
    token = secrets.token_hex()
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    with socket.create_server(
      ('', 0), family=family, backlog=state.num_processes, dualstack_ipv6=socket.has_dualstack_ipv6()
    ) as server:
      state.client.key_value_set(_KEY, json.dumps([server.getsockname()[1], token]))
      return 0, list(_accepted(server, token, range(1, state.num_processes), seconds))
  port, token = json.loads(state.client.blocking_key_value_get(_KEY, int(1000 * seconds)))
  address = str(state.coordinator_address).rsplit(':', 1)[0].strip('[]')
  try:
    connection = Connection(socket.create_connection((address, port), timeout=seconds))
    connection.send({'token': token, 'process': state.process_id, 'host': socket.gethostname()})
    answer = connection.receive(seconds)
  except OSError as error:
    answer, problem = None, error.strerror or 'no answer'
  else:
    problem = 'the connection was closed'
  if answer is None:
    raise UnavailableError(
      f'process {state.process_id} on {socket.gethostname()} cannot connect to process 0 at {address}:{port} '
      f'({problem}); allow TCP connections between the hosts'
    )
  return state.process_id, [Other(0, answer['host'], connection)]


def _accepted(server: socket.socket, token: str, wanted: range, seconds: float) -> Iterator[Other]:
  """The processes that connect with the token; others that connect to the port are ignored."""
  missing, end = set(wanted), time.monotonic() + seconds
  while missing:
    try:
      server.settimeout(max(end - time.monotonic(), 0.001))
      connection = Connection(server.accept()[0])
    except TimeoutError:
      names = ', '.join(map(str, sorted(missing)))
      raise UnavailableError(
        f'process 0 on {socket.gethostname()} has no connection of process {names} after {seconds:.0f} s; '
        'allow TCP connections between the hosts'
      ) from None
    try:
      hello = connection.receive(_HANDSHAKE_SECONDS) or {}
    except (TimeoutError, ValueError):
      continue
    if isinstance(hello, dict) and hello.get('token') == token and hello.get('process') in missing:
      missing.remove(hello['process'])
      connection.send({'host': socket.gethostname()})
      yield Other(hello['process'], hello['host'], connection)
