"""A small synthetic inspection with one record of each kind."""

import numpy as np

from infformer_jax.records import (
  ContinuousRecord,
  DocumentRecord,
  Inspection,
  NeighboursRecord,
  ReconstructionRecord,
  SharesRecord,
  SignalRecord,
)

TOKENS, SEGMENT, HEADS, BINS = 128, 16, 4, 8
PIECES = ('<b>', ' &', ' $x_1$', '\n', ' 漢', '', '"q"', '\t') * 16


def held_th(*, age):
  """For every token and head, the token `age` tokens earlier, or -1 if there is none."""
  held_t = np.maximum(np.arange(TOKENS) - age, -1)
  return np.repeat(held_t[:, None], HEADS, axis=1).astype(np.int32)


def shares():
  """The third of the spans of 16 tokens, among 96 written ones, occupies half of the memory."""
  share_t, even_t = np.zeros(TOKENS), np.zeros(TOKENS)
  share_t[:96], even_t[:96] = 0.5 / 80, 1 / 96
  share_t[32:48] = 0.5 / 16
  return SharesRecord(
    moment_m=np.array([48, 96]),
    share_mt=np.array([share_t / 2, share_t]),
    even_share_mt=np.array([even_t / 2, even_t]),
  )


def ages(segments=TOKENS // SEGMENT, lag=2):
  """All segments have equal shares of the memory, which is empty in the first `lag` segments."""
  age_se = np.full((segments, BINS + 1), np.nan)
  for writes in range(1, segments - lag + 1):
    age_se[writes + lag - 1] = writes * SEGMENT * np.linspace(1, 0, BINS + 1)
  return age_se


def continuous():
  """A record in which the memory is empty in the first two segments."""
  segments = TOKENS // SEGMENT
  density_shj = np.random.default_rng(0).random((segments, HEADS, BINS)) + 0.5
  density_shj[:2] = np.nan
  return ContinuousRecord(
    density_shj=density_shj,
    age_se=ages(segments),
    histogram_sj=density_shj.mean(axis=1),
    held_th=held_th(age=40),
    shares=shares(),
  )


def neighbours():
  """A record that retrieves ages 4 and 40 of at most 64 stored; the most similar token has age 8."""
  retrieved_a, expected_a = np.zeros(TOKENS + 1, int), np.zeros(TOKENS + 1)
  retrieved_a[[4, 40]] = 30, 10
  expected_a[1:65] = 40 / 64
  return NeighboursRecord(retrieved_a=retrieved_a, expected_a=expected_a, held_th=held_th(age=9))


def signal():
  """A record with eight triangular basis functions, and the square of time as the signal."""
  times_t = np.linspace(0, 1, 101)
  basis_tn = np.maximum(0, 1 - 8 * np.abs(times_t[:, None] - np.linspace(0, 1, 8)))
  reconstructions = tuple(
    ReconstructionRecord(
      num_writes=writes, times_p=times_t[::5], values_p=times_t[::5] ** 2, signal_t=times_t**2
    )
    for writes in (1, 3)
  )
  return SignalRecord(
    times_t=times_t,
    age_t=1024 * (1 - times_t),
    age_writes=64,
    basis_tn=basis_tn.astype(np.float16),
    reconstructions=reconstructions,
  )


def losses():
  """Token 70 gains two nats, token 17 one, the others lose; token 3 gains but is not counted."""
  mine, emptied, counts = np.full(TOKENS, 3.0), np.full(TOKENS, 2.9), np.ones(TOKENS, bool)
  emptied[[70, 17, 3]] = 5, 4, 9
  counts[3] = False
  return {'nll_t': mine, 'emptied_nll_t': emptied, 'counts_t': counts}


def inspection():
  """The inspection of a stack with a continuous memory in layer 0, and of neighbours in layer 1."""
  return Inspection(
    step=5,
    split='validation',
    document=1,
    segment_length=SEGMENT,
    memory={'kind': 'stacked', 'layers': None, 'first': {'kind': 'continuous', 'widths': [0.75]}},
    text_sha256='0' * 64,
    pieces=PIECES,
    record=DocumentRecord(
      **losses(), continuous={'layer 0, first': continuous()}, neighbours={'layer 1': neighbours()}
    ),
    signals={'first_': signal()},
  )
