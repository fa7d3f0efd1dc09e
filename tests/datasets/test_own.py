"""The data sets that a user brings: a folder a class, and a CSV."""

import numpy as np
import pytest
from PIL import Image

from ichor.datasets.items import label_named
from ichor.datasets.labelled import UNKNOWN
from ichor.datasets.registry import open_dataset
from ichor.errors import UsageError


def head(path, blood=False, seed=0):
    """A picture like a slice: a bright ring, grey within, perhaps a bright disk."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:200, :180]
    radius = np.hypot((yy - 100) / 90, (xx - 90) / 75)
    grey = np.where(radius < 0.92, 110, np.where(radius < 1, 250, 0)) + rng.normal(0, 4, radius.shape)
    if blood:
        grey[np.hypot(yy - 80, xx - 110) < 15] = 210
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(path)


def volume(path, n=8):
    nibabel = pytest.importorskip("nibabel")
    data = np.full((64, 64, n), -1000, np.int16)
    yy, xx = np.mgrid[:64, :64]
    data[np.hypot(yy - 32, xx - 32) < 28] = 1000
    data[np.hypot(yy - 32, xx - 32) < 25] = 35
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, np.diag([-3.0, -3.0, 6.0, 1.0])), path)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("normal", -1),
        ("No", -1),
        ("0", -1),
        ("no_hemorrhage", -1),
        ("Hemorrhage", 0),
        ("yes", 0),
        ("any", 0),
        ("SDH", 5),
        ("subdural hemorrhage", 5),
        ("Intraparenchymal", 2),
        ("epidural", 1),
        ("other", None),
        ("path", None),
    ],
)
def test_names_of_classes_are_understood(name, place):
    assert label_named(name) == place


def test_a_folder_a_class(tmp_path):
    head(tmp_path / "normal" / "a.png")
    head(tmp_path / "normal" / "b.jpg", seed=1)
    head(tmp_path / "subdural" / "c.png", blood=True)
    dataset = open_dataset(f"folder:{tmp_path}", tmp_path)
    assert dataset.info.kind == "pictures"
    labels = dataset.patients()
    assert list(labels) == ["normal/a.png", "normal/b.jpg", "subdural/c.png"]
    assert labels["normal/a.png"].tolist() == [0] * 6
    known = labels["subdural/c.png"]
    assert (known[0], known[5]) == (1, 1) and np.isnan(known[1:5]).all()
    item = dataset.load("subdural/c.png")
    assert item.exam.volume.shape[0] == 1 and item.labels.shape == (1, 6) and (item.blood == UNKNOWN).all()
    assert item.exam.volume.max() > 70  # bone is white in the brain window
    assert not dataset.load("normal/a.png").blood.any()


def test_classes_of_other_names_need_a_word(tmp_path):
    head(tmp_path / "benign" / "a.png")
    head(tmp_path / "stroke" / "b.png")
    with pytest.raises(UsageError, match=r"benign: found a class.*positive=NAME"):
        open_dataset(f"folder:{tmp_path}", tmp_path)
    dataset = open_dataset(f"folder:{tmp_path}?positive=stroke", tmp_path)
    assert [v[0] for v in dataset.patients().values()] == [0, 1]
    with pytest.raises(UsageError, match="no class 'x'"):
        open_dataset(f"folder:{tmp_path}?positive=x", tmp_path)


def test_a_folder_with_one_class_or_an_empty_one_is_refused(tmp_path):
    head(tmp_path / "normal" / "a.png")
    with pytest.raises(UsageError, match="found 1 sub-folders"):
        open_dataset(f"folder:{tmp_path}", tmp_path)
    (tmp_path / "hemorrhage").mkdir()
    (tmp_path / "hemorrhage" / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="no picture and no volume among 1 files"):
        open_dataset(f"folder:{tmp_path}", tmp_path)


def test_a_table_of_exams_with_patients_and_slices(tmp_path):
    volume(tmp_path / "v" / "one.nii.gz")
    volume(tmp_path / "v" / "two.nii.gz")
    table = tmp_path / "own.csv"
    table.write_text(
        "path,patient,slice,any,SDH,age_years\n"
        "v/one.nii.gz,P1,0,0,0,70\nv/one.nii.gz,P1,3,1,1,70\nv/one.nii.gz,P1,4,1,,70\nv/two.nii.gz,P1,,0,0,\n"
    )
    dataset = open_dataset(f"csv:{table}", tmp_path)
    assert dataset.groups() == {"v/one.nii.gz": "P1", "v/two.nii.gz": "P1"}
    assert dataset.traits("v/one.nii.gz") == {"age_years": 70} and dataset.traits("v/two.nii.gz") == {}
    assert dataset.patients()["v/one.nii.gz"][[0, 5]].tolist() == [1, 1]
    rows = dataset.slice_labels("v/one.nii.gz")
    assert rows.shape == (8, 6)
    assert rows[0].tolist() == [0] * 6 and rows[3, 5] == 1 and np.isnan(rows[4, 5]) and np.isnan(rows[6, 0])
    assert not dataset.slice_labels("v/two.nii.gz").any()
    item = dataset.load("v/one.nii.gz")
    assert item.labels.shape == (8, 6) and not item.blood[0].any() and (item.blood[3] == UNKNOWN).all()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,any\na.png,1\n", "expected path and at least one label"),
        ("path,age\na.png,1\n", "expected path and at least one label"),
        ("", "columns none"),
        ("path,any\na.png,2\n", r"line 2: found any = '2'; expected 0, 1 or nothing"),
        ("path,any\n,1\n", "line 2: found no path"),
        ("path,any\na.png,1\na.png,0\n", "line 3: found a.png again"),
        ("path,any,sdh\na.png,0,1\n", "line 2: found a subtype where any is 0"),
        ("path,any,slice\na.png,0,0\na.png,0,0\n", "line 3: found slice '0'"),
        ("path,any\nmissing.png,1\n", r"1 rows whose file is not there \(missing.png\)"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path, text, says):
    head(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=says):
        open_dataset(f"csv:{tmp_path / 't.csv'}", tmp_path)


def test_unknown_names_get_the_nearest(tmp_path):
    with pytest.raises(UsageError, match=r"did you mean 'cq500'.*folder:PATH or csv:PATH"):
        open_dataset("cq50", tmp_path)
    with pytest.raises(UsageError, match="found nothing at"):
        open_dataset("csv:none.csv", tmp_path)
    with pytest.raises(UsageError, match=r"found no .*; expected the data set 'bhsd' there"):
        open_dataset("bhsd", tmp_path)
