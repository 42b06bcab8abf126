"""Corpora and generated tasks; importing the package registers the kinds of data."""

from infformer_jax.data import registry as registry
