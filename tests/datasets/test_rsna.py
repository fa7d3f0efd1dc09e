"""RSNA 2019, from a small copy of Kaggle's layout: shuffled names, repeated rows, the corrupt file, two studies."""

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ichor.datasets.registry import open_dataset
from ichor.datasets.rsna import CORRUPT, Rsna
from ichor.datasets.rsna_index import build_index, read_submission_ids
from ichor.datasets.splits import folds_of
from ichor.errors import RefusedInput, UsageError

SUBTYPES = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")


def write(folder, image, patient, study, z, bleeds):
    """One file as Kaggle has it: every identifier a pseudonym that begins with ID_."""
    warnings.filterwarnings("ignore", message="Invalid value for VR UI")
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.SOPInstanceUID, data.PatientID, data.StudyInstanceUID = image, patient, study
    data.SeriesInstanceUID, data.Modality = study.replace("ID_", "ID_s"), "CT"
    data.ImagePositionPatient, data.ImageOrientationPatient = [-96, -96, z], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [3, 3], 9
    data.Rows = data.Columns = 64
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.RescaleIntercept, data.RescaleSlope = -1024, 1
    yy, xx = np.mgrid[:64, :64]
    hu = np.full((64, 64), -1000)
    hu[np.hypot(yy - 32, xx - 32) < 28] = 1000
    hu[np.hypot(yy - 32, xx - 32) < 25] = 35
    if bleeds:
        hu[20:26, 40:44] = 65
    data.PixelData = (hu + 1024).astype("<u2").tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a pseudonym is no UID: so it is in the published files
        data.save_as(folder / f"{image}.dcm", enforce_file_format=True)


@pytest.fixture
def rsna(tmp_path):
    """Patient p1 with two studies, p2 with one; the second slice of p1's first study bleeds."""
    root = tmp_path / "rsna"
    folder = root / "stage_2_train"
    folder.mkdir(parents=True)
    images = {}
    for study, patient, n in (("ID_st1", "ID_p1", 6), ("ID_st2", "ID_p1", 6), ("ID_st3", "ID_p2", 7)):
        for k in range(n):
            image = f"ID_{(len(images) * 7919) % 1000:09x}"  # in no order
            images[image] = (study, k)
            write(folder, image, patient, study, 9.0 * k, (study, k) == ("ID_st1", 1))
    rows = []
    for image, where in images.items():
        for name in SUBTYPES:
            rows.append(f"{image}_{name},{int(where == ('ID_st1', 1) and name in ('any', 'subdural'))}")
    rows += rows[:3]  # the published table repeats some
    rows += [f"{CORRUPT[0]}_{name},0" for name in SUBTYPES]
    (folder / f"{CORRUPT[0]}.dcm").write_bytes(b"\0" * 300)
    (root / "stage_2_train.csv").write_text("ID,Label\n" + "\n".join(rows) + "\n")
    return tmp_path, images


def test_studies_are_sorted_in_space_and_grouped_by_patient(rsna):
    data, images = rsna
    dataset = open_dataset("rsna", data)
    assert dataset.groups() == {"ID_st1": "ID_p1", "ID_st2": "ID_p1", "ID_st3": "ID_p2"}
    assert [images[i] for i in dataset.images("ID_st1")] == [("ID_st1", k) for k in range(6)]
    labels = dataset.slice_labels("ID_st1")
    assert labels[:, 0].tolist() == [0, 1, 0, 0, 0, 0] and labels[1].tolist() == [1, 0, 0, 0, 0, 1]
    item = dataset.load("ID_st1")
    assert (item.exam.volume == 65).any(axis=(1, 2)).tolist() == labels[:, 0].astype(bool).tolist()
    assert len(list(dataset)) == 3
    assert any("3 rows of the table repeat others" in n for n in dataset.notes)
    assert any("1 images with a corrupt file were left out, first ID_6431af929" in n for n in dataset.notes)


