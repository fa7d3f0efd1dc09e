"""``ichor explore``: which data set a path is, what is printed, what is refused."""

import json
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("imagehash", reason="needs the extra 'train'")

from ichor.cli import run


def head(path, seed, blood=False):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:200, :180]
    radius = np.hypot((yy - 100) / 90, (xx - 90) / 75)
    grey = np.where(radius < 0.92, 110, np.where(radius < 1, 250, 0)).astype(np.float64)
    for _ in range(25):
        y, x, r = rng.integers(40, 160), rng.integers(40, 140), rng.integers(8, 22)
        grey[np.hypot(yy - y, xx - x) < r] += rng.integers(-110, 130)
    grey += rng.normal(0, 4, radius.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    for k in range(4):
        head(root / "normal" / f"Doe{k}.png", k)
        head(root / "hemorrhage" / f"Roe{k}.png", 10 + k)
    (root / "hemorrhage" / "Roe9.png").write_bytes((root / "normal" / "Doe1.png").read_bytes())
    (root / "normal" / "broken.png").write_bytes((root / "normal" / "Doe2.png").read_bytes()[:300])
    return root


def test_a_folder_a_class(folder, tmp_path, capsys):
    page = tmp_path / "out" / "page.html"
    split = tmp_path / "split.csv"
    split.write_text("patient,fold\nnormal/Doe1.png,0\nhemorrhage/Roe9.png,1\nnormal/Doe0.png,0\n")
    assert run(["explore", str(folder), "-o", str(page), "--splits", str(split)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [str(page), str(page.with_suffix(".json"))]
    assert any(
        line.startswith("! 1 pair of pictures are the same twice, 1 pixel by pixel") for line in printed
    )
    assert any(
        line.startswith("! The split split.csv has leakage: 0 patients and 1 group of near-d")
        for line in printed
    )
    figures = json.loads(page.with_suffix(".json").read_text())
    assert figures["exams"] == 10 and figures["labels_of_exams"]["any"]["present"] == 5
    assert [row["exam"] for row in figures["unreadable"]] == ["no. 10"]
    (copy,) = figures["copies"]
    assert (copy["kind"], copy["labels_differ"]) == ("equal", True)
    # Names of a user's files may name a person: only numbers are shown.
    for path in (page, page.with_suffix(".json")):
        assert not re.search(r"[DR]oe\d\.", path.read_text())
    assert run(["explore", str(folder), "-o", str(page), "--names"]) == 0
    assert "normal/Doe1.png" in page.with_suffix(".json").read_text()


def test_a_csv_and_a_folder_as_output(folder, tmp_path, capsys):
    table = folder / "table.csv"
    table.write_text("path,any\nnormal/Doe0.png,0\nhemorrhage/Roe0.png,1\nnormal/Doe3.png,0\n")
    assert run(["explore", str(table), "-o", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "exploration.json").read_text())["exams"] == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: found nothing there"),
        ([".", "--dataset", "ct-ihc"], "did you mean 'ct-ich'"),
        ([".", "-o", "page.pdf"], "expected a name that ends in .html"),
        (["."], "found 0 sub-folders"),
        (["sets"], "found the data sets ct-ich; expected one; name it with --dataset"),
    ],
)
def test_wrong_usage(arguments, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    if arguments == ["sets"]:
        (tmp_path / "empty" / "sets" / "ct-ich").mkdir(parents=True)
    assert run(["explore", *arguments]) == 2
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and out == ""


def test_published_data_is_known_by_its_files(shared_data, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert run(["explore", str(shared_data / "ct-ich"), "--most", "6", "-o", str(page)]) == 0
    figures = json.loads(page.with_suffix(".json").read_text())
    assert (figures["dataset"], figures["exams"], figures["sampled"]) == ("ct-ich", 66, True)
    assert figures["exams_read"] <= 6 and figures["slices"] == 2008
    assert run(["explore", str(shared_data), "--dataset", "ct-ich", "--most", "2", "-o", str(page)]) == 0
    assert "of 66 exams were read" in capsys.readouterr().out
