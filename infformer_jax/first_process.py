"""What the first process of a run does for all, and what it tells them.

JAX is imported where it is needed, since a tokenizer is also used without it.
"""

from collections.abc import Callable
from concurrent import futures

from infformer_jax.errors import UnavailableError, UserError

_MESSAGE_BYTES = 2000
_SECONDS = 2.0  # between two messages while the others wait: a collective operation must not take minutes
_WAIT, _DONE = 'wait', 'done'


def tell(text: str) -> str:
  """The text that process 0 gives, in all processes, which must all call this."""
  import jax

  if jax.process_count() == 1:
    return text
  import numpy as np
  from jax.experimental import multihost_utils

  padded = text.encode()[:_MESSAGE_BYTES].ljust(_MESSAGE_BYTES, b'\0')
  received = multihost_utils.broadcast_one_to_all(np.frombuffer(padded, np.uint8))
  return np.asarray(received).tobytes().rstrip(b'\0').decode(errors='replace')


def do(function: Callable[[], object]) -> None:
  """Calls a function in process 0; the other processes, which must all call this, wait for its end.

  Raises:
    UserError: the function raised it. All processes raise it.
  """
  import jax

  if jax.process_count() == 1:
    function()
    return
  with futures.ThreadPoolExecutor(1) as pool:
    result = pool.submit(function) if jax.process_index() == 0 else None
    while (state := tell(_state(result))) == _WAIT:
      pass
  if state != _DONE:
    name, _, problem = state.partition(' ')
    raise (UnavailableError if name == UnavailableError.__name__ else UserError)(problem)


def _state(result: futures.Future[object] | None) -> str:
  """Whether the function has ended, or the type and text of the user's error that it raised."""
  if result is None:
    return ''
  try:
    result.result(_SECONDS)
  except TimeoutError:
    return _WAIT
  except UserError as error:
    return f'{type(error).__name__} {error}'
  return _DONE
