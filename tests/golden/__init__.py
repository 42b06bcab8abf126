"""Parity with values computed by the published code in float64: `python -m tests.golden FILE.npz ...`.

The checker of each format describes the arrays of its files: lta.py, continuous.py, compressive.py,
transformer_xl.py, memorizing.py.
"""

TOLERANCE = 1e-9
"""For formulas in float64, relative to the largest absolute value of the array."""

TOLERANCE_FLOAT32 = 1e-5
"""For a layer in float32."""

TOLERANCE_FLOAT32_MODEL = 1e-4
"""For a whole model in float32."""
