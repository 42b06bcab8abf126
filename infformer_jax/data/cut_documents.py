"""Long documents cut for training: each piece is a document of its own, which begins with empty memories.

Lanes that read few documents to their end teach a memory little but which document this is
(docs/results.md, PG-19); cut, the same text is many documents.
"""

import dataclasses

import numpy as np

from infformer_jax.data.base import Split


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pieces(Split):
  whole: Split
  documents: np.ndarray  # by piece: what it was cut from,
  starts: np.ndarray  # and where in that it begins

  def tokens(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    stop = int(self.lengths[index]) if stop is None else min(stop, int(self.lengths[index]))
    first = int(self.starts[index])
    return self.whole.tokens(int(self.documents[index]), first + start, first + stop)

  def group(self, index: int, start: int, stop: int) -> np.ndarray:
    first = int(self.starts[index])
    return self.whole.group(int(self.documents[index]), first + start, first + stop)


def cut(split: Split, max_tokens: int | None) -> Split:
  """The same tokens in documents of at most `max_tokens`; None: as they are.

  A document is cut into as few pieces as will do, all of the same length but for a token.

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
    whole=split,
    documents=documents,
    starts=starts,
  )
