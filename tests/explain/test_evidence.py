"""Evidence end to end: what `atlas explain` writes, against the tables and the network."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atlas import pipeline, site
from atlas.cli import main
from atlas.data.imagenet import plain
from atlas.explain import interventions, regions
from atlas.explain.background import Background
from atlas.explain.conditional import propagate
from atlas.recipe import recorded
from atlas.store import claims, evidence, files, narrative, open_store
from tests.relevance.looking import instrumented


@pytest.fixture(scope="module")
def pictures_to_explain(pictures) -> list[Path]:
    return sorted(pictures.rglob("*.png"))[:3]


@pytest.fixture(scope="module")
def explained(named, pictures_to_explain) -> list[evidence.Evidence]:
    store = open_store(named)
    outcome = pipeline.explain(store, recorded(store.manifest()), pictures_to_explain, None)
    assert not outcome.failed
    return [evidence.read(folder) for folder in outcome.done]


def network_of(root: Path):
    inputs = pipeline.Inputs(recorded(open_store(root).manifest()))
    return inputs.network


def test_prediction_is_the_networks(explained, named, pictures_to_explain):
    network = network_of(named)
    for found, path in zip(explained, pictures_to_explain, strict=True):
        view = network.preprocessing.view(Image.open(path))
        logits = network.module(network.preprocessing.tensor([view]))[0]
        probability = logits.softmax(0)
        assert found.prediction[0].label == int(logits.argmax()) == found.target.label
        for guess in found.prediction:
            assert guess.probability == pytest.approx(float(probability[guess.label]), rel=1e-4)
        assert found.picture.sha256 == files.sha256(path)
        assert (found.picture.width, found.picture.height) == (60, 52)


def test_a_label_that_is_known_is_compared_with_the_answer(explained, named, pictures_to_explain):
    """Pictures of the data have their class folder's label; others that of a folder given."""
    root = named / "explanations"
    for found, path in zip(explained, pictures_to_explain, strict=True):
        assert found.truth is not None
        assert plain(found.truth.name) == plain(path.parent.name)
        assert found.truth == next(g for g in found.prediction if g.label == found.truth.label)
        wrong = found.truth.label != found.prediction[0].label
        kinds = {claim.kind: claim for claim in claims.read(root / found.id)}
        assert ("wrong" in kinds) == wrong
        texts = narrative.read(root / found.id)
        assert all(("wrong" in [c for s in t.sentences for c in s.claims]) == wrong for t in texts)
        assert not wrong or kinds["wrong"].caveat


def test_labels_of_other_folders_and_of_none(named, explained, pictures_to_explain, tmp_path):
    source, found = pictures_to_explain[0], explained[0]
    other = next(g for g in found.prediction if g.label != found.prediction[0].label)
    wrong, flat = tmp_path / "labelled" / other.name / "a.png", tmp_path / "b.png"
    wrong.parent.mkdir(parents=True)
    for path in (wrong, flat):
        shutil.copy(source, path)
    store = open_store(named)
    outcome = pipeline.explain(
        store, recorded(store.manifest()), [wrong, flat], None, labelled=tmp_path / "labelled"
    )
    first, second = (evidence.read(folder) for folder in outcome.done)
    assert first.truth is not None
    assert first.truth.label == other.label
    assert second.truth is None
    everyone = narrative.read(outcome.done[0])[0]
    assert f"By its label the picture shows “{other.name}”" in " ".join(
        one.text for one in everyone.sentences
    )


