"""Decoding of ids that come one by one."""

from collections.abc import Callable, Iterable

_MAX_INCOMPLETE = 3  # bytes of a UTF-8 character that is not complete, and so U+FFFD characters at most


class DecodeStream:
  """Turns ids into text as they come; the pieces joined are the text of all ids decoded at once.

  Text is held back as long as further ids may change it: a character that is split over ids appears with its
  last id. Bytes that are not UTF-8 appear as U+FFFD, at most three characters late.

  The tokenizers library's own DecodeStream works for its byte-level tokenizers only, waits for valid UTF-8
  forever, and does not return the end of a text that is cut within a character.
  """

  def __init__(self, decode: Callable[[list[int]], str], context: Iterable[int] = ()):
    """
    Args:
      decode: the text of ids. It must extend the text of any of their beginnings, but for a last character
        that is not complete.
      context: ids that come before the first one; their text is not returned. Decoders may drop the space
        with which a text starts, so that ids mean something else at the start.
    """
    self._decode = decode
    # Ids that are decoded together, and how much of their text has been returned. They start within the text
    # that has been returned, since a decoder treats the start of a text differently.
    self._ids = _shortest_tail(decode, [int(i) for i in context])
    self._returned = len(decode(self._ids))
    self._context = len(self._ids)

  def step(self, token: int) -> str:
    """Takes the next id and returns the text that is certain now, often ''."""
    self._ids.append(int(token))
    text = self._decode(self._ids)
    invalid = len(text) - len(text.rstrip('\N{REPLACEMENT CHARACTER}'))
    end = max(len(text) - min(invalid, _MAX_INCOMPLETE), self._returned)
    piece, self._returned = text[self._returned : end], end
    if not invalid and self._decode(self._ids[self._context :]):
      del self._ids[: self._context]
      self._returned = len(self._decode(self._ids))
      self._context = len(self._ids)
    return piece

  def finish(self) -> str:
    """The text that is still held back: a character that was never completed."""
    piece = self._decode(self._ids)[self._returned :]
    self._returned += len(piece)
    return piece


def _shortest_tail(decode: Callable[[list[int]], str], ids: list[int]) -> list[int]:
  """A few of the last ids that have a text, or all."""
  size = 1
  while size < len(ids) and not decode(ids[-size:]):
    size *= 2
  return ids[-size:]
