"""Edges between factors and classes, on counts whose truth is known, and their files."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from atlas.store import factorgraph
from atlas.store.factorgraph import edges

PICTURES = 17


@pytest.fixture
def world():
    """30 classes, 3 factors: one that classes 0 to 4 have and use, two that any picture may have.

    Each picture has one of six grounds, by chance; two of the factors are grounds.
    """
    random = np.random.default_rng(0)
    grounds = random.integers(0, 6, (30, PICTURES))
    fired = np.zeros((30, 3))
    fired[:5, 0] = 0.3
    for factor in (1, 2):
        fired[:, factor] = 0.2 * (grounds == factor).mean(axis=1)
    shares = np.zeros((30, 3))
    shares[:5, 0] = 0.6
    return fired, shares


def found(fired, shares, counts=None):
    every = edges(range(30), counts or [PICTURES] * 30, shares, fired)
    return {(edge.label, edge.factor): edge.kind for edge in every}


def test_what_comes_by_chance_is_no_edge(world):
    fired, shares = world
    assert found(fired, shares) == {(label, 0): "both" for label in range(5)}


def test_what_is_always_there_and_not_used_is_in_the_data_alone(world):
    fired, shares = world
    fired[3, 1] = 0.2  # every picture of class 3 has this ground
    assert found(fired, shares)[3, 1] == "only in the data"


def test_what_is_used_and_no_stronger_than_elsewhere_is_in_the_model_alone(world):
    fired, shares = world
    shares[7, 2], shares[8, 2] = 0.3, -0.3
    edges_ = found(fired, shares)
    assert edges_[7, 2] == "only in the model"
    assert edges_[8, 2] == "against"


def test_few_pictures_or_classes_say_nothing(world):
    fired, shares = world
    counts = [PICTURES] * 30
    counts[0] = factorgraph.FEWEST_PICTURES - 1
    assert (0, 0) not in found(fired, shares, counts)
    assert not found(fired, shares, [PICTURES] * 7 + [0] * 23)


def test_the_files_of_the_graph_are_graphml_and_json_ld(factored):
    root = factored / "site"
    tree = ET.parse(root / "graph.graphml").getroot()
    assert tree.tag == "{http://graphml.graphdrawing.org/xmlns}graphml"
    said = json.loads((root / "graph.jsonld").read_text("utf-8"))
    assert said["@context"] == "https://schema.org"
    page = (root / "graph.html").read_text("utf-8")
    assert "no eight classes have five pictures each" in page
    assert "../graph.html" in (root / "layers" / "3~2fnmf3.html").read_text("utf-8")