def test_the_command_prints_what_it_says(named, capsys, pictures_to_explain):
    for audience in ("everyone", "expert"):
        path = str(pictures_to_explain[0])
        main(
            ["explain", str(named), path, "--trust-code", "--for", audience], standalone_mode=False
        )
        folder, *lines = capsys.readouterr().out.splitlines()
        text = next(one for one in narrative.read(Path(folder)) if one.audience == audience)
        said = " ".join(" ".join(lines).split())
        assert said.startswith(" ".join(one.text for one in text.sentences))
        found = evidence.read(Path(folder))
        rows = json.loads((Path(folder) / "narrative.json").read_text())["table"]
        assert [row["id"] for row in rows][:1] == [found.of_layer(found.layers[-1].layer)[0].id]
        for one, row in zip(sorted(found.concepts, key=lambda c: [r["id"] for r in rows].index(
                c.id)), rows, strict=True):  # fmt: skip
            zero = found.effect(one.id, "zero")
            assert (row["share"], row["after"], row["logit"]) == (
                one.share, zero.probability, zero.logit)  # fmt: skip
            assert row["before"] == found.target.probability
            changes = found.changed(zero) and zero.tied == 1
            assert row["answer"] == (zero.answer_name if changes else None)
            assert row["tied"] == zero.tied
            line = [line for line in lines if one.address in line and " → " in line]
            assert len(line) == (audience == "expert")
            assert not line or line[0].split("  ")[-1].strip() == row["state"]


def test_coverage_is_reached_or_eight_are_taken(explained):
    for found in explained:
        for layer in found.layers:
            own = [one for one in found.concepts if one.layer == layer.layer]
            assert len(own) == layer.chosen <= 8
            assert sum(abs(one.share) for one in own) == pytest.approx(layer.coverage, rel=1e-4)
            wanted = 0.9 if layer is found.layers[-1] else 0.6
            assert layer.coverage >= wanted - 1e-5 or layer.chosen == 8
            assert sum(abs(one.share) for one in own[:-1]) < wanted
            assert [one.rank for one in own] == list(range(1, len(own) + 1))
            for one in own:
                assert one.relevance / layer.absolute == pytest.approx(one.share, rel=1e-4)
                assert one.direction == ("for" if one.share > 0 else "against")


def test_names_and_usual_shares_are_those_of_the_tables(explained, named):
    store = open_store(named)
    channels = {(r["layer"], r["channel"]): (n, r) for n, r in
                enumerate(store.table("channels").to_pylist())}  # fmt: skip
    classes = store.table("classes").to_pylist()
    some = 0
    for found in explained:
        assert found.named
        for one in found.concepts:
            row, values = channels[one.layer, one.channel]
            assert one.name == values["name"]
            assert one.usual == pytest.approx(classes[found.target.label]["shares"][row], rel=1e-4)
            assert one.usual_pictures == classes[found.target.label]["count"] > 0
            some += one.name is not None
    assert some


