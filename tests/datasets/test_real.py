"""The data sets as they lie on disk."""

import numpy as np
import pytest

from ichor.datasets.labelled import ANY_SUBTYPE, UNKNOWN
from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import patient_folds
from ichor.errors import UsageError


@pytest.fixture(scope="module")
def ct_ich(shared_data):
    return open_dataset("ct-ich", shared_data)


def test_ct_ich_has_the_published_counts(ct_ich):
    labels = np.stack(list(ct_ich.patients().values()))
    assert len(labels) == 66
    assert labels.sum(axis=0).tolist() == [28, 17, 11, 4, 6, 3]


def test_ct_ich_gives_hounsfield_units(ct_ich):
    item = ct_ich.load("077")
    middle = item.exam.volume[20]
    assert middle.min() < -800  # air
    assert middle.max() > 700  # bone, from the bone window
    brain = middle[middle.shape[0] // 2 - 60 : middle.shape[0] // 2 + 60, 200:450]
    assert 20 < np.median(brain) < 45


def test_ct_ich_uses_the_publishers_masks(ct_ich):
    item = ct_ich.load("077")
    marked = item.blood[19]
    assert set(np.unique(marked)) <= {0, 1, 2, 3, 4, 5, ANY_SUBTYPE}  # the mask says what is not blood, too
    assert (marked > 0).sum() > 500


def test_a_positive_slice_without_a_box_is_unlabelled(ct_ich):
    item = ct_ich.load("049")  # its boxes lost their coordinates
    positive = item.labels[:, 0] == 1
    assert positive.any()
    assert (item.blood[positive] == UNKNOWN).all()
    assert (item.blood[~positive] == 0).all()


def test_weak_masks_lie_in_boxes_and_are_blood_like(ct_ich):
    item = ct_ich.load("088")
    ks = [k for k in range(len(item.labels)) if ct_ich.boxes("088", k)]
    assert ks
    for k in ks:
        boxes = ct_ich.boxes("088", k)
        inside = np.zeros(item.blood.shape[1:], bool)
        for _, (x0, y0, x1, y1) in boxes:
            inside[int(y0) : int(y1) + 2, int(x0) : int(x1) + 2] = True
        marked = (item.blood[k] > 0) & (item.blood[k] != UNKNOWN)
        assert not (marked & ~inside).any()
        assert 45 < np.median(item.exam.volume[k][marked]) < 96


def test_phe_sich_does_not_trust_the_slice_beside_a_bleed(shared_data):
    dataset = open_dataset("phe-sich", shared_data)
    labels = dataset.slice_labels("0042")[:, 0]
    first = int(np.flatnonzero(labels == 1)[0])
    assert np.isnan(labels[first - 1])
    assert labels[first - 2] == 0


def test_folds_part_patients_and_share_labels(ct_ich):
    patients = ct_ich.patients()
    folds = patient_folds(patients, 5, seed=1)
    assert folds == patient_folds(patients, 5, seed=1)
    assert set(folds) == set(patients)
    for fold in range(5):
        inside = np.stack([patients[p] for p, k in folds.items() if k == fold])
        assert 13 <= len(inside) <= 14
        assert 5 <= inside[:, 0].sum() <= 6


def test_an_unknown_data_set_names_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match="expected one of rsna, ct-ich"):
        open_dataset("xyz", tmp_path)


def test_a_missing_data_set_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(UsageError, match=r"ct-ich: found no hemorrhage_diagnosis_raw_ct\.csv, no ct_scans"):
        open_dataset("ct-ich", tmp_path)
    (tmp_path / "ct-ich").mkdir()
    (tmp_path / "ct-ich" / "slices.csv").touch()
    with pytest.raises(UsageError, match=r"ct-ich: found no exams\.csv, no boxes"):
        open_dataset("ct-ich", tmp_path)
