"""Tokenizers, each picked by one string, `data.tokenizer`.

    bytes                one id per byte of UTF-8
    bpe:4096             byte-level BPE of 4096 ids, trained on the corpus and saved in the work directory
    gpt2:DIR             GPT-2's byte-level BPE, from DIR/encoder.json and DIR/vocab.bpe
    sentencepiece:FILE   a SentencePiece model
    pretrained:DIR       that of a pretrained model (pretrained_tokenizer.py); DIR as in hub.py

The libraries are imported where they are needed, so that checking a config that names a tokenizer is fast.
"""

import difflib
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from infformer_jax import files, first_process, hub, paths
from infformer_jax.data import byte_pairs, pretrained_tokenizer
from infformer_jax.data.interruptible import interruptible
from infformer_jax.data.tokenizer import Tokenizer, read_file
from infformer_jax.errors import ConfigError, UserError, unknown

_ALLOWED = ('bytes', 'bpe:4096', 'gpt2:DIR', 'sentencepiece:FILE', 'pretrained:DIR')


class Bytes(Tokenizer):
  """One id per byte of UTF-8."""

  def __init__(self) -> None:
    super().__init__(256, hashlib.sha256(b'bytes').hexdigest())

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) for text in texts]

  def _decode(self, ids: list[int]) -> str:
    return bytes(ids).decode(errors='replace')


class BytePairs(Tokenizer):
  """Byte-level BPE, trained here or GPT-2's (Radford et al. 2019; published code: encoder.py)."""

  def __init__(self, library: Any, identity: str, bos_id: int | None = None):
    self._library = library
    super().__init__(library.get_vocab_size(), identity, bos_id)

  @property
  def files(self) -> Mapping[str, bytes]:
    kind = json.dumps({'tokenizer_class': 'PreTrainedTokenizerFast'})
    return {'tokenizer.json': self._library.to_str().encode(), 'tokenizer_config.json': kind.encode()}

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    return byte_pairs.encode(self._library, texts)

  def _decode(self, ids: list[int]) -> str:
    return self._library.decode(ids)


class SentencePieces(Tokenizer):
  """A SentencePiece model (Kudo & Richardson 2018)."""

  def __init__(self, library: Any, identity: str):
    self._library = library
    own_bos = library.bos_id()
    super().__init__(
      library.get_piece_size(), identity, own_bos if own_bos >= 0 else None, unk_id=library.unk_id()
    )

  @property
  def files(self) -> Mapping[str, bytes]:
    return {'tokenizer.model': self._library.serialized_model_proto()}

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    threads = min(os.cpu_count() or 1, len(texts))
    ids_of_texts = interruptible(lambda: self._library.encode(list(texts), num_threads=threads))
    return [np.array(ids, np.int32) for ids in ids_of_texts]

  def _decode(self, ids: list[int]) -> str:
    return self._library.decode(ids)


def check_spec(spec: str) -> None:
  """Checks that a string names a tokenizer; no file is opened.

  Raises:
    ConfigError: it does not.
  """
  name, _, argument = spec.partition(':')
  forms = {allowed.partition(':')[0]: allowed for allowed in _ALLOWED}
  if name not in forms:
    near = [forms[other] for other in difflib.get_close_matches(name, forms, n=1)]
    raise ConfigError(f"tokenizer = '{spec}': {unknown('tokenizer', name, name, _ALLOWED, near)}")
  if bool(argument) != (':' in forms[name]) or spec.endswith(':'):
    raise ConfigError(f"tokenizer = '{spec}' must have the form '{forms[name]}'")
  if name in ('gpt2', 'sentencepiece'):
    paths.parse(argument, 'tokenizer')
  if name == 'pretrained':
    hub.check(argument, 'tokenizer')
  if name == 'bpe' and not (argument.isdecimal() and len(argument) < 8 and int(argument) >= 257):
    raise ConfigError(
      f"tokenizer = '{spec}' must have 257 (256 bytes and BOS) to 9,999,999 ids, e.g. 'bpe:4096'"
    )


def are_files_of_one_kind(first: str, second: str) -> bool:
  """Whether two strings name the same kind of tokenizer, one that is read from a path.

  >>> are_files_of_one_kind('gpt2:a', 'gpt2:b'), are_files_of_one_kind('bpe:512', 'bpe:1024')
  (True, False)
  """
  kinds = {spec.partition(':')[0] for spec in (first, second)}
  return len(kinds) == 1 and kinds <= {'gpt2', 'sentencepiece', 'pretrained'}


def from_spec(spec: str, workdir: epath.Path, train: Callable[[int], str]) -> Tokenizer:
  """The tokenizer that a string names.

  Args:
    spec: see the top of this file.
    workdir: where a trained tokenizer is saved, once, by the first process of a run: if the texts change
      later, the model in the work directory keeps its ids.
    train: returns the JSON of a tokenizer with so many ids; called only if none is saved.
  Raises:
    ConfigError: as `check_spec`.
    UserError: a file is missing or damaged; names it.
  """
  check_spec(spec)
  name, _, argument = spec.partition(':')
  if name == 'bpe':
    return _trained(int(argument), workdir / f'bpe_{argument}.json', train)
  if name == 'gpt2':
    return _gpt2(paths.parse(argument, 'tokenizer'))
  if name == 'sentencepiece':
    return _sentencepiece(paths.parse(argument, 'tokenizer'))
  if name == 'pretrained':
    return pretrained_tokenizer.load(argument)
  return Bytes()


def _trained(num_ids: int, file: epath.Path, train: Callable[[int], str]) -> BytePairs:
  import tokenizers

  def save() -> None:
    if file.exists():
      return
    trained = train(num_ids)
    try:
      files.write_text(file, trained)
    except paths.errors() as error:
      raise paths.failure(error)(
        f'cannot save the tokenizer in {file}: {paths.reason(error)}; use a writable --workdir'
      ) from None

  first_process.do(save)
  content = read_file(file, f"data.tokenizer = 'bpe:{num_ids}' was saved there")
  try:
    return BytePairs(tokenizers.Tokenizer.from_str(content.decode()), hashlib.sha256(content).hexdigest())
  except Exception as error:  # The library raises nothing narrower.
    raise UserError(
      f"{file} is damaged ({error}); restore it, because the model's ids depend on it"
    ) from None


def _gpt2(folder: epath.Path) -> BytePairs:
  names = ('encoder.json', 'vocab.bpe')
  need = f"data.tokenizer = 'gpt2:{folder}' needs GPT-2's encoder.json and vocab.bpe there"
  contents = [read_file(folder / name, need) for name in names]
  try:
    library = byte_pairs.from_files(*contents)
  except ValueError as error:
    raise UserError(
      f"data.tokenizer = 'gpt2:{folder}' has files that are not a byte-level BPE, {folder / names[0]} and "
      f'{names[1]} ({error}); give the files of GPT-2'
    ) from None
  identity = hashlib.sha256(b'\n'.join(contents)).hexdigest()
  return BytePairs(library, identity, library.token_to_id('<|endoftext|>'))


def _sentencepiece(file: epath.Path) -> SentencePieces:
  import sentencepiece

  content = read_file(file, f"data.tokenizer = 'sentencepiece:{file}' needs it")
  try:
    if not content:  # The library would take it for no argument.
      raise ValueError('it is empty')
    library = sentencepiece.SentencePieceProcessor(model_proto=content)
    return SentencePieces(library, hashlib.sha256(content).hexdigest())
  except Exception as error:  # To load or to use a damaged model raises several types.
    raise UserError(
      f"data.tokenizer = 'sentencepiece:{file}' must be a SentencePiece model: {error}"
    ) from None