def test_the_picture_of_a_reference_stands_where_it_stood(explained, named):
    """The pre-pass saw these pictures: their scores are among its own."""
    exact = 0
    for found in explained:
        for one in found.concepts:
            for standing in (one.activation, one.relevance_standing):
                assert standing is not None
                assert standing.pictures == 30
                expected = 100 * (1 - standing.higher / 30)
                if standing.exact:
                    assert standing.percentile == pytest.approx(expected, rel=1e-4)
                else:  # nothing is known but that others had more
                    assert standing.percentile is None
                exact += standing.exact
    assert exact
    background = Background(open_store(named))
    references = open_store(named).table("references").to_pylist()
    for row in references[:: len(references) // 7]:
        standing = background.standing(row["mode"], row["layer"], row["channel"], row["score"])
        assert standing.exact or standing.value < 0
        assert standing.higher <= row["rank"]


def test_effects_are_those_of_a_network_without_the_channel(explained, named, pictures_to_explain):
    network = network_of(named)
    means = {(r["layer"], r["channel"]): r["act_mean"] for r in
             open_store(named).table("channels").to_pylist()}  # fmt: skip
    found, path = explained[0], pictures_to_explain[0]
    image = network.preprocessing.tensor([network.preprocessing.view(Image.open(path))])
    for one in found.concepts:
        for kind, value in (("zero", 0.0), ("mean", means[one.layer, one.channel])):

            def hook(_m, _i, output, one=one, value=value):
                output = output.clone()
                output[:, one.channel] = value
                return output

            handle = network.module.get_submodule(one.layer).register_forward_hook(hook)
            logits = network.module(image)[0]
            handle.remove()
            several = next(each.effects for each in found.effects if each.concept == one.id)
            if kind == "mean" and "mean" not in {each.kind for each in several}:
                zero = found.effect(one.id, "zero")  # the mean does the same
                assert zero.logit == pytest.approx(float(logits[found.target.label]), rel=2e-4)
                continue
            effect = found.effect(one.id, kind)
            assert effect.logit == pytest.approx(float(logits[found.target.label]), abs=1e-4)
            expected = float(logits.softmax(0)[found.target.label])
            assert effect.probability == pytest.approx(expected, abs=1e-4)


def test_curves_begin_with_the_picture_and_areas_are_their_means(explained):
    for found in explained:
        kinds = {(curve.layer, curve.kind) for curve in found.curves}
        for layer in found.layers:
            assert {(layer.layer, "zero"), (layer.layer, "blur")} <= kinds
            own = [one for one in found.effects if found.concept(one.concept).layer == layer.layer]
            tried = {effect.kind for one in own for effect in one.effects}
            assert ("mean" in tried) == ((layer.layer, "mean") in kinds)
        for curve in found.curves:
            assert {course.order for course in curve.courses} == set(evidence.ORDERS)
            for course in curve.courses:
                assert course.logit[0] == pytest.approx(found.target.logit, rel=1e-4)
                assert course.probability[0] == pytest.approx(found.target.probability, rel=1e-4)
                area = np.trapezoid(course.logit, dx=1 / (len(course.logit) - 1))
                assert course.area_logit == pytest.approx(area, rel=1e-3, abs=1e-4)
            first = next(c for c in curve.courses if c.order == "relevance")
            if curve.kind != "blur":
                best = max((o for o in found.concepts if o.layer == curve.layer),
                           key=lambda o: o.share)  # fmt: skip
                assert first.taken[0] == best.address
                alone = found.effect(best.id, curve.kind)
                assert first.logit[1] == pytest.approx(alone.logit, abs=1e-4)


def test_flow_shares_add_up_to_at_most_one(explained):
    for found in explained:
        upper = {one.id for one in found.concepts if one.layer != found.layers[0].layer}
        assert {flow.concept for flow in found.flow} == upper
        for flow in found.flow:
            assert len(flow.feeds) <= 3
            assert sum(abs(feed.share) for feed in flow.feeds) <= 1 + 1e-6


def test_evidence_reads_back_as_it_was_written(explained, tmp_path):
    evidence.write(explained[0], tmp_path)
    assert evidence.read(tmp_path) == explained[0]
    assert json.loads((tmp_path / "evidence.json").read_text())["version"] == 3


def test_a_region_holds_half_of_the_mass_and_has_a_place():
    heat = torch.zeros(2, 64, 64)
    heat[0, 4:12, 50:60] = 1.0
    heat[1, 50:60, 28:36] = -2.0
    masses = regions.mass(heat)
    assert masses.sum(dim=(1, 2)).tolist() == pytest.approx([1, 1], rel=1e-5)
    inside = regions.holding(masses)
    for mass, mask in zip(masses, inside, strict=True):
        held = float(mass[mask].sum())
        assert held >= 0.5
        assert held - float(mass[mask].min()) < 0.5
    assert [regions.describe(mask).where for mask in inside] == ["upper right", "bottom"]
    x0, y0, x1, y1 = regions.describe(inside[0]).box
    assert 48 <= x0 < x1 <= 62
    assert 2 <= y0 < y1 <= 14
    common = regions.overlaps(masses)
    assert common[0, 0] == pytest.approx(1, rel=1e-5)
    assert common[0, 1] == 0


def test_branches_of_one_and_of_many_pictures_are_joined():
    class Fork(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = torch.nn.Conv2d(3, 2, 1), torch.nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return torch.cat([self.one(x), self.other(x)], dim=1).mean((2, 3))

    module, image = Fork().eval(), torch.randn(1, 3, 4, 4)
    model = instrumented(module, (3, 4, 4), ["one"])
    answers = interventions.without_channels(model, "one", image, torch.zeros(2))
    found = answers(torch.tensor([[True, False], [False, False], [True, True]]))
    whole = module(image)[0]
    assert torch.allclose(found[1], whole, atol=1e-6)
    assert torch.allclose(found[2], torch.cat([torch.zeros(2), whole[2:]]), atol=1e-6)
    assert found[0, 0] == 0


def test_networks_that_count_their_pictures():
    """Many versions of a layer cannot go on from one picture where shapes say that it is one."""

    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.last = torch.nn.Conv2d(3, 2, 1), torch.nn.Linear(2 * 16, 4)

        def forward(self, x):
            count = len(x)
            return self.last(self.one(x).relu().view(count, -1))

    module, image = Counting().eval(), torch.randn(1, 3, 4, 4)
    model = instrumented(module, (3, 4, 4), ["one"])
    answers = interventions.without_channels(model, "one", image, torch.zeros(2))
    taken = torch.tensor([[True, False], [False, False], [True, True]])
    found = answers(taken)
    hidden = torch.where(taken[:, :, None, None], 0, module.one(image)).relu()
    assert torch.allclose(found, module.last(hidden.flatten(1)), atol=1e-6)
    assert torch.allclose(found[1], module(image)[0], atol=1e-6)


# What users get wrong, on the command line.


def test_pictures_that_cannot_be_read_do_not_stop_the_rest(named, run, tmp_path, pictures):
    good = sorted(pictures.rglob("*.png"))[4]
    grey = tmp_path / "grey.png"
    Image.open(good).convert("L").resize((31, 200)).save(grey)
    seethrough = tmp_path / "Weiß & <b>.png"
    Image.open(good).convert("RGBA").save(seethrough)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    shown = (bad, grey, tmp_path / "absent.png", seethrough)
    result = run("explain", named, *shown, "--trust-code")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("atlas: ")]
    assert len(lines) == 2
    assert "bad.jpg" in lines[0]
    assert "absent.png" in lines[1]
    folders = [Path(line) for line in result.stdout.splitlines()]
    assert len(folders) == 2
    assert folders[1].name.startswith("wei-b-")
    for folder in folders:
        found = evidence.read(folder)
        assert {one.map for one in found.concepts} <= {file.name for file in folder.iterdir()}
    assert not list((named / "explanations").glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", "zebra"), "no class 'zebra'"),
        (("--target", "3"), "no class '3'"),
        (("--set", "explain.layers=['nothing.*']"), "no measured layer fits 'nothing.*'"),
        (("--set", "explain.coverage=2"), "explain.coverage"),
        (("--set", "explain.colour=2"), "there is no 'explain.colour'"),
        (("--set", "relevance.composite=epsilon_gamma"), "only [explain] and model.device"),
    ],
)
def test_mistakes_are_told_in_one_line(named, capsys, pictures_to_explain, arguments, words):
    with pytest.raises(SystemExit) as stopped:
        main(["explain", str(named), str(pictures_to_explain[0]), "--trust-code", *arguments])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("atlas: ")]) == 1
    assert words in lines[-1]


