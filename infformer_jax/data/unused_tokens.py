"""Removes the tokens in a work directory to which none of its results refers."""

import contextlib
import json
import pathlib
import re
import shutil
from collections.abc import Iterator

from infformer_jax import files
from infformer_jax.data.token_cache import DAMAGED, about

_FOLDER = re.compile(r'.+_[0-9a-f]{16}')  # also those of earlier versions of the package


def remove_unused_tokens(workdir: pathlib.Path) -> None:
  """Removes the tokens to which neither W/data.json nor any W/results*.json refers.

  Also removes what killed processes have left. A process that has opened its tokens can read them until it
  ends. Nothing is removed while another process writes tokens.
  """
  cache_dir = workdir / 'tokens'
  if not cache_dir.is_dir():
    return
  with contextlib.suppress(OSError), files.lock(cache_dir / 'lock', wait=False):
    used = set(_references(workdir))
    for folder in [path for path in cache_dir.iterdir() if path.is_dir()]:
      unused = _FOLDER.fullmatch(folder.name) and _identity(folder) not in used
      if unused or folder.suffix == '.partial':
        shutil.rmtree(folder, ignore_errors=True)


def _references(workdir: pathlib.Path) -> Iterator[tuple[str, str, str]]:
  """(split, tokenizer, texts) of all tokens to which the files of a work directory refer."""
  for file in (workdir / 'data.json', *workdir.glob('results*.json')):
    with contextlib.suppress(*DAMAGED):
      content = json.loads(file.read_text(encoding='utf-8'))
      corpus = content if file.name == 'data.json' else content['corpus']
      for split, facts in corpus['splits'].items():
        yield split, corpus['tokenizer_sha256'], facts['sha256']


def _identity(folder: pathlib.Path) -> tuple[str, str, str] | None:
  """(split, tokenizer, texts) of the tokens in a folder; None if it is damaged or of another format."""
  with contextlib.suppress(*DAMAGED):
    content = about(folder)
    return content['split'], content['tokenizer_sha256'], content['sha256']
  return None
