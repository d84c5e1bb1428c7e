"""What a namer is shown of factors."""

from atlas.naming.selection import ReferenceSelector
from atlas.patches.views import References
from atlas.recipe import Naming
from atlas.store import bases, open_store


def shown(store, settings):
    references = References(store)
    selected = ReferenceSelector(store, references, settings).whole()
    return [
        {
            mode
            for mode in ("activation", "relevance")
            if {*one.shown} <= {*references.of(one.layer, one.channel, mode)}
        }
        for one in selected
    ]


def test_factors_are_named_by_activation_and_channels_by_relevance(factored):
    store = open_store(factored)
    factors = bases.place(store)
    assert all("activation" in modes for modes in shown(factors, Naming()))
    assert all("relevance" in modes for modes in shown(factors, Naming(mode="relevance")))
    # Relevance reaches no channel that the answer does not rest on.
    assert sum("relevance" in modes for modes in shown(store, Naming())) > 1
    assert any(modes == {"activation"} for modes in shown(factors, Naming()))