def test_an_asked_class_is_explained_and_addresses_stand_for_names(built, pictures_to_explain,
                                                                   tmp_path):  # fmt: skip
    root = tmp_path / "tiny"
    shutil.copytree(built, root)
    store = open_store(root)
    picture = pictures_to_explain[:1]
    outcome = pipeline.explain(store, recorded(store.manifest()), picture, "Stripe")
    found = evidence.read(outcome.done[0])
    assert (found.target.name, found.target.chosen) == ("stripe", "asked")
    assert found.target.rank in (1, 2, 3)
    assert not found.named
    assert all(one.name is None for one in found.concepts)
    made = claims.read(outcome.done[0])
    assert "This atlas has no names" in next(c for c in made if c.kind == "words").wordings[
        "expert"].sentence  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "value", "higher", "percentile", "exact"),
    [
        # Three pictures of 1000 that are not silent, places for five:
        ([3.0, 2.0, 1.0], 2.5, 1, 99.9, True),
        ([3.0, 2.0, 1.0], 0.5, 3, 99.7, True),
        ([3.0, 2.0, 1.0], 0.0, 3, 49.85, True),  # as silent as the other 997
        ([3.0, 2.0, 1.0], -1.0, 1000, 0.0, True),
        ([3.0, -2.0, -5.0], -3.0, 999, 0.1, True),  # zeros are higher, too
        ([], 0.0, 0, 50.0, True),
        ([], 1.0, 0, 100.0, True),
        # All five places taken: nobody knows how many others are silent.
        ([9.0, 8.0, 7.0, 6.0, 5.0], 6.5, 3, 99.7, True),
        ([9.0, 8.0, 7.0, 6.0, 5.0], 1.0, 5, 99.5, False),
        ([9.0, 8.0, 7.0, -1.0, -2.0], -1.5, 4, 99.6, False),
    ],
)
def test_a_score_stands_where_it_stands(named, scores, value, higher, percentile, exact):
    background = Background(open_store(named))
    layer, channel = background.layers[0], 0
    row = background._rows[layer, channel]
    background.manifest = {**background.manifest, "k": 5}
    background._channels["images"][row] = 1000
    background._reference_scores = {(row, "activation"): scores}
    found = background.standing("activation", layer, channel, value)
    assert (found.higher, found.exact) == (higher, exact)
    assert found.percentile == (pytest.approx(percentile) if exact else None)


