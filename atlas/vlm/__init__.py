"""Vision-language models: in this process, at a server, or by files that others answer.

One file a way: `process.py`, `server.py`, `files.py`. What they share stands in `asked.py` and
`chat.py`; `kept.py` loses no answer that no record holds yet.
"""

from atlas.vlm import process, server
from atlas.vlm.asked import (
    DEMO,
    UNKNOWN,
    CutOff,
    Failed,
    Loading,
    Request,
    SampledChance,
    Unanswered,
    Vlm,
    called,
)
from atlas.vlm.process import TransformersVlm
from atlas.vlm.server import SERVER

__all__ = [
    "DEMO",
    "SERVER",
    "UNKNOWN",
    "CutOff",
    "Failed",
    "Loading",
    "Request",
    "SampledChance",
    "TransformersVlm",
    "Unanswered",
    "Vlm",
    "called",
    "load",
]


def load(loading: Loading) -> Vlm:
    """Return the model that a recipe names: at a server, in a local folder, or from the Hub.

    Raises
    ------
    UserError
        It is not there, or is no vision-language model.
    """
    if loading.name.startswith(SERVER):
        return server.connect(loading)
    return process.load(loading)
