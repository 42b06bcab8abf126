"""Small tasks, for the tests of data/."""

from infformer_jax.data.load import load_corpus
from infformer_jax.data.recall import RecallConfig
from infformer_jax.data.sorting import SortingConfig

SORTING = SortingConfig(length=300, num_symbols=6, num_train=50, num_evaluation=20)
RECALL = RecallConfig(
  segment_length=40,
  num_segments=9,
  distances=(1, 3, 8),
  pairs_per_distance=2,
  num_train=50,
  num_evaluation=20,
)
PASSKEY = RecallConfig(
  task='passkey', segment_length=16, num_segments=5, distances=(1, 4), num_train=50, num_evaluation=20
)


def corpus(config, tmp_path):
  return load_corpus(config, tmp_path)
