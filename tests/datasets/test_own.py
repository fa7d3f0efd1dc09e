"""The data sets that a user brings: a folder a class, and a CSV."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ichor.datasets.items import label_named
from ichor.datasets.labelled import UNKNOWN
from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import grouped
from ichor.errors import RefusedInput, UsageError


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
        ("Non-hemorrhagic", -1),
        ("no bleeding", -1),
        ("Haemorrhagic", 0),
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


def test_one_broken_picture_does_not_stop_the_dealing_of_the_others(tmp_path):
    pytest.importorskip("imagehash", reason="needs the extra 'train'")
    for kind in ("normal", "hemorrhage"):
        for seed in range(2):
            head(tmp_path / kind / f"{seed}.png", blood=kind == "hemorrhage", seed=seed)
    (tmp_path / "normal" / "2.png").write_bytes(b"no picture")
    head(tmp_path / "normal" / "copy.png")  # of normal/0.png
    page = Image.open(tmp_path / "normal" / "0.png")
    page.save(tmp_path / "normal" / "pages.tif", save_all=True, append_images=[page.rotate(9)])
    dataset = open_dataset(f"folder:{tmp_path}", tmp_path)
    groups = grouped(dataset, list(dataset.patients()))
    assert groups["normal/copy.png"] == groups["normal/0.png"]
    for name, found in (("2.png", "a picture that cannot be decoded"), ("pages.tif", "2 exams or pictures")):
        assert [n for n, group in groups.items() if group == f"normal/{name}"] == [f"normal/{name}"]
        with pytest.raises(RefusedInput, match=f"normal/{name}: found {found}"):
            dataset.load(f"normal/{name}")


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


def test_what_a_folder_holds_besides_is_told(tmp_path):
    head(tmp_path / "normal" / "a.png")
    head(tmp_path / "ich" / "b.png")
    assert open_dataset(f"folder:{tmp_path}", tmp_path).notes == []
    (tmp_path / "ich" / "notes.txt").write_text("x")
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / ".DS_Store").write_text("x")
    assert open_dataset(f"folder:{tmp_path}", tmp_path).notes == [
        "1 files of ich are neither pictures nor volumes and were left out, first notes.txt",
        "1 files beside the classes were left out, first readme.md",
    ]


def test_a_folder_of_pictures_volumes_and_dicom(shared_data, tmp_path):
    head(tmp_path / "hemorrhage" / "a.png", blood=True)
    volume(tmp_path / "hemorrhage" / "b.nii.gz")
    (tmp_path / "normal" / "exam").mkdir(parents=True)
    for path in sorted((shared_data / "cq500" / "CQ500-CT-0").glob("*.dcm"))[:12]:
        (tmp_path / "normal" / "exam" / path.name).write_bytes(path.read_bytes())
    lone = tmp_path / "normal" / "one.dcm"
    lone.write_bytes((tmp_path / "normal" / "exam" / path.name).read_bytes())
    dataset = open_dataset(f"folder:{tmp_path}", tmp_path)
    assert dataset.info.kind == "exams"
    slices = {item.patient: item.labels[:, 0].tolist() for item in dataset}
    assert slices["normal/exam"] == [0] * 12 and slices["normal/one.dcm"] == [0]
    assert slices["hemorrhage/a.png"] == [1]  # a picture is its only slice
    assert np.isnan(slices["hemorrhage/b.nii.gz"]).all() and len(slices["hemorrhage/b.nii.gz"]) == 8
    for name, rows in slices.items():
        assert np.array_equal(dataset.slice_labels(name)[:, 0], rows, equal_nan=True)


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
    assert (
        dataset.subgroup_values("v/one.nii.gz") == {"age_years": 70}
        and dataset.subgroup_values("v/two.nii.gz") == {}
    )
    assert dataset.patients()["v/one.nii.gz"][[0, 5]].tolist() == [1, 1]
    rows = dataset.slice_labels("v/one.nii.gz")
    assert rows.shape == (8, 6)
    assert rows[0].tolist() == [0] * 6 and rows[3, 5] == 1 and np.isnan(rows[4, 5]) and np.isnan(rows[6, 0])
    assert not dataset.slice_labels("v/two.nii.gz").any()
    item = dataset.load("v/one.nii.gz")
    assert item.labels.shape == (8, 6) and not item.blood[0].any() and (item.blood[3] == UNKNOWN).all()


def test_a_table_without_patients_leaves_look_alikes_to_the_split(tmp_path):
    head(tmp_path / "a.png")
    head(tmp_path / "b.png", seed=1)
    (tmp_path / "t.csv").write_text(f"Path,Any\na.png,1\n\n{tmp_path / 'b.png'},0\n")
    dataset = open_dataset(f"csv:{tmp_path / 't.csv'}", tmp_path)
    assert dataset.groups() is None and dataset.info.kind == "pictures"
    assert [v[0] for v in dataset.patients().values()] == [1, 0]


def test_slices_that_are_not_in_the_table_are_unknown(tmp_path):
    volume(tmp_path / "a.nii.gz")
    volume(tmp_path / "b.nii.gz")
    rows = "".join(f"b.nii.gz,{k},0\n" for k in range(8))
    (tmp_path / "t.csv").write_text(f"path,slice,any\na.nii.gz,0,0\na.nii.gz,2,0\n{rows}")
    dataset = open_dataset(f"csv:{tmp_path / 't.csv'}", tmp_path)
    known = dataset.slice_labels("a.nii.gz")[:, 0]
    assert np.flatnonzero(known == 0).tolist() == [0, 2] and np.isnan(known).sum() == 6
    assert np.isnan(dataset.patients()["a.nii.gz"]).all() and not dataset.patients()["b.nii.gz"].any()
    assert not dataset.load("b.nii.gz").labels.any()


def test_a_row_of_the_exam_and_rows_of_slices(tmp_path):
    volume(tmp_path / "a.nii.gz")
    table = tmp_path / "t.csv"
    table.write_text("path,slice,any,sdh\na.nii.gz,2,1,1\na.nii.gz,,1,\na.nii.gz,3,0,\n")
    dataset = open_dataset(f"csv:{table}", tmp_path)
    assert dataset.patients()["a.nii.gz"][[0, 5]].tolist() == [1, 1]
    rows = dataset.load("a.nii.gz").labels
    assert rows[2, 5] == 1 and not rows[3].any() and np.isnan(rows[0, 0])
    table.write_text("path,slice,any\na.nii.gz,,1\n" + "".join(f"a.nii.gz,{k},0\n" for k in range(8)))
    with pytest.raises(UsageError, match=r"line 2: found a label of a.nii.gz that none of its 8 slices has"):
        open_dataset(f"csv:{table}", tmp_path).load("a.nii.gz")
    table.write_text("path,slice,any\na.nii.gz,8,1\n")
    with pytest.raises(UsageError, match=r"line 2: found slice 8 of a.nii.gz; expected 0 to 7"):
        open_dataset(f"csv:{table}", tmp_path).slice_labels("a.nii.gz")


def test_any_follows_from_the_subtypes(tmp_path):
    head(tmp_path / "a.png")
    table = tmp_path / "t.csv"
    table.write_text("path,edh,iph,ivh,sah,sdh\na.png,0,0,0,0,0\n")
    assert not open_dataset(f"csv:{table}", tmp_path).patients()["a.png"].any()
    table.write_text("path,edh,iph\na.png,0,0\n")
    assert np.isnan(open_dataset(f"csv:{table}", tmp_path).patients()["a.png"][0])


def test_a_series_is_taken_by_its_uid(shared_data, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    study = shared_data / "cq500" / "CQ500-CT-0"
    uid = pydicom.dcmread(next(study.glob("*.dcm")), stop_before_pixels=True).SeriesInstanceUID
    (tmp_path / "t.csv").write_text(f"path,series,any\n{study},{uid},0\n{study},1.2.3,0\n")
    dataset = open_dataset(f"csv:{tmp_path / 't.csv'}", tmp_path)
    first, second = dataset.patients()
    assert (first, second) == (str(study), f"{study}#2")
    assert dataset.load(first).exam.n_slices == 60
    with pytest.raises(RefusedInput, match="series_not_found"):
        dataset.load(second)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,any\na.png,1\n", "columns file, any; expected path and at least one label"),
        ("path,age\na.png,1\n", "expected path and at least one label"),
        ("", "found 0 rows"),
        ("path,any\n", "found 0 rows"),
        ("path,any,ICH\na.png,1,1\n", "two columns for any"),
        ("path,any,any\na.png,1,1\n", "column any twice"),
        ("path,any\na.png,2\n", "line 2: found any = '2'; expected 0 or 1"),
        ("path,any\na,b.png,1\n", "line 2: found 3 values; expected 2, one a column; put what has a comma"),
        ("path,any\n,1\n", "line 2: found no path"),
        ("path,any\na.png,1\n\na.png,0\n", "line 4: found a.png again"),
        ("path,any\na.png,1\n./a.png,0\n", "line 3: found ./a.png again"),
        ("path,any,sdh\na.png,0,1\n", "line 2: found a subtype where any is 0"),
        ("path,any,slice\na.png,0,0\na.png,0,0\n", "line 3: found slice 0 again"),
        ("path,any,slice\na.png,0,-1\n", "line 2: found slice = '-1'; expected a number of 0 or more"),
        ("path,any,slice\na.png,0,0.5\n", "line 2: found slice = '0.5'; expected a whole number"),
        ("path,any,slice\na.png,1,0\na.png,0,\n", "line 2: found on slice 0 of a.png what its exam has not"),
        (
            "path,any,age_years\na.png,1,old\n",
            "line 2: found age_years = 'old'; expected a number of 0 or more",
        ),
        (
            "path,any,slice,age_years\na.png,1,0,3\na.png,0,1,4\n",
            "line 3: found age_years = 4, unlike before",
        ),
        (
            "path,any,slice,patient\na.png,1,0,P\na.png,0,1,Q\n",
            "line 3: found another patient than in line 2",
        ),
        ("path,any\na.png,1\nmissing.png,1\n", "line 3: found no missing.png"),
        (b"path,any\n\xff.png,1\n", "no table that can be read"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path, text, says):
    head(tmp_path / "a.png")
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as refused:
        open_dataset(f"csv:{tmp_path / 't.csv'}", tmp_path)
    assert says in str(refused.value) and str(Path("t.csv")) in str(refused.value)


def test_unknown_names_get_the_nearest(tmp_path):
    with pytest.raises(UsageError, match=r"did you mean 'cq500'.*folder:PATH or csv:PATH"):
        open_dataset("cq50", tmp_path)
    with pytest.raises(UsageError, match="found nothing at"):
        open_dataset("csv:none.csv", tmp_path)
    with pytest.raises(UsageError, match=r"found no .*; expected the data set 'bhsd' there"):
        open_dataset("bhsd", tmp_path)
