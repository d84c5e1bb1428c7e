"""The site: tables to plain Markdown (`render`), Markdown to static pages (`build`)."""

from typing import Any

from atlas.site import builder, text
from atlas.site.catalogue import Catalogue
from atlas.site.output import Tree
from atlas.site.pages import Pages
from atlas.store import Store


def render(store: Store) -> None:
    """Write the pages, their pictures and mkdocs.yml into the atlas directory.

    Files whose content stays the same are not touched; those of an earlier rendering that
    no longer belong are removed.
    """
    catalogue = Catalogue(store)
    manifest = catalogue.manifest
    title, description = _title(manifest)
    tree = Tree(store.root / "pages")
    Pages(catalogue, tree, title, description).write()
    tree.close()
    content = builder.configuration(title, description, str(manifest.get("id", "")))
    builder.write_configuration(store.root, content)


def build(store: Store) -> None:
    """Build the site from its pages with MkDocs, strictly: a warning is an error.

    Raises
    ------
    UserError
        There are no pages, or MkDocs failed.
    """
    builder.build(store.root)


def _title(manifest: dict[str, Any]) -> tuple[str, str]:
    """Return title and description of the site, made from model and data where none is given."""
    given = manifest.get("recipe", {}).get("site", {})
    model = text.plain(manifest["model"]["name"])
    data = text.plain(manifest["data"]["source"])
    title = text.plain(given.get("title", "")) or f"Atlas of {model.rsplit('/', 1)[-1]}"
    description = text.plain(given.get("description", ""))
    return title, description or f"What each channel of {model} answers to, measured on {data}."


__all__ = ["build", "render"]
