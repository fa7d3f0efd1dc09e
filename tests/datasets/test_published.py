"""Published data sets that are not here, read from small copies of their layout; CQ500 and Head-CT as they are."""

import csv

import numpy as np
import pytest
from PIL import Image

from ichor.datasets.ct_ich_nifti import CtIchNifti
from ichor.datasets.labelled import ANY_SUBTYPE, UNKNOWN
from ichor.datasets.registry import open_dataset
from ichor.errors import RefusedInput, UsageError

nibabel = pytest.importorskip("nibabel")


def save(path, data, dtype=np.int16, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-3.0, -3.0, 9.0, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(np.asarray(data, dtype), affine), path)


def head(n=6):
    """``(x, y, n)`` HU: a ring of bone around brain."""
    data = np.full((64, 64, n), -1000, np.int16)
    yy, xx = np.mgrid[:64, :64]
    data[np.hypot(yy - 32, xx - 32) < 28] = 1000
    data[np.hypot(yy - 32, xx - 32) < 25] = 35
    return data


def blood(n=6, at=(2, 3)):
    mask = np.zeros((64, 64, n), np.uint8)
    mask[20:26, 40:44, list(at)] = 1
    return mask


@pytest.fixture
def bhsd(tmp_path):
    for name, value in (("ID_a", 1), ("ID_b", 5)):
        save(tmp_path / "bhsd" / "images" / f"{name}.nii.gz", head() + 30 * blood().astype(np.int16))
        save(tmp_path / "bhsd" / "ground truths" / f"{name}.nii.gz", value * blood(), np.uint8)
    return tmp_path


def test_bhsd(bhsd):
    dataset = open_dataset("bhsd", bhsd)
    assert {n: v.tolist() for n, v in dataset.patients().items()} == {
        "ID_a": [1, 1, 0, 0, 0, 0],
        "ID_b": [1, 0, 0, 0, 0, 1],
    }
    item = dataset.load("ID_b")
    assert item.labels[:, 5].tolist() == [0, 0, 1, 1, 0, 0]
    assert (item.exam.volume[item.blood == 5] == 65).all() and (item.blood == 5).sum() == 6 * 4 * 2


def test_bhsd_without_a_mask_or_with_other_classes(bhsd):
    lone = bhsd / "bhsd" / "ground truths" / "ID_a.nii.gz"
    save(lone, 9 * blood(), np.uint8)
    dataset = open_dataset("bhsd", bhsd)
    with pytest.raises(
        RefusedInput, match=r"bhsd/ID_a: found a mask with the classes \[0, 9\]; expected 0 to 5"
    ):
        dataset.load("ID_a")
    assert np.isnan(dataset.patients()["ID_a"]).all() and dataset.patients()["ID_b"][5] == 1
    save(lone, blood(n=5), np.uint8)
    with pytest.raises(RefusedInput, match="found a mask of"):
        open_dataset("bhsd", bhsd).load("ID_a")
    lone.write_bytes(lone.read_bytes()[:90])
    with pytest.raises(RefusedInput, match=r"no mask that can be read in ID_a.nii.gz"):
        open_dataset("bhsd", bhsd).load("ID_a")
    lone.unlink()
    with pytest.raises(UsageError, match=r"without a volume \(ID_a\)"):
        open_dataset("bhsd", bhsd)


@pytest.fixture(params=["upward", "downward"])
def ct_ich(request, tmp_path):
    root = tmp_path / "ct-ich"
    turned = request.param == "downward"
    affine = np.diag([-3.0, -3.0, -9.0 if turned else 9.0, 1.0])
    for patient, bleeds in (("049", True), ("050", False)):
        mask = 255 * blood(at=(2, 3) if bleeds else ())
        save(root / "ct_scans" / f"{patient}.nii", head() + 30 * (mask > 0), affine=affine)
        save(root / "masks" / f"{patient}.nii", mask, np.uint8, affine)
    rows = [
        ["PatientNumber", "SliceNumber", "Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural"]
    ]
    rows[0] += ["Subdural", "No_Hemorrhage", "Fracture_Yes_No"]
    for patient in (49, 50):
        for number in range(1, 7):
            bleeds = patient == 49 and number in (3, 4)
            rows.append(
                [patient, number, 0, 0, 0, int(bleeds), int(bleeds and number == 4), int(not bleeds), 0]
            )
    rows.append([""] * 9)
    with (root / "hemorrhage_diagnosis_raw_ct.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (root / "Patient_demographics.csv").write_text(
        '"Patient Number","Age\n(years)",Gender\n49,4,Male\n50,,Female\n'
    )
    return tmp_path, turned


