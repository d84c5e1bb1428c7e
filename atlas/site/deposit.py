"""Metadata for archives: CITATION.cff (Citation File Format 1.2.0) and .zenodo.json."""

import json
import re
from html import escape
from typing import Any

import yaml
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from atlas.publishing.cite import Citation

CFF = "CITATION.cff"
ZENODO = ".zenodo.json"

KEYWORDS = (
    "explainable AI",
    "concept relevance propagation",
    "mechanistic interpretability",
    "convolutional neural networks",
)

METHOD = "10.1038/s42256-023-00711-8"
"""Achtibat et al. 2023, by which references are chosen and relevance is computed."""


def cff(citation: Citation, abstract: str, terms: str) -> str:
    """Return CITATION.cff.

    Parameters
    ----------
    citation : Citation
        The entry for the whole atlas.
    abstract : str
        What it is.
    terms : str
        Its licence; only an SPDX identifier is passed on, as the format allows no other.
    """
    entry: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this atlas, please cite it with the address of the channel.",
        "type": "dataset",
        "title": citation.title,
        "abstract": f"{abstract} {citation.note}",
        "authors": [_person(author) for author in _authors(citation)],
        "version": citation.version,
        "keywords": list(KEYWORDS),
        "identifiers": [
            {"type": "other", "value": citation.atlas_id, "description": "What was measured"}
        ],
    }
    if _is_day(citation.date):
        entry["date-released"] = citation.date
    if citation.published:
        entry["url"] = citation.url
    if citation.doi:
        entry["doi"] = citation.doi
    if spdx := _spdx(terms):
        entry["license"] = spdx
    text: str = yaml.safe_dump(entry, allow_unicode=True, sort_keys=False)
    return text


def zenodo(citation: Citation, abstract: str, terms: str) -> str:
    """Return .zenodo.json: the metadata of an upload as Zenodo's deposit API documents them.

    See `cff` for the parameters. Without a licence nothing is said about access: Zenodo asks.
    """
    related = [{"identifier": METHOD, "relation": "isDerivedFrom", "scheme": "doi"}]
    if citation.published:
        related.append({"identifier": citation.url, "relation": "isIdenticalTo", "scheme": "url"})
    entry: dict[str, Any] = {
        "upload_type": "dataset",
        "title": citation.title,
        "creators": [{"name": author} for author in _authors(citation)],
        "description": f"<p>{escape(abstract)}</p><p>{escape(citation.note)}</p>",
        "version": citation.version,
        "keywords": list(KEYWORDS),
        "related_identifiers": related,
        "notes": escape(f"Concept Atlas {citation.atlas_id}"),
    }
    if _is_day(citation.date):
        entry["publication_date"] = citation.date
    if spdx := _spdx(terms):
        entry |= {"access_right": "open", "license": spdx}
    return json.dumps(entry, indent=2, ensure_ascii=False) + "\n"


def _authors(citation: Citation) -> tuple[str, ...]:
    """Return at least one author, which both formats ask for."""
    return citation.authors or (f"The makers of {citation.title}",)


def _person(author: str) -> dict[str, str]:
    family, comma, given = (part.strip() for part in author.partition(","))
    if comma and family and given:
        return {"family-names": family, "given-names": given}
    return {"name": author}


def _spdx(terms: str) -> str:
    try:
        return canonicalize_license_expression(terms)
    except InvalidLicenseExpression:
        return ""


def _is_day(date: str) -> bool:
    return re.fullmatch(r"\d{4}-\d{2}-\d{2}", date) is not None
