"""What differs between two atlases is found, and nothing else."""

import json
import shutil
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import atlas
from atlas.diff import compare
from atlas.diff.matching import match_by_patches, mean_vectors
from atlas.diff.overlap import rank_biased_overlap
from atlas.store import Store, indexfile

rankings = st.lists(st.integers(0, 12), max_size=10, unique=True)
persistences = st.floats(0.05, 0.95)


@given(rankings, rankings, persistences)
def test_overlap_is_equation_32_of_the_paper(a, b, p):
    short, long = sorted((a, b), key=len)
    s, n = len(short), len(long)
    if not s:
        return
    x = [0] + [len({*short[:d]} & {*long[:d]}) for d in range(1, n + 1)]
    total = sum(x[d] / d * p**d for d in range(1, n + 1))
    total += sum(x[s] * (d - s) / (s * d) * p**d for d in range(s + 1, n + 1))
    expected = (1 - p) / p * total + ((x[n] - x[s]) / n + x[s] / s) * p**n
    assert rank_biased_overlap(a, b, p) == pytest.approx(expected)


@given(rankings.filter(len), st.integers(0, 12), persistences)
def test_overlap_is_the_infinite_sum_of_agreements(ranking, seed, p):
    """By the definition: agreement at every depth, weighted by the persistence (equation 4)."""
    other = np.random.default_rng(seed).permutation(13)[: len(ranking)].tolist()
    depths = takewhile(lambda depth: p ** (depth - 1) > 1e-12, count(1))
    end = len(ranking)
    agreements = [
        (d, len({*ranking[: min(d, end)]} & {*other[: min(d, end)]}) / min(d, end)) for d in depths
    ]
    expected = (1 - p) * sum(p ** (d - 1) * agreement for d, agreement in agreements)
    assert rank_biased_overlap(ranking, other, p) == pytest.approx(expected, abs=1e-9)


@given(rankings, rankings)
def test_overlap_has_its_bounds(a, b):
    value = rank_biased_overlap(a, b)
    assert -1e-9 <= value <= 1 + 1e-9
    assert value == pytest.approx(rank_biased_overlap(b, a))
    assert rank_biased_overlap(a, a) == pytest.approx(1)
    if not {*a} & {*b} and (a or b):
        assert value == 0


