"""Connections over loopback between threads that act as processes."""

import json
import socket
import threading
from concurrent import futures
from types import SimpleNamespace

import pytest

from infformer_jax.errors import UnavailableError
from infformer_jax.train import connections
from infformer_jax.train.connections import Connection, connect


class Store:
  """JAX's key-value store."""

  def __init__(self):
    self.value, self._written = '', threading.Event()

  def key_value_set(self, key: str, value: str) -> None:
    self.value = value
    self._written.set()

  def blocking_key_value_get(self, key: str, milliseconds: int) -> str:
    assert self._written.wait(milliseconds / 1000)
    return self.value


def state(store: Store, index: int, count: int) -> SimpleNamespace:
  return SimpleNamespace(
    client=store, process_id=index, num_processes=count, coordinator_address='127.0.0.1:1'
  )


def test_process_0_is_connected_to_each_of_the_others_and_knows_its_host():
  store = Store()
  with futures.ThreadPoolExecutor(3) as pool:
    ends = list(pool.map(lambda index: connect(state(store, index, 3), 10), (0, 1, 2)))
  assert [index for index, _ in ends] == [0, 1, 2]
  (_, hub), (_, first), (_, second) = ends
  assert sorted(other.index for other in hub) == [1, 2]
  assert [other.index for other in first + second] == [0, 0]
  assert {other.host for other in hub + first + second} == {socket.gethostname()}
  first[0].connection.send({'step': 3})
  of_first = next(other for other in hub if other.index == 1)
  assert of_first.connection.receive(10) == {'step': 3}
  of_first.connection.send({'stop': 4})
  assert first[0].connection.receive(10) == {'stop': 4}


def test_a_single_process_has_no_connections():
  assert connect(state(Store(), 0, 1), 10) == (0, [])


def test_a_process_that_does_not_connect_is_named(monkeypatch):
  with pytest.raises(UnavailableError, match='has no connection of process 1, 2 after 0 s; allow TCP'):
    connect(state(Store(), 0, 3), 0.1)


def test_a_process_that_cannot_connect_says_where():
  store = Store()
  with socket.create_server(('127.0.0.1', 0)) as closed:
    port = closed.getsockname()[1]
  store.key_value_set('', json.dumps([port, 'token']))
  line = f'process 2 on .* cannot connect to process 0 at 127.0.0.1:{port} .Connection refused.; allow TCP'
  with pytest.raises(UnavailableError, match=line):
    connect(state(store, 2, 3), 10)


def test_others_that_connect_to_the_port_are_ignored(monkeypatch):
  monkeypatch.setattr(connections, '_HANDSHAKE_SECONDS', 0.2)
  store = Store()
  with futures.ThreadPoolExecutor(1) as pool:
    hub = pool.submit(connect, state(store, 0, 2), 10)
    port, _ = json.loads(store.blocking_key_value_get('', 10_000))
    strangers = [socket.create_connection(('127.0.0.1', port)) for _ in range(5)]
    strangers[0].close()
    strangers[1].sendall(b'GET / HTTP/1.1\r\n')
    strangers[2].sendall(b'[1]\n')
    strangers[3].sendall(json.dumps({'token': 'guess', 'process': 1, 'host': 'x'}).encode() + b'\n')
    _, others = connect(state(store, 1, 2), 10)
    assert [other.index for other in hub.result(10)[1]] == [1]
  assert [other.index for other in others] == [0]


def test_a_closed_connection_has_no_message_and_an_idle_one_none_in_time():
  mine, theirs = socket.socketpair()
  connection, other = Connection(mine), Connection(theirs)
  other.send({'a': 1})
  theirs.sendall(b'{"half')
  assert connection.receive(10) == {'a': 1}
  theirs.shutdown(socket.SHUT_RDWR)
  assert connection.receive(10) is None
  connection.send({'b': 2})  # Nothing happens.
  mine, theirs = socket.socketpair()
  with pytest.raises(TimeoutError):
    Connection(mine).receive(0.05)