def test_ct_ich_as_physionet_gives_it(ct_ich):
    data, turned = ct_ich
    dataset = open_dataset("ct-ich", data)
    assert isinstance(dataset, CtIchNifti) and dataset.name == "ct-ich"
    assert dataset.patients()["049"].tolist() == [1, 1, 0, 0, 0, 1] and not dataset.patients()["050"].any()
    assert dataset.subgroup_values("049") == {"age_years": 4} and dataset.subgroup_values("050") == {}
    item = dataset.load("049")
    expected = [0, 0, 1, 1, 0, 0]
    assert item.labels[:, 0].tolist() == expected
    told, untold = (3, 2) if turned else (2, 3)
    assert set(np.unique(item.blood[told])) == {0, 1} and set(np.unique(item.blood[untold])) == {
        0,
        ANY_SUBTYPE,
    }
    assert (item.exam.volume[item.blood > 0] == 65).all()


def test_ct_ich_with_a_slice_twice_or_too_many(ct_ich):
    data, _ = ct_ich
    path = data / "ct-ich" / "hemorrhage_diagnosis_raw_ct.csv"
    text = path.read_text()
    path.write_text(text + "50,7,0,0,0,0,0,1,0\n")
    with pytest.raises(RefusedInput, match="ct-ich/050: found 6 slices; expected 7"):
        open_dataset("ct-ich", data).load("050")
    path.write_text(text + "50,6,0,0,0,0,0,1,0\n")
    with pytest.raises(UsageError, match=r"line 15: found slice 6 of patient 050 again"):
        open_dataset("ct-ich", data)
    path.write_text(text + "50,7,0,0,0,1,0,1,0\n")
    with pytest.raises(UsageError, match=r"line 15: found a subtype where No_Hemorrhage is 1"):
        open_dataset("ct-ich", data)
    path.write_text(text + "51,1,0,0,0,0,0,1,0\n")
    with pytest.raises(
        UsageError, match=r"found no ct_scans/051.nii; expected one for each of the table's 3"
    ):
        open_dataset("ct-ich", data)


def test_ct_ich_masks_that_are_empty_or_not_there(ct_ich):
    data, _ = ct_ich
    masks = data / "ct-ich" / "masks"
    save(masks / "049.nii", blood(at=()), np.uint8)
    (masks / "050.nii").rename(masks / "051.nii")
    with pytest.raises(UsageError, match=r"found no masks/050.nii"):
        open_dataset("ct-ich", data)
    (masks / "051.nii").rename(masks / "050.nii")
    item = open_dataset("ct-ich", data).load("049")
    bleeds = item.labels[:, 0] == 1
    assert (item.blood[bleeds] == UNKNOWN).all() and not item.blood[~bleeds].any()


def test_cq500_by_majority_with_disagreement(shared_data):
    dataset = open_dataset("cq500", shared_data)
    assert list(dataset.patients()) == ["0"]
    assert not dataset.patients()["0"].any()
    assert dataset.agreement("0").shape == (6,) and dataset.agreement("0")[0] < 0.5
    item = dataset.load("0")
    assert item.labels.shape == (item.exam.n_slices, 6) and not item.labels.any() and not item.blood.any()
    assert item.exam.volume.min() <= -1000
    seen = np.array([dataset._majority(number) for number in dataset._reads])
    assert len(seen) == 491 and seen[:, 0].sum() == 205  # as the paper counts them
    assert dataset.notes == ["490 exams of reads.csv have no images here"]


