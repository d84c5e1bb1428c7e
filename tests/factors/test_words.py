"""Where in a picture a word is, on drawn pictures whose objects are known to the pixel."""

import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from atlas import pipeline
from atlas.cli import main
from atlas.demo.world import draw
from atlas.errors import UserError
from atlas.explain.conditional import propagate
from atlas.factors import maps
from atlas.pipeline.trust import border
from atlas.recipe import recorded
from atlas.relevance.engine import PREDICTED
from atlas.store import bases, evidence, open_store
from tests.factors.conftest import LAYER
from tests.relevance.looking import instrumented

BASIS = f"{LAYER}/nmf3"


@pytest.fixture(scope="module")
def striped(tmp_path_factory):
    """A picture of a striped object that was not measured, its file and its truth."""
    one = next(p for p in (draw(9, n) for n in range(100)) if p.attributes["texture"] == "striped")
    path = tmp_path_factory.mktemp("drawn") / "one.png"
    Image.fromarray(one.image).save(path)
    return path, one


@pytest.fixture(scope="module")
def called(factored, tmp_path_factory):
    """The small atlas with factors, some of it called red: in an order that the network has not."""
    folder = tmp_path_factory.mktemp("called") / "tiny"
    shutil.copytree(factored, folder)
    store = open_store(folder)
    recipe = recorded(store.manifest())
    own = most(store)
    names = {
        f"{BASIS}:2": "red", "6:1": "red blob", f"{LAYER}:{own}": "red", "0:3": "red",
        f"{LAYER}:{(own + 1) % 8}": "green",
    }  # fmt: skip
    for address, name in names.items():
        part = bases.place(store) if address.startswith(BASIS) else store
        pipeline.rename(part, recipe, address, name, "me")
    return folder


def most(store):
    """Return the channel that is the largest part of factor 2."""
    (basis,) = bases.read(bases.place(store))
    return int(basis.directions[2].argmax())


def word_map(named, path, word, out, *overrides):
    store = open_store(named)
    recipe = recorded(store.manifest(), overrides)
    trusted = border(store, overrides, trust_code=True)
    return pipeline.word_maps(store, recipe, [path], word, out, border=trusted).done[0]


def refused(capsys, *arguments):
    """Return what the command prints that ends with exit status 2."""
    with pytest.raises(SystemExit) as left:
        main(["explain", *map(str, arguments), "--trust-code"], standalone_mode=False)
    assert left.value.code == 2
    return capsys.readouterr()


def test_a_word_is_where_the_object_is(named, striped, tmp_path):
    path, truth = striped
    found = word_map(named, path, "striped", tmp_path)
    warm = found.heat.clamp(min=0)
    inside = float(warm[torch.from_numpy(truth.mask)].sum() / warm.sum())
    assert inside > 0.75 > 2 * truth.mask.mean()
    assert found.shares["planted"] > 0.15
    assert np.asarray(Image.open(found.drawn)).shape == (112, 112, 3)


def test_of_a_word_that_is_not_there_less_relevance_is_found(named, striped, tmp_path):
    path, _ = striped
    there, absent = (word_map(named, path, word, tmp_path) for word in ("striped", "dotted"))
    assert absent.shares["planted"] == pytest.approx(0, abs=0.02)
    assert there.heat.sum() > 2 * absent.heat.sum()


def test_all_words_of_the_last_layer_add_up_to_its_relevance(named, striped, tmp_path):
    path, truth = striped
    words = [truth.attributes[kind] for kind in ("texture", "colour", "shape")]
    found = [word_map(named, path, word, tmp_path).shares["planted"] for word in words]
    assert sum(found) == pytest.approx(1, abs=0.02)


