"""Why data from `datasets` or the Hub cannot be had, in one line that says what to do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import datasets
import huggingface_hub
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from atlas.errors import UserError, one_line

_HTTPError = HfHubHTTPError.__mro__[1]  # base class of the HTTP library that the client uses
_INSTEAD = "or use pictures of your own: --set data.source=folder:DIR"

# What `datasets` says where a choice is wrong or missing, beside the choices that there are.
_CHOICES = {
    "Bad split": "--set data.split=NAME",
    "Unknown split": "--set data.split=NAME",
    "BuilderConfig": "--set data.config=NAME",
    "Config name is missing": "--set data.config=NAME",
}
_PROBE_SECONDS = 5.0

_LONGEST = 1000
"""Characters of what others say."""


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Within this context do without the network if the Hub does not answer.

    Left to themselves, `datasets` and its client retry for half a minute and print every
    try. Once they know that they are offline they look into their cache and give up at once.
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
    inner = one_line(chain[-1])
    # `datasets` wraps what went wrong: "An error occurred while generating the dataset".
    why = one_line(error) + ("" if inner in one_line(error) else f" ({inner})")
    choice = next(
        (f"; choose one with {way}" for says, way in _CHOICES.items() if says in texts), ""
    )
    message = f"cannot read hf:{name}: {why[:_LONGEST]}{choice}"
    if Path(name).expanduser().exists():  # whatever it was, it was not the Hub
        return UserError(message)
    # `datasets` words some refusals anew and drops what the Hub said.
    if _any(chain, GatedRepoError, LocalTokenNotFoundError) or "gated dataset" in texts:
        message = f"the data set {name!r} is gated: {access}; {_INSTEAD}"
    elif _any(chain, RevisionNotFoundError) or (
        _any(chain, DatasetNotFoundError) and texts.startswith("Revision")
    ):
        message = f"the data set {name!r} has no such revision: look at {page}/tree/main"
    elif _any(chain, RepositoryNotFoundError, DatasetNotFoundError):
        message = (
            f"there is no data set {name!r} on the Hub, or it is private: look at {page}, "
            f"and run `hf auth login` if it is private; {_INSTEAD}"
        )
    elif any(_is_unreachable(e) for e in chain):
        offline = " (HF_HUB_OFFLINE is set)" if huggingface_hub.is_offline_mode() else ""
        message = (
            f"cannot reach the Hub for the data set {name!r}{offline}: connect to the network, "
            f"and if the data set is gated (as ImageNet is) {access}; {_INSTEAD}"
        )
    elif "scripts are no longer supported" in texts:
        message = (
            f"the data set {name!r} is a Python script, which is not run: "
            "try its copy in Parquet with --set data.revision=refs/convert/parquet"
        )
    return UserError(message)


def _any(chain: Sequence[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(error, kinds) for error in chain)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error` and what it was raised from or after."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_unreachable(error: BaseException) -> bool:
    if isinstance(error, _HTTPError):
        return not isinstance(error, HfHubHTTPError)  # which says what the Hub answered
    return isinstance(error, (OfflineModeIsEnabled, ConnectionError, TimeoutError))
