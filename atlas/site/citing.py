"""How a page is cited: BibTeX, and the meta tags that reference managers read."""

from atlas.api.contents import Contents
from atlas.publishing import cite
from atlas.site import deposit, text
from atlas.site.entries import ChannelEntry
from atlas.store import Store
from atlas.store.joined import joined
from atlas.store.names import NameRecord


class Citing:
    """Cites the pages of one atlas.

    Pages do not show the names of other pages' namers, nor the date of other pages' names: a
    page must not change when another channel gets its name.
    """

    def __init__(self, store: Store) -> None:
        self._contents = Contents(joined(store))
        self._whole = cite.cite_atlas(self._contents)
        self._url = self._whole.url.partition("index.html")[0]
        self._given = store.manifest().get("recipe", {}).get("cite") or {}
        self._measured = cite.measured(store.manifest())
        self.older: tuple[str, ...] = tuple(self._given.get("older") or ())

    @property
    def basis(self) -> list[object]:
        """What all citations depend on."""
        return [self._given, self._measured, self._whole.title]

    @property
    def published(self) -> bool:
        """Whether the recipe says where the site is on the web."""
        return self._whole.published

    @property
    def signed(self) -> bool:
        """Whether the recipe says by whom the atlas is."""
        return bool(self._whole.authors)

    @property
    def terms(self) -> str:
        """Under which licence the atlas is; empty where the recipe does not say."""
        return text.plain(self._given.get("license") or "")

    @property
    def home(self) -> str:
        """Where the site is on the web; empty where the recipe does not say."""
        return self._url if self.published else ""

    def permalink(self, link: str) -> str:
        """Return the address of a page with the version that it was cited in."""
        return f"{self._url}{link}?v={self.version(link)}"

    def version(self, link: str) -> str:
        """Return by which version the page at `link` is cited: of the atlas, and of its factors."""
        return cite.version(self._contents, link)

    def bibtex(self, what: str, link: str, record: NameRecord | None = None) -> str:
        """Return an entry for the page at `link` about `what`, which `record` named."""
        return cite.bibtex(self._of(what, link, record)).strip()

    def meta(self, what: str, link: str, record: NameRecord | None = None) -> list[tuple[str, str]]:
        """Return Highwire and Dublin Core tags for the page at `link` about `what`."""
        page = self._of(what, link, record)
        title = f"{page.title}. In: {page.part_of}"
        tags = [
            ("citation_title", title),
            *(("citation_author", author) for author in page.authors),
            *[("citation_publication_date", page.date.replace("-", "/"))][: bool(page.date)],
            ("citation_publisher", cite.PUBLISHER),
            ("citation_technical_report_number", page.atlas_id),
            ("DC.title", title),
            ("DC.type", "Dataset"),
            ("DC.identifier", f"{cite.identity(self._contents, link)}/{link}"),
        ]
        if page.published:
            tags.append(("citation_public_url", page.url))
        return tags

    def whole(self) -> str:
        """Return an entry for the atlas."""
        return cite.bibtex(self._whole).strip()

    def deposits(self, abstract: str) -> dict[str, str]:
        """Return the files by which archives know the atlas, by their names."""
        return {
            deposit.CFF: deposit.cff(self._whole, abstract, self.terms),
            deposit.ZENODO: deposit.zenodo(self._whole, abstract, self.terms),
        }

    def _of(self, what: str, link: str, record: NameRecord | None) -> cite.Citation:
        by = f"; name by {cite.by_model(record.by, record.revision)}" if record else ""
        return cite.cite_page(self._contents, what, link, by, record.time[:10] if record else "")


def heading(channel: ChannelEntry) -> str:
    """Return what a citation calls a channel or a factor."""
    name = f" “{channel.called}”" if channel.name else ""
    return f"{channel.layer.unit.capitalize()} {channel.address}{name}"
