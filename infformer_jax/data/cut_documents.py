"""Long documents cut for training: each piece is a document of its own, read from an empty memory.

With few documents per lane, the memory mostly learns to identify the document (docs/text.md, Books);
cutting turns the same text into many documents.
"""

import dataclasses

import numpy as np

from infformer_jax.data.base import Split


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pieces(Split):
  split: Split
  documents: np.ndarray  # for each piece, the document that it was cut from
  starts: np.ndarray  # for each piece, where it starts in that document

  def tokens(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    stop = int(self.lengths[index]) if stop is None else min(stop, int(self.lengths[index]))
    first = int(self.starts[index])
    return self.split.tokens(int(self.documents[index]), first + start, first + stop)

  def group(self, index: int, start: int, stop: int) -> np.ndarray:
    first = int(self.starts[index])
    return self.split.group(int(self.documents[index]), first + start, first + stop)


def cut_documents(split: Split, max_tokens: int | None) -> Split:
  """The same tokens in documents of at most `max_tokens`; None: the split itself.

  A document is cut into as few pieces as possible, whose lengths differ by at most one token.

  Args:
    split: the documents.
    max_tokens: at least 4, so that no piece has fewer than 2 tokens.
  """
  if max_tokens is None or not len(split):
    return split
  assert max_tokens >= 4
  lengths = split.lengths
  pieces = -(-lengths // max_tokens)
  documents = np.repeat(np.arange(len(split)), pieces)
  number = np.arange(len(documents)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
  starts = number * lengths[documents] // pieces[documents]
  return _Pieces(
    offsets=np.append(split.offsets[documents] + starts, split.offsets[-1]),
    groups=split.groups,
    split=split,
    documents=documents,
    starts=starts,
  )
