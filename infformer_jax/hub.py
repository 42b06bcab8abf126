"""Directories of pretrained models: on a disk, in a bucket, or on the Hugging Face hub.

    /models/gpt2                    a local directory
    gs://bucket/gpt2                one in a bucket
    hf:openai-community/gpt2        a model on the hub; hf:ORGANIZATION/NAME@REVISION: a branch, tag or commit

Without `hf:` a text never names a model on the hub, so that a mistyped directory is not downloaded.
"""

import functools
import importlib.util
import re

from etils import epath

from infformer_jax import first_process, paths
from infformer_jax.errors import ConfigError, UserError

HUB = 'hf:'
_NAME = re.compile(r'(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?')
_FILES = ('*.safetensors', '*.json', '*.txt', '*.model')


def check(text: str, key: str) -> None:
  """Checks that a text names a directory; nothing is opened.

  Args:
    text: see the top of this file.
    key: the config key or flag, for errors.
  Raises:
    ConfigError: it does not.
  """
  if not text.startswith(HUB):
    paths.parse(text, key)
  elif not _NAME.fullmatch(text.removeprefix(HUB)):
    raise ConfigError(
      f"{key} = '{text}' must have the form {HUB}ORGANIZATION/NAME or {HUB}ORGANIZATION/NAME@REVISION"
    )


def directory(text: str, key: str) -> epath.Path:
  """The directory that a text names; a model on the hub is downloaded, into the cache of its library.

  Raises:
    ConfigError: as `check`.
    UserError: the model cannot be downloaded; says why.
  """
  check(text, key)
  if not text.startswith(HUB):
    return paths.parse(text, key)
  if importlib.util.find_spec('huggingface_hub') is None:
    raise ConfigError(f"{key} = '{text}' needs another library; run: pip install infformer_jax[hub]")
  try:
    return _downloaded(text)
  except UserError as error:
    raise UserError(f"{key} = '{text}' cannot be downloaded: {error}") from None


@functools.cache
def _downloaded(text: str) -> epath.Path:
  """First by process 0, since processes of one machine share the cache."""
  first_process.do(lambda: _download(text))
  return _download(text)


def _download(text: str) -> epath.Path:
  import huggingface_hub

  match = _NAME.fullmatch(text.removeprefix(HUB))
  assert match is not None
  try:
    folder = huggingface_hub.snapshot_download(
      match[1], revision=match[2], allow_patterns=list(_FILES), ignore_patterns=['*/*']
    )
  except Exception as error:  # The library raises many types, which have no narrower base.
    raise UserError(paths.reason(error)) from None
  return epath.Path(folder)
