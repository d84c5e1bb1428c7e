"""The audit of an atlas: the command, the file, `atlas verify` and the page."""

import json
import shutil
from dataclasses import replace

import pytest

from atlas import pipeline
from atlas.errors import UserError
from atlas.recipe import recorded
from atlas.store import Store, audit, evidence, open_store, othermaps
from atlas.store.verify import check

CHECK = "figures about maps are whole and of this atlas"
CHEAP = ("lrp", "factors", "grad-cam", "occlusion", "random", "centre", "edges")


@pytest.fixture(scope="module")
def audited(factored, run, pictures, tmp_path_factory):
    """An atlas with factors, its audit, an explanation with other maps, and its site."""
    out = shutil.copytree(factored, tmp_path_factory.mktemp("audit") / "tiny")
    before = json.loads((out / "manifest.json").read_text())
    result = run(
        "audit", out, "--pictures", 6, "--maps", ",".join(CHEAP), "--json", "--trust-code"
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == json.loads((out / "audit.json").read_text())
    assert json.loads((out / "manifest.json").read_text()) == before
    recipe = recorded(before, ['explain.maps=["occlusion", "grad-cam++"]'])
    pipeline.explain(Store(out), recipe, [min(pictures.rglob("*.png"))], None)
    result = run("site", out)
    assert result.returncode == 0, result.stderr
    return out


def of_audit(root):
    return [one for one in check(open_store(root)) if one.text.startswith(CHECK)]


def test_what_the_file_says(audited):
    known = audit.read(audited)
    assert known.maps == CHEAP
    assert known.measured == ("deletion", "insertion", "infidelity", "sensitivity")
    assert known.object_share is None and known.left_out == ()
    assert len(set(known.pictures)) == 6 and known.cam_layer == "8"
    for map_ in known.maps:
        for measure in known.measured:
            one = known.figure(map_, measure)
            assert one.pictures == 6 and one.low <= one.mean <= one.high
    # The factors hold nearly all of the relevance of their layer.
    assert known.figure("lrp", "infidelity").mean < known.figure("random", "infidelity").mean
    assert known.figure("centre", "sensitivity").mean == 0


def test_the_page_shows_every_figure(audited, crawl):
    page = crawl.parse(audited / "site" / "audit.html")
    assert "How far maps hold" in page.title
    known = audit.read(audited)
    for one in known.figures:
        assert f"{one.mean:.3f} ({one.low:.3f} to {one.high:.3f})" in page.text
    for name in CHEAP:
        assert audit.TITLES[name] in page.text
    for link in ("about.html", "guide.html", "trust.html"):
        html = (audited / "site" / link).read_text("utf-8")
        assert html.count('href="audit.html"') >= 2  # in the text and in the menu
    assert (audited / "site" / "audit.json").read_bytes() == (audited / "audit.json").read_bytes()
    assert all(one.passed for one in check(open_store(audited)))


def test_other_maps_stand_on_the_page_of_an_explanation(audited, crawl):
    (folder,) = (one for one in (audited / "explanations").iterdir() if one.is_dir())
    maps = othermaps.read(folder)
    assert [one.map for one in maps] == ["grad-cam++", "occlusion"]  # in their usual order
    probability = evidence.read(folder).target.probability
    for one in maps:
        assert len(one.deletion) == len(one.insertion) == 33
        assert one.deletion[0] == pytest.approx(probability, rel=1e-4)
        assert one.insertion[-1] == pytest.approx(probability, rel=1e-4)
        assert one.deletion[-1] == pytest.approx(one.insertion[0], rel=1e-4)  # all grey
    page = crawl.parse(audited / "site" / "explanations" / f"{folder.name}.html")
    assert "Other maps" in page.text and "Occlusion" in page.text
    assert sum(tag == "polyline" and "stroke-dasharray" in given for tag, given in page.tags) == 2
    assert f"{folder.name}/map-grad-campp.webp" in {
        given["src"].removeprefix("../explanations/") for given in page.all("img")
    }
    (folder / othermaps.FILE).write_text('{"version": 1, "maps": [{"map": "grad-cam"}]}')
    with pytest.raises(UserError, match="explain the picture again"):
        othermaps.read(folder)
    othermaps.write(maps, folder)


def test_a_changed_or_foreign_file_is_found(audited, tmp_path):
    out = shutil.copytree(audited, tmp_path / "tiny", ignore=shutil.ignore_patterns("site"))
    known = audit.read(out)
    better = [replace(one, mean=one.low) for one in known.figures]
    audit.write(replace(known, figures=tuple(better)), out)
    (found,) = of_audit(out)
    assert not found.passed and "has changed since it was written" in found.text
    audit.write(audit.sealed(replace(known, atlas="other-world-01234567")), out)
    (found,) = of_audit(out)
    assert not found.passed and "run `atlas audit` again" in found.text
    audit.write(audit.sealed(replace(known, pictures=(999, *known.pictures[1:]))), out)
    (found,) = of_audit(out)
    assert not found.passed and "is not in images.parquet" in found.text
    above = replace(known.figures[0], mean=1.5, high=1.5)
    audit.write(audit.sealed(replace(known, figures=(above,))), out)
    with pytest.raises(UserError, match="out of its range"):
        audit.read(out)
    (out / audit.FILE).write_text("{}")
    with pytest.raises(UserError, match="run `atlas audit` again, or delete it"):
        audit.read(out)


def test_what_cannot_be_had_is_said(indexed, run, tmp_path):
    out = shutil.copytree(indexed, tmp_path / "tiny")
    result = run("audit", out, "--maps", "lrp,gradcam", "--trust-code")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("atlas: no map is called 'gradcam': there are lrp, factors")
    result = run("audit", out, "--maps", "", "--trust-code")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("atlas: no map is called ''")
    store = Store(out)
    recipe = recorded(store.manifest())
    with pytest.raises(UserError, match=r"the atlas has none .*: leave factors out of --maps"):
        pipeline.audit_maps(store, recipe, 5, ("lrp", "factors"))
    wanting = recorded(store.manifest(), ['explain.maps=["lime"]'])
    with pytest.raises(UserError, match="no map is called 'lime': there are lrp, "):
        pipeline.explain(store, wanting, [], None)
    assert not (out / "audit.json").exists()


def test_on_the_demo_maps_lie_in_the_object_and_noise_does_not(named, tmp_path):
    store = Store(shutil.copytree(named, tmp_path / "demo"))
    found = pipeline.audit_maps(store, recorded(store.manifest()), 8, ("lrp", "random"))
    for measure in ("mass", "rank"):
        assert found.figure("lrp", measure).mean >= 0.9
        assert found.figure("random", measure).mean == pytest.approx(found.object_share, abs=0.01)
    assert found.figure("lrp", "deletion").mean < found.figure("random", "deletion").mean / 2
