"""The index finds what a full comparison finds, and says how well."""

from unittest.mock import patch

import faiss
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from atlas.errors import UserError
from atlas.model.preprocessing import Preprocessor
from atlas.patches import encoders, vectors
from atlas.trace.record import record


def draw(count: int, dimension: int = 24) -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.standard_normal((count // 20 + 1, dimension))
    data = centres[np.arange(count) // 20] + 0.5 * random.standard_normal((count, dimension))
    return (data / np.linalg.norm(data, axis=1, keepdims=True)).astype(np.float32)


def build(data: np.ndarray) -> vectors.Growing:
    size = vectors.sample_size(*data.shape)
    sample = data[np.linspace(0, len(data) - 1, size).astype(int)]
    growing = vectors.begin(sample, *data.shape)
    for chunk in np.array_split(data, 7):
        vectors.add(growing, chunk)
    return growing


def test_a_small_index_is_exact_and_in_the_order_of_the_rows(tmp_path):
    data = draw(300)
    built = build(data)
    assert (built.factory, vectors.recall(built, data.__getitem__)) == ("Flat", 1.0)
    vectors.save(built.index, tmp_path / "patches.faiss")
    index = faiss.read_index(str(tmp_path / "patches.faiss"))
    np.testing.assert_array_equal(index.reconstruct_n(0, 300), data)
    similarity, rows = index.search(data[:20], 10)
    expected = -np.sort(-(data[:20] @ data.T), axis=1)[:, :10]
    np.testing.assert_allclose(similarity, expected, rtol=1e-5)
    assert (rows[:, 0] == np.arange(20)).all()


def test_a_large_index_is_compressed_and_its_recall_is_the_true_one():
    data = draw(4000)
    with patch.object(vectors, "FLAT_LIMIT", 1000):
        built = build(data)
    assert built.factory.startswith("IVF")
    rows = built.index.search(data, 10)[1]
    true = np.argsort(-(data @ data.T), axis=1, kind="stable")[:, :10]
    hits = [len(set(a) & set(b)) for a, b in zip(rows.tolist(), true.tolist(), strict=True)]
    assert vectors.recall(built, data.__getitem__) == pytest.approx(np.mean(hits) / 10, abs=0.05)
    assert vectors.recall(built, data.__getitem__) > 0.9
    assert built.index.ntotal == 4000


def test_of_many_patches_that_are_the_same_any_is_found():
    data = np.repeat(draw(100), 40, axis=0)  # as where many channels have one patch
    with patch.object(vectors, "FLAT_LIMIT", 1000):
        built = build(data)
    assert vectors.recall(built, data.__getitem__) > 0.99
    far = np.random.default_rng(0).permutation(len(data))  # rows of others
    assert vectors.recall(built, lambda rows: data[far[rows]]) < 0.1


def test_wide_vectors_are_reduced():
    assert vectors.factory(200_000, 4096) == "PCA512,IVF447,SQ8"
    assert vectors.factory(50_000, 4096).startswith("PCA512")  # 800 MB as they are
    assert vectors.factory(50_000, 512) == "Flat"


def pictures(count: int = 3, side: int = 32) -> list[Image.Image]:
    random = np.random.default_rng(0)
    drawn = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in drawn]


@pytest.fixture(scope="module")
def network():
    """A network whose last weighted layer reads means, and its encoder."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(inplace=True), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(4, 2),
    ).eval()  # fmt: skip
    half = (0.5, 0.5, 0.5)
    view = Preprocessor(32, 32, half, half)
    trace = record(module, torch.randn(1, 3, 32, 32))
    return module, view, encoders.network_encoder(module, "", trace, view, torch.device("cpu"))


def test_the_networks_own_map_is_the_last_before_its_last_layer(network):
    module, view, encoder = network
    assert encoder.name == "last map before 4"
    with torch.no_grad():
        expected = module[:2](view.tensor(pictures()))
    torch.testing.assert_close(encoder.maps(pictures()), expected)
    vectors_ = expected.mean((2, 3)).numpy()
    vectors_ /= np.linalg.norm(vectors_, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(pictures()), vectors_, rtol=1e-5)


def test_a_small_picture_is_a_piece_of_one_at_its_own_scale(network):
    """The same object is more alike the small it was drawn than blown up."""
    module, view, encoder = network
    whole = pictures(1)[0].resize((8, 8)).resize((32, 32), Image.Resampling.BICUBIC)
    piece = whole.crop((8, 4, 24, 28))  # 16 x 24
    with torch.no_grad():
        canvas = Image.new(
            "RGB", (32, 32), piece.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        )
        canvas.paste(piece, (8, 4))
        maps = module[:2](view.tensor([canvas]))
    from atlas.patches.pooling import pooled

    everywhere = torch.ones(1, 1, 1)
    expected = pooled(maps, torch.tensor([[8, 4, 24, 28]]), everywhere, (32, 32)).numpy()
    np.testing.assert_allclose(encoder.encode([piece]), expected, rtol=1e-4)
    large = piece.resize((160, 240), Image.Resampling.BICUBIC)
    assert encoder.encode([large]).shape == (1, 4)


def tiny(kind: str, folder: str) -> None:
    """Save a tiny encoder with random weights, as a real one lies on the disk."""
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    if kind == "clip":
        text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "intermediate_size": 16, "vocab_size": 50}  # fmt: skip
        CLIPModel(
            CLIPConfig(text_config=text, vision_config=sizes, projection_dim=12)
        ).save_pretrained(folder)
        CLIPImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        ).save_pretrained(folder)
        return
    model = ViTModel(ViTConfig(**sizes)) if kind == "vit" else Dinov2Model(Dinov2Config(**sizes))
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 28, "width": 28}).save_pretrained(folder)


@pytest.mark.parametrize("kind", ["clip", "vit", "dinov2"])
def test_encoders_of_transformers_give_each_place_its_own_vector(kind, tmp_path):
    """Of a picture with one half grey, the tokens of the other half alone change with it."""
    tiny(kind, str(tmp_path))
    encoder = encoders.transformers_encoder(str(tmp_path), "", (56, 56), torch.device("cpu"))
    given = pictures(3, 56)
    maps = encoder.maps(given)
    assert maps.shape == (3, 16, 2, 2)
    torch.testing.assert_close(encoder.maps(given[:1]), maps[:1])
    changed = given[0].copy()
    changed.paste((128, 128, 128), (0, 0, 28, 28))
    moved = (encoder.maps([changed]) - maps[:1]).norm(dim=1)[0]
    assert moved.argmax() == 0  # the upper left place
    assert encoder.encode(given).shape == (3, 16)


def test_an_encoder_that_cannot_be_had_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"patches\.encoder") as caught:
        encoders.transformers_encoder(str(tmp_path / "none"), "", (56, 56), torch.device("cpu"))
    assert "\n" not in str(caught.value)
