"""The atlas directory: its tables, its files that only grow, and how they are kept whole."""

from atlas.store.checks import BANDS
from atlas.store.directory import (
    ARRAYS,
    COLUMNS,
    INDEX,
    MEASURED,
    MODES,
    NAME_BY_METHOD,
    NAMED,
    NAMES,
    OPTIONAL,
    SCHEMA_VERSION,
    SCORES,
    SENSE,
    STAGES,
    Mode,
    Store,
    open_store,
)

__all__ = [
    "ARRAYS",
    "BANDS",
    "COLUMNS",
    "INDEX",
    "MEASURED",
    "MODES",
    "NAMED",
    "NAMES",
    "NAME_BY_METHOD",
    "OPTIONAL",
    "SCHEMA_VERSION",
    "SCORES",
    "SENSE",
    "STAGES",
    "Mode",
    "Store",
    "open_store",
]
