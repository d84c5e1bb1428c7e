"""The atlas directory: its tables, its files that only grow, and how they are kept whole."""

from atlas.store.directory import (
    ANSWERS,
    ARRAYS,
    COLUMNS,
    INDEX,
    MEASURED,
    MODES,
    NAME_BY_METHOD,
    NAMED,
    NAMES,
    SCHEMA_VERSION,
    SCORES,
    SENSE,
    STAGES,
    Mode,
    Store,
    open_store,
)

__all__ = [
    "ANSWERS",
    "ARRAYS",
    "COLUMNS",
    "INDEX",
    "MEASURED",
    "MODES",
    "NAMED",
    "NAMES",
    "NAME_BY_METHOD",
    "SCHEMA_VERSION",
    "SCORES",
    "SENSE",
    "STAGES",
    "Mode",
    "Store",
    "open_store",
]