def test_the_command_draws_it_and_says_where(named, striped, run, tmp_path):
    path, _ = striped
    result = run("explain", named, path, "--word", "striped", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    drawn = re.match(r"(.*\.png): mean of the maps of 3 layers; .*planted \d+\.\d%", result.stdout)
    assert Image.open(drawn[1]).size == (112, 112)


def test_a_word_that_nothing_is_called_is_said(named, striped, tmp_path):
    with pytest.raises(UserError, match=r"no channel or factor of .* is called 'elephant'"):
        word_map(named, striped[0], "elephant", tmp_path)


def test_all_words_stand_in_one_name(called, pictures, tmp_path):
    """A channel called red is relevant for discs, and no red disc."""
    path = min(pictures.rglob("*.png"))
    assert [*word_map(called, path, "blob red", tmp_path).shares] == ["6"]
    with pytest.raises(UserError, match=r"no channel or factor of .* is called 'red disc'"):
        word_map(called, path, "red disc", tmp_path)


def test_layers_are_in_the_order_of_the_network_with_the_shares_of_explanations(
    called, pictures, tmp_path
):
    path = min(pictures.rglob("*.png"))
    found = word_map(called, path, "red", tmp_path)
    assert [*found.shares] == ["0", BASIS, LAYER, "6"]
    store = open_store(called)
    changes = ("explain.coverage=1.0", 'explain.layers=["*"]', "explain.concepts=32")
    done = pipeline.explain(
        store, recorded(store.manifest(), changes), [path], None,
        border(store, changes, trust_code=True),
    ).done  # fmt: skip
    shares = {one.address: one.share for one in evidence.read(done[0]).concepts}
    places = {"0": "0:3", BASIS: f"{BASIS}:2", LAYER: f"{LAYER}:{most(store)}", "6": "6:1"}
    for name, address in places.items():
        assert found.shares[name] == pytest.approx(shares.get(address, 0), abs=1e-5)
    assert found.shares[BASIS] > 0


def test_what_a_channel_and_a_factor_both_hold_counts_once(called, pictures, tmp_path):
    path = min(pictures.rglob("*.png"))
    chosen = f'explain.layers=["{LAYER}*"]'
    found = word_map(called, path, "red", tmp_path, chosen)
    store = open_store(called)
    network = pipeline.Inputs(
        recorded(store.manifest()), border=border(store, (), trust_code=True)
    ).network
    view = network.preprocessing.view(Image.open(path).convert("RGB"))
    image = network.preprocessing.tensor([view])
    measured = propagate(instrumented(network.module, image.shape[1:], (LAYER,)), image, PREDICTED)
    (basis,) = bases.read(bases.place(store))
    whole, output = measured.relevance[LAYER], measured.activation[LAYER]
    active = output.clamp(min=0)
    coefficients = maps.of_activation(output[None], basis)[0]
    made = coefficients[:, None] * torch.from_numpy(basis.directions)[:, :, None, None]
    divided = torch.maximum(made.sum(dim=0), active)
    part = whole * torch.where(divided > 0, made[2] / divided.clamp(min=1e-30), 0.0)
    own = most(store)
    assert part[own].abs().sum() > 0  # both hold some of it
    part[own] = whole[own]
    heat = measured.send(LAYER, part[None, None], []).heat[0]
    torch.testing.assert_close(found.heat, heat, atol=1e-5, rtol=1e-4)


def test_settings_say_where_to_look(called, pictures, tmp_path):
    path = min(pictures.rglob("*.png"))
    both = word_map(called, path, "red", tmp_path)
    channels = word_map(called, path, "red", tmp_path, "explain.basis=channels")
    factors = word_map(called, path, "red", tmp_path, "explain.basis=factors")
    last = word_map(called, path, "red", tmp_path, 'explain.layers=["6"]')
    assert [*channels.shares] == ["0", LAYER, "6"]
    assert [*factors.shares] == ["0", BASIS, "6"]
    assert [*last.shares] == ["6"]
    assert len({one.drawn for one in (both, channels, factors, last)}) == 4
    with pytest.raises(UserError, match=r"leave out where .* 'green': 3$"):
        word_map(called, path, "green", tmp_path, 'explain.layers=["6"]')


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(called, pictures, capsys, tmp_path):
    bad, good = tmp_path / "bad.png", min(pictures.rglob("*.png"))
    bad.write_text("no picture")
    out, error = refused(capsys, called, bad, good, "--word", "red", "--out", tmp_path)
    assert error.startswith(f"atlas: {bad} is not read: not a picture in a known format")
    drawn, said = out.split(": ", 1)
    assert Image.open(drawn).size == (48, 48)
    assert said.startswith("mean of the maps of 3 layers; share of")


@pytest.mark.parametrize(("arguments", "says"), [
    (("--word", "red", "--for", "expert"), "leave --for out"),
    (("--word", "red", "--set", "explain.concepts=3"), "--set explain.concepts=3: --word only"),
    (("--word", "red", "--questions", "questions"), "leave --questions and --answers out"),
    (("--set", f'explain.layers=["{BASIS}"]', "--set", "explain.basis=channels"),
     f"explain.layers: '{BASIS}' fits factors only"),
])  # fmt: skip
def test_what_would_have_no_effect_is_refused_in_one_line(
    called, pictures, capsys, arguments, says
):
    _, error = refused(capsys, called, min(pictures.rglob("*.png")), *arguments)
    (line,) = error.splitlines()
    assert says in line
