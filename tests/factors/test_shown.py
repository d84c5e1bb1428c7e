"""`atlas show` of a factor prints what is known of it alone, and of the factors of its layer."""

import json

import atlas
from atlas.cli import main


def test_of_a_factor_what_is_known_of_it_and_its_layer(factored, capsys):
    a = atlas.open(factored)
    ((name, basis),) = a.bases.items()
    main(["show", str(factored), f"{name}:1", "--json"], standalone_mode=False)
    shown = json.loads(capsys.readouterr().out)["factor"]
    assert (shown["energy"], shown["stability"]) == (basis.energy[1], basis.stability[1])
    numbers = sorted(enumerate(basis.directions[1].tolist()), key=lambda pair: -pair[1])
    assert [(one["address"], one["number"]) for one in shown["channels"]] == [
        (f"{basis.layer}:{at}", number) for at, number in numbers[:6] if number
    ]
    main(["show", str(factored), f"{name}:1"], standalone_mode=False)
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith(f"factor {name}:1 atlas")
    assert f"energy {basis.energy[1]:.1%} of" in printed
    assert f"stability {basis.stability[1]:.2f} (" in printed
    assert f"made of {basis.layer}:{numbers[0][0]} {numbers[0][1]:.2f}" in printed
    held = a.manifest["conservation"]
    share = held[name] / held[basis.layer]
    assert f"{basis.facts['explained']:.1%} of the output and {share:.1%} of the" in printed
    assert f"same answer in {basis.facts['complete']['same_answer']:.1%} of" in printed


def test_of_a_channel_the_factors_that_it_is_part_of(factored, capsys):
    a = atlas.open(factored)
    ((name, basis),) = a.bases.items()
    at = int(basis.directions[0].argmax())
    main(["show", str(factored), f"{basis.layer}:{at}"], standalone_mode=False)
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith(f"channel {basis.layer}:{at} ")
    assert f"part of {name}:0 {basis.directions[0, at]:.2f}" in printed
