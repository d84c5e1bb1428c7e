"""The site: tables to plain Markdown (`render`), Markdown to static pages (`build`)."""

import hashlib
import json
from pathlib import Path
from typing import Any

from atlas.publishing import cite
from atlas.recipe import Site, recorded
from atlas.resources import shipped
from atlas.site import builder, text
from atlas.site.catalogue import Catalogue
from atlas.site.citing import Citing
from atlas.site.explanations import Prove
from atlas.site.output import BuildCache, Tree, begin
from atlas.site.pages import Pages
from atlas.site.reference_images import ReferenceImages
from atlas.site.terminology import Terminology
from atlas.store import Store
from atlas.store.joined import joined

CACHE = ".pages.json"


def render(store: Store, settings: Site | None = None, prove: Prove | None = None) -> None:
    """Write the pages, their pictures and mkdocs.yml into the atlas directory.

    Files whose content stays the same are not touched; those of an earlier rendering that
    no longer belong are removed. Pages whose sources did not change are not made again.

    Parameters
    ----------
    store : Store
        A finished atlas.
    settings : Site, optional
        The table `[site]`; that of the atlas's own recipe unless given.
    prove : callable, optional
        Raises UserError for an explanation whose texts do not follow from its numbers. It is asked
        about each whose page is made anew.

    Raises
    ------
    UserError
        The atlas is not finished, or one of its pictures is missing.
    """
    catalogue = Catalogue(joined(store))
    manifest = catalogue.manifest
    settings = settings or recorded(manifest).site
    title, description = _title(manifest, settings)
    citing = Citing(store)
    base = [catalogue.measured, title, description, settings.images, citing.basis, _makers()]
    digest = hashlib.sha256(json.dumps(base, sort_keys=True).encode()).hexdigest()
    begin(store.root / CACHE, store.root / "pages")
    cache = BuildCache(store.root / CACHE, digest, catalogue.named)
    tree = Tree(store.root / "pages")
    reference_images = ReferenceImages(
        catalogue, tree, cache, Terminology(catalogue), settings.images
    )
    reference_images.make()
    Pages(catalogue, tree, cache, reference_images, citing, title, description).write(prove)
    tree.close()
    cache.close()
    builder.configure(store.root, title, description, str(manifest.get("id", "")))


def build(store: Store) -> None:
    """Build the site from its pages with MkDocs, strictly: a warning is an error.

    Raises
    ------
    UserError
        There are no pages, or MkDocs failed.
    """
    builder.build(store.root)


def _title(manifest: dict[str, Any], given: Site) -> tuple[str, str]:
    """Return title and description of the site, made from model and data where none is given."""
    model = text.plain(manifest["model"]["name"])
    data = text.plain(manifest["data"]["source"])
    title = text.plain(given.title) or cite.default_title(manifest)
    description = text.plain(given.description)
    return title, description or f"What each channel of {model} responds to, measured on {data}."


def _makers() -> str:
    """Return a digest of the code and the templates, which decide what pages look like."""
    digest = hashlib.sha256()
    templates = (path for path in shipped("site_templates").rglob("*") if path.is_file())
    for path in (*sorted(Path(__file__).parent.glob("*.py")), *sorted(templates)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


__all__ = ["build", "render"]