def test_cq500_with_a_broken_read_or_an_exam_without_one(tmp_path):
    root = tmp_path / "cq500"
    (root / "CQ500CT7 CQ500CT7").mkdir(parents=True)
    columns = [f"R{r}:{c}" for r in (1, 2, 3) for c in ("ICH", "IPH", "IVH", "SDH", "EDH", "SAH")]
    header = ",".join(["name", *columns])
    (root / "reads.csv").write_text(f"{header}\nCQ500-CT-7,{','.join('100001' * 2)},{','.join('000000')}\n")
    dataset = open_dataset("cq500", tmp_path)
    assert dataset.patients()["7"].tolist() == [1, 0, 0, 0, 1, 0]
    assert dataset.agreement("7")[4] == pytest.approx(2 / 3)
    (root / "reads.csv").write_text(f"{header}\nCQ500-CT-7,x\n")
    with pytest.raises(UsageError, match="line 2: found R1:ICH = 'x'; expected 0 or 1"):
        open_dataset("cq500", tmp_path)
    (root / "reads.csv").write_text(f"{header}\nCQ500-CT-8,{','.join('0' * 18)}\n")
    with pytest.raises(UsageError, match="no row for exam 7"):
        open_dataset("cq500", tmp_path)
    (root / "reads.csv").write_text(f"{header}\n" + f"CQ500-CT-7,{','.join('0' * 18)}\n" * 2)
    with pytest.raises(UsageError, match="line 3: found name = 'CQ500-CT-7'; expected CQ500-CT-N, each once"):
        open_dataset("cq500", tmp_path)
    (root / "CQ500-CT-7").mkdir()
    with pytest.raises(UsageError, match="found exam 7 in CQ500-CT-7, too"):
        open_dataset("cq500", tmp_path)


def test_head_ct_pictures(shared_data):
    dataset = open_dataset("head-ct-hemorrhage", shared_data)
    labels = dataset.patients()
    assert len(labels) == 140 and sum(v[0] for v in labels.values()) == 70
    item = dataset.load("000")
    assert item.exam.n_slices == 1 and item.labels[0, 0] == 1 and np.isnan(item.labels[0, 1:]).all()
    assert {0, ANY_SUBTYPE} == set(np.unique(item.blood))
    marked = item.exam.volume[item.blood == ANY_SUBTYPE]
    assert np.median(marked) > np.median(
        item.exam.volume[item.exam.volume > 5]
    )  # blood is brighter than the rest
    unmarked = next(p for p, v in labels.items() if v[0] and dataset.mask(p) is None)
    assert (dataset.load(unmarked).blood == UNKNOWN).all()
    negative = next(p for p, v in labels.items() if not v[0])
    assert not dataset.load(negative).blood.any() and not dataset.slice_labels(negative).any()


def test_head_ct_with_broken_rows(tmp_path):
    root = tmp_path / "head-ct-hemorrhage"
    (root / "head_ct").mkdir(parents=True)
    for name in ("000", "001", "002"):
        (root / "head_ct" / f"{name}.png").write_bytes(b"")
    table = root / "labels.csv"
    for text, says in (
        ("id, hemorrhage\n0,1\n3,0\n", "line 3: found no head_ct/003.png"),
        ("id, hemorrhage\n0,yes\n", "line 2: found hemorrhage = 'yes'"),
        ("id, hemorrhage\n0,1\n0,0\n", "line 3: found picture 000 again"),
        ("id, label\n0,1\n", "found the columns id, label; expected hemorrhage too"),
    ):
        table.write_text(text)
        with pytest.raises(UsageError, match=says):
            open_dataset("head-ct-hemorrhage", tmp_path)
    table.write_text("id, hemorrhage\n0,1\n")
    dataset = open_dataset("head-ct-hemorrhage", tmp_path)
    assert dataset.notes == ["2 pictures without a row in labels.csv were left out, first 001"]
    with pytest.raises(RefusedInput, match="unreadable"):
        dataset.load("000")


