"""Tokenizers, each picked by one string, `data.tokenizer`.

    bytes                one id per byte of UTF-8
    bpe:4096             byte-level BPE of 4096 ids, trained on the corpus and saved in the work directory
    gpt2:DIR             GPT-2's byte-level BPE, from DIR/encoder.json and DIR/vocab.bpe
    sentencepiece:FILE   a SentencePiece model

The libraries are imported where they are needed: a config that names a tokenizer stays quick to check.
"""

import abc
import difflib
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from infformer_jax.errors import ConfigError, UserError, unknown

_ALLOWED = ('bytes', 'bpe:4096', 'gpt2:DIR', 'sentencepiece:FILE')
_MAX_BYTES = 4  # of a character in UTF-8
# Ordinary text of the kind that tokenizers lose.
_PROBE = " The\n\n\t“naïve”  café—\r\n漢字 \U0001f600 e\u0301 ﬁ, don't\n "


class Tokenizer(abc.ABC):
  """Text to ids and back.

  Attributes:
    vocab_size: number of ids, BOS among them.
    bos_id: begins a document and stands for no text; the last id where the vocabulary has none of its own.
    lossless: text comes back from its ids as it was: decided by a round trip of difficult text, not by name.
    identity: a hash of what determines the ids.
  """

  def __init__(self, num_pieces: int, identity: str, bos_id: int | None = None):
    self.bos_id = num_pieces if bos_id is None else bos_id
    self.vocab_size = max(num_pieces, self.bos_id + 1)
    self.identity = identity
    self.lossless = self.decode(self.encode(_PROBE)) == _PROBE

  def encode(self, text: str) -> np.ndarray:
    """The ids of a text, int32 [tokens], without BOS."""
    return self.encode_batch([text])[0]

  def decode(self, ids: Iterable[int]) -> str:
    """The text of ids; BOS has none, and bytes that are no UTF-8 become U+FFFD."""
    return self._decode([int(i) for i in ids if i != self.bos_id])

  def pieces(self, ids: Iterable[int]) -> list[str]:
    """The text of each id; joined they are the text of all.

    Of a character that several ids make together the last has it, and the others have ''.
    """
    pieces: list[str] = []
    before: list[int] = []  # Some tokenizers drop the space with which a text begins.
    pending: list[int] = []
    for i in ids:
      pending.append(int(i))
      text = self.decode(before + pending)
      if text.endswith('\N{REPLACEMENT CHARACTER}') and len(pending) < _MAX_BYTES:
        pieces.append('')
        continue
      pieces.append(text[len(self.decode(before)) :])
      before, pending = pending, []
    if pending:
      pieces[-1] = self.decode(before + pending)[len(self.decode(before)) :]
    return pieces

  @abc.abstractmethod
  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    """The ids of each text, on all cores."""

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
  """Byte-level BPE: trained here, or GPT-2's (Radford et al. 2019; published code: encoder.py)."""

  def __init__(self, library: Any, identity: str, bos_id: int | None = None):
    self._library = library
    super().__init__(library.get_vocab_size(), identity, bos_id)

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    return [np.array(encoding.ids, np.int32) for encoding in self._library.encode_batch_fast(list(texts))]

  def _decode(self, ids: list[int]) -> str:
    return self._library.decode(ids)


class SentencePieces(Tokenizer):
  """A SentencePiece model (Kudo & Richardson 2018)."""

  def __init__(self, library: Any, identity: str):
    self._library = library
    own_bos = library.bos_id()
    super().__init__(library.get_piece_size(), identity, own_bos if own_bos >= 0 else None)

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    threads = min(os.cpu_count() or 1, len(texts))
    return [np.array(ids, np.int32) for ids in self._library.encode(list(texts), num_threads=threads)]

  def _decode(self, ids: list[int]) -> str:
    return self._library.decode(ids)


def check(spec: str) -> None:
  """Whether a string names a tokenizer; no file is opened.

  Raises:
    ConfigError: it does not.
  """
  name, _, argument = spec.partition(':')
  forms = {allowed.partition(':')[0]: allowed for allowed in _ALLOWED}
  if name not in forms:
    near = [forms[other] for other in difflib.get_close_matches(name, forms, n=1)]
    raise ConfigError(f"tokenizer = '{spec}': {unknown('tokenizer', name, name, _ALLOWED, near)}")
  if bool(argument) != (':' in forms[name]) or spec.endswith(':'):
    raise ConfigError(f"tokenizer = '{spec}' is incomplete or has too much; write it like '{forms[name]}'")
  if name == 'bpe' and not (argument.isdecimal() and len(argument) < 8 and int(argument) >= 257):
    raise ConfigError(f"tokenizer = '{spec}': give 257 (256 bytes and BOS) to 9,999,999 ids, e.g. 'bpe:4096'")


