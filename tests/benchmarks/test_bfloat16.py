"""The distance of bfloat16 activations from float32 does not grow with the length of a stream."""

import numpy as np
import pytest

from tests.benchmarks import bfloat16


@pytest.mark.slow
@pytest.mark.parametrize('name', bfloat16.SETTINGS)
def test_the_errors_of_a_million_tokens_are_those_of_ten_thousand(name):
  for error_s in bfloat16.errors(bfloat16.SETTINGS[name], 2**20):
    assert np.isfinite(error_s).all()
    early, late = bfloat16.medians(error_s, [10_000, 2**20])
    assert 2**-12 < early < 2**-7  # It is that of a rounding to 8 bits.
    assert late < 1.5 * early
    assert error_s[-1000:].max() < 2**-5