def test_the_contrast_is_the_difference_of_two_relevances(explained, named, pictures_to_explain):
    """Relevance of another class, by a run of its own; margins by a network without the channel."""
    network = network_of(named)
    compared = 0
    for found, path in zip(explained, pictures_to_explain, strict=True):
        assert found.contrast is not None
        assert found.contrast.label == found.prediction[1].label
        layer = found.layers[-1].layer
        model = instrumented(network.module, network.preprocessing.shape, [layer])
        image = network.preprocessing.tensor([network.preprocessing.view(Image.open(path))])
        here, there = (
            propagate(model, image, label).relevance[layer].sum((1, 2))
            for label in (found.target.label, found.contrast.label)
        )
        largest = (here - there).abs().max()
        for one in found.contrast.differences:
            assert one.relevance == pytest.approx(float(here[one.channel]), rel=1e-3, abs=1e-5)
            assert one.other_relevance == pytest.approx(
                float(there[one.channel]), rel=1e-3, abs=1e-5
            )
            compared += 1

            def hook(_m, _i, output, one=one):
                output = output.clone()
                output[:, one.channel] = 0
                return output

            handle = network.module.get_submodule(layer).register_forward_hook(hook)
            logits = network.module(image)[0]
            handle.remove()
            margin = logits[found.target.label] - logits[found.contrast.label]
            assert one.margin == pytest.approx(float(margin), rel=1e-3, abs=1e-4)
        first = found.contrast.differences[0]
        assert abs(first.relevance - first.other_relevance) == pytest.approx(
            float(largest), rel=1e-3
        )
    assert compared


