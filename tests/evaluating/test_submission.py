"""Kaggle's file: in its order, complete, clipped, or refused."""

import csv
import io
import json
import zipfile

import numpy as np
import pydicom
import pytest

import ichor
from ichor.cli import run
from ichor.cli.demo import demo_exam
from ichor.errors import UsageError
from ichor.evaluating.submission import read_probabilities, write_submission
from ichor.labels import LABEL_NAMES

KAGGLE = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "sample.csv"
    rows = [f"ID_{image}_{name},0.5" for image in ("c", "a", "b") for name in KAGGLE]
    path.write_text("ID,Label\n" + "\n".join(rows) + "\n")
    return path


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *LABEL_NAMES])
        writer.writerows(rows)
    return path


def test_a_submission_by_the_command(sample, tmp_path, capfd):
    found = table(
        tmp_path / "p.csv", [["ID_a", *np.arange(1, 7) / 10], ["ID_b", 0, 0, 0, 0, 0, 0], ["ID_c"] + [1] * 6]
    )
    assert run(["submit", str(found), "--sample", str(sample), "-o", str(tmp_path / "s.csv")]) == 0
    assert "3 images, 18 rows" in capfd.readouterr().out
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    with sample.open(newline="") as file:
        assert [r[0] for r in rows] == [r[0] for r in csv.reader(file)]
    values = {key: float(v) for key, v in rows[1:]}
    assert values["ID_a_any"] == 0.1 and values["ID_a_epidural"] == 0.2 and values["ID_a_subdural"] == 0.6
    assert values["ID_b_any"] == 1e-15 and values["ID_c_any"] == 1 - 1e-15


def test_clipped_as_asked(sample, tmp_path):
    write_submission(
        {f"ID_{k}": np.array([0.0, 1, 0, 1, 0, 1]) for k in "abc"}, sample, tmp_path / "s.csv", 0.01
    )
    values = {line.split(",")[1] for line in (tmp_path / "s.csv").read_text().splitlines()[1:]}
    assert values == {"0.01", "0.99"}
    with pytest.raises(UsageError, match=r"clip: found 0\.5"):
        write_submission({}, sample, tmp_path / "s.csv", 0.5)


def test_missing_and_strange_images_are_refused_and_nothing_is_written(sample, tmp_path):
    half = np.full(6, 0.5)
    with pytest.raises(UsageError, match=r"2 of 3 images without a probability \(ID_c, ID_b\)"):
        write_submission({"ID_a": half}, sample, tmp_path / "s.csv")
    with pytest.raises(UsageError, match=r"1 images that it does not have \(ID_x\)"):
        write_submission({f"ID_{k}": half for k in "abcx"}, sample, tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([["ID_a", *[0.5] * 6], ["ID_a", *[0.5] * 6]], "line 3: found image ID_a again"),
        ([["ID_a", *[1.5] * 6]], "line 2: found .*expected probabilities, 0 to 1"),
        ([["ID_a", "nan", *[0.5] * 5]], "line 2: found .*nan.*expected probabilities"),
        ([["ID_a", "x", *[0.5] * 5]], "line 2: found text"),
        ([], "found no probabilities"),
    ],
)
def test_broken_tables_are_refused_with_their_line(tmp_path, rows, says):
    with pytest.raises(UsageError, match=says):
        read_probabilities([table(tmp_path / "p.csv", rows)])


def test_findings_as_json_lines(sample, tmp_path):
    def one(uid, p):
        return {"sop_instance_uid": uid, "probabilities": dict.fromkeys(LABEL_NAMES, p)}

    path = tmp_path / "f.jsonl"
    lines = [{"slices": [one("ID_a", 0.1), one("ID_b", 0.2)]}, {"slices": [one("ID_c", 0.3)]}]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert write_submission(read_probabilities([path]), sample, tmp_path / "s.csv") == 3
    path.write_text(json.dumps({"slices": [one(None, 0.1)]}))
    with pytest.raises(UsageError, match="without a UID; expected --original-uids"):
        read_probabilities([path])
    path.write_text("{}\n")
    with pytest.raises(UsageError, match="line 1: found no findings"):
        read_probabilities([path])


def test_a_folder_of_images_in_no_order_is_assessed_and_goes_on(tmp_path, capfd, monkeypatch):
    """Kaggle's layout: every image of every exam in one folder, named by its UID; one file is broken."""
    folder = tmp_path / "stage_2_test"
    folder.mkdir()
    images = []
    with zipfile.ZipFile(demo_exam()) as archive:
        for content in map(archive.read, sorted(archive.namelist())):
            images.append(str(pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).SOPInstanceUID))
            (folder / f"{images[-1]}.dcm").write_bytes(content)
    (folder / "ID_broken.dcm").write_bytes(b"\0" * 300)
    sample = tmp_path / "sample.csv"
    rows = [f"{image}_{name},0.5" for image in sorted([*images, "ID_broken"]) for name in KAGGLE]
    sample.write_text("ID,Label\n" + "\n".join(rows) + "\n")
    command = ["submit", str(folder), "--sample", str(sample), "-o", str(tmp_path / "s.csv")]

    assert run(command) == 0
    captured = capfd.readouterr()
    assert f"{len(images) + 1} images" in captured.out
    assert (
        "1 images cannot be assessed (1 unreadable) and have the mean of the others: ID_broken"
        in captured.err
    )
    with (tmp_path / "s.csv").open(newline="") as file:
        values = {row["ID"]: float(row["Label"]) for row in csv.DictReader(file)}
    own = ichor.detect(demo_exam(), original_uids=True)
    for one in own.slices:
        assert values[f"{one.sop_instance_uid}_any"] == pytest.approx(one.probabilities.any)

    # Killed before the end: what was kept is not assessed again, and gives the same file.
    first = (tmp_path / "s.csv").read_bytes()
    monkeypatch.setattr("ichor.evaluating.submission_folder.read_files", None)
    (folder / "ID_broken.dcm").unlink()
    sample.write_text("\n".join(r for r in sample.read_text().splitlines() if "broken" not in r) + "\n")
    assert run(command) == 0
    assert (tmp_path / "s.csv").read_bytes().splitlines() == [
        line for line in first.splitlines() if b"broken" not in line
    ]

    # Killed while a line was written: that image is assessed again, the others' lines stay.
    monkeypatch.undo()
    (kept,) = (path for path in tmp_path.glob("s.csv.*.csv"))
    before = kept.read_bytes()
    kept.write_bytes(before[:-7])
    assert run(command) == 0
    assert sorted(kept.read_bytes().splitlines()) == sorted(before.splitlines())