@pytest.fixture(scope="module")
def permuted(named, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """The demo with the channels of each layer in another order, and who is who now."""
    path = tmp_path_factory.mktemp("permuted") / "demo"
    shutil.copytree(named, path)
    store, before = Store(path), atlas.open(named)
    random = np.random.default_rng(3)
    number_of, order = {}, []
    for layer in before.layers:
        rows = [row for address, row in before.rows.items() if address.rpartition(":")[0] == layer]
        shuffled = random.permutation(len(rows))
        order += [rows[old] for old in shuffled]
        number_of |= {(layer, int(old)): new for new, old in enumerate(shuffled)}
    position = {old: new for new, old in enumerate(order)}
    channels = before.channels.take(order).to_pydict()
    channels["channel"] = [
        number_of[pair] for pair in zip(channels["layer"], channels["channel"], strict=True)
    ]
    channels["neighbours"] = [[position[n] for n in near] for near in channels["neighbours"]]
    store.write_table("channels", channels)
    references = before.references.to_pylist()
    for row in references:
        row["channel"] = number_of[row["layer"], row["channel"]]
    layers = {layer: n for n, layer in enumerate(before.layers)}
    modes = {"activation": 0, "relevance": 1}
    rows = sorted(
        range(len(references)),
        key=lambda r: (
            layers[references[r]["layer"]],
            references[r]["channel"],
            modes[references[r]["mode"]],
            references[r]["rank"],
        ),
    )
    store.write_table(
        "references", {name: [references[r][name] for r in rows] for name in references[0]}
    )
    import faiss

    from atlas.patches import vectors

    index = indexfile.load(named / "patches.faiss")
    other = faiss.IndexFlatIP(index.d)
    other.add(index.reconstruct_n(0, index.ntotal)[rows])
    vectors.save(other, path / "patches.faiss")
    classes = before.classes.to_pydict()
    classes["shares"] = [np.array(shares)[order].tolist() for shares in classes["shares"]]
    store.write_table("classes", classes)
    moved = {f"{layer}:{old}": f"{layer}:{new}" for (layer, old), new in number_of.items()}
    return path, moved


def test_an_atlas_and_itself(named):
    a = atlas.open(named)
    same = compare(a, a)
    assert len(same.channels) == len(a)
    assert (same.only_first, same.only_second, same.same_data) == ((), (), True)
    for pair in same.channels:
        assert pair.first == pair.second and not pair.renamed
        assert set(pair.overlap.values()) == {1.0} or pair.overlap == pytest.approx(
            {"activation": 1, "relevance": 1}
        )
        assert pair.change < 1e-5
    for each in same.classes:
        assert each.similarity == pytest.approx(1)
        assert (each.gained, each.lost) == ((), ())


def test_a_permutation_is_found_by_patches(named, permuted):
    path, moved = permuted
    a, b = atlas.open(named), atlas.open(path)
    found = compare(a, b, "patches")
    pairs = {pair.first: pair for pair in found.channels}
    silent = {channel.address for channel in a if not channel.references("activation")}
    assert set(pairs) == set(a.rows) - silent
    assert {first: pair.second for first, pair in pairs.items()} == {
        first: moved[first] for first in pairs
    }
    assert max(pair.change for pair in found.channels) < 1e-5
    assert not any(pair.renamed for pair in found.channels)
    by_address = compare(a, b)
    assert sum(pair.renamed for pair in by_address.channels) > len(a) // 3
    assert np.mean([pair.change for pair in by_address.channels]) > 0.3


def test_the_assignment_is_the_best_of_all(named):
    """Beside every permutation of a layer of six channels."""
    from itertools import permutations

    a = atlas.open(named)
    six = [row for address, row in a.rows.items() if address.startswith("planted")][:6]
    small = _Part(a, six)
    random = np.random.default_rng(0)
    vectors = [random.normal(size=(6, 4)).astype(np.float32) for _ in range(2)]
    vectors = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    found = match_by_patches(small, small, tuple(vectors))
    cosines = vectors[0] @ vectors[1].T
    best = max(sum(cosines[i, order[i]] for i in range(6)) for order in permutations(range(6)))
    assert sum(cosines[i, j] for i, j in found) == pytest.approx(best)


class _Part:
    """Some channels of an atlas, as far as matching looks at them."""

    def __init__(self, whole, rows):
        addresses = list(whole.rows)
        self.layers = ["planted"]
        self.rows = {addresses[row]: number for number, row in enumerate(rows)}


def test_mean_vectors_are_means_of_unit_length(named):

    a = atlas.open(named)
    index = indexfile.load(named / "patches.faiss")
    every = index.reconstruct_n(0, index.ntotal)
    found = mean_vectors(a, index)
    for channel in list(a)[::23]:
        mine = every[[r.row for mode in a.modes for r in channel.references(mode)]]
        mean = mine.mean(axis=0)
        assert found[channel.row] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_names_that_changed(named, tmp_path):
    shutil.copytree(named, tmp_path / "demo")
    store = Store(tmp_path / "demo")
    names = store.table("channels")["name"].to_pylist()
    stars = [row for row, name in enumerate(names) if name == "star"]
    names[stars[0]], names[stars[1]], names[stars[2]] = "Stars", "heart", None
    store.extend_table("channels", {"name": names})
    found = atlas.open(named).diff(atlas.open(tmp_path / "demo"))
    addresses = list(atlas.open(named).rows)
    renamed = [pair.first for pair in found.channels if pair.renamed]
    assert renamed == [addresses[stars[1]], addresses[stars[2]]]


def test_references_and_classes_that_changed(named, tmp_path):
    """One channel has its best reference replaced, one class lost its strongest channel."""
    shutil.copytree(named, tmp_path / "demo")
    store, a = Store(tmp_path / "demo"), atlas.open(named)
    references = a["planted:3"].references("relevance")
    used = {r.image for r in references}
    other = next(image for image in range(a.images.num_rows) if image not in used)
    images = a.references["image"].to_pylist()
    images[references[0].row] = other
    store.extend_table("references", {"image": images})
    shares = [np.array(row) for row in a.classes["shares"].to_pylist()]
    label = next(n for n, seen in enumerate(a.classes["count"].to_pylist()) if seen)
    strongest = int(shares[label].argmax())
    shares[label][strongest] = 0
    store.extend_table("classes", {"shares": [row.tolist() for row in shares]})
    found = a.diff(atlas.open(tmp_path / "demo"))
    changed = [pair for pair in found.channels if pair.overlap["relevance"] < 1 - 1e-9]
    assert [pair.first for pair in changed] == ["planted:3"]
    # All but the first rank agree: each depth d of k misses one in d.
    k, p = len(references), 0.9
    agreements = [(d - 1) / d for d in range(1, k + 1)]
    expected = (1 - p) * sum(p ** (d - 1) * x for d, x in enumerate(agreements, 1))
    expected += p**k * agreements[-1]
    assert changed[0].overlap["relevance"] == pytest.approx(expected)
    assert found.most_changed()[0] == changed[0]
    assert found.classes[0].name == a.class_names[label]
    assert list(a.rows)[strongest] in found.classes[0].lost
    assert all(each.similarity == pytest.approx(1) for each in found.classes[1:])


def test_the_command(named, permuted, run, tmp_path):
    result = run("diff", named, permuted[0], "--by", "patches", "--out", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    assert printed == json.loads((tmp_path / "out" / "diff.json").read_text("utf-8"))
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    sources = [part.split('"')[0] for part in page.split('src="')[1:]]
    assert sources and all((tmp_path / "out" / source).is_file() for source in sources)
    assert "http" not in page
    table = run("diff", named, permuted[0])
    assert table.returncode == 0, table.stderr
    assert "185 channels matched by address" in table.stdout
    assert "Most moved classes" in table.stdout


def test_names_on_the_page_are_untrusted(named, run, tmp_path):
    shutil.copytree(named, tmp_path / "demo")
    store = Store(tmp_path / "demo")
    count = store.table("channels").num_rows
    store.extend_table("channels", {"name": ["<script>alert(1)</script>"] * count})
    result = run("diff", named, tmp_path / "demo", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page


def test_what_cannot_be_compared(named, indexed, run):
    result = run("diff", named, indexed)
    assert result.returncode == 2
    assert "there is nothing to compare" in result.stderr
    result = run("diff", named, indexed, "--by", "patches")
    assert result.returncode == 2
    assert "different encoders" in result.stderr
    assert len(result.stderr.splitlines()) == 1
