"""What archives read of an atlas is what they accept, whatever its recipe says."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.licenses import canonicalize_license_expression

from atlas.store import open_store

# What https://github.com/citation-file-format/citation-file-format/blob/main/schema-guide.md says
# of version 1.2.0 and of the keys that an atlas may need.
PERSON = {"family-names", "given-names", "name-particle", "name-suffix", "orcid", "email", "alias"}
ENTITY = {"name", "address", "city", "country", "email", "orcid", "website", "alias"}
_LINE = {"type": "string", "minLength": 1}
CFF = {
    "type": "object",
    "additionalProperties": False,
    "required": ["authors", "cff-version", "message", "title"],
    "properties": {
        **dict.fromkeys(("abstract", "message", "title", "version"), _LINE),
        "authors": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {
                "anyOf": [
                    {"additionalProperties": False, "properties": dict.fromkeys(PERSON, _LINE)},
                    {
                        "additionalProperties": False,
                        "required": ["name"],
                        "properties": dict.fromkeys(ENTITY, _LINE),
                    },
                ]
            },
        },
        "cff-version": {"const": "1.2.0"},
        "type": {"enum": ["dataset", "software"]},
        "date-released": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        "doi": {"type": "string", "pattern": r"^10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-.()\[\]\\]+$"},
        "url": {"type": "string", "pattern": "^(https?|s?ftp)://"},
        "license": _LINE,
        "keywords": {"type": "array", "minItems": 1, "uniqueItems": True, "items": _LINE},
        "identifiers": {
            "type": "array",
            "minItems": 1,
            "items": {
                "additionalProperties": False,
                "required": ["type", "value"],
                "properties": {
                    "type": {"enum": ["doi", "url", "swh", "other"]},
                    "value": _LINE,
                    "description": _LINE,
                },
            },
        },
    },
}

# https://developers.zenodo.org, deposit metadata: the attributes that a data set may have.
ZENODO = {
    *("upload_type", "publication_date", "title", "creators", "description", "access_right"),
    *("license", "keywords", "notes", "related_identifiers", "contributors", "references"),
    *("version", "language", "communities", "doi", "subjects", "method"),
}
REQUIRED = {"upload_type", "title", "creators", "description"}
RELATIONS = {
    *("isCitedBy", "cites", "isSupplementTo", "isNewVersionOf", "isPartOf", "hasPart"),
    *("isIdenticalTo", "isDerivedFrom", "isSourceOf", "isDocumentedBy"),
}

CITES = {
    "nothing given": {},
    "everything given": {
        "title": "Atlas & <b>things</b>: {{ 7*7 }}",
        "authors": ["Hopper, Grace", "The <i>Makers</i>", "סופר, שם"],
        "date": "2026-11-21",
        "url": "https://example.org/atlas",
        "doi": "10.5281/zenodo.1234567",
        "license": "CC-BY-4.0",
        "older": ["01234567"],
    },
    "a year alone": {"date": "2026", "authors": ["Lovelace, Ada"], "license": "ask us"},
}


@pytest.fixture(scope="module", params=CITES)
def site(request, built, run, tmp_path_factory) -> tuple[dict, Path]:
    given = CITES[request.param]
    out = shutil.copytree(built, tmp_path_factory.mktemp("deposit") / "atlas")
    sets = [f"cite.{key}={json.dumps(value)}" for key, value in given.items()]
    result = run("site", out, *(part for one in sets for part in ("--set", one)))
    assert result.returncode == 0, result.stderr
    stays = open_store(out).manifest()["recipe"]["cite"]
    assert {key: stays[key] for key in given} == given
    return given, out / "site"


def test_a_site_is_not_made_by_other_tables(built, run):
    result = run("site", built, "--set", "naming.model=x/y")
    assert result.returncode == 2
    assert "the tables [site] and [cite] alone" in result.stderr and result.stderr.count("\n") == 1


def test_citation_cff_is_valid(site):
    given, folder = site
    entry = yaml.safe_load((folder / "CITATION.cff").read_text("utf-8"))
    jsonschema.Draft7Validator.check_schema(CFF)
    assert [error.message for error in jsonschema.Draft7Validator(CFF).iter_errors(entry)] == []
    assert ("license" in entry) == (given.get("license", "ask us") != "ask us")
    if "license" in entry:  # an SPDX identifier
        assert canonicalize_license_expression(entry["license"]) == entry["license"]
    assert entry["type"] == "dataset"
    assert entry["version"] == entry["identifiers"][0]["value"].rpartition("-")[2]
    if given.get("title"):
        assert entry["title"] == given["title"]
        assert entry["authors"] == [
            {"family-names": "Hopper", "given-names": "Grace"},
            {"name": "The <i>Makers</i>"},
            {"family-names": "סופר", "given-names": "שם"},
        ]
        assert entry["doi"] == given["doi"]
        assert entry["url"].startswith("https://example.org/atlas/index.html?v=")
    assert entry.get("date-released") != "2026"


def test_zenodo_json_has_what_zenodo_knows(site):
    given, folder = site
    entry = json.loads((folder / ".zenodo.json").read_text("utf-8"))
    assert REQUIRED <= entry.keys() <= ZENODO
    assert entry["upload_type"] == "dataset"
    assert all(set(creator) == {"name"} and creator["name"] for creator in entry["creators"])
    assert all(one["relation"] in RELATIONS for one in entry["related_identifiers"])
    free = given.get("license", "ask us") != "ask us"
    assert ("license" in entry) == (entry.get("access_right") == "open") == free
    assert "<script" not in entry["description"] and "<b>" not in entry["description"]
    if free:
        assert [creator["name"] for creator in entry["creators"]] == given["authors"]


def test_both_are_told_of_and_older_versions_too(site):
    given, folder = site
    page = (folder / "cite.html").read_text("utf-8")
    assert 'href="CITATION.cff"' in page and 'href=".zenodo.json"' in page
    assert ('href="01234567/index.html"' in page) == ("older" in given)
    assert ('data-older="01234567"' in (folder / "index.html").read_text("utf-8")) == (
        "older" in given
    )


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium")
def test_an_old_citation_leads_on_to_its_version(site):
    from playwright.sync_api import sync_playwright

    given, folder = site
    address = (folder / "channels" / "0" / "4.html").resolve().as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(f"{address}?v=01234567")
        note = page.locator(".other-version")
        assert "version 01234567" in note.inner_text()
        links = [link.evaluate("e => e.href") for link in note.locator("a").all()]
        page.goto(f"{address}?v=76543210")  # one that is not kept
        assert note.locator("a").count() == 0
        browser.close()
    root = folder.resolve().as_uri()
    assert links == ([f"{root}/01234567/channels/0/4.html"] if "older" in given else [])
