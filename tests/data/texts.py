"""Text files, and corpora that are read from them, for the tests of data/."""

import pathlib

from infformer_jax.data import byte_pairs
from infformer_jax.data.folders import Copies, Files, Stat
from infformer_jax.data.text import TextConfig
from infformer_jax.data.tokenizers import Bytes

BYTES = Bytes()
NOWHERE = pathlib.Path('a work directory that does not exist')


def write(root, texts, suffix='.txt'):
  """Writes the texts by name into a folder, and returns the folder."""
  for name, text in texts.items():
    path = root / f'{name}{suffix}'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return root


def files(folder, names):
  """Files in a local folder, all of which have the same time."""
  stats = {name: Stat((folder / name).stat().st_size, '0') for name in names}
  return Files(root=folder, stats=stats, copies=Copies(folder / 'copies', 'data.cache_dir'))


def trained_on(texts):
  """Trains a tokenizer with so many ids, as `tokenizers.from_spec` asks for it."""
  return lambda num_ids: byte_pairs.train(num_ids - 1, texts)


def read(documents):
  """The texts by name."""
  return {document.name: document.text for document in documents.read(range(len(documents)))}


def splits(config):
  """The texts of a stored corpus by split and name."""
  return {name: read(own) for name, own in config.open(NOWHERE).splits(BYTES).items()}


def text_config(source_dir):
  return TextConfig(source_dir=str(source_dir))
