"""Which state of the atlas a record was made from, and which records speak of it as it is now.

An atlas that is indexed anew with other data, another k or another network has other references in
the same rows and other channels at the same addresses. Records are never deleted: each carries
the atlas id, which changes with everything that was measured, and those of other states are
skipped. What a person says of a channel holds as long as the network is the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.store import files, journal
from atlas.store.directory import NAMES_FILE, SCORES_FILE, Store


@dataclass(frozen=True)
class State:
    """An atlas at one time, as records say what they were made from."""

    atlas: str
    """The atlas id."""
    network: str
    """SHA-256 of what the manifest says of the network."""

    def has(self, atlas: str | None, network: str | None = None, *, lasting: bool = False) -> bool:
        """Say whether a record speaks of this state.

        Parameters
        ----------
        atlas, network : str, optional
            What the record carries. Older records carry nothing; as long as the atlas was not
            indexed anew since, they are of its one state.
        lasting : bool
            Whether it holds of the network, whatever the data.
        """
        return atlas in (None, self.atlas) or (lasting and network == self.network)


def now(store: Store) -> State:
    """Return the state that the manifest describes."""
    manifest = store.manifest()
    return State(manifest.get("id", ""), network(manifest))


def network(manifest: Mapping[str, Any]) -> str:
    """Return what identifies the network of a manifest."""
    text = json.dumps(manifest.get("model", {}), sort_keys=True)
    return files.digest(text.encode())


def date_back(store: Store) -> None:
    """Give records that carry no state the present one, which is about to end.

    Raises
    ------
    UserError
        A line of the files cannot be read.
    """
    state = now(store)
    for name in (NAMES_FILE, SCORES_FILE):
        _date_back(store.root / name, state)


def _date_back(path: Path, state: State) -> None:
    records = journal.read(path)
    if all(record.get("atlas") for record in records):
        return
    dated = [
        record
        if record.get("atlas")
        else {**record, "atlas": state.atlas, "network": state.network}
        for record in records
    ]
    files.write_text(path, "".join(map(journal.line, dated)))
