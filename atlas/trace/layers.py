"""Which modules of a network are the layers of an atlas."""

import difflib
import fnmatch
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from atlas.errors import UserError
from atlas.trace.following import Value
from atlas.trace.kinds import KINDS
from atlas.trace.record import REPEATED, Trace


@dataclass(frozen=True)
class LayerSelection:
    """The layers that patterns mean."""

    names: tuple[str, ...]
    """Names of the layers, in the order of the forward pass."""
    left_out: tuple[str, ...]
    """Those that would be among them, but that no relevance comes to."""
    unusable: Mapping[str, tuple[str, ...]]
    """Convolutions that would be among them, but have no maps: their names by what is wrong."""
    inside: tuple[str, ...]
    """Modules that would be among them, but give more than the convolutions that they carry out
    themselves; the network itself is the name ""."""
    lost: Mapping[str, tuple[str, ...]]
    """Layers of which it is not known where in the picture units stand, by what lost that."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is left out and why, and of which layers patches are whole pictures."""
        silent = "no relevance comes there (it only scales others)"
        reasons = {silent: self.left_out} | {f"it {why}": one for why, one in self.unusable.items()}
        out = tuple(
            f"{len(names)} {'convolutions are' if len(names) > 1 else 'convolution is'} left out, "
            f"since {why if len(names) == 1 or why == silent else 'each ' + why[3:]}: "
            f"{', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
            for why, names in reasons.items()
            if names
        )
        whole = tuple(
            f"where in a picture units of {', '.join(names[:4])}"
            f"{f' and {len(names) - 4} more' if len(names) > 4 else ''} look is not known, since "
            f"positions are lost in {operation}: their patches are whole pictures"
            for operation, names in self.lost.items()
        )
        return out + (_in_functions(self.inside) if self.inside else ()) + whole


def _in_functions(inside: Sequence[str]) -> tuple[str, ...]:
    """Return what is said of modules that carry out convolutions and give something else."""
    parts = [name for name in inside if name]
    said = []
    if parts:
        said.append(
            f"convolutions that {', '.join(parts[:4])}{', ...' if len(parts) > 4 else ''} "
            f"{'carry' if len(parts) > 1 else 'carries'} out as functions are left out, since what "
            "comes of them is no output of a module: model.layers may name the whole module"
        )
    if len(parts) < len(inside):
        said.append(
            "convolutions that the network carries out as functions, in none of its modules, are "
            "left out"
        )
    return tuple(said)


def choose(
    trace: Trace, patterns: Sequence[str] = (), reached: Collection[Value] | None = None
) -> LayerSelection:
    """Return the layers that `patterns` mean.

    Parameters
    ----------
    trace : Trace
        Trace of the network.
    patterns : sequence of str
        Names (`features.28`) or globs (`features.*`); none means every convolution: modules whose
        output is that of a convolution which they carry out themselves, and those of a class of
        convolutions whatever else they do (an activation in it, a hook, a second path). A glob
        means the convolutions that it matches, or what else it matches if there are none; a name
        means just that layer.
    reached : collection of Value, optional
        To which relevance comes; unless given, it is not asked for.

    Raises
    ------
    UserError
        A name is unknown, a glob matches nothing, or a layer has no channels: it is not
        called, is called more than once for a picture, or its output is neither
        (B, C, H, W) nor (B, C). Or no relevance comes to it.
    """
    usable = [name for name, layer in trace.layers.items() if not layer.problem]
    carried_out = {one.place for one in trace.operations if KINDS.get(one.name) == "convolution"}
    without = [name for name, one in trace.layers.items() if one.problem and name in carried_out]
    convolutions = [name for name in usable if _is_convolution(trace, name)]
    silent = {
        name for name in usable if reached is not None and trace.layers[name].value not in reached
    }
    inside = [name for name in ("", *usable) if name in carried_out - {*convolutions}]
    if not patterns:
        if not convolutions:
            why = "".join(f" ({name!r} {trace.layers[name].problem})" for name in without[:1])
            why = why or "".join(f" ({said})" for said in _in_functions(inside)[:1])
            raise UserError(
                f"the network has no convolution with one map for a picture{why}: set model.layers"
            )
        patterns = ("*",)
    wanted: set[str] = set()
    for pattern in patterns:
        if pattern in trace.modules:
            wanted.add(_named(trace, pattern, silent))
        elif not any(sign in pattern for sign in "*?["):
            close = difflib.get_close_matches(pattern, trace.modules, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {_some(usable)}"
            raise UserError(f"the network has no layer {pattern!r}; {hint}")
        elif matches := fnmatch.filter(convolutions, pattern) or fnmatch.filter(usable, pattern):
            wanted.update(matches)
        elif matches := fnmatch.filter(trace.layers, pattern):
            problem = trace.layers[matches[0]].problem
            raise UserError(
                f"layer {matches[0]!r} {problem}: choose others in model.layers{_instead(problem)}"
            )
        else:
            raise UserError(f"no layer matches {pattern!r}; known: {_some(usable)}")
    names = tuple(name for name in usable if name in wanted - silent)
    if not names:
        raise UserError(
            f"no relevance comes to any of {_some(sorted(wanted))}, which only scale others: "
            'choose others in model.layers, or prepass.modes = ["activation"]'
        )
    globs = [pattern for pattern in patterns if pattern not in trace.modules]
    unusable: dict[str, tuple[str, ...]] = {}
    for name in without:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in globs):
            problem = trace.layers[name].problem
            unusable[problem] = (*unusable.get(problem, ()), name)
    left_out = tuple(name for name in usable if name in wanted & silent)
    inside = [
        name
        for name in inside
        if name not in wanted | silent and any(fnmatch.fnmatchcase(name, one) for one in globs)
    ]
    return LayerSelection(names, left_out, unusable, tuple(inside), _lost(trace, names))


def _lost(trace: Trace, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the layers whose positions are lost, by what lost them."""
    lost: dict[str, tuple[str, ...]] = {}
    for name in names:
        field = trace.layers[name].field
        if field is not None and field.lost:
            lost[field.lost] = (*lost.get(field.lost, ()), name)
    return lost


def _named(trace: Trace, name: str, silent: Collection[str]) -> str:
    """Return a layer that is asked for by its name."""
    layer = trace.layers.get(name)
    problem = (
        "is not used when the network classifies a picture" if layer is None else layer.problem
    )
    if not problem and name in silent:
        problem = "gets no relevance: it only scales others (a gate), or leads to no output"
    if problem:
        raise UserError(
            f"layer {name!r} {problem}: choose another in model.layers{_instead(problem)}"
        )
    return name


def _instead(problem: str) -> str:
    """Return what else can be done about a layer that has no one map."""
    if problem != REPEATED:
        return ""
    return ", or give the network a copy of it for each use (copy.deepcopy computes the same)"


def _is_convolution(trace: Trace, name: str) -> bool:
    """Return whether a module gives what a convolution does that it carries out itself.

    Or is of such a class, and computes what it gives.
    """
    value = trace.layers[name].value
    assert value is not None
    operation = trace.of(value)
    if name in trace.convolutions:
        return f"{operation.place}.".startswith(f"{name}.")
    return operation.place == name and KINDS.get(operation.name) == "convolution"


def _some(names: Sequence[str]) -> str:
    """Return a few of many names for a message."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
