"""Trained tokenizers in the cache directory, so that another run on the same documents trains none."""

import hashlib
import pathlib
import sys
from collections.abc import Callable, Iterable

from infformer_jax import files, paths
from infformer_jax.data import byte_pairs, cache

_FORMAT = '1'  # Increase when the same documents give another tokenizer.


def trained(num_ids: int, key: str, texts: Callable[[], Iterable[str]], cache_dir: pathlib.Path) -> str:
  """A tokenizer of the cache, or one that is trained now.

  Args:
    num_ids: its number of ids, with BOS.
    key: `Documents.key` of what it is trained on.
    texts: returns what it is trained on; called only if it is not in the cache, or damaged there.
    cache_dir: the directory of the cache.
  Returns:
    The JSON of the library.
  Raises:
    UserError: a document cannot be read, or the cache cannot be written.
  """
  name = f'bpe_{num_ids}_{_digest(f"{_FORMAT} {key}".encode(errors="surrogateescape"))}'
  with cache.locked(cache_dir, 'tokenizers', name) as folder:
    for file in folder.glob(f'{name}_*.json'):
      content = paths.read_bytes(file)
      if file.stem == f'{name}_{_digest(content)}':
        return content.decode()
      print(f'warning: {file} is damaged; the tokenizer is trained again', file=sys.stderr)
      file.unlink()
    text = byte_pairs.train(num_ids - 1, texts())
    files.write_text(folder / f'{name}_{_digest(text.encode())}.json', text)
    return text


def _digest(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()[:16]
