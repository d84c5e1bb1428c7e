import math
import shutil

import numpy as np
import pytest
import torch
import transformers as tf

from atlas.errors import UserError
from atlas.naming import clip
from atlas.probe.probe import Responses
from atlas.store import names, open_store


def test_soft_wpmi_is_the_formula_written_out():
    random = np.random.default_rng(0)
    similarity = random.random((120, 4))
    activations = random.random((120, 3)).astype(np.float32)
    found = clip.soft_wpmi(similarity, activations)

    def probability(picture, phrase):
        scores = [math.exp(10 * s) for s in similarity[picture]]
        return scores[phrase] / sum(scores)

    def inside(channel, phrase):
        order = sorted(range(120), key=lambda row: -activations[row, channel])[:100]
        total = 0.0
        for place, picture in enumerate(order):
            weight = 0.998 - (0.998 - 0.97) * place / 99
            total += math.log(1 + weight * (probability(picture, phrase) - 1) + 1e-7)
        return total

    for phrase in range(4):
        each = [inside(channel, phrase) for channel in range(3)]
        anywhere = math.log(sum(math.exp(value) for value in each) / 3)
        assert found[:, phrase] == pytest.approx([value - anywhere for value in each])


def test_a_channel_gets_the_phrase_of_its_pictures():
    random = np.random.default_rng(1)
    truth = random.integers(4, size=400)
    similarity = 0.2 + 0.1 * (truth[:, None] == np.arange(4)) + 0.01 * random.normal(size=(400, 4))
    activations = (truth[:, None] == np.arange(4)).astype(np.float32)
    fit = clip.soft_wpmi(similarity, activations)
    assert fit.argmax(1).tolist() == [0, 1, 2, 3]


def test_a_clip_model_names_an_atlas_once(built, plain_words, tmp_path):
    torch.manual_seed(0)
    tokens = plain_words
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = tf.CLIPConfig(
        text_config={**tower, "vocab_size": len(tokens), "eos_token_id": 2, "pad_token_id": 0,
                     "max_position_embeddings": 20, "num_attention_heads": 4},
        vision_config={**tower, "image_size": 32, "patch_size": 8, "num_attention_heads": 4},
        projection_dim=16,
    )  # fmt: skip
    tokens.model_max_length = 20
    tf.CLIPModel(config).save_pretrained(tmp_path / "clip")
    size = {"height": 32, "width": 32}
    images = tf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    tf.CLIPProcessor(images, tokens).save_pretrained(tmp_path / "clip")
    model = clip.load(str(tmp_path / "clip"), "")
    assert np.allclose(np.linalg.norm(model.texts(["red", "a blue disc"]), axis=1), 1, atol=1e-5)

    many = [f"word {number}" for number in range(700)]
    sizes = []

    class Watched:
        def texts(self, texts):
            sizes.append(len(texts))
            return model.texts(texts)

    assert np.allclose(clip._encoded(Watched(), many), model.texts(many), atol=1e-6)
    assert sum(sizes) == 700 and max(sizes) <= 256  # memory does not grow with the list

    copy = tmp_path / "atlas"
    shutil.copytree(built, copy, ignore=shutil.ignore_patterns("site", "pages"))
    store = open_store(copy)
    channels, images = store.table("channels").num_rows, store.table("images").num_rows
    random = np.random.default_rng(0)
    values = random.random((images, channels)).astype(np.float32)
    responses = Responses(np.arange(images), values)
    (tmp_path / "words.txt").write_text("red\nblue disc\n\nstripes\nred\n")
    phrases = clip.read_phrases(str(tmp_path / "words.txt"))
    assert phrases.texts == ("red", "blue disc", "stripes")
    assert clip.run(store, model, responses, phrases) == channels
    assert clip.run(store, model, responses, phrases) == 0
    assert {record.name for record in names.read(store)} <= set(phrases.texts)


def test_the_mark_at_the_start_of_a_list_of_words_is_no_part_of_it(tmp_path):
    plain, marked = tmp_path / "plain.txt", tmp_path / "marked.txt"
    plain.write_text("red\nblue disc\n", "utf-8")
    marked.write_text("red\nblue disc\n", "utf-8-sig")
    assert clip.read_phrases(str(marked)) == clip.read_phrases(str(plain))
    marked.write_text("red\nblue disc\n", "utf-16")
    with pytest.raises(UserError, match="UTF-8"):
        clip.read_phrases(str(marked))
