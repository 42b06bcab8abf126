"""Records of toy models that read random documents."""

import functools

import numpy as np

from infformer_jax.data.base import StoredSplit
from infformer_jax.evaluation import document_record
from tests import toy


def split(*lengths):
  rng = np.random.default_rng(0)
  return StoredSplit.from_tokens([rng.integers(toy.VOCABULARY, size=n) for n in lengths])


@functools.cache  # The model is compiled once for all tests of its records.
def record(memory, *lengths):
  """The record of the longest of several random documents with the given numbers of tokens."""
  document = document_record.longest(split(*lengths), 7 * toy.LENGTH)
  return document_record.record(toy.trained(toy.config(memory)), document, 0, segments_per_chunk=3)
