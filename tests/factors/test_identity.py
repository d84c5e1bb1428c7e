"""Other factors at the addresses of earlier ones are not taken for these."""

import json
import re
import shutil
import xml.etree.ElementTree as ET

import pytest

import atlas
from atlas.explain.proving import check_texts
from atlas.pipeline.building import forget_unproved
from atlas.site import factor_graph
from atlas.site.catalogue import Catalogue
from atlas.site.citing import Citing
from atlas.store import evidence, open_store
from atlas.store.factorgraph import FactorEdge
from atlas.store.joined import joined

BASIS = "3/nmf3"
PAGE = "channels/3~2fnmf3/1.html"


@pytest.fixture(scope="module")
def others(explained, run, settings, tmp_path_factory):
    """The explained atlas after its factors were found with another seed: with what was said."""
    root = tmp_path_factory.mktemp("others") / "tiny"
    shutil.copytree(explained, root)
    said = [
        run(*command)
        for command in (
            ("rename", root, f"{BASIS}:1", "star", "--by", "me"),
            ("factors", root, *settings, "--set", "factors.seed=1", "--trust-code"),
            ("site", root),
            ("verify", root),
        )
    ]
    assert [one.returncode for one in said] == [0, 0, 0, 1], [one.stderr for one in said]
    return root, *said[1:]


def test_an_explanation_by_other_factors_does_not_follow(explained, others, pictures, run):
    root, found, site, verified = others
    one, other = atlas.open(explained), atlas.open(root)
    assert (one.id, list(one.rows)) == (other.id, list(other.rows))
    (folder,) = evidence.folders(root)
    missed = f"it does not say that it is by the factors {BASIS} that the atlas has now"
    assert missed in verified.stdout
    assert "Explanations by earlier factors: 1." in found.stderr
    assert f"{folder.name} is of another state of the atlas and gets no page" in site.stderr
    assert (explained / "site/explanations" / f"{folder.name}.html").is_file()
    assert not (root / "site/explanations").exists()
    store = open_store(root)
    store.write_manifest(
        {**store.manifest(), "stages": {**store.manifest()["stages"], "explanations": "done"}}
    )
    forget_unproved(store)
    assert "explanations" not in store.manifest()["stages"]
    again = run("explain", root, min(pictures.rglob("*.png")), "--trust-code")
    assert again.returncode == 0, again.stderr
    assert [check.passed for check in check_texts(store)] == [True]


@pytest.mark.parametrize("change", [
    lambda layer: layer.pop("basis_sha256"),  # as earlier versions wrote it
    lambda layer: layer.update(of=None, basis_sha256=None),
])  # fmt: skip
def test_an_explanation_has_to_say_which_factors_it_is_by(explained, tmp_path, change):
    shutil.copytree(explained, tmp_path / "tiny")
    store = open_store(tmp_path / "tiny")
    assert [check.passed for check in check_texts(store)] == [True]
    (folder,) = evidence.folders(store.root)
    said = json.loads((folder / "evidence.json").read_text("utf-8"))
    change(next(layer for layer in said["layers"] if layer["layer"] == BASIS))
    (folder / "evidence.json").write_text(json.dumps(said))
    assert [check.passed for check in check_texts(store)] == [False]