@pytest.fixture
def jpeg_form(tmp_path):
    root = tmp_path / "ct-ich"
    for part, grey in (("brain", 120), ("bone", 80)):
        (root / part / "049").mkdir(parents=True)
        for number in (1, 2):
            Image.fromarray(np.full((65, 65), grey, np.uint8)).save(root / part / "049" / f"{number:02d}.jpg")
    write = {
        "slices.csv": "patient,slice,brain_file,bone_file,Epidural,Intraparenchymal,Intraventricular,Subarachnoid,"
        "Subdural,any\n049,2,brain/049/02.jpg,bone/049/02.jpg,1,0,0,0,0,1\n"
        "049,1,brain/049/01.jpg,bone/049/01.jpg,0,0,0,0,0,0\n",
        "exams.csv": "patient,age_years,px,dz\n049,35,0.5,\n050,,,\n",
        "boxes.csv": "patient,slice,cls,x0,y0,x1,y1\n049,2,EDH,,,,\n049,1,EDH,1,1,9,9\n",
    }
    for name, text in write.items():
        (root / name).write_text(text)
    return tmp_path


def test_the_jpeg_form_tells_what_it_leaves_out(jpeg_form):
    dataset = open_dataset("ct-ich", jpeg_form)
    assert dataset.notes == [
        "1 boxes on slices that are labelled negative were left out",
        "1 exams without slices were left out, first 050",
    ]
    item = dataset.load("049")
    assert item.labels[:, 1].tolist() == [0, 1]  # in the order of their numbers, not of the rows
    assert not item.blood[0].any() and (item.blood[1] == UNKNOWN).all()
    assert dataset.subgroup_values("049") == {"age_years": 35} and item.exam.geometry.slice_step == 5


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        (
            "slices.csv",
            ",1,0,0,0,0,1\n",
            ",1,0,0,0,0,0\n",
            "slices.csv, line 2: found any and the subtypes in contra",
        ),
        (
            "slices.csv",
            "049,1,brain",
            "051,1,brain",
            "slices.csv, line 3: found patient '051'; expected one of exams",
        ),
        ("slices.csv", "049,1,brain", "049,2,brain", "found slice 2 of 049 again"),
        ("slices.csv", "bone/049/01.jpg", "bone/049/07.jpg", "slices.csv, line 3: found no bone/049/07.jpg"),
        ("boxes.csv", "049,1,EDH", "049,7,EDH", "boxes.csv, line 3: found a box on slice 7 of 049"),
        ("boxes.csv", "049,1,EDH", "049,1,XYZ", "boxes.csv, line 3: found cls = 'XYZ'"),
        ("exams.csv", "age_years", "years", "expected age_years too"),
    ],
)
def test_the_jpeg_form_with_tables_that_contradict(jpeg_form, name, old, new, says):
    path = jpeg_form / "ct-ich" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UsageError) as refused:
        open_dataset("ct-ich", jpeg_form)
    assert says in str(refused.value)


def test_the_jpeg_form_with_a_broken_picture(jpeg_form):
    (jpeg_form / "ct-ich" / "bone" / "049" / "02.jpg").write_bytes(b"no picture")
    with pytest.raises(RefusedInput, match=r"ct-ich/049: found no picture that can be read in 049/02.jpg"):
        open_dataset("ct-ich", jpeg_form).load("049")


def test_phe_sich_with_broken_rows(tmp_path):
    root = tmp_path / "phe-sich"
    (root / "images" / "1").mkdir(parents=True)
    Image.fromarray(np.full((65, 65), 120, np.uint8)).save(root / "images" / "1" / "0.jpg")
    table = root / "slices.csv"
    for row, says in (
        ("images/1/0.jpg,2,", "label_hem = '2'"),
        ("images/1/1.jpg,1,", "found no images/1/1.jpg"),
    ):
        table.write_text(f"patient,file,label_hem,boxes\n1,{row}\n")
        with pytest.raises(UsageError, match=f"line 2: .*{says}"):
            open_dataset("phe-sich", tmp_path)
    table.write_text("patient,file,label_hem,boxes\n1,images/1/0.jpg,1,3:4:5\n")
    with pytest.raises(UsageError, match="line 2: found the box '3:4:5'; expected x0:y0:x1:y1"):
        open_dataset("phe-sich", tmp_path).load("1")
