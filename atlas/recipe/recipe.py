"""The whole recipe."""

from dataclasses import asdict, field
from typing import Any

from pydantic.dataclasses import dataclass

from atlas.recipe.explaining import Explain
from atlas.recipe.factoring import Factors
from atlas.recipe.influences import Influences
from atlas.recipe.kinds import STRICT, Seed
from atlas.recipe.measuring import (
    Activation,
    Data,
    Model,
    Patches,
    Prepass,
    Preprocessing,
    Relevance,
)
from atlas.recipe.naming import Naming, Scoring
from atlas.recipe.pictures_made import PicturesMade
from atlas.recipe.publishing import Cite, Site


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """Everything that decides what an atlas contains."""

    name: str
    """Short name; the atlas is built in `build/out/NAME` unless said otherwise. A recipe
    without one has the name of its file."""

    model: Model
    data: Data
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    activation: Activation = field(default_factory=Activation)
    relevance: Relevance = field(default_factory=Relevance)
    prepass: Prepass = field(default_factory=Prepass)
    patches: Patches = field(default_factory=Patches)
    factors: Factors = field(default_factory=Factors)
    influences: Influences = field(default_factory=Influences)
    pictures_made: PicturesMade = field(default_factory=PicturesMade)
    naming: Naming = field(default_factory=Naming)
    scoring: Scoring = field(default_factory=Scoring)
    explain: Explain = field(default_factory=Explain)
    site: Site = field(default_factory=Site)
    cite: Cite = field(default_factory=Cite)

    seed: Seed = 0
    """Seed of everything that draws random numbers."""

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe with its defaults as plain tables, for the manifest."""
        return asdict(self)
