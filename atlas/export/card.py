"""The card of a data set: README.md as the Hugging Face Hub reads it."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import yaml

from atlas.api.contents import Contents
from atlas.export.columns import NOTES
from atlas.plain import plain
from atlas.publishing import cite
from atlas.publishing.cite import Citation
from atlas.recipe import Recipe

_SHOWN = {
    "full": "The pictures are included as the network saw them.",
    "thumbs": "Of the pictures there are thumbnails of at most 64 pixels; patch boxes are in "
    "pixels of the whole pictures, whose sizes are in `width` and `height`.",
    "none": "The pictures themselves are not included, only their keys in the source.",
}

_MARKDOWN = str.maketrans({character: f"\\{character}" for character in r"\`*_{}[]<>#|!&$~"})


def text(
    contents: Contents,
    citation: Citation,
    schemas: Mapping[str, pa.Schema],
    rows: Mapping[str, int],
) -> str:
    """Return the card.

    Parameters
    ----------
    contents : Contents
        The atlas.
    citation : Citation
        Citation of the atlas.
    schemas, rows : mapping
        Columns and number of rows of each table.
    """
    manifest, recipe = contents.manifest, contents.recipe
    model, data = manifest["model"], manifest["data"]
    named = contents.channels["name"].drop_null() if contents.named else []
    terms = recipe.cite.license
    parts = [
        _header(citation, recipe, list(schemas)),
        f"# {_markdown(citation.title)}",
        f"What each of the {rows['channels']:,} channels of {_markdown(model['name'])} answers to, "
        f"measured on {_markdown(data['source'])}: the pictures that activate it most and those in "
        "which it is most relevant for the network's decision (concept relevance propagation), "
        + (f"with names for {len(named):,} channels." if len(named) else "not named yet."),
        "```python\nfrom datasets import load_dataset\n\n"
        'channels = load_dataset("DIR", split="train")\n'
        'references = load_dataset("DIR", "references", split="train")\n```',
        f"Atlas id: `{citation.atlas_id}`. Layers: {len(contents.layers)}. "
        f"{_markdown(citation.note)} `manifest.json` has everything that was measured and how.",
        "## Terms",
        f"Licence of the tables, names and texts: {_markdown(terms) or 'none was given'}. "
        + _SHOWN[recipe.site.images]
        + (f" {_markdown(recipe.cite.rights)}" if recipe.cite.rights else ""),
        "Names were given by machines unless `named_by` is `person`; they describe what a "
        "channel's references share, can be wrong, and can repeat prejudices of the models that "
        "made them. Look at `name_state` and `score_ap` where they are there.",
        "## Tables",
        *(_table(name, schema, rows[name]) for name, schema in schemas.items()),
        "## Citation",
        f"```bibtex\n{cite.bibtex(citation)}```",
    ]
    return "\n\n".join(parts) + "\n"


def _header(citation: Citation, recipe: Recipe, tables: list[str]) -> str:
    meta: dict[str, Any] = {
        "pretty_name": citation.title,
        "license": recipe.cite.license.lower() or "unknown",
        "tags": [
            "explainability",
            "concept-relevance-propagation",
            "interpretability",
            "croissant",
        ],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": "train", "path": f"data/{name}.parquet"}],
                **({"default": True} if number == 0 else {}),
            }
            for number, name in enumerate(tables)
        ],
    }
    header = yaml.safe_dump(meta, sort_keys=False, allow_unicode=True, width=10**6)
    return f"---\n{header}---"


def _table(name: str, schema: pa.Schema, rows: int) -> str:
    lines = [f"### {name}: {rows:,} rows", "", "| column | type | |", "|:--|:--|:--|"]
    for field in schema:
        kind = str(field.type).replace("element: ", "")
        lines.append(f"| `{field.name}` | `{kind}` | {_markdown(NOTES[name][field.name])} |")
    return "\n".join(lines)


def _markdown(value: object) -> str:
    return plain(value).translate(_MARKDOWN)
