"""A cache of its own for each test, and the tiny bundle of the engines' tests."""

from tests.engines.conftest import cache, new_bundle

__all__ = ["cache", "new_bundle"]
