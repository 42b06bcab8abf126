"""The settings of tests/core also apply here."""

from tests.core.conftest import _strict_promotion

__all__ = ['_strict_promotion']
