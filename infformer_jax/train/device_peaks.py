"""The published peak arithmetic of devices."""

from collections.abc import Mapping

BFLOAT16: Mapping[str, float] = {
  # Half of a chip, which has two cores: a device of JAX is a core.
  'TPU v3': 61.5e12,
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,  # v5e
  'TPU v5e': 197e12,
  'TPU v5': 459e12,  # v5p
  'TPU v5p': 459e12,
  'TPU v6 lite': 918e12,  # v6e
  'TPU v6e': 918e12,
  'NVIDIA A100': 312e12,
  'NVIDIA H100 PCIe': 756e12,
  'NVIDIA H100 NVL': 835e12,
  'NVIDIA H100': 989e12,
  'NVIDIA H200 NVL': 835e12,
  'NVIDIA H200': 989e12,
}
"""FLOP/s of dense products in bfloat16, by the kind of a device in JAX (TPU) or the start of it (NVIDIA).

Of several names that fit, the longest applies. Sources: the pages about TPU versions in the documentation of
Google Cloud; the data sheets of NVIDIA, whose figures with sparsity are halved.
"""


def bfloat16_peak(kind: str) -> float | None:
  """FLOP/s of a device by its `device_kind`; None where it is not known.

  >>> bfloat16_peak('NVIDIA H100 80GB HBM3'), bfloat16_peak('TPU v5 lite'), bfloat16_peak('cpu')
  (989000000000000.0, 197000000000000.0, None)
  """
  fits = [name for name in BFLOAT16 if kind == name or (name.startswith('NVIDIA') and kind.startswith(name))]
  return BFLOAT16[max(fits, key=len)] if fits else None
