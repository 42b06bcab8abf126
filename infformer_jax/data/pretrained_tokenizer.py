"""The tokenizer of a pretrained model: its tokenizer.json or, for a GPT-2, its vocab.json and merges.txt.

*BOS.* Lanes start every document with BOS, so that nothing is added here, whatever tokenizer.json says. BOS
is `bos_token_id` of config.json, or `eos_token_id` if there is none. GPT-2's is 50256, <|endoftext|>, which
stands between the documents of its training too.

*Special tokens.* Where a document has the text of one, such as <|im_start|>, this becomes its id, as in
transformers. Decoding gives the texts of all ids but BOS.

*Size.* The vocabulary has the rows of the model's embedding (`vocab_size` of config.json), some of which may
have no text: the embedding of Qwen2 has more rows than its tokenizer has ids.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from infformer_jax import files, hub
from infformer_jax.data import byte_pairs
from infformer_jax.data.interruptible import interruptible
from infformer_jax.data.tokenizer import PROBE, Tokenizer, read_file
from infformer_jax.errors import UserError

_ONE_FILE = 'tokenizer.json'
_TWO_FILES = ('vocab.json', 'merges.txt')
_OTHER_FILES = ('tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'tokenizer.model')
_END_OF_TEXT = '<|endoftext|>'


def exists(folder: epath.Path) -> bool:
  """Whether a directory has a tokenizer that `load` can read."""
  return (folder / _ONE_FILE).exists() or all((folder / name).exists() for name in _TWO_FILES)


def load(text: str) -> Tokenizer:
  """The tokenizer of a directory, which a text names as in hub.py.

  Raises:
    UserError: a file is missing or damaged, or does not fit config.json; names it.
  """
  folder, need = hub.directory(text, 'tokenizer'), f"data.tokenizer = 'pretrained:{text}' needs it"
  if not (file := folder / 'config.json').exists():
    raise UserError(f'{folder} has no {file.name}, but {need}; give the directory of the model')
  config = files.read_json(file)
  if 'vocab_size' not in config:
    raise UserError(f'{file} has no vocab_size, but {need}; give the directory of the model')
  two_files = not (folder / _ONE_FILE).exists()
  if two_files and config.get('model_type') != 'gpt2':  # The words of others are not GPT-2's.
    raise UserError(f"{folder} has no {_ONE_FILE}; if it has a tokenizer.model, use 'sentencepiece:FILE'")
  names = _TWO_FILES if two_files else (_ONE_FILE,)
  contents = [read_file(folder / name, need) for name in names]
  try:
    library = byte_pairs.from_files(*contents) if two_files else _from_json(contents[0])
  except ValueError as error:
    raise UserError(f'{folder} has a damaged {" or ".join(names)} ({error}); download it again') from None
  if two_files:
    library.add_special_tokens([_END_OF_TEXT])
  library.no_truncation()
  library.no_padding()
  rows, bos = _rows_and_bos(config, file)
  _require_text(library, folder)
  largest = max(library.get_vocab().values(), default=0)
  if largest >= rows:
    raise UserError(
      f'{folder} has a tokenizer with the id {largest:,}, but config.json has vocab_size = {rows:,}; '
      'use the tokenizer of the model'
    )
  identity = hashlib.sha256(b'\n'.join([*contents, f'{bos} {rows}'.encode()])).hexdigest()
  found = [name for name in (_ONE_FILE, *_TWO_FILES, *_OTHER_FILES) if (folder / name).exists()]
  files_by_name = {name: read_file(folder / name, need) for name in found}
  try:
    return _Pretrained(library, identity, rows, bos, files_by_name)
  except Exception as error:  # The library refuses some vocabularies only where it uses them.
    raise UserError(f'{folder} has a damaged {" or ".join(names)} ({error}); download it again') from None


class _Pretrained(Tokenizer):
  """See the top of this file. Texts are encoded whole: not every tokenizer can cut them between words."""

  def __init__(self, library: Any, identity: str, num_rows: int, bos_id: int, files: Mapping[str, bytes]):
    self._library, self._files = library, files
    super().__init__(num_rows, identity, bos_id)

  @property
  def files(self) -> Mapping[str, bytes]:
    return self._files

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    encodings = interruptible(lambda: self._library.encode_batch_fast(list(texts), add_special_tokens=False))
    return [np.array(encoding.ids, np.int32) for encoding in encodings]

  def _decode(self, ids: list[int]) -> str:
    return self._library.decode(ids, skip_special_tokens=False)


def _from_json(content: bytes) -> Any:
  import tokenizers

  try:
    return tokenizers.Tokenizer.from_str(content.decode())
  except Exception as error:  # The library raises nothing narrower.
    raise ValueError(str(error)) from None


def _require_text(library: Any, folder: epath.Path) -> None:
  """Checks that text has ids. An empty vocabulary gives none, and some without an unknown token fail."""
  try:
    found = library.encode(PROBE, add_special_tokens=False).ids
    reason = f'its {library.get_vocab_size()} tokens give no ids'
  except Exception as error:  # The library raises nothing narrower.
    found, reason = [], str(error)
  if not found:
    raise UserError(
      f'{folder} has a tokenizer that cannot encode text ({reason}); use the tokenizer of the model'
    )


def _rows_and_bos(config: dict[str, Any], file: epath.Path) -> tuple[int, int]:
  """The rows of the embedding, and BOS."""
  rows, keys = config['vocab_size'], ('bos_token_id', 'eos_token_id')
  key = next((key for key in keys if config.get(key) is not None), keys[0])
  bos = config.get(key)
  if isinstance(bos, list):  # Several tokens may end a text.
    bos = bos[0] if bos else None
  if type(rows) is not int or type(bos) is not int or not 0 <= bos < rows < 2**31:
    raise UserError(
      f'{file}: {key} = {bos} must be the id of a token, less than vocab_size = {rows}, which must be below '
      '2^31; correct it'
    )
  return rows, bos
