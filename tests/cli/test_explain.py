"""`ilk explain`: the page, the maps, JSON, and inputs that cannot be explained."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

import ilk
from helpers.digit_folders import write_digits
from ilk.cli import run
from ilk.store import Store


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    home = tmp_path_factory.mktemp("explain")
    source = write_digits(home / "digits", {"0": 15, "1": 15, "7": 15})
    store = Store(home / "store.sqlite")
    model = ilk.fit(source, encoders="hog", methods="GDA", store=store).save(home / "model")
    other = write_digits(home / "other", {"7": 2, "0": 1}, seed=5)
    return home, model, other


def test_the_page_shows_each_image_with_map_verdict_text_and_neighbours(fitted, tmp_path, capsys):
    _, model, images = fitted
    out = tmp_path / "why"
    assert run(["explain", str(model), str(images), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    page = (out / "index.html").read_text()
    assert page.count("<section id=") == 3
    assert page.count("rustworthy here") >= 6
    assert "emoving it" in page
    assert "Nearest training images" in page
    assert page.count("<bdi>similarity ") == 15
    assert "insertion minus deletion on 3 images" in printed
    assert "rank correlation with the maps of a model with random parameters: head" in printed
    assert len(list(out.glob("*.png"))) == 3
    assert "http" not in page.replace("http-equiv", "")
    assert run(["explain", str(model), str(images), "--out", str(out), "--no-check"]) == 0


def test_json_holds_maps_verdicts_and_neighbours(fitted, tmp_path, capsys):
    _, model, images = fitted
    image = sorted((images / "7").iterdir())[0]
    arguments = ["explain", str(model), str(image), "--out", str(tmp_path / "why"), "--json"]
    assert run([*arguments, "--method", "rise", "--target", "7", "--against", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    [row] = found["images"]
    assert (row["method"], row["target"], row["against"]) == ("rise", "7", "1")
    assert np.shape(row["values"]) == np.shape(row["values"]) != ()
    assert set(row["verdict"]) >= {"is_trustworthy", "sentence", "score", "interval", "controls"}
    assert len(row["neighbours"]) == 5
    with Image.open(row["map"]) as drawn:
        assert min(drawn.size) >= 200
    assert found["check"]["correlations"].keys() == {"head"}


def test_an_image_that_cannot_be_read_is_a_row_with_its_reason(fitted, tmp_path, capsys):
    _, model, images = fitted
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    good = sorted((images / "7").iterdir())[0]
    out = tmp_path / "why"
    arguments = ["explain", str(model), str(broken), str(good), "--out", str(out)]
    assert run([*arguments, "--method", "occlusion", "--no-check"]) == 1
    printed = capsys.readouterr()
    assert "broken.png cannot be explained, because it cannot be read (" in printed.err
    assert "1 of 2 inputs could not be explained" in printed.err
    assert "Traceback" not in printed.err
    page = (out / "index.html").read_text()
    assert "Not explained." in page
    assert page.count("<section id=") == 2


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--target", "owl"], 2, "no class of this model is called 'owl'"),
        (["--against", "owl"], 2, "no class of this model is called 'owl'"),
        (["--method", "magic"], 2, "no explainer is called 'magic'"),
        (["--method", "grad-cam"], 3, "grad-cam needs the gradients of a network, and hog/32 has"),
        (["--method", "Rise(masks=3)"], 2, "Rise"),
        (["--target", "7", "--against", "7"], 2, "contrasted with itself"),
    ],
)
def test_a_bad_question_is_one_sentence(fitted, tmp_path, capsys, options, code, sentence):
    _, model, images = fitted
    found = run(["explain", str(model), str(images), "--out", str(tmp_path / "why"), *options])
    printed = capsys.readouterr()
    assert found == code, printed.err
    assert sentence in printed.err
    assert "Traceback" not in printed.err


def test_a_folder_of_other_things_is_not_written_to(fitted, tmp_path, capsys):
    _, model, images = fitted
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["explain", str(model), str(images), "--out", str(tmp_path)]) == 5
    assert "holds no explanations of ilk" in capsys.readouterr().err
    assert run(["explain", str(model), str(images), "--out", str(images / "why")]) == 5
    assert not (images / "why").exists()


def test_a_multi_label_model_explains_a_label(tmp_path, capsys):
    rng = np.random.default_rng(0)
    folder, lines = tmp_path / "images", ["path,labels"]
    folder.mkdir()
    for i in range(40):
        pixels = rng.integers(0, 80, (24, 24, 3)).astype(np.uint8)
        names = []
        if i % 2:
            pixels[2:10, 2:10, 0] = 255
            names.append("red")
        if i % 4 < 2:
            pixels[14:22, 14:22, 2] = 255
            names.append("blue")
        Image.fromarray(pixels).save(folder / f"{i}.png")
        lines.append(f"images/{i}.png,{'; '.join(names) or 'none'}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    model = ilk.fit(
        tmp_path / "table.csv",
        multi_label=True,
        encoders="pixels/12x12x3",
        store=Store(tmp_path / "store.sqlite"),
    ).save(tmp_path / "model")
    both = ilk.load(model)
    image = folder / "1.png"
    red = both.explain(image, target="red", method="occlusion").values
    blue = both.explain(image, target="blue", method="occlusion").values
    assert red[:5, :5].mean() > red[7:, 7:].mean()
    assert blue[7:, 7:].mean() > blue[:5, :5].mean()
    assert both.explain(image, method="occlusion").neighbours[0].label == "blue; red"
    arguments = ["explain", str(model), str(image), "--out", str(tmp_path / "why"), "--no-check"]
    assert run([*arguments, "--target", "blue"]) == 0
    assert "blue with probability" in capsys.readouterr().out


def test_attention_maps_are_trained_saved_and_used(tmp_path, capsys, monkeypatch):
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    from helpers.tiny_checkpoints import save_timm
    from ilk.explain import train_maps

    monkeypatch.setattr(train_maps, "MIN_STEPS", 3)
    monkeypatch.setattr(train_maps, "MAX_STEPS", 3)
    monkeypatch.setattr(train_maps, "BATCH_SIZE", 8)
    source = write_digits(tmp_path / "digits", {"0": 12, "7": 12})
    network = save_timm(tmp_path / "network")
    store = Store(tmp_path / "store.sqlite")
    name = f"local-dir:{network}"
    model = ilk.fit(source, encoders=name, methods="GDA", store=store).save(tmp_path / "model")
    before = ilk.load(model).predict_proba(source, store=store)
    image = sorted((source / "7").iterdir())[0]
    arguments = ["explain", str(model), str(image), "--no-check", "--method", "t-tame"]
    assert run([*arguments, "--out", str(tmp_path / "none")]) != 0
    assert "--train-images DIR once" in capsys.readouterr().err

    out = ["--out", str(tmp_path / "why"), "--json"]
    assert run([*arguments, *out, "--train-images", str(source)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert f"attention maps were trained on 24 images and saved in {model}" in found["notes"]
    values = np.array(found["images"][0]["values"])
    loaded = ilk.load(model)  # they are kept, and answers are as before
    again = loaded.explain(image, method="t-tame").values
    np.testing.assert_allclose(values, again, atol=1e-6)
    np.testing.assert_array_equal(loaded.predict_proba(source, store=store), before)
    assert (model / "report.html").exists()
