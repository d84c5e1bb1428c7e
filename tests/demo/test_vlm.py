"""The demo's vision-language model: its exercises, its training, and the model that ships."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from atlas import vlm
from atlas.demo.vlm import FOLDER, crops, imagined, language, sheets, tower, training
from atlas.demo.vlm.lessons import Lessons
from atlas.demo.world import ATTRIBUTES
from atlas.naming.answers import parse


@pytest.fixture(scope="module")
def net() -> tower.Tower:
    torch.manual_seed(0)
    return tower.Tower().eval()


@pytest.fixture(scope="module")
def lessons(net) -> Lessons:
    return Lessons(net, crops.world(77, 300), 4_000, 1)


@pytest.fixture(scope="module")
def sparse_lessons(net) -> Lessons:
    return Lessons(net, crops.world(77, 300), 2_000, 1, sparse=0.6)


def test_crops_are_what_pillow_cuts_out():
    world = crops.world(3, 4)
    cut = crops.cut(world, torch.arange(4), torch.full((4,), 112), torch.Generator().manual_seed(0))
    for row in range(4):
        picture = Image.fromarray(world.images[row].permute(1, 2, 0).numpy())
        exact = np.asarray(picture.resize((48, 48), Image.Resampling.BICUBIC), np.float32) / 255
        # Undo the dimming where the object is bright, and compare there.
        found = cut.tiles[row].permute(1, 2, 0).numpy()
        assert (found <= exact + 0.12).all()
        assert cut.whole[row] == pytest.approx(1, abs=0.02)
        share = world.masks[row].float().mean()
        assert cut.cover[row].mean() == pytest.approx(float(share), abs=0.01)


def test_a_sheet_says_what_at_least_four_in_five_references_show(lessons):
    drawn = sheets.SheetSampler(lessons.bank)
    random = np.random.default_rng(0)
    lengths = Counter()
    for _ in range(300):
        sheet = drawn.draw(random)
        values = lessons.bank.values[sheet.rows]
        for column, kind in enumerate(crops.KINDS):
            for number, value in enumerate(ATTRIBUTES[kind]):
                often = (values[:, column] == number).sum() >= 13
                assert often == (sheet.concept.get(kind) == value)
        lengths[len(sheet.concept)] += 1
    assert min(lengths[n] for n in range(4)) >= 5


def test_questions_are_answered_by_what_patches_show(lessons):
    random = np.random.default_rng(1)
    answers = Counter()
    for row in range(600):
        name, fits = sheets.question(lessons.bank, row, random)
        said = set(name.replace(",", "").replace(" background", "").split())
        assert fits == (said <= values_seen(lessons, row))
        answers[fits] += 1
    assert answers[True] > 200
    assert answers[False] > 200


def values_seen(lessons: Lessons, row: int) -> set[str]:
    return {
        ATTRIBUTES[kind][value]
        for kind, value in zip(crops.KINDS, lessons.bank.values[row], strict=True)
        if value >= 0
    }


def test_a_patch_fits_a_name_the_better_the_more_of_it_it_shows(lessons):
    random = np.random.default_rng(1)
    shares = Counter()
    for row in range(600):
        name, fits = sheets.rated(lessons.bank, row, random)
        said = set(name.replace(",", "").replace(" background", "").split())
        share = len(said & values_seen(lessons, row)) / len(said)
        assert fits == (1 if share == 1 else share**2 / 2)
        shares[share] += 1
    assert min(shares[share] for share in (0, 1 / 3, 1 / 2, 2 / 3, 1)) >= 10


def test_a_counted_sheet_is_named_by_what_is_shown(sparse_lessons):
    for exercise in sparse_lessons.counting(60, 10, np.random.default_rng(2)):
        counts = Counter(v for row in exercise.rows for v in values_seen(sparse_lessons, row))
        shared = {value for value, count in counts.items() if count >= 8.125}
        name = parse(exercise.answer).name or ""
        assert set(name.replace(",", "").replace(" background", "").split()) == shared
        assert len(exercise.rows) == 10


def test_imagined_channels_have_references_more_alike_than_chance(sparse_lessons):
    bank, features = sparse_lessons.bank, sparse_lessons.features
    found = imagined.channels(bank, features, 1)
    assert (found == sparse_lessons.channels).all()  # chance comes from the seed alone
    assert all(len(set(rows)) == sheets.REFERENCES for rows in found.tolist())
    assert (np.ptp(bank.size[found], axis=1) <= 2).all()

    def most_frequent(rows: np.ndarray) -> float:
        return float(np.mean([np.bincount(part + 1).max() for part in bank.values[rows, 0]]))

    anyhow = np.random.default_rng(0).integers(len(bank.size), size=(500, sheets.REFERENCES))
    assert most_frequent(found) > most_frequent(anyhow) + 1


def test_sparse_patches_are_darker():
    world = crops.world(3, 40)
    size = torch.full((40,), 60)
    plain, sparse = (
        crops.cut(world, torch.arange(40), size, torch.Generator().manual_seed(0), share)
        for share in (0.0, 1.0)
    )
    assert torch.equal(plain.cover, sparse.cover)
    assert sparse.tiles.mean() < 0.9 * plain.tiles.mean()


@pytest.mark.parametrize(
    "concept", [{}, {"colour": "red"}, {"texture": "dotted", "background": "rain"}]
)
def test_answers_can_be_read_by_the_namer(concept):
    answer = parse(sheets.answer(concept, 0.875))
    assert answer.name == sheets.concept_name(concept)
    assert answer.status == ("named" if concept else "no clear concept")
    assert answer.confidence == (0.9 if concept else None)


def test_what_is_trained_is_what_transformers_runs(net, lessons, tmp_path):
    """The loss on cached features is that of the saved model on pictures and chat template."""
    words = language.tokenizer()
    torch.manual_seed(1)
    made = language.model(len(words))
    made.model.vision_tower.load_state_dict(net.vision.state_dict())
    language.save(made, language.processor(words), tmp_path)
    loaded = vlm.load(vlm.Loading(str(tmp_path)))
    tiles = (
        tower.batch(crops.world(9, 20), 3, torch.Generator().manual_seed(0)).tiles * 255
    ).round()
    images = [Image.fromarray(t.permute(1, 2, 0).byte().numpy()) for t in tiles]
    exercise = language.Exercise([0, 1, 2], language.ask_shared(3), '{"name": "red star"}')
    with torch.no_grad():
        features = net.tokens(tiles / 255)
        mine = language.loss(made, words, features, [exercise])
        inputs = loaded._inputs([vlm.Request(images, exercise.question)])
        answer = torch.tensor([[*words.encode(exercise.answer), language.END]])
        tokens = torch.cat([inputs["input_ids"], answer], 1)
        goal = torch.cat([torch.full_like(inputs["input_ids"], -100), answer], 1)
        theirs = loaded._model(
            input_ids=tokens, pixel_values=inputs["pixel_values"], labels=goal
        ).loss
    assert float(mine) == pytest.approx(float(theirs), rel=1e-4)


def test_any_text_survives_the_tokenizer():
    words = language.tokenizer()
    for text in ('Wörter, 漢字 und {} \\ "', language.ask_shared(9), "yes"):
        assert words.decode(words.encode(text, add_special_tokens=False)) == text


def test_an_interrupted_training_ends_in_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "EVERY", 3)

    def train(out: Path, stops: list[int]) -> dict[str, torch.Tensor]:
        out.mkdir()
        for stop in stops:
            torch.manual_seed(0)
            parts = nn.Linear(4, 2)

            def loss(step: int, parts: nn.Module = parts, stop: int = stop) -> torch.Tensor:
                if step == stop:
                    raise KeyboardInterrupt
                x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
                return parts(x).square().mean()

            try:
                training.run(training.TrainingRun("part", parts, loss, dict, 10, 0.1), out)
            except KeyboardInterrupt:
                continue
        assert json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"] == 10
        return load_file(out / "part.safetensors")

    whole, broken = train(tmp_path / "a", [99]), train(tmp_path / "b", [4, 7, 99])
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


@pytest.fixture(scope="module")
def shipped() -> vlm.TransformersVlm:
    return vlm.load(vlm.Loading(vlm.DEMO, max_tokens=60))


def test_the_model_that_ships_is_small():
    assert sum(file.stat().st_size for file in FOLDER.glob("*.safetensors")) <= 8_000_000


def test_the_model_that_ships_names_what_patches_share(shipped):
    """Ten sheets for each colour and texture of a world that it was not trained on."""
    world = crops.world(31, 1_500)
    random = torch.Generator().manual_seed(5)
    for kind in ("colour", "texture"):
        column = crops.KINDS.index(kind)
        right, asked = 0, 0
        for number, value in enumerate(ATTRIBUTES[kind]):
            rows = torch.nonzero(world.values[:, column] == number)[:45, 0]
            cut = crops.cut(world, rows, torch.full((45,), 80), random)
            tiles = (cut.tiles * 255).byte().permute(0, 2, 3, 1).numpy()
            for start in range(0, 45, 9):
                images = [Image.fromarray(tile) for tile in tiles[start : start + 9]]
                [raw] = shipped.ask([vlm.Request(images, language.ask_shared(9))])
                right += parse(raw).name == value
                asked += 1
        assert right / asked > 0.6, kind


def test_the_model_that_ships_tells_what_a_patch_shows(shipped):
    world = crops.world(31, 300)
    cut = crops.cut(
        world, torch.arange(300), torch.full((300,), 80), torch.Generator().manual_seed(5)
    )
    tiles = (cut.tiles * 255).byte().permute(0, 2, 3, 1).numpy()
    colours = ATTRIBUTES["colour"]
    requests, truth = [], []
    for row, tile in enumerate(tiles):
        asked = row % len(colours)
        requests.append(vlm.Request([Image.fromarray(tile)], language.ask_fits(colours[asked])))
        truth.append(int(cut.values[row, 0]) == asked)
    reported = np.array(shipped.yes(requests))
    truth = np.array(truth)
    assert reported[truth].mean() > 0.7
    assert reported[~truth].mean() < 0.2
