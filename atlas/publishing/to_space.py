"""A site as a static Space of the Hugging Face Hub."""

import warnings
from typing import TYPE_CHECKING

import yaml

from atlas.api.contents import Contents
from atlas.errors import UserError, one_line
from atlas.plain import plain
from atlas.publishing import cite
from atlas.publishing.finished import FinishedSite

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD = "README.md"

MARK = "concept-atlas"
"""Tag in the card by which a Space is known as one that was made here."""

_TEMPLATE = frozenset({".gitattributes", CARD, "index.html", "style.css"})
"""Files of a new static Space."""


def address(name: str) -> str:
    """Return where the pages of the Space `USER/NAME` are."""
    host = name.replace("/", "-").replace("_", "-").replace(".", "-").lower()
    return f"https://{host}.static.hf.space/"


def card(contents: Contents) -> str:
    """Return the card of the Space, which says that its pages are static."""
    citation = cite.cite_atlas(contents)
    terms = contents.recipe.cite.license.lower()
    header = {
        "title": plain(citation.title),
        "emoji": "🗺️",
        "colorFrom": "indigo",
        "colorTo": "gray",
        "sdk": "static",
        "app_file": "index.html",
        "pinned": False,
        **({"license": terms} if terms else {}),
        "tags": [MARK, "explainability", "interpretability"],
    }
    text = yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=10**6)
    return (
        f"---\n{text}---\n\nThe atlas {citation.atlas_id}.\n\n"
        f"```bibtex\n{cite.bibtex(citation)}```\n"
    )


def send(contents: Contents, site: FinishedSite, name: str) -> str:
    """Make a site the content of a Space, which is made if it is not there.

    Parameters
    ----------
    contents : Contents
        The atlas, for the card; folders named in `cite.older` stay in the Space as they are.
    site : FinishedSite
        The site.
    name : str
        `NAME` or `OWNER/NAME`.

    Returns
    -------
    str
        `OWNER/NAME`.

    Raises
    ------
    UserError
        There is no token, the Hub cannot be reached or refuses, or the Space has content of
        others.
    """
    from huggingface_hub import HfApi, get_token  # noqa: PLC0415 (takes a second)
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    if get_token() is None:
        raise UserError(
            "the Hub needs a token that may write: run `hf auth login`, or put it in HF_TOKEN"
        )
    # The error of the library under the Hub's (httpx, or what comes after it), and OSError.
    bases = HfHubHTTPError.__bases__
    unreachable = [one for one in bases if issubclass(one, Exception)]
    failures: tuple[type[Exception], ...] = (
        *unreachable,
        HFValidationError,
        ValueError,
        KeyError,
    )
    api = HfApi(library_name=MARK)
    try:
        if "/" not in name:
            name = f"{api.whoami()['name']}/{name}"
        _upload(api, contents, site, name)
    except failures as error:
        raise UserError(
            f"the Space {plain(name)[:100]} could not be published ({one_line(error)[:200]}): "
            "check its name, the token and the network, and run the same command again"
        ) from error
    return name


def _upload(api: "HfApi", contents: Contents, site: FinishedSite, name: str) -> None:
    from huggingface_hub import (  # noqa: PLC0415
        CommitOperationAdd,
        CommitOperationCopy,
        CommitOperationDelete,
    )

    api.create_repo(name, repo_type="space", space_sdk="static", exist_ok=True)
    there = set(api.list_repo_files(name, repo_type="space"))
    if not there <= _TEMPLATE and not _is_publication(api, name):
        raise UserError(
            f"the Space {name} has content that was not published from an atlas: name another one"
        )
    kept = {CARD, ".gitattributes"}
    stale = [
        path
        for path in sorted(there - kept - site.sizes.keys())
        if path.partition("/")[0] not in contents.recipe.cite.older
    ]
    operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
        CommitOperationAdd(CARD, card(contents).encode()),
        *(CommitOperationAdd(path, site.root / path) for path in site.sizes),
        *(CommitOperationDelete(path) for path in stale),
    ]
    with warnings.catch_warnings():  # that tables belong into data sets: these are the site's
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
        api.create_commit(
            name,
            repo_type="space",
            operations=operations,
            commit_message=f"Publish the atlas {contents.id}",
        )


def _is_publication(api: "HfApi", name: str) -> bool:
    """Say whether the card of a Space has the tag of one that was made here."""
    tags = api.space_info(name).tags
    return MARK in (tags or ())
