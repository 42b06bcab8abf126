"""Pure mathematics on arrays: imports numpy and jax only, knows nothing of modules or training."""
