"""The atlas in Python.

>>> import atlas
>>> a = atlas.open("build/out/demo")
>>> channel = a["planted", 3]
>>> channel.name
'star'
>>> [hit.channel.address for hit in a.search("stars", n=1, layer="planted")]
['planted:3']
>>> best = channel.references("relevance")[0]
>>> best.picture().size  # a PIL picture; best.patch() is the part of it that counts
(112, 112)

Opening is quick at any size, and nothing here imports torch but `Atlas.search_picture` and
`Atlas.explain`, which run the network.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from atlas import classes
from atlas.api import rich
from atlas.api.contents import Channel, Contents
from atlas.api.results import Explained, Hits, explained
from atlas.errors import UserError
from atlas.lookup import Conditions, WordSearch
from atlas.publishing import cite
from atlas.publishing.cite import Format
from atlas.searching import entries
from atlas.searching.concepts import concepts
from atlas.store import Mode, evidence, open_store
from atlas.store.joined import joined

if TYPE_CHECKING:
    from atlas.diff import By, Comparison
    from atlas.lookup.meaning import Meaning
    from atlas.patches.encoders import Encoder
    from atlas.publishing.figure import Width


class Atlas(Contents):
    """A built atlas, read as it is needed.

    It has a length and can be iterated: its channels, layer after layer. Tables are Arrow's.

    >>> a = atlas.open("build/out/demo")
    >>> sum(channel.layer == "planted" for channel in a)
    25
    >>> a["planted:3"] == a["planted", 3]
    True
    >>> table = a.channels.to_pandas()
    >>> table[table["layer"] == "planted"]["name"].iloc[:4].to_list()
    ['circle', 'square', 'triangle', 'star']
    """

    def __repr__(self) -> str:
        return f"<Atlas {self.id}: {len(self)} channels of {len(self.layers)} layers>"

    def _repr_html_(self) -> str:
        return rich.atlas(self)

    def search(
        self,
        query: str,
        n: int = 10,
        *,
        layer: str | None = None,
        label: str | None = None,
        min_score: float | None = None,
        encoder: str | Path | None = None,
    ) -> Hits:
        """Find channels by their address or by words.

        Parameters
        ----------
        query : str
            An address in any form (`features.28:79`, `features.28/79`, `channel 79`, `layer 13`),
            or words: of names, senses, descriptions, the five top classes and layers. Whole words
            go before beginnings and those before what stands inside of words; plurals, word forms
            and misspellings are understood. The search of the site finds the same. An atlas
            without names is searched by its top classes.
        n : int
            How many to return at most.
        layer : str, optional
            Only channels of this layer.
        label : str, optional
            Only channels that have this class, by its name or number (`:3` is always number 3),
            among their top classes.
        min_score : float, optional
            Least average precision of the name (`score_ap`), 0 to 1.
        encoder : str or Path, optional
            Folder of a model of sentence-transformers (the extra `meaning`). Where the words
            themselves stand nowhere, channels of similar meaning are found then, in any language
            that the model knows, and no misspellings are corrected.

        Returns
        -------
        atlas.api.results.Hits
            A list of `Hit`, best first; empty if nothing was found. `Hit.remark` says what was
            taken for words that stand nowhere.

        Raises
        ------
        UserError
            The query has no words or is an unknown address, layer or class.

        Examples
        --------
        >>> a = atlas.open("build/out/demo")
        >>> for hit in a.search("strped", n=1, layer="planted"):
        ...     print(hit.channel.address, hit.channel.name, hit.kind)
        planted:7 striped near
        """
        conditions = Conditions(layer, label, min_score)
        hits = self._words.search(query, n, conditions)
        if encoder is None or (hits and hits[0].kind == "address"):
            return Hits(hits)
        hits = [hit for hit in hits if hit.kind in ("name", "words")]
        found = {hit.channel.row for hit in hits}
        others = self._meaning(Path(encoder)).search(query, n + len(found), conditions)
        return Hits((hits + [hit for hit in others if hit.channel.row not in found])[:n])

    def search_picture(
        self,
        picture: Image.Image | str | Path,
        n: int = 10,
        *,
        layer: str | None = None,
        label: str | None = None,
        min_score: float | None = None,
    ) -> Hits:
        """Find the channels whose patches look like a picture, by the atlas's own encoder.

        Parameters
        ----------
        picture : PIL.Image.Image or str or Path
            A picture of any size, or its file.
        n : int
            How many to return at most.
        layer, label : str, optional
            As in `search`.
        min_score : float, optional
            As in `search`.

        Returns
        -------
        atlas.api.results.Hits
            A list of `Hit`, by falling similarity, each with the patches that look like the
            picture.

        Raises
        ------
        UserError
            The picture, the index or the encoder cannot be read.
        """
        from atlas.lookup import picture as by_picture  # noqa: PLC0415 (needs faiss)

        conditions = Conditions(layer, label, min_score)
        shown = picture if isinstance(picture, Image.Image) else by_picture.read(Path(picture))
        return Hits(
            by_picture.search(
                self, self._index, self._encoder.encode, shown.convert("RGB"), n, conditions
            )
        )

    def explain(
        self, picture: str | Path, target: str | None = None, *, to: str | None = None
    ) -> Explained:
        """Explain what the network's answer to a picture rests on, as `atlas explain` does.

        Parameters
        ----------
        picture : str or Path
            The picture's file.
        target : str, optional
            Name or number of the class to explain (`:3` is always number 3); the predicted one
            unless given.
        to : str, optional
            Name or number of another class: also find what it would take for the answer to be that
            (`counterfactual` of the evidence).

        Returns
        -------
        atlas.api.results.Explained
            The evidence (`atlas.store.evidence.Evidence`), as it now stands in the atlas's
            directory `explanations`.

        Raises
        ------
        UserError
            The picture or the network cannot be read, there is no such class, or the answer is
            `to` already.
        """
        from atlas import pipeline  # noqa: PLC0415 (torch takes seconds to import)

        border = pipeline.border(self.store, self._overrides, trust_code=self._trust_code)
        outcome = pipeline.explain(self.store, self.recipe, [Path(picture)], target, border, to=to)
        for path, reason in outcome.failed:
            raise UserError(f"{path} is not explained: {reason}")
        return explained(outcome.done[0])

    def explanation(self, slug: str) -> Explained:
        """Return an explanation that the atlas has already.

        Parameters
        ----------
        slug : str
            Its id.

        Returns
        -------
        atlas.api.results.Explained
            The evidence, which notebooks show with its pictures.

        Raises
        ------
        UserError
            There is none of this id; the message has those that are there.
        """
        cite.cite_explanation(slug, self)  # says which there are
        return explained(self.store.root / evidence.EXPLANATIONS / slug)

    def cite(
        self,
        address: str | None = None,
        *,
        label: str | None = None,
        explanation: str | None = None,
        format: Format = "bibtex",  # noqa: A002 (as on the command line)
    ) -> str:
        """Return how the atlas, or one of its pages, is cited.

        Parameters
        ----------
        address : str, optional
            Cite the page of this channel, `LAYER:CHANNEL`.
        label : str, optional
            Cite the page of this class, by its name or number; `:3` is always number 3.
        explanation : str, optional
            Cite this explanation, by its id.
        format : {"bibtex", "csl-json", "text"}
            Form of the entry. Keys are stable: renaming a channel does not change them.

        Raises
        ------
        UserError
            There is no such thing in the atlas, or more than one was asked for.

        Examples
        --------
        >>> a = atlas.open("build/out/demo")
        >>> print(a.cite("planted:3").splitlines()[0])  # doctest: +ELLIPSIS
        @misc{vgg-world-...-channels-planted-3,
        """
        if sum(one is not None for one in (address, label, explanation)) > 1:
            raise UserError("cite one thing at a time: a channel, a class or an explanation")
        if address is not None:
            citation = cite.cite_channel(self[address], self)
        elif label is not None:
            citation = cite.cite_class(classes.find(label, self.class_names), self)
        elif explanation is not None:
            citation = cite.cite_explanation(explanation, self)
        else:
            citation = cite.cite_atlas(self)
        return cite.written(citation, format)

    def diff(self, other: "Atlas", by: "By" = "address") -> "Comparison":
        """Compare with another atlas: the same network on other data, or another checkpoint.

        Parameters
        ----------
        other : Atlas
            The other one.
        by : {"address", "patches"}
            Which channels are one: those with the same address, or those of a layer whose patches
            are most alike (an optimal assignment).

        Returns
        -------
        atlas.diff.Comparison
            Matched channels with the rank-biased overlap of their references and the cosine of
            their patches, their names, and the classes that moved.

        Raises
        ------
        UserError
            Nothing can be compared.

        Examples
        --------
        >>> a = atlas.open("build/out/demo")
        >>> same = a.diff(a)
        >>> sum(pair.renamed for pair in same.channels)
        0
        """
        from atlas.diff import compare  # noqa: PLC0415 (needs faiss)

        return compare(self, other, by)

    def figure(
        self,
        *addresses: str,
        out: str | Path,
        explanation: str | None = None,
        width: "Width" = "two",
        mode: Mode = "relevance",
    ) -> str:
        """Draw the patches of channels, or an explanation, for a paper.

        Parameters
        ----------
        *addresses : str
            Channels, `LAYER:CHANNEL`; each gets a line.
        out : str or Path
            File to write: .pdf, .svg or .png.
        explanation : str, optional
            Id of the explanation to draw, in place of channels.
        width : {"one", "two"}
            Columns of the page: 89 or 183 mm, for 5 or 10 pictures side by side.
        mode : {"activation", "relevance"}
            By which score the patches were chosen.

        Returns
        -------
        str
            Text of the caption.

        Raises
        ------
        UserError
            There is no such channel or explanation, or matplotlib is not installed (it comes with
            the extra `figure`).
        """
        from atlas.publishing import figure as figures  # noqa: PLC0415 (slow)

        if bool(addresses) == (explanation is not None):
            raise UserError("give addresses of channels, or the id of an explanation")
        if explanation is not None:
            return figures.draw_explanation(self, explanation, Path(out), width)
        channels = [self[address] for address in addresses]
        return figures.draw_channels(self, channels, Path(out), width, mode)

    def missing(self, query: str) -> list[str]:
        """Return a line for each word of a query that stands nowhere, with the nearest words."""
        return self._words.missing(query)

    @cached_property
    def concepts(self) -> Mapping[str, tuple[Channel, ...]]:
        """What at least two channels are called: whole names and single words of names.

        Each, in lower case without marks, has the channels that have it in a name, or in that of
        a sense or side, in the order of their rows. Those of most channels stand first. They are
        the concepts that have pages in the site: at most 1,000.
        """
        found = concepts(list(entries.channels(self.channels)))
        return {
            key.replace("-", " "): tuple(self.channel(row) for row in concept.rows)
            for key, concept in found.items()
        }

    @cached_property
    def _words(self) -> WordSearch:
        return WordSearch(self)

    def _meaning(self, folder: Path) -> "Meaning":
        from atlas.lookup.meaning import Meaning  # noqa: PLC0415 (an extra, and slow)

        if folder not in self._meanings:
            self._meanings[folder] = Meaning(self, folder)
        return self._meanings[folder]

    @cached_property
    def _meanings(self) -> "dict[Path, Meaning]":
        return {}

    @cached_property
    def _index(self) -> Any:
        from atlas.patches import vectors  # noqa: PLC0415 (needs faiss)

        return vectors.load_of(self.store)

    @cached_property
    def _encoder(self) -> "Encoder":
        from atlas import pipeline  # noqa: PLC0415 (torch takes seconds to import)

        return pipeline.load_encoder(self.store, trust_code=self._trust_code)


def open(  # noqa: A001 (as files are)
    path: str | Path, overrides: Sequence[str] = (), *, trust_code: bool = False
) -> Atlas:
    """Open the atlas in a directory.

    Parameters
    ----------
    path : str or Path
        The directory.
    overrides : sequence of str
        Changes of its recipe, `table.key=value` each: `cite.url=https://example.org` for instance.
    trust_code : bool
        Whether `Atlas.explain` and `Atlas.search_picture` may run the Python file that the recipe
        of the atlas names, and read the files outside the atlas that it names. Say so only of an
        atlas that you made, or whose maker you trust as you trust a program.

    Raises
    ------
    UserError
        There is none, it is unfinished or damaged, or a newer version of this package made it.
    """
    return Atlas(joined(open_store(path)), overrides, trust_code=trust_code)
