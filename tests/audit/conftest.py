"""An atlas with factors, and how pages are read: fixtures of other folders."""

from tests.factors.conftest import factored
from tests.site.conftest import crawl

__all__ = ["crawl", "factored"]
