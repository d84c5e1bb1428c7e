"""What it would take for another answer, against the network run by hand on all small sets."""

from itertools import combinations
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from atlas.explain import bases
from atlas.explain.background import Name
from atlas.explain.counterfactuals import (
    Asked,
    ConceptLayer,
    SameAnswerError,
    centre,
    counterfactual,
    moved,
    real_picture,
)
from atlas.factors.concepts import FactorConcepts
from atlas.relevance.engine import PREDICTED
from atlas.store.bases import Basis, SparseEncoder
from tests.factors.test_maps import LAYER, basis, network
from tests.relevance.looking import instrumented

CLASSES = ["a", "b", "c", "d"]
BACKGROUND = SimpleNamespace(
    classes=CLASSES, name=lambda layer, channel: Name(f"concept {channel}", None, None, None)
)


@pytest.fixture(scope="module", params=["channels", "factors"])
def world(request):
    """A small network with four classes, and 40 pictures with their answers."""
    module = network()
    torch.manual_seed(5)
    images = 2 * torch.randn(40, 3, 16, 16) + torch.randn(40, 3, 1, 1)
    with torch.no_grad():  # every class is the answer of some
        nn.init.normal_(module[-1].weight, std=2)
        module[-1].bias -= module(images).mean(dim=0)
    model = instrumented(module, (3, 16, 16), [LAYER])
    module[4].inplace = False  # what is captured below stays as it is
    factors = FactorConcepts(basis()) if request.param == "factors" else None
    name = factors.basis.name if factors else LAYER
    return SimpleNamespace(
        module=module, images=images, layer=ConceptLayer(model, name, factors),
        answers=module(images).argmax(dim=1).tolist(),
    )  # fmt: skip


def by_hand(world, image, ours, theirs, sets):
    """Return the answers with the maps of each set of concepts taken from elsewhere."""
    found = []
    for some in sets:
        if world.layer.factors is None:
            output = world.module[:4](image)[0].clone()
            output[list(some)] = theirs.output[list(some)]
        else:
            output = world.module[:4](image)[0].relu()
            for one in some:
                output = output + share(world, theirs, one) - share(world, ours, one)
        found.append(int(world.module[4:](output[None]).argmax()))
    return found


def share(world, picture, factor):
    """Return a factor's part of a layer's output, unit by unit."""
    directions = torch.from_numpy(world.layer.factors.basis.directions)
    made = [
        torch.einsum("hw,c->chw", one, way)
        for one, way in zip(picture.maps, directions, strict=True)
    ]
    whole = sum(made)
    return torch.where(whole > 0, picture.output.relu() * made[factor] / whole, 0)


def tried(world, number: int, label: int):
    """Return what is found for one picture, its maps, and the pictures that could be copied."""
    measured = world.layer.measured(world.images[number : number + 1], PREDICTED)
    same = [n for n, answer in enumerate(world.answers) if answer == label][:3]
    pictures = tuple(
        real_picture(world.layer, n, f"{n}.png", world.images[n : n + 1], label) for n in same
    )
    asked = Asked(label, world.layer, pictures)
    image = world.images[number : number + 1]
    found = counterfactual(asked, image, measured, [], BACKGROUND)
    return found, image, measured, pictures


def way(start, end):
    if start is None or end is None:
        return 0, 0
    return round(end[0] - start[0]), round(end[1] - start[1])


def cases(world, many):
    """Pictures with another class that other pictures have."""
    every = sorted({*world.answers})
    assert len(every) > 2
    for number in range(many):
        yield number, next(label for label in every[number % 2 :] if label != world.answers[number])


def test_the_steps_do_what_they_say_and_none_smaller_does(world):
    lengths = set()
    for number, label in cases(world, 10):
        found, image, measured, pictures = tried(world, number, label)
        answer, maps = world.answers[number], measured.activation[world.layer.name]
        ours = SimpleNamespace(maps=maps, output=measured.activation[LAYER])
        nothing = SimpleNamespace(maps=0 * maps, output=0 * ours.output)
        here = centre(measured.relevance[world.layer.name])
        shifted = {one.image: one.moved(*way(one.centre, here)) for one in pictures}
        assert found.become is not None
        assert found.source is not None
        source = shifted[found.source.image]
        every = range(len(maps))
        for changes, ways, wanted in (
            (found.leave, [nothing], lambda got, own=answer: got != own),
            (found.become, [source, *shifted.values()], lambda got, to=label: got == to),
        ):
            channels = [step.channel for step in changes.steps]
            course = [channels[: n + 1] for n in range(len(channels))]
            got = by_hand(world, image, ours, ways[0], course)
            assert got == [step.answer for step in changes.steps]
            assert changes.reached == wanted(got[-1])
            lengths.add(changes.count)
            sizes = range(1, min(len(channels), 4) if changes.reached else 4)
            smaller = [
                any(map(wanted, by_hand(world, image, ours, way, combinations(every, size))))
                for way in ways for size in sizes
            ]  # fmt: skip
            assert not any(smaller)
            assert changes.fewest == (changes.reached and len(channels) <= 4)
            probability = world.layer.copied(image, measured, ways[0])(
                torch.zeros(1, len(maps)).scatter(1, torch.tensor([channels]), 1).bool()
            ).softmax(dim=1)[0]
            assert changes.steps[-1].probability == pytest.approx(float(probability[label]))
            assert changes.steps[-1].own == pytest.approx(float(probability[answer]))
    assert len(lengths) > 1