def from_spec(spec: str, folder: pathlib.Path, training_texts: Callable[[], Iterable[str]]) -> Tokenizer:
  """The tokenizer that a string names.

  Args:
    spec: see the top of this file.
    folder: where a trained tokenizer is saved. It is trained once: whatever texts come later, the model
      that the folder belongs to keeps the ids it learned.
    training_texts: gives what 'bpe:N' is trained on; called if it has not been trained yet.
  Raises:
    ConfigError: as `check`.
    UserError: a file is missing or is not what it should be; names it.
  """
  check(spec)
  name, _, argument = spec.partition(':')
  if name == 'bpe':
    return _trained(int(argument), folder / f'bpe_{argument}.json', training_texts)
  if name == 'gpt2':
    return _gpt2(pathlib.Path(argument))
  if name == 'sentencepiece':
    return _sentencepiece(pathlib.Path(argument))
  return Bytes()


def _trained(num_ids: int, file: pathlib.Path, training_texts: Callable[[], Iterable[str]]) -> BytePairs:
  import tokenizers

  if not file.exists():
    from tokenizers import models, pre_tokenizers, trainers

    library = _byte_level(models.BPE())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=num_ids - 1, initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator(training_texts(), trainer)
    partial = file.with_suffix(f'.{os.getpid()}.partial')
    try:
      file.parent.mkdir(parents=True, exist_ok=True)
      partial.write_text(library.to_str(), encoding='utf-8')
      partial.replace(file)
    except OSError as error:
      raise UserError(f'cannot keep the tokenizer in {file}: {error.strerror}.') from None
  content = _read(file, "it is this work directory's tokenizer")
  try:
    return BytePairs(tokenizers.Tokenizer.from_str(content.decode()), hashlib.sha256(content).hexdigest())
  except Exception as error:  # The library raises nothing narrower.
    raise UserError(f"{file} is damaged ({error}); restore it, the model's ids depend on it.") from None


def _gpt2(folder: pathlib.Path) -> BytePairs:
  from tokenizers import models, pre_tokenizers

  vocabulary_file, merges_file = folder / 'encoder.json', folder / 'vocab.bpe'
  need = f"tokenizer 'gpt2:{folder}' needs GPT-2's encoder.json and vocab.bpe there"
  contents = _read(vocabulary_file, need), _read(merges_file, need)
  try:
    vocabulary = json.loads(contents[0])
    lines = contents[1].decode().split('\n')[1:]  # After #version.
    merges = [(left, right) for left, right in (line.split(' ') for line in lines if line)]
    missing = set(pre_tokenizers.ByteLevel.alphabet()) - set(vocabulary)
    if sorted(vocabulary.values()) != list(range(len(vocabulary))) or missing:
      raise ValueError('the ids must be 0, 1, 2, ..., and all 256 bytes be among them')
    library = _byte_level(models.BPE(vocab=vocabulary, merges=merges))
  except Exception as error:  # The library raises nothing narrower.
    raise UserError(f'{vocabulary_file} and vocab.bpe are not a byte-level BPE: {error}.') from None
  identity = hashlib.sha256(contents[0] + b'\n' + contents[1]).hexdigest()
  return BytePairs(library, identity, vocabulary.get('<|endoftext|>'))


def _sentencepiece(file: pathlib.Path) -> SentencePieces:
  import sentencepiece

  content = _read(file, f"tokenizer 'sentencepiece:{file}' needs it")
  try:
    library = sentencepiece.SentencePieceProcessor(model_proto=content)
  except RuntimeError as error:
    raise UserError(f'{file} is not a SentencePiece model: {error}') from None
  return SentencePieces(library, hashlib.sha256(content).hexdigest())


def _byte_level(model: Any) -> Any:
  from tokenizers import Tokenizer, decoders, pre_tokenizers

  library = Tokenizer(model)
  library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  library.decoder = decoders.ByteLevel()
  return library


def _read(file: pathlib.Path, need: str) -> bytes:
  try:
    return file.read_bytes()
  except OSError as error:
    raise UserError(f'cannot read {file}: {error.strerror} ({need}).') from None