def test_two_concepts_at_one_place_are_taken_away_together(explained, named, pictures_to_explain):
    network = network_of(named)
    for found, path in zip(explained, pictures_to_explain, strict=True):
        common = {one.id.removeprefix("overlap:"): one.overlap for one in found.overlaps}
        image = network.preprocessing.tensor([network.preprocessing.view(Image.open(path))])
        for pair in found.together:
            assert common[f"{pair.first}:{pair.second}"] > 0.5
            channels = [found.concept(id_).channel for id_ in (pair.first, pair.second)]

            def hook(_m, _i, output, channels=channels):
                output = output.clone()
                output[:, channels] = 0
                return output

            layer = network.module.get_submodule(found.layers[-1].layer)
            handle = layer.register_forward_hook(hook)
            logits = network.module(image)[0]
            handle.remove()
            expected = float(logits.softmax(0)[found.target.label])
            assert pair.probability == pytest.approx(expected, abs=1e-4)
            assert pair.answer == int(logits.argmax())
    assert any(found.together for found in explained)


@pytest.fixture(scope="module")
def silent(project, run, tmp_path_factory) -> Path:
    """An atlas of a network that has no weights for one class, and the same for the others."""
    place = tmp_path_factory.mktemp("silent") / "project"
    shutil.copytree(project, place)
    code = place / "network.py"
    code.write_text(code.read_text().replace(
        "    return network",
        "    network[-1].weight.data[2] = 0\n    network[-1].bias.data[2] = 0\n"
        "    network[-1].weight.data[1] = network[-1].weight.data[0]\n"
        "    network[-1].bias.data[:2] = 10\n    return network",
    ))  # fmt: skip
    recipe = place / "tiny.toml"
    here, there = (f"{root.as_posix()}/network.py" for root in (project, place))
    recipe.write_text(recipe.read_text().replace(here, there))
    out = place.parent / "silent"
    assert run("index", recipe, "--out", out).returncode == 0
    return out


def test_a_class_without_relevance_is_an_answer(silent, run, pictures_to_explain):
    """Its logit is zero, so nothing speaks for it: the text says so, and there is no traceback."""
    result = run("explain", silent, pictures_to_explain[0], "--trust-code", "--target", "stripe")
    assert result.returncode == 0, result.stderr
    folder = Path(result.stdout.strip())
    assert not evidence.read(folder).concepts
    everyone, expert = narrative.read(folder)
    text = " ".join(one.text for one in everyone.sentences)
    assert "nothing weighs for “stripe” or against it" in text
    assert any("No relevance for “stripe” comes to" in one.text for one in expert.sentences)
    site.render(open_store(silent))


def test_a_picture_that_two_classes_tie_for(silent, run, pictures_to_explain):
    """Texts, page and the line about another class say that there is no answer."""
    path = pictures_to_explain[0]
    result = run("explain", silent, path, "--trust-code")
    assert result.returncode == 0, result.stderr
    folder = Path(result.stdout.strip())
    found = evidence.read(folder)
    assert [(one.label, one.rank, one.tied) for one in found.prediction] == [
        (0, 1, 2), (1, 1, 2), (2, 3, 1)
    ]  # fmt: skip
    assert found.contrast is not None
    assert found.contrast.margin == 0
    assert all(effect.tied == 2 for one in found.effects for effect in one.effects)
    for text in narrative.read(folder):
        first, second, *others = (one.text for one in text.sentences)
        assert "cannot decide between 2 classes" in first or "gives 2 classes the same" in first
        assert second == "Explained here is one of those that tie, “disc”."
        assert not [one for one in others if "the answer" in one or "this answer" in one]
    store = open_store(silent)
    site.render(store)
    site.build(store)
    page = (silent / f"site/explanations/{folder.name}.html").read_text("utf-8")
    assert "<bdi>disc</bdi>, one of 2 that tie</h1>" in page
    assert "2 classes have the highest logit alike" in page
    assert "it would say" not in page
    refused = run("explain", silent, path, "--trust-code", "--to", "stripe")
    assert refused.returncode == 2
    assert "cannot decide between 2 classes for it" in refused.stderr
