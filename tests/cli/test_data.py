"""``ichor data`` from the command line: what it prints, what it exits with."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from ichor.cli import run
from ichor.cli.demo import demo_exam


@pytest.fixture
def folder_of_classes(tmp_path):
    yy, xx = np.mgrid[:128, :128]
    r = np.hypot((yy - 64) / 1.1, xx - 64)
    for name, n in (("hemorrhage", 2), ("normal", 3)):
        (tmp_path / name).mkdir()
        for k in range(n):
            brain = 110 + np.random.default_rng(k).normal(0, 3, r.shape)
            grey = np.where(r < 45, brain, np.where(r < 52, 255, 0)).astype(np.uint8)
            Image.fromarray(grey).save(tmp_path / name / f"{k}.png")
    return tmp_path


def test_list_tells_what_is_here(tmp_path, capsys):
    root = tmp_path / "head-ct-hemorrhage"
    (root / "head_ct").mkdir(parents=True)
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "hemorrhage"], [0, 1]])
    (root / "head_ct" / "000.png").write_bytes(b"x")
    (tmp_path / "rsna").mkdir()
    (tmp_path / "rsna" / "stage_2_train.csv").write_text("ID,Label\n")
    assert run(["data", "list", "--data", str(tmp_path)]) == 0
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in capsys.readouterr().out.splitlines()}
    assert rows["head-ct-hemorrhage"].startswith("pictures 1 research use")
    assert rows["rsna"].startswith("exams in part: no stage_2_train/*.dcm RSNA's terms")
    assert rows["bhsd"].startswith("exams no MIT")


def test_info_tells_every_form_and_near_names(tmp_path, capsys):
    assert run(["data", "info", "ct-ich", "--data", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for part in ("Hssayeni", "CC BY 4.0", "Restricted Health Data License", "slices.csv", "ct_scans/*.nii*"):
        assert part in out
    assert run(["data", "info", "ctich"]) == 2
    assert "did you mean 'ct-ich'?" in capsys.readouterr().err


def test_get_says_what_it_needs_before_it_begins(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["data", "get", "rsna", "--data", str(tmp_path / "data")]) == 2
    err = capsys.readouterr().err
    assert "licence: RSNA's terms" in err and "accept the competition's rules" in err
    assert "pip install kaggle" in err and str(tmp_path / "data" / "rsna") in err


def test_check_counts_and_exits_with_3_at_a_fault(folder_of_classes, tmp_path, capsys):
    name = f"folder:{folder_of_classes}"
    status = run(["data", "check", name])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    assert "pictures 5, slices read 5" in out and "any: 2 positive" in out and out.endswith("no faults\n")
    (folder_of_classes / "normal" / "1.png").write_bytes(b"no picture")
    listing = tmp_path / "leave-out.txt"
    assert run(["data", "check", name, "--leave-out", str(listing)]) == 3
    captured = capsys.readouterr()
    assert captured.err.count("fault:") == 1 and "no faults" not in captured.out
    assert len(listing.read_text().split()) == 1
    assert run(["data", "check", name, "--leave-out", str(listing)]) == 3
    assert len(listing.read_text().split()) == 1


def test_check_of_nothing(tmp_path, capsys):
    assert run(["data", "check", "cq500", "--data", str(tmp_path)]) == 2
    assert "ichor data get cq500" in capsys.readouterr().err


def test_convert_there_and_back(tmp_path, capsys):
    pictures, series = tmp_path / "pictures", tmp_path / "series"
    shutil.copy(demo_exam(), tmp_path / "exam.zip")
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4 no zip")
    command = ["data", "convert", str(tmp_path / "exam.zip"), "-o", str(pictures), "--processes", "1"]
    look = ["--window", "brain", "--window", "subdural", "--window", "40:4000", "--rgb", "--size", "96x80"]
    assert run([*command, *look]) == 0
    assert capsys.readouterr().out == f"1 of 1 converted, in {pictures}\n"
    (first, *rest) = sorted(pictures.rglob("*.png"))
    assert len(rest) == 29
    with Image.open(first) as picture:
        assert (picture.mode, picture.size) == ("RGB", (80, 96))
    assert run([*command, *look]) == 0  # nothing to do
    assert run([*command[:2], str(tmp_path / "bad.zip"), *command[2:], *look]) == 3
    captured = capsys.readouterr()
    assert "failed:" in captured.err and "bad.zip" in captured.err and "1 of 2 converted" in captured.out
    assert run([*command, "--window", "bone"]) == 2
    assert "pictures of another look" in capsys.readouterr().err
    for form in ("ct", "sc"):
        assert run(["data", "convert", str(pictures), "-o", str(series / form), "--to", form]) == 0
        assert len(list((series / form).rglob("*.dcm"))) == 30
    assert run(["detect", str(series / "sc"), "--json"]) == 3
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--window", "bones"], "found no such window"),
        (["--rgb"], "found 1 windows; expected three"),
        (["--size", "a"], "found no size"),
        (["--size", "5x5x5"], "found no size"),
        (["--to", "ct"], "found no folder with pictures"),
        (["--to", "ct", "--window", "brain", "--window", "bone"], "expected the one that pictures"),
    ],
)
def test_convert_refuses_what_it_cannot_do(tmp_path, capsys, options, says):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.dcm").write_bytes(b"x")
    assert run(["data", "convert", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *options]) == 2
    assert says in capsys.readouterr().err
