"""Quantiles of Student's t distribution, without SciPy, which is not a dependency."""

import math


def critical_value(level: float, degrees: int) -> float:
  """The number of standard errors that |t| exceeds with probability `level`.

  Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4, a finite sum in
  theta = arctan(t / sqrt(degrees)), which is inverted by bisection.

  Args:
    level: in (0, 1), of both sides together.
    degrees: of freedom, at least 1.

  >>> round(critical_value(0.05, 4), 3)
  2.776
  """
  low, high = 0.0, math.pi / 2
  for _ in range(60):  # Then the interval is as small as the resolution of a float.
    middle = (low + high) / 2
    low, high = (middle, high) if _inside(middle, degrees) < 1 - level else (low, middle)
  return math.sqrt(degrees) * math.tan(low)


def _inside(theta: float, degrees: int) -> float:
  """The probability that |t| is smaller than sqrt(degrees) * tan(theta)."""
  sine, cosine = math.sin(theta), math.cos(theta)
  odd = degrees % 2
  term, total = (sine * cosine if odd else sine), 0.0
  for power in range(odd, degrees - 1, 2):  # cos^power, and the factor from each power to the next
    total += term
    term *= cosine**2 * (power + 1) / (power + 2)
  return 2 / math.pi * (theta + total) if odd else total