def test_the_index_is_kept_and_gone_on_with(rsna):
    data, images = rsna
    root = data / "rsna"
    folder, kept, part = root / "stage_2_train", root / "kept.csv", root / "kept.csv.part"
    first = build_index(folder, kept, lambda _: None, processes=1)
    assert len(first) == len(images) + 1
    assert first[CORRUPT[0]].fault and sum(not row.fault for row in first.values()) == len(images)
    lines = kept.read_text().splitlines()
    assert len(lines) == 1 + len(images) and not part.exists()
    kept.unlink()
    part.write_text("\n".join(lines[1:6]) + "\n" + lines[6][:-2])  # killed in the midst of a line
    read = []
    assert build_index(folder, kept, read.append, processes=1).keys() == first.keys()
    assert "of 15" in read[-1]  # only those that were not kept
    assert not part.exists()
    # A file at fault is looked at again, and heals when it is replaced.
    shutil.copy(folder / f"{next(iter(images))}.dcm", folder / f"{CORRUPT[0]}.dcm")
    assert not build_index(folder, kept, read.append, processes=2)[CORRUPT[0]].fault
    assert "of 1," in read[-1]
    read.clear()
    assert len(build_index(folder, kept, read.append)) == len(images) + 1
    assert not read


def test_several_processes_read_what_one_does(rsna, monkeypatch):
    data, _ = rsna
    folder = data / "rsna" / "stage_2_train"
    monkeypatch.setattr("ichor.datasets.rsna_index._CHUNK", 7)
    log = []
    two = build_index(folder, data / "two.csv", log.append, processes=2)
    one = build_index(folder, data / "one.csv", log.append, processes=1)
    assert {k: v for k, v in one.items() if not v.fault} == {k: v for k, v in two.items() if not v.fault}
    assert sorted((data / "one.csv").read_text().splitlines()) == sorted(
        (data / "two.csv").read_text().splitlines()
    )
    assert log[0].startswith("headers: 7 of 20,")


def test_a_contradiction_in_the_table_is_refused(rsna):
    data, images = rsna
    path = data / "rsna" / "stage_2_train.csv"
    text = path.read_text()
    path.write_text(text + f"{next(iter(images))}_any,1\n")
    with pytest.raises(UsageError, match="again, as 1 and as 0; expected one label"):
        open_dataset("rsna", data)
    path.write_text(text + f"{next(iter(images))}_any,2\n")
    with pytest.raises(UsageError, match=r"line \d+: found 'ID_\w+_any,2'"):
        open_dataset("rsna", data)
    path.write_text("ID,Label\n")
    with pytest.raises(UsageError, match="found 0 images"):
        open_dataset("rsna", data)
    path.write_text(text + "ID_x_any,1\n")
    with pytest.raises(UsageError, match="1 images without all six labels, first ID_x"):
        open_dataset("rsna", data)
    path.write_text(text + "ID_x_some,1\n")
    with pytest.raises(UsageError, match=r"expected ID_\.\.\._subtype and 0 or 1"):
        open_dataset("rsna", data)


