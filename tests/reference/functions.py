"""Functions that the parts of the reference implementation share."""

import numpy as np


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def softmax(x, axis):
  weights = np.exp(x - x.max(axis=axis, keepdims=True))
  return weights / weights.sum(axis=axis, keepdims=True)


def unit(x):
  """Unit vectors along the last axis, normalized as in meliad."""
  return x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-6)
