"""The atlas directory: its tables, its files that only grow, and how they are kept whole."""

from atlas.store.checks import BANDS
from atlas.store.directory import (
    ANSWERS,
    ARRAYS,
    COLUMNS,
    INDEX,
    MEASURED,
    MODES,
    NAME_BY_METHOD,
    NAMED,
    NAMES_FILE,
    OPTIONAL,
    SCHEMA_VERSION,
    SCORES_FILE,
    SENSE,
    STAGES,
    Mode,
    Store,
    open_store,
)

__all__ = [
    "ANSWERS",
    "ARRAYS",
    "BANDS",
    "COLUMNS",
    "INDEX",
    "MEASURED",
    "MODES",
    "NAMED",
    "NAMES_FILE",
    "NAME_BY_METHOD",
    "OPTIONAL",
    "SCHEMA_VERSION",
    "SCORES_FILE",
    "SENSE",
    "STAGES",
    "Mode",
    "Store",
    "open_store",
]
