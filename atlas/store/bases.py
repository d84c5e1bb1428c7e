"""Bases of layers: what the concepts of a layer are directions of.

Channels are the basis that a layer comes with: concept 7 of `features.40` is its channel 7. A set
of factors is another basis of the same layer, `features.40/nmf25`, whose concepts have the
same tables, addresses and pages. An atlas has them in its directory `factors`, which is arranged
like an atlas: its layers are bases, its channels factors. What belongs to them alone is their
directions, a file for each basis.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from typing_extensions import TypedDict

from atlas.addresses import BASIS
from atlas.errors import UserError, one_line
from atlas.plain import slug
from atlas.store import bounds, files
from atlas.store.directory import FACTORS, Store

DIRECTIONS = "directions"
"""The directory in there that has a file for each basis."""

METHODS = ("nmf", "sae")
"""How factors are found: by non-negative matrix factorisation, or by a sparse autoencoder."""

ENCODER = ("weights", "bias", "offset", "lengths")
"""Arrays that the file of an autoencoder has beside its directions."""

Numbers = npt.NDArray[np.float32]

_Part = Annotated[float, Field(ge=-1e6, le=1e6)]
_Number = Annotated[int, Field(ge=0, lt=2**40)]


class Complete(TypedDict):
    """What is left of the network's answers without what no factor holds."""

    pictures: _Number
    same_answer: _Part
    logit_kept: _Part | None


class Deletion(TypedDict):
    """What is left of the logit that factors give without some of them."""

    tested: _Number
    taken: _Number
    without_relevant: _Part | None
    without_random: _Part | None


class Facts(TypedDict, total=False):
    """What is known of the factors of a layer as a whole."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    explained: _Part
    stable: bool
    complete: Complete
    deletion: Deletion


_FACTS: TypeAdapter[Facts] = TypeAdapter(Facts)

STRONGEST = 6
"""Channels that a factor is said to be made of."""

MOST = 1 << 28
"""Most numbers of the directions of a basis that somebody else made."""


@dataclass(frozen=True, eq=False)
class SparseEncoder:
    """How a sparse autoencoder finds its coefficients in a layer's output.

    They are max(0, weights x (output - offset) + bias), of which the `active` largest are kept and
    multiplied by `lengths` (TopK; Gao et al. 2024).
    """

    weights: Numbers
    """float32 (factors, channels)."""
    bias: Numbers
    """float32 (factors,)."""
    offset: Numbers
    """float32 (channels,): what the autoencoder adds to its factors everywhere; no factor's."""
    lengths: Numbers
    """float32 (factors,), none negative: by what its own directions are longer than 1."""
    active: int
    """How many factors are active at a position, at most."""


