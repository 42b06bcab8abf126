"""The settings of tests/core hold here too."""

from tests.core.conftest import _strict_promotion

__all__ = ['_strict_promotion']
