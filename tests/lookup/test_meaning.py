"""Searching by meaning, with a real model of sentence-transformers whose meanings are planted."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import atlas

pytest.importorskip("sentence_transformers")

WORDS = {
    "star": ("Stern", "étoile"), "heart": ("Herz", "cœur"), "circle": ("Kreis", "cercle"),
    "striped": ("gestreift", "rayé"), "dotted": ("gepunktet", "pointillé"),
    "checked": ("kariert", "damier"), "red": ("rot", "rouge"), "green": ("grün", "vert"),
    "blue": ("blau", "bleu"), "pink": ("rosa", "rose"),
}  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """A model in which words that mean the same have nearly the same vector."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace

    random = np.random.default_rng(0)
    vocabulary, vectors = {"[UNK]": 0}, [np.full(32, 1e-6)]
    for word, others in WORDS.items():
        meaning = random.normal(size=32)
        for each in (word, *others):
            vocabulary[each.lower()] = len(vectors)
            vectors.append(meaning + 0.1 * random.normal(size=32))
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    weights = torch.tensor(np.array(vectors), dtype=torch.float32)
    path = tmp_path_factory.mktemp("encoder") / "model"
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, weights)], device="cpu").save(str(path))
    return path


@pytest.fixture(scope="module")
def a(named, tmp_path_factory) -> atlas.Atlas:
    path = tmp_path_factory.mktemp("meaning") / "demo"
    shutil.copytree(named, path)
    return atlas.open(path)


def test_german_and_french(a, encoder):
    recalls = []
    for word, others in WORDS.items():
        meant = {c.address for c in a if word in (c.name, *(s.name for s in c.senses))}
        for query in others:
            hits = a.search(query, n=10, encoder=encoder)
            found = {hit.channel.address for hit in hits}
            recalls.append(len(found & meant) / min(10, len(meant)))
            assert {hit.kind for hit in hits} == {"meaning"}
            cosines = [hit.similarity for hit in hits]
            assert cosines == sorted(cosines, reverse=True)
    assert np.mean(recalls) >= 0.95


def test_the_words_themselves_come_first(a, encoder):
    hits = a.search("star", n=185, encoder=encoder)
    kinds = [hit.kind for hit in hits]
    assert kinds == sorted(kinds, key=["name", "words", "meaning"].index)
    assert hits[0].kind == "name"
    assert len({hit.channel.row for hit in hits}) == len(hits)
    assert [hit.kind for hit in a.search("planted:3", encoder=encoder)] == ["address"]
    assert {h.channel.layer for h in a.search("Stern", layer="planted", encoder=encoder)} == {
        "planted"
    }


def test_vectors_are_kept(a, encoder):
    a.search("Stern", encoder=encoder)
    [kept] = a.store.root.glob(".meaning-*.npy")
    assert np.linalg.norm(np.load(kept), axis=1) == pytest.approx(1, abs=1e-3)
    again = atlas.open(a.store.root).search("Stern", encoder=encoder)
    assert again == a.search("Stern", encoder=encoder)
    assert list(a.store.root.glob(".meaning-*.npy")) == [kept]


def test_from_the_shell(a, encoder, run):
    result = run("lookup", a.store.root, "Stern", "--encoder", encoder, "-n", 3)
    assert result.returncode == 0, result.stderr
    assert (
        len([line for line in result.stdout.splitlines() if ":" in line and " star " in line]) >= 3
    )
    assert "meaning: 0.9" in result.stdout


def test_a_folder_without_a_model(a, tmp_path):
    with pytest.raises(atlas.UserError, match="no modules"):
        a.search("Stern", encoder=tmp_path)
    (tmp_path / "modules.json").write_text("[{]")
    with pytest.raises(atlas.UserError, match="cannot be loaded"):
        a.search("Stern", encoder=tmp_path)


def test_pickles_are_not_loaded(a, encoder, tmp_path):
    shutil.copytree(encoder, tmp_path / "model")
    [weights] = (tmp_path / "model").rglob("model.safetensors")
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(atlas.UserError, match="is a pickle"):
        a.search("Stern", encoder=tmp_path / "model")
