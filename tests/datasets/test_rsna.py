"""RSNA 2019, from a small copy of Kaggle's layout: shuffled names, repeated rows, the corrupt file, two studies."""

import os
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
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES

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
    folder, kept = root / "stage_2_train", root / "kept.csv"
    first = build_index(folder, kept, lambda _: None, processes=1)
    assert len(first) == len(images) + 1
    lines = kept.read_text().splitlines()
    kept.write_text("\n".join(lines[:6]) + "\n" + lines[6][:9])  # killed in the midst of a line
    read = []
    assert build_index(folder, kept, read.append, processes=1).keys() == first.keys()
    assert "of 15" in read[0]  # only those that were not kept
    (folder / "ID_new.dcm").write_bytes(b"x")
    assert len(build_index(folder, kept, lambda _: None, processes=2)) == len(first) + 1


def test_a_contradiction_in_the_table_is_refused(rsna):
    data, images = rsna
    path = data / "rsna" / "stage_2_train.csv"
    text = path.read_text()
    path.write_text(text + f"{next(iter(images))}_any,1\n")
    with pytest.raises(UsageError, match="again with another label"):
        open_dataset("rsna", data)
    path.write_text(text + "ID_x_any,1\n")
    with pytest.raises(UsageError, match="1 images without all six labels, first ID_x"):
        open_dataset("rsna", data)
    path.write_text(text + "ID_x_some,1\n")
    with pytest.raises(UsageError, match=r"expected ID_\.\.\._subtype,0 or 1"):
        open_dataset("rsna", data)


def test_a_read_only_folder_keeps_its_index_elsewhere(rsna, monkeypatch):
    data, _ = rsna
    monkeypatch.setenv("XDG_CACHE_HOME", str(data / "cache"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert Rsna(data / "rsna").patients()
    assert (data / "cache" / "ichor" / "rsna-index.csv").exists() and not (data / "rsna" / "ichor-index.csv").exists()


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
    command = [sys.executable, "-c", program, root / "stage_2_train", root / "kept.csv"]
    process = subprocess.Popen(command)
    while not (root / "kept.csv").exists() or (root / "kept.csv").read_text().count("\n") < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (root / "kept.csv").read_text().count("\n") < len(images)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(images) + 1
    assert len(LABEL_NAMES) == 6