def test_a_citation_says_which_factors_were_cited(explained, others):
    roots = explained, others[0]
    versions = []
    for root in roots:
        a = atlas.open(root)
        digest = a.bases[BASIS].digest
        (csl,) = json.loads(a.cite(f"{BASIS}:1", format="csl-json"))
        version = csl["version"]
        assert version == f"{a.id[-8:]}-{digest[:8]}"
        address = f"{PAGE}?v={version}"
        assert csl["archive_location"] == address
        assert csl["id"].startswith(f"{a.id}-{digest[:8]}-channels-")
        assert f"factors SHA-256 {digest};" in csl["note"]
        page = (root / "site" / PAGE).read_text("utf-8")
        assert re.findall(r'data-version="([^"]*)"', page) == [version]
        assert csl["id"] in page
        said = json.loads((root / "site/api/v1/channels/3~2fnmf3/1.json").read_text("utf-8"))
        assert (said["permalink"], said["basis_sha256"]) == (address, digest)
        assert a[BASIS, 1].as_dict()["basis_sha256"] == digest
        told = (root / "site/cite.html").read_text("utf-8")
        assert f"<code>?v={a.id[-8:]}</code>" in told and "Pages of factors carry" in told
        layer = (root / "site/layers/3~2fnmf3.html").read_text("utf-8")
        assert f'data-version="{version}"' in layer
        citing, catalogue = Citing(open_store(root)), Catalogue(joined(open_store(root)))
        graph = ET.fromstring(factor_graph._graphml(
            [(catalogue.channels[-1], catalogue.labels[0], FactorEdge(0, 2, "both", 0.5, 1, 0))],
            citing,
        ))  # fmt: skip
        pages = [one.text for one in graph.iter() if one.get("key") == "page"]
        assert pages == [f"channels/3~2fnmf3/2.html?v={version}", f"classes/0.html?v={a.id[-8:]}"]
        versions.append((version, citing.version("graph.html")))
        assert digest in a.cite()  # the atlas as a whole has them
    assert not {*versions[0]} & {*versions[1]}
    # What is of the atlas alone is cited as before.
    cited = [atlas.open(root).cite("3:1") for root in roots]
    assert cited[0] == cited[1]
    assert f"?v={atlas.open(explained).id[-8:]}}}" in cited[0]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium")
def test_a_reader_who_follows_an_old_citation_is_told(explained, others):
    from playwright.sync_api import sync_playwright

    cited = Citing(open_store(explained)).permalink(PAGE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        notes = []
        for root in (explained, others[0]):
            page.goto(f"{(root / 'site').resolve().as_uri()}/{cited}")
            notes.append(page.locator(".other-version").all_inner_texts())
        browser.close()
    assert notes[0] == []
    assert "Its factors need not be those that were cited" in notes[1][0]


def test_names_that_no_longer_count_are_said(others, settings, run):
    root, found, *_ = others
    assert "which do not count for these: 1 (1 by a person)" in found.stderr
    assert f"`atlas name {root}` names these" in found.stderr
    assert atlas.open(root)[BASIS, 1].name is None


def test_other_factors_are_not_compared_by_address(explained, others, run):
    a, b = atlas.open(explained), atlas.open(others[0])
    own = [f"{BASIS}:{number}" for number in range(3)]
    found = a.diff(b)
    assert found.other_factors == (BASIS,)
    assert [one.address for one in a if one.layer != BASIS] == [one.first for one in found.channels]
    assert [*found.only_first] == [*found.only_second] == own
    alike = a.diff(b, "patches")
    assert alike.other_factors == (BASIS,)
    assert any(pair.first in own for pair in alike.channels)
    same = a.diff(a)
    assert (same.other_factors, len(same.channels)) == ((), len(a))
    printed = " ".join(run("diff", explained, others[0]).stdout.split())
    assert f"3 only in the first ({a.id}), 3 only in the second ({a.id})." in printed
    assert f"Other factors in each, at the same addresses: {BASIS};" in printed


@pytest.mark.parametrize(("address", "nearest"), [
    (f"{BASIS}:25", f"{BASIS}:2, {BASIS}:1, {BASIS}:0"),
    ("3/nmf4:1", f"{BASIS}:1, {BASIS}:0, {BASIS}:2"),
])  # fmt: skip
def test_an_unknown_factor_is_called_one(explained, run, address, nearest):
    missed = f"no factor '{address}' in {atlas.open(explained).id}: the nearest are {nearest}\n"
    renamed = run("rename", explained, address, "star", "--by", "me")
    for done in (renamed, run("show", explained, address), run("lookup", explained, address)):
        assert (done.returncode, done.stderr.endswith(missed)) == (2, True), done.stderr
