"""An index of the first version answers queries of the second, which knows more classes."""

import csv
import io

import numpy as np
import pytest
from click.testing import CliRunner

from helpers.digit_folders import write_digits
from ilk.architectures.metric_head import MetricHead
from ilk.core.errors import InputError
from ilk.encoders import resolve_encoder
from ilk.encoders.tuned_folder import TunedEmbedding, take_weights, write_tuned
from ilk.metric_learning.compatibility import measure_update
from ilk.metric_learning.predecessor import ClassVertices, Predecessor
from ilk.metric_learning.training import EmbeddingRecipe, embed_rows, train_embedding
from ilk.training.objectives.d_simplex import DSimplex

NAMES = tuple(f"digit {c}" for c in range(10))
RECIPE, SCALE = EmbeddingRecipe(150, 4e-3), 4.0


def read_rows(base, folder, names):
    from PIL import Image

    files = [p for name in names for p in sorted((folder / name).glob("*.png"))]
    x = base.embed(np.stack([base.prepare(Image.open(p).convert("RGB")) for p in files]))
    y = np.array([names.index(p.parent.name) for p in files])
    return x, y


def write_version(folder, base, network, classes, loss="DSimplex(scale=4)", compatible_with=()):
    kind, settings, arrays = take_weights(network)
    embedding = TunedEmbedding(
        base.describe(), kind, settings, arrays, classes, loss, compatible_with=compatible_with
    )
    write_tuned(folder, embedding)
    return resolve_encoder(f"tuned:{folder}")


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Photos, the first version with five classes, and rows of all ten."""
    home = tmp_path_factory.mktemp("versions")
    photos = write_digits(home / "photos", dict.fromkeys(NAMES, 12))
    base = resolve_encoder("pixels/8x8x1")
    x, y = read_rows(base, photos, NAMES[5:])
    first = train_embedding(MetricHead.from_data(x, 16), x, y, DSimplex(SCALE), RECIPE)
    write_version(home / "v1", base, first, NAMES[5:])
    return home, base, first, *read_rows(base, photos, NAMES)


def learn_update(predecessor, x, y):
    vertices = ClassVertices.assign(NAMES, predecessor)
    network, loss = predecessor.make_network(), vertices.make_loss(SCALE, y)
    return train_embedding(network, x, y, loss, RECIPE)


def search(*args):
    from ilk.cli.search import command

    out = CliRunner().invoke(command, [str(a) for a in args])
    return out.exit_code, out.output + str(out.exception or "")


def test_old_index_answers_new_queries(versions, monkeypatch):
    home, base, first, x, y = versions
    monkeypatch.setenv("ILK_STORE", str(home / "store.sqlite"))
    predecessor = Predecessor.open(home / "v1", base)
    second = learn_update(predecessor, x, y)
    measured = measure_update(embed_rows(first, x), embed_rows(second, x), y)
    assert measured.is_compatible
    assert measured.new.value > measured.old.value
    assert "compatible with tuned:v1" in measured.explain("tuned:v1")
    classes = predecessor.order_classes(NAMES)
    write_version(home / "v2", base, second, classes, compatible_with=(predecessor.key,))

    index, photos = home / "index", home / "photos"
    queries = sorted((photos / NAMES[1]).glob("*.png"))[:4]
    code, text = search(
        photos, queries[0], "--encoder", f"tuned:{home / 'v1'}", "--index", index,
        "--projection", "none",
    )  # fmt: skip
    assert code == 0, text
    table = home / "found.csv"
    code, text = search(
        index, *queries, "--each", "--encoder", f"tuned:{home / 'v2'}", "--count", 8, "--out", table
    )
    assert code == 0, text
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    right = [NAMES[1] in str(row) for row in rows]
    assert len(rows) == 8 * len(queries)
    assert np.mean(right) > 0.6

    stranger = MetricHead.from_data(x, 16, seed=1)
    write_version(home / "other", base, stranger, NAMES)
    code, text = search(index, queries[0], "--encoder", f"tuned:{home / 'other'}")
    assert code == 1
    assert "holds features of" in text


def test_an_update_that_finds_less_is_not_compatible(versions):
    _, _, first, x, y = versions
    turned = (
        embed_rows(first, x) @ np.linalg.qr(np.random.default_rng(0).standard_normal((16, 16)))[0]
    )
    measured = measure_update(embed_rows(first, x), turned, y)
    assert not measured.is_compatible
    assert measured.encoded_again.value == pytest.approx(measured.old.value)
    assert "not compatible with tuned:v1" in measured.explain("tuned:v1")
    assert "nan" not in str(measured.describe())


def test_old_classes_keep_their_vertices(versions):
    home, base, *_ = versions
    predecessor = Predecessor.open(home / "v1", base)
    assert predecessor.order_classes(NAMES) == NAMES[5:] + NAMES[:5]
    vertices = ClassVertices.assign(NAMES, predecessor)
    assert vertices.classes == NAMES[5:] + NAMES[:5]
    assert list(vertices.make_loss(8.0, np.arange(10)).vertices) == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
    assert list(vertices.make_loss(8.0, np.array([9, 1, 9])).vertices) == [6, 4]
    first = ClassVertices.assign(NAMES, None)
    assert first.classes == NAMES
    assert first.make_network() is None
    assert first.make_loss(None, np.array([3, 4])).vertices == [3, 4]
    assert predecessor.order_classes(NAMES[:1]) == (*NAMES[5:], NAMES[0])  # those gone keep theirs
    with pytest.raises(InputError, match="18 classes, 5 of them from"):
        predecessor.order_classes([f"new {i}" for i in range(13)])


def test_other_losses_and_bases_are_refused(versions, tmp_path):
    home, base, first, *_ = versions
    write_version(tmp_path / "v1", base, first, NAMES[5:], loss="SupCon()")
    with pytest.raises(InputError, match="learn it with --loss DSimplex"):
        Predecessor.open(tmp_path / "v1", base)
    with pytest.raises(InputError, match="give --encoder pixels/8x8x1"):
        Predecessor.open(home / "v1", resolve_encoder("pixels/8x8x3"))
