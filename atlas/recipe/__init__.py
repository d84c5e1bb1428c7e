"""The recipe: the TOML file that says what to build.

Every field stands here once, with its meaning, its default and its range. A recipe is
read, completed with defaults, checked as a whole and then never changes.
"""

from atlas.recipe.explaining import ConceptBasis, Explain
from atlas.recipe.factoring import Factors
from atlas.recipe.influences import Influences
from atlas.recipe.load import load, parse, recorded
from atlas.recipe.measuring import (
    Activation,
    Aggregate,
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
from atlas.recipe.recipe import Recipe

__all__ = [
    "Activation",
    "Aggregate",
    "Cite",
    "ConceptBasis",
    "Data",
    "Explain",
    "Factors",
    "Influences",
    "Model",
    "Naming",
    "Patches",
    "PicturesMade",
    "Prepass",
    "Preprocessing",
    "Recipe",
    "Relevance",
    "Scoring",
    "Site",
    "load",
    "parse",
    "recorded",
]
