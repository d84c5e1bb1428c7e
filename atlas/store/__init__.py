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
    NAMES_FILE,
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
    "COLUMNS",
    "INDEX",
    "MEASURED",
    "MODES",
    "NAMED",
    "NAMES_FILE",
    "NAME_BY_METHOD",
    "SCHEMA_VERSION",
    "SCORES_FILE",
    "SENSE",
    "STAGES",
    "Mode",
    "Store",
    "open_store",
]
