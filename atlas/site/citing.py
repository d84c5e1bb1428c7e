"""How a page is cited: BibTeX, and the meta tags that reference managers read."""

from dataclasses import replace

from atlas.api.contents import Contents
from atlas.publishing import cite
from atlas.site import deposit, text
from atlas.site.entries import ChannelEntry
from atlas.store import Store
from atlas.store.names import NameRecord


class Citing:
    """Cites the pages of one atlas.

    Pages do not show the names of other pages' namers, nor the date of other pages' names: a
    page must not change when another channel gets its name.
    """

    def __init__(self, store: Store) -> None:
        self._whole = cite.cite_atlas(Contents(store))
        self._url = self._whole.url.partition("index.html")[0]
        self._given = store.manifest().get("recipe", {}).get("cite") or {}
        self._measured = cite.measured(store.manifest())
        self.version = self._whole.atlas_id.rpartition("-")[2]
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
        return f"{self._url}{link}?v={self.version}"

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
            ("DC.identifier", f"{page.atlas_id}/{link}"),
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
        note = self._whole.note.partition("; names by ")[0].removesuffix(".")
        if record is not None:
            revision = f" at {record.revision}" if record.revision else ""
            note += f"; name by {text.plain(record.by)}{text.plain(revision)}"
        return replace(
            self._whole,
            key=cite.key(self._whole.atlas_id, link),
            title=what,
            part_of=self._whole.title,
            date=self._given.get("date") or (record and record.time[:10]) or self._measured,
            url=self.permalink(link),
            note=f"{note}.",
        )


def heading(channel: ChannelEntry) -> str:
    """Return what a citation calls a channel or a factor."""
    name = f" “{channel.called}”" if channel.name else ""
    return f"{channel.layer.unit.capitalize()} {channel.address}{name}"
