"""Made pictures: their spectrum, what the optimiser finds, what is kept and said of them."""

import json
import runpy
import shutil
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import atlas
from atlas import pipeline, site
from atlas.made import optimise
from atlas.made.inputs import driving, inputs_alike
from atlas.made.judging import reach_and_rank
from atlas.made.spectrum import (
    antisymmetric,
    of_pictures,
    squashed,
    unsquashed,
    with_mean_waves,
    with_phase,
)
from atlas.recipe import recorded
from atlas.relevance.plan import plan
from atlas.relevance.tape import instrument
from atlas.store import files, made, open_store
from atlas.store.pictures import read_picture
from atlas.store.verify import check
from atlas.trace.following import Value
from atlas.trace.record import record

VERIFIED = "every made picture is there and unchanged"


def drawn(height, width, colours=3, count=4):
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (count, 4, 4, colours), np.uint8)
    whole = coarse.repeat(-(-height // 4), axis=1).repeat(-(-width // 4), axis=2)
    return list(whole[:, :height, :width])


def alone(layer, colours, size):
    """A network of one layer with a head."""
    module = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    trace = record(module.eval(), torch.zeros(1, colours, size, size))
    return instrument(module, plan(trace, None), ["0"])


@pytest.fixture(scope="module", params=[(24, 24, 3), (15, 18, 3), (16, 13, 1)])
def case(request):
    height, width, colours = request.param
    spectrum = of_pictures(drawn(height, width, colours))
    phase = torch.randn(spectrum.shape, generator=torch.Generator().manual_seed(2))
    return spectrum, phase


def test_a_picture_has_the_spectrum(case):
    spectrum, phase = case
    found = torch.fft.rfft2(with_phase(spectrum, phase)).abs()
    assert (found - spectrum.magnitude).abs().max() <= 1e-4 * spectrum.magnitude.max()
    apart = with_phase(spectrum, phase)
    assert apart.mean() == pytest.approx(0, abs=1e-5)
    assert apart.square().mean() == pytest.approx(1, abs=1e-4)  # standardised, as MACO's are


def test_the_spectrum_is_the_mean_of_the_pictures(case):
    spectrum, _ = case
    height, width, colours = spectrum.shape[1], spectrum.width, spectrum.shape[0]
    pictures = np.stack(drawn(height, width, colours)) / 255.0
    values = pictures.clip(1 / 255, 1 - 1 / 255)
    values = np.log(values / (1 - values)).reshape(-1, colours)
    mixing = spectrum.mixing.double().numpy()
    covariance = np.cov(values.T, bias=True).reshape(colours, colours)
    assert mixing @ mixing.T == pytest.approx(covariance, abs=1e-3)
    apart = (values - values.mean(axis=0)) @ np.linalg.inv(mixing).T
    apart = apart.reshape(-1, height, width, colours)
    mean = np.abs(np.fft.rfft2(apart, axes=(1, 2))).mean(axis=0).transpose(2, 0, 1)
    mean[:, 0, 0] = 0
    ratio = spectrum.magnitude.numpy()[mean > 0.1] / mean[mean > 0.1]
    assert ratio == pytest.approx(np.full(len(ratio), ratio[0]), rel=1e-3)


def test_the_picture_is_macos_formula(case):
    """irfft2(r e^(i phi)), standardised, colours put together again, squashed."""
    spectrum, phase = case
    phase = antisymmetric(phase, spectrum.width).double().numpy()
    waves = spectrum.magnitude.double().numpy() * np.exp(1j * phase)
    picture = np.fft.irfft2(waves, s=(spectrum.shape[1], spectrum.width))
    picture = (picture - picture.mean()) / picture.std()
    mixed = np.tensordot(spectrum.mixing.double().numpy(), picture, axes=1)
    expected = 1 / (1 + np.exp(-mixed - spectrum.mean.double().numpy()[:, None, None]))
    found = squashed(spectrum, with_phase(spectrum, case[1])).numpy()
    assert found == pytest.approx(expected, abs=1e-4)


def test_colours_are_taken_apart_and_put_together_again(case):
    spectrum, phase = case
    apart = with_phase(spectrum, phase)
    inside = (squashed(spectrum, apart) - 0.5).abs() < 0.49
    again = squashed(spectrum, unsquashed(spectrum, squashed(spectrum, apart)))
    assert torch.allclose(again[inside], squashed(spectrum, apart)[inside], atol=1e-4)
    waves = torch.stack([torch.cos(phase), torch.sin(phase)])
    fourier = torch.fft.rfft2(with_mean_waves(spectrum, waves))
    wanted = torch.polar(spectrum.magnitude, phase)
    inner = slice(1, (spectrum.width - 1) // 2)  # at the ends a picture of real numbers has less
    assert torch.allclose(fourier[..., inner], wanted[..., inner], atol=1e-2)


def test_the_optimum_of_one_filter_is_found(monkeypatch):
    """Its product with a picture of given spectrum is largest where the phases are the filter's."""
    monkeypatch.setattr(optimise, "SIDES", (1.0, 1.0))  # pieces would pull it elsewhere
    size, period = 24, 6
    wave = np.cos(2 * np.pi * np.arange(size) / period)
    rows = np.tile((128 + 40 * wave).astype(np.uint8), (size, 1))
    spectrum = of_pictures([np.roll(rows, shift, axis=1)[..., None] for shift in range(period)])
    filter_ = nn.Conv2d(1, 1, size, bias=False)
    filter_.weight.data[0, 0] = torch.from_numpy(np.tile(wave, (size, 1)))
    for sign in (1.0, -1.0):
        goal = optimise.Goal(alone(filter_, 1, size), "0", torch.tensor([sign]))
        picture = optimise.make_picture(goal, lambda one: one, spectrum, 40, 0)
        fundamental = np.fft.rfft(sign * picture[0].numpy().mean(axis=0))[size // period]
        assert abs(np.angle(fundamental)) < 0.01


def test_the_optimiser_is_that_of_torch():
    ours = torch.tensor([1.0, -2.0, 0.3], requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    one, other = optimise.NAdam(ours, 0.3), torch.optim.NAdam([theirs], lr=0.3)
    for _ in range(20):
        one.step(torch.autograd.grad((ours**4).sum(), ours)[0])
        other.zero_grad()
        (theirs**4).sum().backward()
        other.step()
    assert ours.tolist() == pytest.approx(theirs.tolist(), rel=1e-4)


def test_no_picture_can_be_made_without_gradients():
    class Cut(nn.Module):
        def forward(self, picture):
            return picture.detach()

    spectrum = of_pictures(drawn(8, 8))
    goal = optimise.Goal(alone(Cut(), 3, 8), "0", torch.ones(3))
    with pytest.raises(atlas.UserError, match="no gradient comes from it"):
        optimise.make_picture(goal, lambda x: x, spectrum, 2, 0)


def test_reach_is_compared_with_the_data_and_the_layer():
    highest = np.array([2.0, 4.0, 0.0, 1.0])
    assert reach_and_rank(np.array([3.0, 5.0, 9.0, 2.0]), highest, 0) == (1.5, 2)
    assert reach_and_rank(np.array([3.0, 5.0, 9.0, 2.0]), highest, 1) == (1.25, 3)
    assert reach_and_rank(np.array([3.0, 5.0, 9.0, 2.0]), highest, 2)[0] is None


def three_convolutions():
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, bias=False),
        nn.BatchNorm2d(5), nn.ReLU(inplace=True), nn.Conv2d(5, 6, 2), nn.BatchNorm2d(6),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip
    for norm in (module[4], module[7]):
        norm.weight.data.copy_(torch.rand(len(norm.weight)) + 0.5)
    trace = record(module, torch.zeros(1, 3, 15, 15))
    return module, instrument(module, plan(trace, None), ["6"])


def test_what_drives_a_channel_is_its_weights_times_what_they_read():
    module, model = three_convolutions()
    picture = torch.randn(1, 3, 15, 15)
    found = driving(model, picture, "6", torch.eye(6)[2])
    names = {model.plan.trace.of(value).place: one for value, one in found.items()}
    assert set(names) == {"5"}  # what the layer's own weights read
    with torch.no_grad():
        read, maps = module[:6](picture)[0], module[:8](picture)[0, 2]
        row, column = divmod(int(maps.argmax()), maps.shape[1])
        weights, norm = module[6].weight[2], module[7]
        gain = norm.weight[2] / (norm.running_var[2] + norm.eps) ** 0.5
        seen = read[:, row : row + 2, column : column + 2]
        added = (gain * weights * seen).sum(dim=(1, 2)).clamp(min=0).numpy()
    assert names["5"] == pytest.approx(added / np.linalg.norm(added), abs=1e-5)


def test_a_depthwise_convolution_is_gone_through():
    torch.manual_seed(5)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 1), nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip
    trace = record(module, torch.zeros(1, 3, 9, 9))
    model = instrument(module, plan(trace, None), ["4"])
    found = driving(model, torch.randn(1, 3, 9, 9), "4", torch.eye(6)[0])
    assert [trace.of(value).place for value in found] == ["1"]  # what mixes channels reads


def test_the_picture_itself_is_no_input_and_nothing_is_compared_below_the_first_layer():
    model = alone(nn.Conv2d(3, 2, 3), 3, 8)
    found = driving(model, torch.randn(1, 3, 8, 8), "0", torch.eye(2)[0])
    assert found == {}
    assert inputs_alike(found, [found, found]) is None


def test_inputs_are_as_alike_as_those_of_references_with_each_other():
    one, other = Value(1), Value(2)
    x, y, z = np.eye(3)
    references = [{one: x, other: z}, {one: (x + y) / 2**0.5, other: z}]
    # The references have a cosine of 0.7071 with each other; their sum points 22.5 degrees off.
    made_ = {one: y, other: z}
    assert inputs_alike(made_, references) == pytest.approx(np.cos(np.pi * 67.5 / 180) * 2**0.5)
    assert inputs_alike({one: x, other: z}, references) == 1  # more like them than they are
    assert inputs_alike({one: x, other: y}, references) == 0  # of two tensors the one that differs
    assert inputs_alike({one: x}, references[:1]) is None  # nothing says how alike they may be
    assert inputs_alike({one: x}, [{one: x}, {one: y}]) is None
    assert inputs_alike(made_, []) is None


def test_only_a_picture_that_reaches_far_is_a_witness():
    row = made.MadePicture("a", 0, "maco", 0, 8, 1.0, 0.9, 1, 0.1, "0" * 64, inputs_alike=0.3)
    assert row.disagrees
    assert "disagree: other inputs drive the channel on it (0.30 of the cosine" in made.said(row)
    assert "Photographs do it better." in made.said(row)
    assert not replace(row, reach=0.4).disagrees
    assert not replace(row, inputs_alike=0.7).disagrees
    assert not replace(row, inputs_alike=None).disagrees
    assert not replace(row, kind="fourier").disagrees  # for these the level was not chosen
    assert "Photographs" not in made.said(replace(row, reach=1.0))


def test_a_norm_behind_a_layer_counts():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(5, 2),
    ).eval()  # fmt: skip
    for values in (module[1].weight.data, module[1].running_var):
        values.copy_(torch.rand(5) + 0.5)
    views = torch.rand(2, 3, 9, 9, requires_grad=True)
    model = instrument(module, plan(record(module, torch.zeros(1, 3, 9, 9)), None), ["0"])
    found, expected = optimise.layer_output(model, views, "0"), module[:2](views)
    assert torch.allclose(found, expected, atol=1e-5)
    slopes = [torch.autograd.grad(one.amax(), views)[0] for one in (found, expected)]
    assert torch.allclose(*slopes, atol=1e-5)


@pytest.fixture(scope="module")
def pictured(built, run, tmp_path_factory):
    """The atlas of the project with a picture of one channel, made by the command, and pages."""
    folder = tmp_path_factory.mktemp("made") / "tiny"
    shutil.copytree(built, folder)
    made_ = run("picture", folder, "3:1", "--steps", "8", "--trust-code")
    assert made_.returncode == 0, made_.stderr
    path, said = made_.stdout.splitlines()
    assert path == str(folder / "made" / "3" / "1.webp")
    assert said.startswith("Reach ")
    site.render(open_store(folder))
    return folder


def test_a_picture_is_kept_with_what_came_of_it(pictured, project):
    store = open_store(pictured)
    (row,) = made.read(store).values()
    with Image.open(made.path(store, row)) as file:
        pixels = np.array(file.convert("RGB"))
    assert pixels.shape == (48, 48, 3)
    module = runpy.run_path(str(project / "network.py"))["make"]()
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        largest = module[:4]((batch - 0.5) / 0.25).amax(dim=(2, 3))[0].numpy()
    highest = [r["act_max"] for r in store.table("channels").to_pylist() if r["layer"] == "3"]
    parts = largest / np.array(highest)
    assert row.activation == pytest.approx(largest[1], rel=1e-3)
    assert row.reach == pytest.approx(parts[1], rel=1e-3)
    assert row.rank == 1 + (parts > parts[1]).sum()
    channel = atlas.open(pictured)["3:1"]
    assert channel.made == [row]
    assert np.array_equal(np.array(channel.made_picture(row)), pixels)
    assert atlas.open(pictured)["3:0"].made == []


def test_pages_say_that_it_was_made(pictured):
    page = (pictured / "pages/channels/3/1.md").read_text("utf-8")
    assert "Made, not seen" in page
    assert 'src="../../assets/made/3/1.webp"' in page
    (row,) = made.read(open_store(pictured)).values()
    assert ("Photographs do it better" in page) == (row.reach < 1)
    assert ("disagree" in page) == row.disagrees
    trust = (pictured / "pages/trust.md").read_text("utf-8")
    assert "1 channel has a made picture that was compared" in trust
    assert ("None disagrees" in trust) != row.disagrees
    api = json.loads((pictured / "pages/api/v1/channels/3/1.json").read_text("utf-8"))
    assert api["made"] == [row.as_dict()]
    schema = json.loads((pictured / "pages/api/v1/schema/channel.json").read_text("utf-8"))
    jsonschema.validate(api, schema)
    assert "Made, not seen" not in (pictured / "pages/channels/3/0.md").read_text("utf-8")
    assert (pictured / "pages/assets/made/3/1.webp").is_file()


def test_the_same_seed_gives_the_same_bytes_and_another_other_ones(pictured, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(pictured, folder, ignore=shutil.ignore_patterns("pages", "site"))
    store = open_store(folder)
    (row,) = made.read(store).values()
    path = made.path(store, row)
    before, table = path.read_bytes(), (folder / "made.json").read_bytes()
    recipe = recorded(
        store.manifest(), ["pictures_made.addresses=['3:1']", "pictures_made.steps=8"]
    )
    assert pipeline.make_pictures(store, recipe) == 0
    path.unlink()
    assert not {r.text: r.passed for r in check(store)}.get(VERIFIED, False)
    assert pipeline.make_pictures(store, recipe) == 1
    assert (path.read_bytes(), (folder / "made.json").read_bytes()) == (before, table)
    assert {r.text: r.passed for r in check(store)}[VERIFIED]
    seed = recorded(store.manifest(), ["pictures_made.seed=1", "pictures_made.steps=8"])
    other = pipeline.make_one(store, seed, "3:1")
    assert other.sha256 != row.sha256
    control = pipeline.make_one(store, seed, "3:1", "fourier")
    assert control.name == "made/3/1-fourier.webp"
    assert len(made.read(store)) == 2


def test_a_reference_is_accentuated_and_stays_near(pictured, run, tmp_path):
    folder = tmp_path / "accentuated"
    shutil.copytree(pictured, folder, ignore=shutil.ignore_patterns("pages", "site"))
    store = open_store(folder)
    recipe = recorded(store.manifest(), ["pictures_made.steps=16"])
    row = pipeline.make_one(store, recipe, "3:1", "accentuated")
    best = [
        one["image"]
        for one in store.table("references").to_pylist()
        if (one["layer"], one["channel"], one["mode"], one["rank"]) == ("3", 1, "activation", 0)
    ]
    assert [row.image] == best
    assert row.name == "made/3/1-accentuated.webp"
    assert row.reach > 1.02  # the reference itself has 1
    assert row.likeness is None and not row.disagrees
    begun = np.array(read_picture(store.pictures()[row.image])).astype(float)
    now = np.array(read_picture(made.path(store, row))).astype(float)
    other = np.array(read_picture(made.path(store, made.read(store)["3", 1, "maco"]))).astype(float)
    assert 0 < np.abs(now - begun).mean() < 0.5 * np.abs(other - begun).mean()
    site.render(store)
    page = (folder / "pages/channels/3/1.md").read_text("utf-8")
    assert page.index("Phases optimised") < page.index(
        "The best reference by activation</a>, changed"
    )
    assert f"picture.html?picture={row.image}" in page
    (folder / "made.json").write_text("{}")
    both = run("picture", folder, "3:1", "--control", "--accentuate")
    assert both.returncode == 2 and "not both" in both.stderr and both.stderr.count("\n") == 1


def test_what_was_changed_is_noticed(pictured, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(pictured, folder, ignore=shutil.ignore_patterns("pages", "site"))
    table = json.loads((folder / "made.json").read_text("utf-8"))
    table["rows"][0]["reach"] = 3.0
    (folder / "made.json").write_text(json.dumps(table))
    with pytest.raises(atlas.UserError, match="not those of its hash"):
        made.read(open_store(folder))


def test_what_an_earlier_version_wrote_still_reads(pictured, tmp_path):
    folder = tmp_path / "earlier"
    shutil.copytree(pictured, folder, ignore=shutil.ignore_patterns("pages", "site"))
    table = json.loads((folder / "made.json").read_text("utf-8"))
    for row in table["rows"]:
        row.pop("inputs_alike")
        row["likeness_inside"] = 0.2
    table["content"] = files.digest(json.dumps(table["rows"], sort_keys=True).encode())
    (folder / "made.json").write_text(json.dumps(table))
    (row,) = made.read(open_store(folder)).values()
    assert row.inputs_alike is None and not row.disagrees


def test_an_unknown_channel_is_refused_in_one_line(pictured):
    store = open_store(pictured)
    with pytest.raises(atlas.UserError, match=r"^no channel '3:99' in .*: the nearest are .*$"):
        pipeline.make_one(store, recorded(store.manifest()), "3:99")


def test_an_unknown_layer_of_the_recipe_is_refused(pictured):
    store = open_store(pictured)
    with pytest.raises(atlas.UserError, match="'4x' is no layer"):
        pipeline.make_pictures(store, recorded(store.manifest(), ["pictures_made.layers=['4x']"]))
