import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from atlas.site import text


def test_layers_of_pytorch_keep_their_names():
    for name in ("features.28", "layer1.0.conv2", "inception_4a.branch-3", "0"):
        assert text.slug(name) == name


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_slug_is_one_safe_part_of_a_path_and_tells_names_apart(one, other):
    slug = text.slug(one)
    assert slug and len(slug) <= 100
    assert not set(slug) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")
    assert not slug.startswith(".") and slug.lower() not in ("index", "readme")
    assert (slug == text.slug(other)) == (one == other)


@pytest.mark.parametrize("name", ["nul", "CON", "aux.0", "Com1", "lpt9.x.y", "conv.", "a.."])
def test_names_that_windows_cannot_have_as_files(name):
    slug = text.slug(name)
    assert "~" in slug and not slug.endswith(".")
    assert slug.split(".")[0].lower() != name.split(".")[0].lower() or name.endswith(".")
    assert text.slug("conv1") == "conv1" and text.slug("aux1.conv") == "aux1.conv"


@given(st.lists(st.text("aAbB.1~ ", max_size=5), unique=True))
def test_slugs_differ_in_more_than_case(names):
    slugs = text.slugs(names)
    assert len({slug.lower() for slug in slugs.values()}) == len(names)
    assert all(slugs[name] == text.slug(name) for name in names if name == name.lower())
    lower = [name.lower() for name in names]
    alone = [name for name in names if lower.count(name.lower()) == 1]
    assert all(slugs[name] == text.slug(name) for name in alone)


@given(st.text(max_size=400), st.text(max_size=400))
def test_front_matter_holds_two_lines_of_harmless_text(title, description):
    head, body = text.front_matter(title, description).removeprefix("---\n").split("---\n")
    meta = yaml.safe_load(head)
    assert body == ""
    assert not set("<>\"'`{}\n") & set(meta["title"] + meta["description"])


def test_every_line_of_a_body_begins_with_a_tag_and_has_no_braces():
    body = text.body("<div>\n  <p>one\n```\n# two {{ 7*7 }}\n</p>\n\n</div>\n")
    assert (
        body == "<div>\n<p>one &#96;&#96;&#96; # two &#123;&#123; 7*7 &#125;&#125;\n</p>\n</div>\n"
    )


def test_numbers():
    assert text.percent(0.0213) == "2.1\u00a0%"
    assert text.percent(0.5) == "50\u00a0%"
    assert text.percent(1.0) == "100\u00a0%"
    assert text.percent(-0.00034) == "−0.034\u00a0%"
    assert text.percent(0.0) == "0\u00a0%"
    assert text.percent(float("nan")) == "not a number"
    assert text.number(4224) == "4,224"
    assert text.number(322.2098) == "322"
    assert text.number(-0.016723) == "−0.0167"
    assert text.number(1e-12) == "1.00e−12"


def test_channels_and_factors_are_counted_apart():
    assert text.counted(674, 25) == "649 channels and 25 factors"
    assert text.counted(2, 1) == "1 channel and 1 factor"
    assert text.counted(4224, 0) == "4,224 channels"
    assert text.counted(1, 1) == "1 factor"
    assert text.counted(0, 0) == "no channels"