@dataclass(frozen=True, eq=False)
class Basis:
    """The factors of a layer, and how well they stand for it."""

    layer: str
    """Whose output they add up to."""
    method: str
    """One of `METHODS`."""
    directions: Numbers
    """float32 (factors, channels), each of length 1; of `nmf` none is negative."""
    energy: Numbers
    """float32 (factors,): each factor's part of the summed squares of all coefficients."""
    stability: Numbers | None
    """float32 (factors,): cosine with its match among the factors of half of the pictures. None for
    an autoencoder that was trained elsewhere."""
    ceiling: float | None = None
    """Where the activation function behind the layer cuts its output off; None without such."""
    signed: bool = False
    """Whether the network goes on with what is negative in the layer's output."""
    encoder: SparseEncoder | None = None
    """What finds the coefficients, with `sae`; else they are those that fit best."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else is known: the ranks tried, the part of the output explained, what the network
    answers from the factors alone. JSON values."""

    @property
    def name(self) -> str:
        """`LAYER/METHODCOUNT`, by which it is addressed like a layer."""
        return f"{self.layer}{BASIS}{self.method}{len(self.directions)}"

    def strongest(self, factor: int) -> list[tuple[int, float]]:
        """Return the `STRONGEST` channels of a factor with their numbers in its direction.

        It is of length 1. The largest numbers of either sign come first; those that are 0 are left
        out.
        """
        direction = self.directions[factor]
        best = np.argsort(-np.abs(direction), kind="stable")[:STRONGEST].tolist()
        return [(channel, float(direction[channel])) for channel in best if direction[channel]]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the directions and of what they belong to."""
        content = np.ascontiguousarray(self.directions, "<f4").tobytes()
        if self.encoder is not None:
            arrays = (getattr(self.encoder, key) for key in ENCODER)
            content += b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)
            content += f"{self.encoder.active} {self.signed}".encode()
        return hashlib.sha256(f"{self.name}\n{self.ceiling}\n".encode() + content).hexdigest()


def factors(store: Store) -> Store | None:
    """Return the part of an atlas that has its factors.

    None if it has none, or unfinished ones, or some of before it was measured anew.
    """
    part = place(store)
    manifest = part.manifest()
    whole = part.finished and manifest.get("atlas") == store.manifest().get("id")
    return part if whole else None


def parts(store: Store) -> list[Store]:
    """Return an atlas and the part with its factors, if it has some."""
    found = None if store.home else factors(store)
    return [store] if found is None else [store, found]


def place(store: Store) -> Store:
    """Return where the factors of an atlas are, whether there are any or not."""
    return Store(store.root / FACTORS, home=store.root)


def write(part: Store, basis: Basis) -> None:
    """Write the directions of a basis."""
    arrays = {"directions": basis.directions, "energy": basis.energy}
    if basis.stability is not None:
        arrays["stability"] = basis.stability
    facts: dict[str, Any] = {
        "layer": basis.layer, "method": basis.method, "ceiling": basis.ceiling,
    }  # fmt: skip
    if basis.encoder is not None:
        arrays |= {key: getattr(basis.encoder, key) for key in ENCODER}
        facts |= {"active": basis.encoder.active, "signed": basis.signed}
    arrays = {key: array.astype("<f4") for key, array in arrays.items()}
    text = json.dumps({**facts, "facts": dict(basis.facts)}, sort_keys=True)
    files.write_bytes(path(part, basis.name), save(arrays, {"basis": text}))


def path(part: Store, name: str) -> Path:
    """Return where the directions of a basis are."""
    return part.root / DIRECTIONS / f"{slug(name)}.safetensors"


def checksums(part: Store) -> dict[str, str]:
    """Return the SHA-256 of the files with directions, by the names of the bases."""
    return {name: files.sha256(path(part, name)) for name in part.manifest()["layers"]}


def there(part: Store) -> list[Basis]:
    """Read the bases whose files are there, finished or not.

    Damaged ones, and those that are not what a manifest says, are passed over.
    """
    known = part.manifest().get("directions") or {}
    found = []
    for file in sorted((part.root / DIRECTIONS).glob("*.safetensors")):
        try:
            basis = _read(file, None)
        except UserError:
            continue
        if known.get(basis.name) in (None, files.sha256(file)):
            found.append(basis)
    return found


def remove_others(part: Store, kept: Iterable[Basis]) -> None:
    """Delete the files of other bases than those that are kept."""
    names = {path(part, basis.name) for basis in kept}
    for file in (part.root / DIRECTIONS).glob("*.safetensors"):
        if file not in names:
            file.unlink()


def read(part: Store, names: Iterable[str] | None = None) -> list[Basis]:
    """Read the bases of a part that `factors` gave, in their order.

    Raises
    ------
    UserError
        A file is missing, damaged, or not what its name and the manifest say.
    """
    manifest = part.manifest()
    wanted = manifest["layers"] if names is None else names
    known = manifest.get("directions") or {}
    found = []
    for name in wanted:
        file = path(part, name)
        found.append(_read(file, name))
        if name in known and files.sha256(file) != known[name]:
            raise bounds.damaged(file, "it is not the one that manifest.json knows")
    return found


def digests(whole: Store) -> dict[str, str]:
    """Return which factors an atlas has that is read with them: digests by names of bases."""
    return {basis.name: basis.digest for part in whole.parts[1:] for basis in read(part)}


def _read(file: Path, name: str | None) -> Basis:
    try:
        with safe_open(file, framework="numpy") as opened:
            shape = opened.get_slice("directions").get_shape()
            if len(shape) != 2 or not 0 < shape[0] * shape[1] <= MOST:
                raise bounds.damaged(file, "it has no directions")
            expected = _shapes(*shape)
            keys = [key for key in expected if key in opened.keys()]  # noqa: SIM118 (no mapping)
            if any(tuple(opened.get_slice(key).get_shape()) != expected[key] for key in keys):
                raise bounds.damaged(file, "its arrays do not fit together")
            arrays = {key: opened.get_tensor(key) for key in keys}
            known = bounds.parse_json((opened.metadata() or {}).get("basis", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise bounds.damaged(file, one_line(error)[:200]) from error
    known = known if isinstance(known, dict) else {}
    if not _is_whole(arrays, known):
        raise bounds.damaged(file, "it is not as this package writes one")
    try:
        facts = _FACTS.validate_python(known.get("facts"))
    except ValidationError as error:
        raise bounds.damaged(file, error.errors()[0]["msg"]) from error
    encoder = {key: arrays.pop(key) for key in ENCODER if key in arrays}
    basis = Basis(
        known["layer"],
        known["method"],
        arrays["directions"],
        arrays["energy"],
        arrays.get("stability"),
        known["ceiling"],
        known.get("signed", False),
        SparseEncoder(**encoder, active=known["active"]) if encoder else None,
        facts,
    )
    if name is not None and basis.name != name:
        raise bounds.damaged(file, f"it has the factors {basis.name[:80]}")
    return basis


def _shapes(factors: int, channels: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays of a basis."""
    return {
        "directions": (factors, channels),
        "energy": (factors,),
        "stability": (factors,),
        "weights": (factors, channels),
        "bias": (factors,),
        "offset": (channels,),
        "lengths": (factors,),
    }


def _is_whole(arrays: Mapping[str, Numbers], known: Mapping[str, Any]) -> bool:
    """Say whether what was read is what `write` writes."""
    if not all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays.values()):
        return False
    if not isinstance(known.get("layer"), str) or "energy" not in arrays:
        return False
    if not (known.get("ceiling") is None or isinstance(known["ceiling"], int | float)):
        return False
    encoder = [key in arrays for key in ENCODER]
    if known.get("method") == "nmf":
        whole = not any(encoder) and "stability" in arrays
        return whole and bool((arrays["directions"] >= 0).all())
    active = known.get("active")
    return bool(
        known.get("method") == "sae"
        and all(encoder)
        and (arrays["lengths"] >= 0).all()
        and type(active) is int
        and 0 < active <= len(arrays["energy"])
        and isinstance(known.get("signed"), bool)
    )
