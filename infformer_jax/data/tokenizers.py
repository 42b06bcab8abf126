"""Tokenizers, each picked by one string, `data.tokenizer`.

    bytes                one id per byte of UTF-8
    bpe:4096             byte-level BPE of 4096 ids, trained on the corpus and saved in the work directory
    gpt2:DIR             GPT-2's byte-level BPE, from DIR/encoder.json and DIR/vocab.bpe
    sentencepiece:FILE   a SentencePiece model

The libraries are imported where they are needed, so that checking a config that names a tokenizer is fast.
"""

import abc
import difflib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from etils import epath

from infformer_jax import files, first_process, paths
from infformer_jax.data import byte_pairs
from infformer_jax.data.decode_stream import DecodeStream
from infformer_jax.data.interruptible import interruptible
from infformer_jax.errors import ConfigError, UserError, unknown

_ALLOWED = ('bytes', 'bpe:4096', 'gpt2:DIR', 'sentencepiece:FILE')
# Ordinary text, of kinds that some tokenizers do not preserve.
_PROBE = " The\n\n\t“naïve”  café—\r\n漢字 \U0001f600 e\u0301 ﬁ, don't\n "


class Tokenizer(abc.ABC):
  """Text to ids and back.

  Attributes:
    vocab_size: number of ids, including BOS.
    bos_id: starts a document and has no text; the last id if the vocabulary has no BOS of its own.
    unk_id: <unk>, the id of any text that the vocabulary cannot represent; None if there is no such text.
    lossless: whether decoding restores the text; determined by a round trip of difficult text.
    identity: a hash of everything that determines the ids.
  """

  def __init__(self, num_pieces: int, identity: str, bos_id: int | None = None, unk_id: int | None = None):
    self.unk_id = unk_id
    self.bos_id = num_pieces if bos_id is None else bos_id
    self.vocab_size = max(num_pieces, self.bos_id + 1)
    self.identity = identity
    self.lossless = self.decode(self.encode(_PROBE)) == _PROBE

  def encode(self, text: str) -> np.ndarray:
    """The ids of a text, int32 [tokens], without BOS."""
    return self.encode_batch([text])[0]

  def decode(self, ids: Iterable[int]) -> str:
    """The text of ids; BOS has none, and bytes that are not UTF-8 become U+FFFD."""
    return self._decode([int(i) for i in ids if i != self.bos_id])

  def decode_stream(self, context: Iterable[int] = ()) -> DecodeStream:
    """Decodes ids one by one; see DecodeStream. `context` are the ids before the first one."""
    return DecodeStream(self.decode, context)

  def pieces(self, ids: Iterable[int]) -> list[str]:
    """The text of each id; joined, they are the text of all.

    If several ids form a character, the last one has it, and the others have ''.
    """
    stream = self.decode_stream()
    pieces = [stream.step(i) for i in ids]
    if pieces:
      pieces[-1] += stream.finish()
    return pieces

  @abc.abstractmethod
  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    """The ids of each text, encoded on all cores."""

  @abc.abstractmethod
  def _decode(self, ids: list[int]) -> str: ...


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
  return len(kinds) == 1 and kinds <= {'gpt2', 'sentencepiece'}


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
  content = _read(file, f"data.tokenizer = 'bpe:{num_ids}' was saved there")
  try:
    return BytePairs(tokenizers.Tokenizer.from_str(content.decode()), hashlib.sha256(content).hexdigest())
  except Exception as error:  # The library raises nothing narrower.
    raise UserError(
      f"{file} is damaged ({error}); restore it, because the model's ids depend on it"
    ) from None


def _gpt2(folder: epath.Path) -> BytePairs:
  from tokenizers import models, pre_tokenizers

  vocabulary_file, merges_file = folder / 'encoder.json', folder / 'vocab.bpe'
  need = f"data.tokenizer = 'gpt2:{folder}' needs GPT-2's encoder.json and vocab.bpe there"
  contents = _read(vocabulary_file, need), _read(merges_file, need)
  try:
    vocabulary = json.loads(contents[0])
    lines = contents[1].decode().split('\n')[1:]  # The first line is #version.
    merges = [(left, right) for left, right in (line.split(' ') for line in lines if line)]
    missing = set(pre_tokenizers.ByteLevel.alphabet()) - set(vocabulary)
    if sorted(vocabulary.values()) != list(range(len(vocabulary))) or missing:
      raise ValueError('the ids must be 0, 1, 2, ... and include all 256 bytes')
    library = byte_pairs.byte_level(models.BPE(vocab=vocabulary, merges=merges))
  except Exception as error:  # The library raises nothing narrower.
    raise UserError(
      f"data.tokenizer = 'gpt2:{folder}' has files that are not a byte-level BPE, {vocabulary_file} and "
      f'vocab.bpe ({error}); give the files of GPT-2'
    ) from None
  identity = hashlib.sha256(contents[0] + b'\n' + contents[1]).hexdigest()
  return BytePairs(library, identity, vocabulary.get('<|endoftext|>'))


def _sentencepiece(file: epath.Path) -> SentencePieces:
  import sentencepiece

  content = _read(file, f"data.tokenizer = 'sentencepiece:{file}' needs it")
  try:
    library = sentencepiece.SentencePieceProcessor(model_proto=content)
  except RuntimeError as error:
    raise UserError(
      f"data.tokenizer = 'sentencepiece:{file}' must be a SentencePiece model: {error}"
    ) from None
  return SentencePieces(library, hashlib.sha256(content).hexdigest())


def _read(file: epath.Path, need: str) -> bytes:
  try:
    return file.read_bytes()
  except paths.errors() as error:
    raise paths.failure(error)(f'cannot read {file}: {paths.reason(error)}; {need}') from None
