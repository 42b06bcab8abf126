"""The equalities of tests/nn/test_chunks.py to 1e-12."""

from tests.nn.test_chunks import (  # noqa: F401
  test_a_chunk_equals_its_segments,
  test_a_chunk_equals_smaller_chunks,
  test_a_chunk_of_another_trunk_equals_its_segments,
  test_a_chunk_of_grouped_keys_equals_its_segments,
  test_a_recent_memory_equals_a_longer_short_term_memory,
)
