"""The published peaks of devices."""

import pytest

from infformer_jax.train.device_peaks import bfloat16_peak


@pytest.mark.parametrize(
  ('kind', 'teraflops'),
  [
    ('TPU v4', 275),
    ('TPU v5 lite', 197),
    ('TPU v5', 459),
    ('NVIDIA A100-SXM4-80GB', 312),
    ('NVIDIA H100 80GB HBM3', 989),
    ('NVIDIA H100 PCIe', 756),
    ('NVIDIA H200', 989),
  ],
)
def test_the_peak_is_that_of_the_most_specific_name(kind, teraflops):
  assert bfloat16_peak(kind) == teraflops * 1e12


@pytest.mark.parametrize('kind', ['cpu', 'TPU v4 lite', 'NVIDIA GeForce RTX 4090', 'an NVIDIA H100'])
def test_the_peak_of_other_devices_is_not_known(kind):
  assert bfloat16_peak(kind) is None
