"""The page of the graph between factors and classes, and the graph for other programs."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.site import text
from atlas.site.catalogue import Catalogue
from atlas.site.citing import Citing
from atlas.site.entries import ChannelEntry, ClassEntry
from atlas.site.output import Tree
from atlas.site.writer import PageWriter
from atlas.store.factorgraph import KINDS, FactorEdge, Kind, edges

PAGE = "graph.html"

DRAWN_CLASSES = 60
"""Classes in the drawing: those with the largest edges; the list and the files have all."""

LISTED = 12
"""Classes that the list names for a factor and a kind of edge, and factors without edges."""

LABEL = 40
"""Characters of a factor's address and name in the drawing; it has no room for more."""

ROW = 16
"""Height of a class, or a factor, in the drawing."""

WIDTH = 900

GRAPHML = "http://graphml.graphdrawing.org/xmlns"


@dataclass(frozen=True)
class DrawnEdge:
    """An edge in the drawing."""

    kind: Kind
    y1: float
    y2: float
    width: float
    title: str


@dataclass(frozen=True)
class FactorRow:
    """A factor with its edges, by kind, the largest first, and those of them that are drawn."""

    factor: ChannelEntry
    y: float
    lines: list[DrawnEdge]
    edges: Mapping[Kind, list[tuple[ClassEntry, FactorEdge]]]

    @property
    def label(self) -> str:
        """Address and name in the drawing."""
        return text.clip(f"{self.factor.address} {self.factor.used_for}".rstrip(), LABEL)

    @property
    def listed(self) -> int:
        """How many of its edges the list names."""
        return sum(min(len(some), LISTED) for some in self.edges.values())


def there(catalogue: Catalogue) -> bool:
    """Say whether an atlas has what the graph is made from."""
    return any(_tables(catalogue))


def write(catalogue: Catalogue, tree: Tree, writer: PageWriter, citing: Citing) -> None:
    """Write the page and the files of the graph; nothing for an atlas without factors."""
    if not there(catalogue):
        return
    found = _found(catalogue)
    tree.write("graph.graphml", _graphml(found))
    tree.write("graph.jsonld", _jsonld(found, citing))
    factors = list(dict.fromkeys(factor.row for factor, _, _ in found))
    classes = _drawn(found, factors)
    height = ROW * max(len(classes), len(factors))
    at = {row: _height(place, len(factors), height) for place, row in enumerate(factors)}
    rows = {
        row: FactorRow(catalogue.channels[row], at[row], [], {kind: [] for kind in KINDS})
        for row in factors
    }
    for factor, label, edge in sorted(found, key=lambda one: -abs(one[2].share)):
        rows[factor.row].edges[edge.kind].append((label, edge))
    place = {label: _height(number, len(classes), height) for number, label in enumerate(classes)}
    for factor, label, edge in found:
        if label.label in place:
            said = f"{factor.address} {text.clip(factor.used_for)}, {label.shown}: {edge.kind}"
            width = round(max(0.6, 8 * abs(edge.share)), 1)
            ends = at[factor.row], place[label.label]
            rows[factor.row].lines.append(DrawnEdge(edge.kind, *ends, width, said))
    factors_known = [row for layer in catalogue.layers if layer.basis for row in layer.rows]
    writer.page(
        PAGE,
        PAGE,
        "Factors and classes",
        "Which factors belong to which classes: in the data, in the network's answers, or in both.",
        meta=citing.meta("Factors and classes", PAGE),
        rows=list(rows.values()),
        labels=[(catalogue.labels[label], y) for label, y in place.items()],
        without=[catalogue.channels[row] for row in factors_known if row not in rows],
        edges_known=len(found),
        counts={kind: sum(edge.kind == kind for _, _, edge in found) for kind in KINDS},
        kinds=KINDS,
        listed=LISTED,
        width=WIDTH,
        height=height,
        classes_known=len({label.label for _, label, _ in found}),
    )


def _tables(catalogue: Catalogue) -> list[Any]:
    """Return the table of classes of each part that has what is needed."""
    tables = []
    for part in catalogue.store.parts[1:]:
        table = part.table("classes", ["label", "count", "shares", "fired"])
        if "fired" in table.column_names and table["shares"].null_count == 0:
            tables.append(table)
    return tables


