"""What is done with rows afterwards: compacted, reported, evaluated, DICOM objects beside them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import nibabel
import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra 'scale'")

from bulk.made import BUNDLE, bulk, command, environment, files, raw_keys, rows
from ichor.bulk.output import Output
from ichor.bulk.schema import SCHEMA_VERSION, arrow_schema
from ichor.bulk.tending import compact
from ichor.errors import UsageError


def written_as(output: Output, some: list[dict]) -> None:
    output.write([{**row, "time": round(row["time"].timestamp() * 1000)} for row in some])


def test_compact_makes_one_part_without_doubles(assessed, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(assessed.out, out)
    before = rows(out)
    output = Output(out)
    written_as(output, before[:2])  # what a kill between writing and removing leaves
    written_as(output, [{**before[2], "revision": 2, "n_slices": 99}])
    assert len(raw_keys(out)) == 10
    found = rows(out)
    assert [row["n_slices"] for row in found] == [
        *(r["n_slices"] for r in before[:2]),
        99,
        *(r["n_slices"] for r in before[3:]),
    ]
    done = bulk("compact", out)
    assert done.returncode == 0, done.stderr
    assert len(list((out / "rows").iterdir())) == 1
    assert rows(out) == found
    assert len(raw_keys(out)) == 7
    once = files(out)
    compact(output)
    assert files(out) == once


def test_rows_without_a_key_are_never_written(assessed, tmp_path):
    (tmp_path / "rows").mkdir()
    some = rows(assessed.out)[:1]
    with pytest.raises(ValueError, match="unit"):
        written_as(Output(tmp_path), [{**some[0], "unit": None}])
    assert list((tmp_path / "rows").iterdir()) == []


def test_a_part_of_another_version_or_none_is_named(assessed, tmp_path):
    from pyarrow import parquet

    out = tmp_path / "out"
    shutil.copytree(assessed.out, out)
    (out / "rows" / "part-broken.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(UsageError, match=r"part-broken\.parquet: found a file that cannot be read"):
        rows(out)
    table = arrow_schema().empty_table().replace_schema_metadata({b"ichor.schema": b"ichor.bulk/9"})
    parquet.write_table(table, out / "rows" / "part-broken.parquet")
    with pytest.raises(UsageError, match=f"found schema 'ichor.bulk/9'; expected '{SCHEMA_VERSION}'"):
        rows(out)


def test_two_runs_do_not_write_at_once(assessed, tmp_path):
    with Output(assessed.out).lock():
        done = bulk(assessed.root, "-o", assessed.out, "--bundle", BUNDLE)
    assert done.returncode == 2
    assert "found another process that writes there" in done.stderr


def test_a_report_counts_and_shows_drift(assessed, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(assessed.out, out)
    done = bulk("report", out)
    assert done.returncode == 0, done.stderr
    data = json.loads((out / "report.json").read_text())
    assert (data["rows"], data["states"]) == (7, {"assessed": 5, "refused": 2})
    assert sum(data["codes"].values()) == 2
    assert sum(data["histograms"]["any"]) == 5
    step = next(d for d in data["drift"] if d["name"] == "slice_step_mm")
    assert (step["median"], step["n"], step["outside"]) == (16.0, 5, 1.0), "16 mm are in no training exam"
    page = (out / "report.html").read_text()
    assert "distance between slices" in page and "http" not in page


def test_rows_become_a_table_of_predictions(assessed, tmp_path):
    import csv

    from ichor.bulk.table import patient_of, write_predictions

    assert patient_of("a/081.nii.gz", {"081", "a"}) == "081"
    assert patient_of("p7/s1 + p7/s2", {"p7"}) == "p7"
    path = tmp_path / "table.csv"
    assert write_predictions(Output(assessed.out), {"one", "two", "b", "c", "f"}, path) == 2
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    exams = {line["patient"]: float(line["any"]) for line in lines if line["level"] == "exam"}
    known = {row["input"]: row["probabilities"] for row in rows(assessed.out)}
    assert exams == {
        name: known[place]["any"]
        for name, place in {"one": "a/one", "two": "a/two", "b": "b.zip", "c": "c.nii.gz", "f": "f"}.items()
    }
    with pytest.raises(UsageError, match=r"found 1 inputs that are of no patient of the data set \(f\)"):
        write_predictions(Output(assessed.out), {"one", "two", "b", "c"}, path)


def test_evaluate_takes_rows_and_asks_for_the_patients_that_are_missing(shared_data, tmp_path):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from ichor.datasets.ct_ich import CtIch

    data = CtIch(shared_data / "ct-ich")
    root = tmp_path / "root"
    root.mkdir()
    for patient in ("081", "049"):
        exam = data.load(patient).exam
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ exam.geometry.affine()
        nibabel.save(nibabel.Nifti1Image(exam.volume.transpose(2, 1, 0), affine), root / f"{patient}.nii.gz")
    done = bulk(root, "-o", tmp_path / "out", "--bundle", BUNDLE)
    assert done.returncode == 0, done.stderr
    words = ["evaluate", tmp_path / "out", "--data", shared_data, "--dataset", "ct-ich", "--json"]
    done = subprocess.run(command(*words), capture_output=True, text=True, env=environment())
    # All of a data set or nothing: a figure of two of its patients would be none of the data set's.
    assert "out.csv: found predictions for 2 patients; expected 64 more" in done.stderr


def test_objects_lie_in_folders_named_by_the_row(tmp_path):
    pytest.importorskip("highdicom", reason="needs the extra 'results'")
    import pydicom

    from results.made import written

    written(tmp_path / "root" / "a", "even")
    out, objects = tmp_path / "out", tmp_path / "objects"
    words = (tmp_path / "root", "-o", out, "--jobs", 1, "--write", "seg,sr", "--objects", objects)
    done = bulk(*words, "--bundle", BUNDLE)
    assert done.returncode == 0, done.stderr
    (row,) = rows(out)
    folder = objects / row["unit"][:2] / f"{row['unit']}-0"
    assert pydicom.dcmread(folder / "sr.dcm").Modality == "SR"
    left_out = "result_left_out" in [n["code"] for n in row["notices"]]
    assert left_out != (folder / "seg.dcm").exists()
    assert os.path.commonpath([out, objects]) == str(tmp_path)
