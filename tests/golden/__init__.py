"""Parity with numbers computed by the published code in float64: `python -m tests.golden FILE.npz ...`.

What the arrays hold is described in the checker of each format: lta.py, continuous.py, compressive.py,
transformer_xl.py, memorizing.py.
"""

TOLERANCE = 1e-9
"""Formulas in float64, relative to the largest absolute value of the array."""

TOLERANCE_FLOAT32 = 1e-5
"""A float32 layer."""

TOLERANCE_FLOAT32_MODEL = 1e-4
"""A whole model in float32."""
