"""What is exported opens in the tools that it is for."""

import csv
import json
import logging
import shutil
from pathlib import Path

import datasets
import mlcroissant
import numpy as np
import pytest
import yaml
from PIL import Image

import atlas
from atlas.export.columns import NOTES
from atlas.formats import crp_folder
from atlas.publishing.cite import bibtex, cite_atlas
from atlas.recipe import Relevance
from atlas.store import COLUMNS, Store

SETTINGS = [
    "--set", "cite.license=CC-BY-4.0", "--set", "cite.rights=Pictures: see <source> | *all*",
    "--set", "cite.authors=['Doe, Jane']",
]  # fmt: skip


@pytest.fixture(scope="module")
def a(named) -> atlas.Atlas:
    return atlas.open(named)


@pytest.fixture(scope="module")
def exported(named, run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("hf") / "data set"
    result = run("export", named, out, *SETTINGS)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_load_dataset_opens_every_table(a, exported):
    tables = {"channels": a.channels, "references": a.references, "classes": a.classes}
    for name, table in tables.items():
        loaded = datasets.load_dataset(str(exported), name, split="train")
        assert loaded.num_rows == table.num_rows
        columns = loaded.with_format("arrow")[:].to_pydict()
        for column in table.column_names:
            assert columns[column] == table[column].to_pylist(), (name, column)
    default = datasets.load_dataset(str(exported), split="train")
    assert default["address"][:] == list(a.rows)


def test_pictures_open_as_pictures(a, exported):
    loaded = datasets.load_dataset(str(exported), "images", split="train")
    paths = a.images["path"].to_pylist()
    assert loaded.num_rows == len(paths)
    for row in (0, 7, len(paths) - 1):
        picture = loaded[row]["picture"].convert("RGB")
        with Image.open(a.store.root / paths[row]) as stored:
            assert (np.asarray(picture) == np.asarray(stored.convert("RGB"))).all()


@pytest.mark.parametrize("images", ["thumbs", "none"])
def test_pictures_go_along_only_as_far_as_the_recipe_allows(named, a, run, tmp_path, images):
    result = run("export", named, tmp_path / "out", "--set", f"site.images={images}")
    assert result.returncode == 0, result.stderr
    loaded = datasets.load_dataset(str(tmp_path / "out"), "images", split="train")
    assert loaded.num_rows == a.images.num_rows
    if images == "none":
        assert "picture" not in loaded.column_names
        size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.*"))
        assert size < 1_500_000
    else:
        assert loaded[3]["picture"].size == (64, 64)
        assert loaded[3]["width"] == 112
    assert not list((tmp_path / "out").rglob("*.webp"))
    milan = run(
        "export", named, tmp_path / "milan", "--format", "milan", "--set", f"site.images={images}"
    )
    assert (milan.returncode, (tmp_path / "milan").exists()) == (2, False)


def test_croissant_is_valid_and_its_records_are_the_rows(a, exported, caplog):
    with caplog.at_level(logging.WARNING):
        described = mlcroissant.Dataset(jsonld=str(exported / "croissant.json"))
    assert not caplog.records, caplog.text
    assert not described.metadata.ctx.issues.errors
    assert not described.metadata.ctx.issues.warnings
    for name in ("channels", "references", "bands", "images", "classes"):
        records = list(described.records(name))
        rows = getattr(a, name).to_pylist()
        assert len(records) == len(rows)
        for place in (0, len(rows) // 2):
            record = {key.split("/")[1]: value for key, value in records[place].items()}
            for column, value in rows[place].items():
                if column in ("senses", "other_names"):  # lists of records
                    assert column not in record
                elif isinstance(value, list):
                    assert np.allclose(record[column], value)
                elif isinstance(value, str):
                    assert record[column] == value.encode()
                elif value is not None:
                    assert record[column] == pytest.approx(value)
    assert records[0]
    first = next(iter(described.records("images")))
    assert first["images/picture"].size == (112, 112)


def test_the_card(a, exported):
    text = (exported / "README.md").read_text("utf-8")
    _, header, body = text.split("---\n", 2)
    meta = yaml.safe_load(header)
    assert meta["license"] == "cc-by-4.0"
    assert [config["config_name"] for config in meta["configs"]] == [
        "channels", "references", "bands", "images", "classes",
    ]  # fmt: skip
    assert "Pictures: see \\<source\\> \\| \\*all\\*" in body
    assert a.id in body
    assert bibtex(cite_atlas(a)).splitlines()[0] in body
    for column in a.channels.column_names:
        assert f"| `{column}` |" in body
    assert "Jane" in (exported / "CITATION.bib").read_text()


def test_every_column_is_explained():
    known = {name: set(columns) for name, columns in COLUMNS.items()}
    known["channels"].add("address")
    known["images"].add("picture")
    assert {name: set(columns) for name, columns in NOTES.items()} == known


def test_spreadsheets(a, named, run, tmp_path):
    result = run("export", named, tmp_path / "csv", "--format", "csv")
    assert result.returncode == 0, result.stderr
    tables = {}
    for name in ("channels", "references", "images", "classes"):
        with (tmp_path / "csv" / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
            tables[name] = list(csv.DictReader(file))
        assert len(tables[name]) == getattr(a, name).num_rows
    for row, channel in zip(tables["channels"], a, strict=True):
        assert (row["address"], row["name"]) == (channel.address, channel.name or "")
        assert float(row["rel_mean"]) == pytest.approx(channel.statistics["rel_mean"])
        assert row["top_classes"] == "; ".join(name for name, _ in channel.top_classes)
    labels = a.class_names
    for row, reference in zip(tables["references"], a.references.to_pylist(), strict=True):
        assert row["predicted_name"] == labels[reference["predicted"]]


def test_texts_are_no_formulas(indexed, run, tmp_path):
    shutil.copytree(indexed, tmp_path / "wild")
    store = Store(tmp_path / "wild")
    wild = ["=HYPERLINK(1)", "@sum", "-1+2", '"quoted", and\nbroken', "\ufffd漢字"]
    count = store.table("channels").num_rows
    store.extend_table("channels", {"name": [*wild, *[None] * (count - len(wild))]})
    assert run("export", store.root, tmp_path / "csv", "--format", "csv").returncode == 0
    with (tmp_path / "csv" / "channels.csv").open(encoding="utf-8-sig", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert names[: len(wild)] == ["'=HYPERLINK(1)", "'@sum", "'-1+2", *wild[3:]]


def test_folders_of_other_tools(indexed, run, tmp_path):
    for form in ("crp", "milan"):
        result = run("export", indexed, tmp_path / form, "--format", form)
        assert result.returncode == 0, result.stderr
    a = atlas.open(indexed)
    height, width = a.manifest["maps"]["3"]
    rule = Relevance(**a.manifest["relevance"])
    _, samples, _ = crp_folder.read(tmp_path / "crp", "3", "relevance", rule, height * width)
    ordinals = a.images["index"].to_pylist()
    for channel in range(8):
        images = [ordinals[r.image] for r in a["3", channel].references("relevance")]
        assert samples[: len(images), channel].tolist() == images
    pictures = np.load(tmp_path / "milan" / "relevance" / "3" / "images.npy")
    assert pictures.shape[:3] == (8, 5, 3)


def test_a_directory_that_has_files_is_left_alone(indexed, run, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for target in (tmp_path, tmp_path / "mine.txt"):
        result = run("export", indexed, target)
        assert result.returncode == 2
        assert "give an empty or a new directory" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_missing_picture_ends_in_one_line(indexed, run, tmp_path):
    shutil.copytree(indexed, tmp_path / "copy")
    next((tmp_path / "copy" / "images").rglob("*.webp")).unlink()
    result = run("export", tmp_path / "copy", tmp_path / "out")
    assert result.returncode == 2
    assert "--set site.images=none" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_terms_in_croissant(exported):
    described = json.loads((exported / "croissant.json").read_text())
    assert described["license"] == "CC-BY-4.0"
    assert described["usageInfo"].startswith("Pictures: see")
    assert described["creator"] == [{"@type": "sc:Person", "name": "Doe, Jane"}]
