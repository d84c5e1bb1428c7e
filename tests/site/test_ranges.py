"""A channel's page shows the pictures that the table of bands has of it."""

import shutil

import atlas
from atlas.site.catalogue import Catalogue
from atlas.site.ranges import SHOWN, Ranges
from atlas.store import open_store


def test_pages_show_what_python_gives(indexed):
    a, catalogue = atlas.open(indexed), Catalogue(open_store(indexed))
    ranges = Ranges(catalogue.store)
    several = 0
    for entry in catalogue.channels:
        bands = a[entry.address].bands()
        assert [band.name for band in ranges.of(entry)] == list(bands)
        for band in ranges.of(entry):
            mine = bands[band.name]
            most = 2 * SHOWN if band.name == "random" else SHOWN
            assert [one.image for one in band.pictures] == [one.image for one in mine[:most]]
            assert [one.activation for one in band.pictures] == [
                one.activation for one in mine[:most]
            ]
            assert band.count == round(sum(one.weight for one in mine))
            several += len(mine) > 1
        parts = [band.count for band in ranges.of(entry) if band.name != "random"]
        assert abs(sum(parts) - entry.values["images"]) <= len(parts)  # each is rounded
    assert several > 20


def test_older_atlases_have_none(indexed, tmp_path):
    store = open_store(shutil.copytree(indexed, tmp_path / "older"))
    store.table_path("bands").unlink()
    manifest = store.manifest()
    del manifest["bands"], manifest["files"]["bands.parquet"]
    store.write_manifest(manifest)
    assert Ranges(store).of(Catalogue(store).channels[0]) == []
