"""The page of factors and classes: what it says it lists, draws and leaves out, counted."""

import re
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from atlas.site import factor_graph
from atlas.site.entries import ChannelEntry, ClassEntry, LayerEntry
from atlas.site.output import Tree
from atlas.site.writer import PageWriter

CLASSES, FACTORS = 70, 5
NAMES = ["striped", "pink checked", "star", "brick", "plain"]
SIDES = {"name_state": "one-sided", "used_for": "pink", "fires_for": "pink checked"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Seventy classes: two rest on a factor of their own, all others on that of stripes."""
    shares = np.zeros((CLASSES, FACTORS), np.float32)
    shares[:, 0] = np.linspace(0.1, 0.5, CLASSES)
    shares[3, 1] = shares[4, 2] = 0.06  # classes whose largest edges are too small for the drawing
    table = pa.table({
        "label": range(CLASSES), "count": [20] * CLASSES,
        "shares": list(shares), "fired": list(np.zeros_like(shares)),
    })  # fmt: skip
    layer = LayerEntry("top/nmf5", 0, 1.0, tuple(range(FACTORS)), "top", SimpleNamespace())
    catalogue = SimpleNamespace(
        layers=[layer],
        channels=[
            ChannelEntry(row, layer, row, {"name": name, **(SIDES if row == 1 else {})})
            for row, name in enumerate(NAMES)
        ],
        labels={n: ClassEntry(n, f"class {n}", 20) for n in range(CLASSES)},
        store=SimpleNamespace(parts=[None, SimpleNamespace(table=lambda name, columns: table)]),
    )
    citing = SimpleNamespace(
        version=lambda _: "1",
        older=(),
        meta=lambda *_: (),
        permalink=lambda link: f"https://atlas/{link}",
    )
    tree = Tree(tmp_path_factory.mktemp("graph"))
    writer = PageWriter(tree, {"citing": citing, "manifest": {}, "reference_images": None})
    factor_graph.write(catalogue, tree, writer, citing)
    page = (tree.root / "graph.md").read_text("utf-8")
    graph = ET.parse(tree.root / "graph.graphml").getroot()
    return page, graph


def words(html):
    return " ".join(re.sub(r"<[^>]+>", "", html).split())


def test_the_page_says_how_many_edges_it_lists_and_draws(written):
    page, graph = written
    edges = len([one for one in graph.iter() if one.tag.endswith("}edge")])
    drawing, listed = page[page.index("<svg") : page.index("</svg>")], page[page.index("<dl") :]
    links = len(re.findall(r"classes/\d+\.html", listed))
    classes = {*re.findall(r"classes/\d+\.html", drawing)}
    assert edges == CLASSES + 2 > len(classes) > links
    said = words(page)
    assert f"{links} of the {edges} edges; all are in GraphML and JSON-LD" in said
    assert (
        f"the {drawing.count('<path')} edges of the {len(classes)} classes, of {CLASSES}," in said
    )
    others = [int(n) for n in re.findall(r"and (\d+) others", words(listed))]
    assert links + sum(others) == edges
    assert "a factor without lines has its edges in the list" in said


def test_factors_without_edges_are_named(written):
    said = words(written[0])
    assert "2 of the 5 factors have no edge: top/nmf5:3 brick, top/nmf5:4 plain." in said


def test_a_one_sided_factor_is_called_by_what_it_is_used_for(written):
    page, graph = written
    assert "top/nmf5:1 pink" in words(page) and "pink checked" not in page
    assert {"striped", "pink", "star"} < {one.text for one in graph.iter()}
