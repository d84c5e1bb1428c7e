"""Pages of factors speak of factors, and of the relevance that is in them."""

import re

from atlas.site.entries import ChannelEntry


def words(path):
    return " ".join(re.sub(r"<[^>]+>", "", path.read_text("utf-8")).split())


def test_pages_of_factors_say_whose_share_it_is(factored):
    site = factored / "site"
    said = words(site / "layers" / "3~2fnmf3.html")
    assert "its mean share of the relevance that is in these 3 factors" in said
    assert "its mean share of the layer’s relevance" in words(site / "layers" / "3.html")
    assert "relevance share of the layer, or of all its factors" in words(
        site / "layers" / "index.html"
    )


def test_the_page_of_a_factor_speaks_of_factors(factored):
    site = factored / "site" / "channels"
    factor, channel = (words(site / layer / "0.html") for layer in ("3~2fnmf3", "3"))
    assert "the same for every factor" in factor
    assert "the same for every channel" in channel
    assert "over the factors of all layers; channels are compared with channels" in factor
    assert "in whatever" not in factor  # there is one set of factors
    assert "largest coefficient in a picture" in factor
    assert "largest output in a picture" in channel


def test_beside_relevance_a_name_is_of_what_it_is_used_for():
    def called(**values):
        return ChannelEntry(0, None, 0, {"name": "pink checked", **values}).used_for

    both = {"used_for": "pink", "fires_for": "pink checked"}
    assert called(name_state="one-sided", **both) == "pink"
    assert called(name_state="one-sided", used_for=None, fires_for="x") == "pink checked"
    assert called(name_state="tested", **both) == "pink checked"
