"""What `atlas show` says of factors beyond what it says of channels."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlas.api.atlas import Atlas
    from atlas.api.contents import Channel


def made_of(channel: "Channel", a: "Atlas") -> "list[tuple[Channel, float]]":
    """Return the channels with the largest numbers in a factor's direction, and these numbers."""
    basis = a.bases[channel.layer]
    if basis.layer not in a.layers:
        return []
    return [(a[basis.layer, at], value) for at, value in basis.strongest(channel.number)]


def part_of(channel: "Channel", a: "Atlas") -> "list[tuple[Channel, float]]":
    """Return the factors that a channel is one of the largest parts of, and the numbers."""
    found = [
        (a[name, factor], value)
        for name, basis in a.bases.items()
        if basis.layer == channel.layer
        for factor in range(len(basis.directions))
        for at, value in basis.strongest(factor)
        if at == channel.number
    ]
    return sorted(found, key=lambda one: -abs(one[1]))


def values(channel: "Channel", a: "Atlas") -> dict[str, Any]:
    """Return what is known of a factor, and of all factors of its layer, as a JSON value."""
    basis = a.bases[channel.layer]
    kept = a.manifest.get("conservation", {})
    whole, held = kept.get(basis.layer), kept.get(basis.name)
    return {
        "of": basis.layer,
        "method": basis.method,
        "factors": len(basis.directions),
        "energy": float(basis.energy[channel.number]),
        "stability": None if basis.stability is None else float(basis.stability[channel.number]),
        "explained": basis.facts.get("explained"),
        "relevance_held": held / whole if whole and held is not None else None,
        "complete": basis.facts.get("complete"),
        "channels": [
            {"address": other.address, "name": other.name, "number": value}
            for other, value in made_of(channel, a)
        ],
    }


def facts(channel: "Channel", a: "Atlas") -> list[tuple[str, str]]:
    """Return what is printed of a factor: labels and texts."""
    known = values(channel, a)
    lines = [
        ("of layer", f"{known['of']}, one of {known['factors']} factors ({known['method']})"),
        ("energy", f"{known['energy']:.1%} of the summed squares of all coefficients"),
    ]
    if known["stability"] is not None:
        lines.append(
            (
                "stability",
                f"{known['stability']:.2f} (cosine with its match among the factors of half of the "
                "pictures)",
            )
        )
    lines += [
        ("made of", " ".join(filter(None, (one["address"], one["name"], f"{one['number']:.2f}"))))
        for one in known["channels"][:5]
    ]
    return [*lines, ("completeness", _complete(known))]


def _complete(known: dict[str, Any]) -> str:
    """Return what all factors of the layer hold of it, and what they leave out."""
    held = [] if known["explained"] is None else [f"{known['explained']:.1%} of the output"]
    if known["relevance_held"] is not None:
        held.append(f"{known['relevance_held']:.1%} of the relevance")
    said = [f"all {known['factors']} hold {' and '.join(held)} of the layer"] if held else []
    if whole := known["complete"]:
        said.append(
            f"from them alone the same answer in {whole['same_answer']:.1%} of "
            f"{whole['pictures']} pictures"
            + ("" if whole["logit_kept"] is None else f", {whole['logit_kept']:.1%} of the logit")
        )
    return "; ".join(said) or "not measured"