def test_a_read_only_folder_keeps_its_index_elsewhere(rsna, monkeypatch):
    data, _ = rsna
    monkeypatch.setenv("XDG_CACHE_HOME", str(data / "cache"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert Rsna(data / "rsna").patients()
    assert (data / "cache" / "ichor" / "rsna-index.csv").exists() and not (
        data / "rsna" / "ichor-index.csv"
    ).exists()


def test_ids_of_the_sample_submission(tmp_path):
    path = tmp_path / "sample.csv"
    rows = [f"ID_{i}_{name},0.5" for i in ("b", "a") for name in SUBTYPES]
    path.write_text("ID,Label\n" + "\n".join(rows) + "\n")
    assert read_submission_ids(path) == ["ID_b", "ID_a"]
    path.write_text("ID,Label\n" + "\n".join(rows[:-1]) + "\n")
    with pytest.raises(UsageError, match="1 images without six rows, first ID_a"):
        read_submission_ids(path)
    path.write_text("a,b\n")
    with pytest.raises(UsageError, match="expected ID,Label"):
        read_submission_ids(path)


def test_a_killed_index_goes_on(rsna):
    data, images = rsna
    root = data / "rsna"
    program = (
        "import sys, ichor.datasets.rsna_index as r; from pathlib import Path; r._CHUNK = 2\n"
        "import time; r._read_header = (lambda f: lambda p: (time.sleep(0.05), f(p))[1])(r._read_header)\n"
        "print(len(r.build_index(Path(sys.argv[1]), Path(sys.argv[2]), lambda _: None, 1)))"
    )
    kept, part = root / "kept.csv", root / "kept.csv.part"
    command = [sys.executable, "-c", program, root / "stage_2_train", kept]
    process = subprocess.Popen(command)
    until = time.monotonic() + 60
    while (not part.exists() or part.read_text().count("ID_st") < 5) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not kept.exists()
    assert 5 <= part.read_text().count("ID_st") < len(images)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(images) + 1
    assert kept.read_text().count("ID_st") == len(images) and not part.exists()


def test_what_is_left_out_is_told(rsna):
    data, images = rsna
    root = data / "rsna"
    folder = root / "stage_2_train"
    write(folder, "ID_unlabelled", "ID_p2", "ID_st3", 90.0, False)
    gone = next(image for image, where in images.items() if where == ("ID_st3", 6))
    (folder / f"{gone}.dcm").unlink()
    short = [image for image, (study, k) in images.items() if study == "ID_st2" and k > 1]
    for image in short:
        (folder / f"{image}.dcm").unlink()
    twice, other = (image for image, where in images.items() if where in (("ID_st1", 0), ("ID_st1", 5)))
    write(folder, other, "ID_p1", "ID_st1", 0.0, False)
    dataset = Rsna(root)
    assert list(dataset.patients()) == ["ID_st1", "ID_st3"]
    told = " ".join(dataset.notes)
    assert "1 images without labels were left out, first ID_unlabelled" in told
    assert "5 images labelled without a file" in told
    assert "2 images in studies of fewer than 3 images" in told
    assert "1 images that lie where another one of their study does" in told
    assert (
        len(dataset.images("ID_st1")) == 5 and sum(i in dataset.images("ID_st1") for i in (twice, other)) == 1
    )
    assert dataset.load("ID_st1").labels.shape == (5, 6)
    (root / "leave-out.txt").write_text("ID_st3\n")
    dataset = Rsna(root)
    assert list(dataset.patients()) == ["ID_st1"]
    assert any("6 images named in leave-out.txt" in note for note in dataset.notes)


def test_a_file_whose_pixels_are_cut_short_is_refused_by_its_study(rsna):
    data, images = rsna
    path = data / "rsna" / "stage_2_train" / f"{next(iter(images))}.dcm"
    path.write_bytes(path.read_bytes()[:-3000])
    dataset = Rsna(data / "rsna")
    with pytest.raises(RefusedInput) as refused:
        dataset.load("ID_st1")
    assert refused.value.source.startswith("rsna/ID_st1") or path.name in refused.value.source
    assert dataset.load("ID_st3").labels.shape == (7, 6)


def test_the_patient_s_studies_stay_together_in_folds(rsna):
    dataset = Rsna(rsna[0] / "rsna")
    for seed in range(5):
        folds = folds_of(dataset, 2, seed)
        assert folds["ID_st1"] == folds["ID_st2"] != folds["ID_st3"]


def test_the_test_part_s_order(rsna):
    root = rsna[0] / "rsna"
    rows = [f"ID_{i}_{name},0.5" for i in ("b", "a") for name in SUBTYPES]
    (root / "stage_2_sample_submission.csv").write_text("ID,Label\n" + "\n".join(rows) + "\n")
    assert Rsna(root).test_ids() == ["ID_b", "ID_a"]
