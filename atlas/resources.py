"""The files that ship with the package: recipes, templates, the base of mkdocs.yml."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """Return the path of `build`, `site_templates` or `mkdocs.yml`.

    In a checkout they stand beside the package; a wheel carries them inside it.
    """
    inside = _PACKAGE / "_shipped" / name
    return inside if inside.exists() else _PACKAGE.parent / name
