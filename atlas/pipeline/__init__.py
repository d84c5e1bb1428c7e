"""The stages in their order: what each needs, whether it is done, and what it records."""

from atlas.pipeline.annotating import name, rename, score
from atlas.pipeline.auditing import audit_maps
from atlas.pipeline.building import build, make_site
from atlas.pipeline.explaining import explain
from atlas.pipeline.factoring import factorise
from atlas.pipeline.indexing import index
from atlas.pipeline.influencing import influence
from atlas.pipeline.inputs import Inputs, load_encoder
from atlas.pipeline.making import make_one, make_pictures
from atlas.pipeline.stages import alone
from atlas.pipeline.trust import border
from atlas.pipeline.words import word_maps
from atlas.prepass.processes import team

__all__ = [
    "Inputs",
    "alone",
    "audit_maps",
    "border",
    "build",
    "explain",
    "factorise",
    "index",
    "influence",
    "load_encoder",
    "make_one",
    "make_pictures",
    "make_site",
    "name",
    "rename",
    "score",
    "team",
    "word_maps",
]
