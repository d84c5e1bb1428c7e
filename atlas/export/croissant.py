"""Croissant 1.0 metadata (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from atlas.api.contents import Contents
from atlas.export.columns import NOTES
from atlas.publishing.cite import Citation, bibtex
from atlas.store import files

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""As the specification gives it."""


def metadata(
    contents: Contents,
    citation: Citation,
    schemas: Mapping[str, pa.Schema],
    out: Path,
) -> dict[str, Any]:
    """Return the metadata of an exported data set as JSON-LD.

    Parameters
    ----------
    contents : Contents
        The atlas.
    citation : Citation
        Citation of the atlas.
    schemas : mapping
        Columns of each table.
    out : Path
        The data set, whose tables are written.
    """
    model, data = contents.manifest["model"], contents.manifest["data"]
    described: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": citation.key,
        "alternateName": citation.title,
        "description": f"What each channel of {model['name']} answers to, measured on "
        f"{data['source']}. {citation.note}",
        "version": "1.0.0",
        "identifier": citation.atlas_id,
        "datePublished": citation.date,
        "license": contents.recipe.cite.license,
        "usageInfo": contents.recipe.cite.rights,
        "url": citation.url if citation.published else "",
        "creator": [
            {"@type": "sc:Person" if "," in name else "sc:Organization", "name": name}
            for name in citation.authors
        ],
        "citeAs": bibtex(citation),
        "distribution": [_file(name, out) for name in schemas],
        "recordSet": [_records(name, schema) for name, schema in schemas.items()],
    }
    return {name: value for name, value in described.items() if value}


def _file(name: str, out: Path) -> dict[str, Any]:
    path = f"data/{name}.parquet"
    return {
        "@type": "cr:FileObject",
        "@id": f"{name}.parquet",
        "name": f"{name}.parquet",
        "contentUrl": path,
        "contentSize": f"{(out / path).stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": files.sha256(out / path),
    }


def _records(name: str, schema: pa.Schema) -> dict[str, Any]:
    fields = [_field(name, field) for field in schema]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "field": [field for field in fields if field is not None],
    }


def _field(table: str, field: pa.Field) -> dict[str, Any] | None:
    """Return a column, or None for lists of records, which Croissant 1.0 cannot take from one."""
    kind, repeated = field.type, pa.types.is_list(field.type)
    if repeated:
        kind = kind.value_type
    source: dict[str, Any] = {
        "fileObject": {"@id": f"{table}.parquet"},
        "extract": {"column": field.name},
    }
    if field.name == "picture":
        datatype = "sc:ImageObject"
        source["transform"] = {"jsonPath": "bytes"}
    elif pa.types.is_struct(kind):
        return None
    elif pa.types.is_integer(kind):
        datatype = "sc:Integer"
    else:
        datatype = "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
    return {
        "@type": "cr:Field",
        "@id": f"{table}/{field.name}",
        "name": field.name,
        "description": NOTES[table][field.name],
        "dataType": datatype,
        **({"repeated": True} if repeated else {}),
        "source": source,
    }
