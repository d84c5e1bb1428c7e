"""Sparse autoencoders: against the definition, on planted directions, from files of others."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from atlas.errors import UserError
from atlas.factors import autoencoder_file, finding, sae
from atlas.factors.finding import LayerSample
from atlas.factors.layers import SIGNED, Range
from tests.factors.test_directions import planted

CPU = torch.device("cpu")


def by_definition(rows, weights, bias, offset, active):
    """Return TopK's coefficients, row by row in plain NumPy."""
    found = np.zeros((len(rows), len(bias)))
    for row, values in zip(found, (rows - offset) @ weights.T + bias, strict=True):
        best = np.argsort(values)[-active:]
        row[best] = np.maximum(values[best], 0)
    return found


def decoded(path, channels=6, active=2):
    """Return coefficients and what they stand for, on the positions of `written`."""
    directions, encoder = autoencoder_file.read(path, "l", channels, active)
    rows = np.random.default_rng(5).standard_normal((20, channels)).astype(np.float32)
    found = sae.coefficients(torch.from_numpy(rows), encoder).numpy()
    return rows, found, found @ directions + encoder.offset


@pytest.fixture
def numbers():
    """An autoencoder of 5 factors of 6 channels; its directions have lengths other than 1."""
    random = np.random.default_rng(4)
    shapes = {"weights": (5, 6), "bias": 5, "decoder": (5, 6), "offset": 6}
    return {
        name: (2 * random.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize(
    "names",
    [
        {"W_enc": "weights.T", "b_enc": "bias", "W_dec": "decoder", "b_dec": "offset"},  # SAELens
        {"encoder.weight": "weights", "encoder.bias": "bias", "W_dec": "decoder",
         "b_dec": "offset"},  # sparsify
        {"encoder.weight": "weights", "latent_bias": "bias", "decoder.weight": "decoder.T",
         "pre_bias": "offset"},
        {"encoder.weight": "weights", "encoder.bias": "bias", "decoder.weight": "decoder.T",
         "decoder.bias": "offset"},
    ],
)  # fmt: skip
def test_an_autoencoder_of_a_file_encodes_and_decodes_as_it_was_trained(numbers, names, tmp_path):
    path = tmp_path / "sae.safetensors"
    arrays = {}
    for name, of in names.items():
        array = numbers[of.removesuffix(".T")]
        arrays[name] = np.ascontiguousarray(array.T if of.endswith(".T") else array)
    save_file(arrays, path)
    rows, found, whole = decoded(path)
    mine = by_definition(rows, numbers["weights"], numbers["bias"], numbers["offset"], 2)
    np.testing.assert_allclose(whole, mine @ numbers["decoder"] + numbers["offset"], atol=1e-5)
    lengths = np.linalg.norm(numbers["decoder"], axis=1)
    np.testing.assert_allclose(found, mine * lengths, atol=1e-5)


def test_one_without_biases_and_in_half_precision_is_read_too(numbers, tmp_path):
    path = tmp_path / "sae.safetensors"
    halves = {
        name: torch.from_numpy(numbers[of]).bfloat16()
        for name, of in (("encoder.weight", "weights"), ("W_dec", "decoder"))
    }
    save_tensors(halves, path)
    rows, _, whole = decoded(path)
    weights, decoder = (halves[name].float().numpy() for name in ("encoder.weight", "W_dec"))
    mine = by_definition(rows, weights, np.zeros(5), np.zeros(6), 2)
    np.testing.assert_allclose(whole, mine @ decoder, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": np.ones(5, np.float32)}, "has 'threshold', which is no part"),
        ({"W_dec": None}, "has no decoder"),
        ({"W_dec": np.ones((5, 7), np.float32)}, r"no autoencoder of layer 'l'.*\[5, 7\]"),
        ({"b_enc": np.ones(4, np.float32)}, r"its bias has the shape \[4\]"),
        ({"W_dec": np.zeros((5, 6), np.float32)}, "directions of length 0"),
        ({"b_dec": np.full(6, np.nan, np.float32)}, "not finite"),
    ],
)
def test_what_is_no_autoencoder_of_the_layer_is_refused_in_one_line(
    numbers, change, message, tmp_path
):
    path = tmp_path / "sae.safetensors"
    arrays = {"W_enc": np.ascontiguousarray(numbers["weights"].T), "W_dec": numbers["decoder"]}
    save_file({k: v for k, v in {**arrays, **change}.items() if v is not None}, path)
    with pytest.raises(UserError, match=message):
        autoencoder_file.read(path, "l", 6, 2)


def test_no_file_no_safetensors_and_too_many_active_factors_are_said(numbers, tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        autoencoder_file.read(tmp_path / "none", "l", 6, 2)
    (tmp_path / "pickle").write_bytes(b"\x80\x04")
    with pytest.raises(UserError, match="is no safetensors file"):
        autoencoder_file.read(tmp_path / "pickle", "l", 6, 2)
    path = tmp_path / "sae.safetensors"
    save_file({"encoder.weight": numbers["weights"], "W_dec": numbers["decoder"]}, path)
    with pytest.raises(UserError, match=r"active = 6: .* has 5 factors"):
        autoencoder_file.read(path, "l", 6, 6)


def sparse(signed):
    """Return positions (1500, 24) in each of which 2 of 8 directions add up, and these."""
    random = np.random.default_rng(3)
    directions = random.standard_normal((8, 24)) if signed else random.gamma(0.3, 1, (8, 24))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    made = np.zeros((1500, 8))
    for row in made:
        row[random.choice(8, 2, replace=False)] = random.random(2) + 0.5
    return (made @ directions).astype(np.float32), directions


@pytest.mark.parametrize("signed", [False, True])
def test_planted_directions_are_learned(signed, monkeypatch):
    monkeypatch.setattr(sae, "STEPS", 1200)
    monkeypatch.setattr(sae, "BATCH", 64)
    positions, directions = sparse(signed)
    found = sae.train(positions, 12, 2, 0, CPU, signed=signed)
    closest = np.sort((directions @ found.directions.T).max(axis=1))
    assert closest[0] > 0.9
    assert closest[2] > 0.99
    assert found.explained > 0.95
    assert bool((found.directions < 0).any()) == signed
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=1), 1, atol=1e-5)
    assert found.energy.sum() == pytest.approx(1)
    assert (np.diff(found.energy) <= 0).all()
    # What it holds, once more by the definition.
    encoder = found.encoder
    mine = by_definition(positions, encoder.weights, encoder.bias, encoder.offset, 2)
    left = positions - mine @ found.directions
    expected = 1 - (left**2).sum() / (positions**2).sum()
    assert found.explained == pytest.approx(expected, abs=1e-4)


def test_the_same_seed_learns_the_same_and_another_one_does_not(monkeypatch):
    monkeypatch.setattr(sae, "STEPS", 60)
    positions, _ = planted(4, 12, seed=1, pictures=40)
    sampled = LayerSample("l", positions, Range(high=6.0))
    one, again, other = (finding.by_autoencoder(sampled, 6, 2, seed, CPU) for seed in (0, 0, 1))
    assert one.digest == again.digest != other.digest
    assert (one.name, one.ceiling, one.signed) == ("l/sae6", 6.0, False)
    assert one.stability.shape == (6,)
    signed = finding.by_autoencoder(LayerSample("l", positions, SIGNED), 6, 2, 0, CPU)
    assert (signed.ceiling, signed.signed) == (None, True)


def test_a_silent_layer_has_factors_of_nothing(monkeypatch):
    monkeypatch.setattr(sae, "STEPS", 1)
    found = sae.train(np.zeros((9, 4), np.float32), 3, 2, 0, CPU, signed=False)
    assert found.explained == 0
    assert not found.energy.any()
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=1), 1, atol=1e-5)
