"""Text files, and corpora that are read from them, for the tests of data/."""

import pathlib

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


def read(documents):
  """The texts by name."""
  return {document.name: document.text for document in documents.read(range(len(documents)))}


def splits(config):
  """The texts of a stored corpus by split and name."""
  return {name: read(own) for name, own in config.open(NOWHERE).splits(BYTES).items()}


def text_config(source_dir):
  return TextConfig(source_dir=str(source_dir))
