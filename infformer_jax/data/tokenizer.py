"""What a tokenizer is: text to ids and back. tokenizers.py has the kinds of them."""

import abc
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from etils import epath

from infformer_jax import paths
from infformer_jax.data.decode_stream import DecodeStream

PROBE = " The\n\n\t“naïve”  café—\r\n漢字 \U0001f600 e\u0301 ﬁ, don't\n "
"""Ordinary text, of kinds that some tokenizers do not preserve."""


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
    self.lossless = self.decode(self.encode(PROBE)) == PROBE

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

  @property
  def files(self) -> Mapping[str, bytes]:
    """The files from which other programs make the same tokenizer, by name; {} if there are none."""
    return {}

  @abc.abstractmethod
  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    """The ids of each text, encoded on all cores."""

  @abc.abstractmethod
  def _decode(self, ids: list[int]) -> str: ...


def read_file(file: epath.Path, need: str) -> bytes:
  """The content of a file of a tokenizer.

  Args:
    file: on a disk or in a bucket.
    need: who needs it, for the error.
  Raises:
    UserError: it cannot be read; names it.
  """
  try:
    return paths.read_bytes(file)
  except paths.errors() as error:
    raise paths.failure(error)(f'cannot read {file}: {paths.reason(error)}; {need}') from None
