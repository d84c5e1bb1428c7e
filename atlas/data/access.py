"""Why data from `datasets` or the Hub cannot be had, in one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import datasets
import huggingface_hub
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import (
    GatedRepoError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from atlas.errors import UserError, one_line

_INSTEAD = "or use pictures of your own: --set data.source=folder:DIR"

# `datasets` and the Hub's client come with one HTTP library or another, whose exceptions
# have no common base; these are the names of those that mean that nothing answered.
_UNREACHABLE = frozenset(
    {"ConnectError", "ConnectTimeout", "ReadTimeout", "ReadError", "NetworkError", "ProxyError"}
    | {"TimeoutException", "PoolTimeout", "RemoteProtocolError", "ConnectionError"}
)


_PROBE_SECONDS = 5.0


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Within this context do without the network if the Hub does not answer.

    Left to themselves, `datasets` and its client retry for half a minute and print every
    try. Told that they are offline they look into their cache and give up at once.
    """
    before = huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if not _answers():
        huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _answers() -> bool:
    """Return whether the Hub answers, whatever it says."""
    try:
        # The client's own session, so that proxies and certificates are the user's.
        session = huggingface_hub.get_session()
        session.head(huggingface_hub.constants.ENDPOINT, timeout=_PROBE_SECONDS)
    except Exception:  # which HTTP library the client uses, and so what it raises, may change
        return False
    return True


def unavailable(name: str, error: BaseException) -> UserError:
    """Translate what `datasets` raised.

    Parameters
    ----------
    name : str
        What stands behind `hf:` in the recipe.
    error : BaseException
        What was raised; its causes are looked at too, because `datasets` wraps them.

    Returns
    -------
    UserError
        Not raised yet, so that the caller can chain it.
    """
    page = f"https://huggingface.co/datasets/{name}"
    access = f"accept its terms at {page} and run `hf auth login`"
    chain = list(_causes(error))
    texts = " ".join(one_line(e) for e in chain)
    if any(isinstance(e, (GatedRepoError, LocalTokenNotFoundError)) for e in chain) or (
        "gated dataset" in texts  # how `datasets` words it where it drops the cause
    ):
        return UserError(f"the data set {name!r} is gated: {access}; {_INSTEAD}")
    if any(isinstance(e, RevisionNotFoundError) for e in chain) or (
        isinstance(error, DatasetNotFoundError) and "Revision" in texts
    ):
        return UserError(f"the data set {name!r} has no such revision: look at {page}/tree/main")
    if any(isinstance(e, (RepositoryNotFoundError, DatasetNotFoundError)) for e in chain):
        return UserError(
            f"there is no data set {name!r} on the Hub, or it is private: look at {page}, "
            f"and run `hf auth login` if it is private; {_INSTEAD}"
        )
    if any(_is_unreachable(e) for e in chain):
        offline = " (HF_HUB_OFFLINE is set)" if huggingface_hub.is_offline_mode() else ""
        return UserError(
            f"cannot reach the Hub for the data set {name!r}{offline}: connect to the network, "
            f"and if the data set is gated (as ImageNet is) {access}; {_INSTEAD}"
        )
    if "scripts are no longer supported" in texts:
        return UserError(
            f"the data set {name!r} is a Python script, which is not run: "
            "try its copy in Parquet with --set data.revision=refs/convert/parquet"
        )
    return UserError(f"cannot read hf:{name}: {one_line(error)}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error` and what it was raised from or after."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_unreachable(error: BaseException) -> bool:
    if isinstance(error, (OfflineModeIsEnabled, ConnectionError, TimeoutError)):
        return True
    return any(base.__name__ in _UNREACHABLE for base in type(error).__mro__)
