"""One build at a time in an atlas directory."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from atlas.errors import UserError
from atlas.store import Store


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Keep a second build out of the directory."""
    store.root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(store.root / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(
            f"another process is building in {store.root}: wait for it, or choose another --out"
        ) from error