def test_the_same_comes_every_time(world):
    (number, label), *_ = cases(world, 1)
    assert tried(world, number, label)[0] == tried(world, number, label)[0]


def test_a_picture_with_another_target_is_changed_for_its_answer(world):
    (number, label), *_ = cases(world, 1)
    found, image, _, pictures = tried(world, number, label)
    other = world.layer.measured(image, label)
    asked = Asked(label, world.layer, pictures)
    assert counterfactual(asked, image, other, [], BACKGROUND) == found


def test_without_a_picture_of_the_class_there_is_nothing_to_copy(world):
    (number, label), *_ = cases(world, 1)
    image = world.images[number : number + 1]
    measured = world.layer.measured(image, PREDICTED)
    found = counterfactual(Asked(label, world.layer, ()), image, measured, [], BACKGROUND)
    assert found.become is None
    assert found.source is None
    assert found.leave.steps


def test_the_answer_itself_is_refused(world):
    with pytest.raises(SameAnswerError, match="takes it for 'b': ask for another class"):
        Asked(1, world.layer, ()).check(torch.tensor([0.1, 2.0, 0.3, 0.0]), CLASSES)
    Asked(1, world.layer, ()).check(torch.tensor([2.0, 0.1, 0.3, 0.0]), CLASSES)
    for label in range(2):
        with pytest.raises(SameAnswerError, match="cannot decide between 2 classes for it"):
            Asked(label, world.layer, ()).check(torch.tensor([2.0, 2.0, 0.3, 0.0]), CLASSES)


def test_maps_are_moved_and_nothing_comes_in_from_the_other_side():
    maps = torch.arange(12.0).reshape(1, 3, 4)
    assert moved(maps, 1, -2)[0].tolist() == [[0, 0, 0, 0], [2, 3, 0, 0], [6, 7, 0, 0]]
    assert moved(maps, -2, 1)[0].tolist() == [[0, 8, 9, 10], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert torch.equal(moved(maps, 0, 0), maps)
    assert not moved(maps, 3, 0).any()


def test_the_centre_is_that_of_what_speaks_for_a_class():
    relevance = torch.zeros(2, 5, 5)
    relevance[0, 1, 2], relevance[1, 3, 4], relevance[0, 0, 0] = 1.0, 3.0, -7.0
    assert centre(relevance) == (2.5, 3.5)
    assert centre(-relevance.abs()) is None


@pytest.mark.parametrize("signed", [False, True])
def test_what_is_not_changed_stays_as_it_is_with_an_autoencoder_too(signed):
    """What it adds everywhere is no factor's, and a sign is kept where the network has one."""
    torch.manual_seed(2)
    last = nn.Sequential(nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(6 * 36, 4))
    module = network(last)
    if signed:
        module[4] = nn.Identity()
    encoder = SparseEncoder(
        torch.randn(5, 8).numpy(), torch.randn(5).numpy(), torch.randn(8).numpy(),
        torch.ones(5).numpy(), 3,
    )  # fmt: skip
    nmf = basis()
    sparse = Basis(LAYER, "sae", nmf.directions, nmf.energy, None, None, signed, encoder)
    factors = FactorConcepts(sparse)
    image = torch.randn(1, 3, 16, 16)
    model = instrumented(module, (3, 16, 16), [LAYER], None)
    output = module[:4](image)[0]
    found = factors.coefficients(output)
    taken = torch.tensor([[0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
    logits = bases.without_factors(model, image, factors, output, found)(taken)
    torch.testing.assert_close(logits[:1], module(image))
    # Wherever a factor is active, all of the output is shared: without them nothing is left.
    active = found.sum(dim=0) > 0
    assert active.any()
    gone = torch.where(active, 0, output if signed else output.relu())
    torch.testing.assert_close(logits[1:], module[5:](gone[None]))
    shares = factors.shared(output, found)
    torch.testing.assert_close(
        shares.sum(dim=0) + gone, output if signed else output.relu(), atol=1e-5, rtol=1e-5
    )
    assert (found == 0).any()
    assert not shares.movedim(1, -1)[found == 0].any()
