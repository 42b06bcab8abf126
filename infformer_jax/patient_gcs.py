"""gcsfs with more patience, for epath: Orbax's small files and our reads go through it."""

from typing import Any

from gcsfs.core import GCSFileSystem
from gcsfs.retry import is_retriable

_ROUNDS = 4


class PatientGCSFileSystem(GCSFileSystem):
  """Repeats a request for two minutes or more; gcsfs gives up after six attempts in half a minute."""

  async def _request(self, *args: Any, **kwargs: Any) -> Any:
    for _ in range(_ROUNDS - 1):
      try:
        return await super()._request(*args, **kwargs)
      except Exception as error:
        if not is_retriable(error):
          raise
    return await super()._request(*args, **kwargs)