def _found(catalogue: Catalogue) -> list[tuple[ChannelEntry, ClassEntry, FactorEdge]]:
    """Return every edge with its factor and its class."""
    first = min(row for layer in catalogue.layers if layer.basis for row in layer.rows)
    found = []
    for table in _tables(catalogue):
        labels, counts = table["label"].to_pylist(), table["count"].to_pylist()
        shares, fired = (np.stack(table[name].to_numpy()) for name in ("shares", "fired"))
        for layer in (one for one in catalogue.layers if one.basis):
            columns = [row - first for row in layer.rows]
            for edge in edges(labels, counts, shares[:, columns], fired[:, columns]):
                factor = catalogue.channels[layer.rows[edge.factor]]
                found.append((factor, catalogue.labels[edge.label], edge))
    return found


def _drawn(
    found: list[tuple[ChannelEntry, ClassEntry, FactorEdge]], factors: list[int]
) -> list[int]:
    """Return the classes of the drawing in their order: each beside its largest factor.

    Then few of the wide lines cross.
    """
    largest: dict[int, tuple[float, int]] = {}
    for factor, label, edge in found:
        size = max(abs(edge.share), edge.fired if edge.kind == "only in the data" else 0)
        largest[label.label] = max(largest.get(label.label, (0, 0)), (size, factor.row))
    best = sorted(largest, key=lambda label: (-largest[label][0], label))[:DRAWN_CLASSES]
    places = {row: place for place, row in enumerate(factors)}
    return sorted(best, key=lambda label: (places[largest[label][1]], label))


def _height(place: int, count: int, height: int) -> float:
    """Return where one of `count` labels stands that share a height."""
    return round((place + 0.5) * height / count, 1)


def _graphml(found: list[tuple[ChannelEntry, ClassEntry, FactorEdge]]) -> bytes:
    """Return the graph in GraphML (Brandes et al. 2002)."""
    root = ET.Element("graphml", xmlns=GRAPHML)
    keys = (
        ("kind", "node", "string"), ("name", "node", "string"), ("page", "node", "string"),
        ("edge", "edge", "string"), ("relevance_share", "edge", "double"),
        ("activation_share", "edge", "double"), ("usual_activation_share", "edge", "double"),
    )  # fmt: skip
    for key, of, kind in keys:
        ET.SubElement(root, "key", {"id": key, "for": of, "attr.name": key, "attr.type": kind})
    graph = ET.SubElement(root, "graph", edgedefault="undirected")
    nodes: dict[str, tuple[str, str, str]] = {}
    for factor, label, _ in found:
        nodes[factor.address] = ("factor", factor.used_for, factor.link)
        nodes[f"class {label.label}"] = ("class", label.name, label.link or "")
    for name, values in nodes.items():
        node = ET.SubElement(graph, "node", id=name)
        _data(node, dict(zip(("kind", "name", "page"), values, strict=True)))
    for factor, label, edge in found:
        line = ET.SubElement(graph, "edge", source=factor.address, target=f"class {label.label}")
        _data(line, {
            "edge": edge.kind, "relevance_share": f"{edge.share:.6g}",
            "activation_share": f"{edge.fired:.6g}",
            "usual_activation_share": f"{edge.usual:.6g}",
        })  # fmt: skip
    ET.indent(root)
    content: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
    return content + b"\n"


def _data(element: ET.Element, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        ET.SubElement(element, "data", key=key).text = value


def _jsonld(found: list[tuple[ChannelEntry, ClassEntry, FactorEdge]], citing: Citing) -> str:
    """Return the graph in JSON-LD: observations of a factor and a class."""
    things: dict[str, dict[str, str]] = {}
    observations = []
    for factor, label, edge in found:
        ids = [citing.permalink(factor.link), citing.permalink(label.link or "")]
        things[ids[0]] = {"@id": ids[0], "@type": "DefinedTerm", "termCode": factor.address,
                          "name": factor.used_for or factor.address}  # fmt: skip
        things[ids[1]] = {"@id": ids[1], "@type": "DefinedTerm",
                          "termCode": f"class {label.label}", "name": label.name}  # fmt: skip
        observations.append({
            "@type": "Observation", "observationAbout": [{"@id": one} for one in ids],
            "measurementQualifier": edge.kind,
            "variableMeasured": [
                {"@type": "PropertyValue", "name": name, "value": round(value, 6)}
                for name, value in (
                    ("relevance share", edge.share), ("activation share", edge.fired),
                    ("usual activation share", edge.usual),
                )
            ],
        })  # fmt: skip
    graph = {"@context": "https://schema.org", "@graph": [*things.values(), *observations]}
    return json.dumps(graph, ensure_ascii=False, separators=(",", ":")) + "\n"
