"""Figures against scikit-learn and hand counts; thresholds and calibration never see the fold they are used on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="needs the extra 'train'")

from ichor.datasets.labelled import Dataset, DatasetInfo  # noqa: E402
from ichor.detecting.manifest import scaled_probabilities  # noqa: E402
from ichor.errors import UsageError  # noqa: E402
from ichor.evaluating import metrics as m  # noqa: E402
from ichor.evaluating.calibration import (  # noqa: E402
    accurate_threshold,
    best_threshold,
    called_across_folds,
    crossfit,
    fit_calibration,
    sensitive_threshold,
    subtype_threshold,
)
from ichor.evaluating.compare import compare  # noqa: E402
from ichor.evaluating.groups import group_figures  # noqa: E402
from ichor.evaluating.out_of_fold import (  # noqa: E402
    accuracy_figures,
    figures,
    levels,
    operating_points,
    subtype_figures,
)
from ichor.evaluating.predictions import read_predictions  # noqa: E402
from ichor.evaluating.tables import read_table  # noqa: E402
from ichor.labels import LABEL_NAMES  # noqa: E402

PATIENTS = [f"p{k:02d}" for k in range(30)]


class Made(Dataset):
    """Thirty patients of four slices; every third bleeds on two of them. Pictures have one slice, no subtypes."""

    name = "made"

    def __init__(self, kind="exams"):
        super().__init__(Path("made"))
        self.info = DatasetInfo("made", "", "", "", kind, "", ())
        self.kind = kind

    def slice_labels(self, patient):
        bleeds = int(patient[1:]) % 3 == 0
        if self.kind == "pictures":
            return np.array([[1, *[np.nan] * 5] if bleeds else [0] * 6], np.float32)
        labels = np.zeros((4, 6), np.float32)
        if bleeds:
            labels[1:3, [0, 2]] = 1
            labels[2, 4] = int(patient[1:]) % 2
        return labels

    def patients(self):
        return {p: np.fmax.reduce(self.slice_labels(p)) for p in PATIENTS}

    def load(self, patient):
        raise NotImplementedError("these tests look at no image")

    def groups(self):
        return {p: p for p in PATIENTS} if self.kind == "pictures" else None

    def subgroup_values(self, patient):
        return {"age_years": float(patient[1:]) + 5, "thickness_mm": 5.0}


def table(path, dataset, quality=2.0, seed=0, folds=5, logits=False):
    rng = np.random.default_rng(seed)
    lines = [",".join(["patient", "slice", "fold", *LABEL_NAMES])]
    for patient in PATIENTS:
        for k, labels in enumerate(dataset.slice_labels(patient)):
            x = quality * (np.nan_to_num(labels) - 0.5) * 2 + rng.normal(0, 1.5, 6)
            values = x if logits else 1 / (1 + np.exp(-x))
            lines.append(",".join([patient, str(k), str(int(patient[1:]) % folds), *map(str, values)]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def run(tmp_path):
    return read_table(table(tmp_path / "p.csv", Made(), logits=True), Made())


def test_a_table_of_logits_or_probabilities_is_joined_with_the_labels(tmp_path, run):
    assert run.logits.shape == (120, 6) and run.exam_labels[:, 0].sum() == 10 and not run.calibrated
    assert run.labels.sum(axis=0).tolist() == [20, 0, 20, 0, 5, 0]
    given = read_table(table(tmp_path / "q.csv", Made()), Made())
    assert given.calibrated and np.allclose(given.logits, run.logits, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.replace("patient,", "who,"), "expected 'patient', 'slice', 'any'"),
        (lambda t: t + "p00,0,0" + ",0.5" * 6 + "\n", "found slice 0 of a patient again"),
        (lambda t: t + "p00,9,0" + ",0.5" * 6 + "\n", "found slices 0 to 9 of patient p00, 5 in all"),
        (lambda t: t + "p00,4,0" + ",0.5" * 6 + "\n", "found 5 slices of patient p00; expected 4"),
        (lambda t: t + "p00,4,1" + ",0.5" * 6 + "\n", "found a patient in two folds"),
        (
            lambda t: t + "stranger,0,0" + ",0.5" * 6 + "\n",
            r"1 patients that made does not have \(stranger\)",
        ),
        (lambda t: t + "p00,4,0,x" + ",0.5" * 5 + "\n", "line 122: found text"),
        (lambda t: t + "p00,4,0,nan" + ",0.5" * 5 + "\n", "line 122: found .*expected finite"),
        (
            lambda t: "".join(line for line in t.splitlines(True) if not line.startswith("p07")),
            r"expected 1 more \(p07\)",
        ),
        (lambda t: "", "found the columns none"),
    ],
)
def test_a_broken_table_is_refused(tmp_path, change, says):
    path = table(tmp_path / "p.csv", Made())
    path.write_text(change(path.read_text()))
    with pytest.raises(UsageError, match=says):
        read_table(path, Made())


def test_a_table_that_tells_any_only(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("Patient,Any\n" + "".join(f"{p},{0.1 + 0.8 * (int(p[1:]) % 3 == 0)}\n" for p in PATIENTS))
    found = read_table(path, Made("pictures"))
    names = {f.name: f.interval.value for f in figures(found)}
    assert names["picture AUC, any"] == 1 and "picture AUC, epidural" not in names
    assert "picture weighted log loss" not in names  # the subtypes of a bleed are not known
    expected = -np.log(0.9)  # a bleed is given 0.9, none 0.1
    assert names["picture log loss, any"] == pytest.approx(expected)
    verdicts = {f.name: f for f in accuracy_figures(found)}
    assert verdicts["picture accuracy, any"].interval.value == 1
    assert "threshold 0.5" in verdicts["picture accuracy, any"].protocol


def test_of_a_table_without_folds_nobody_knows_whom_it_was_trained_on(tmp_path, run):
    one = replace(run, folds=np.zeros_like(run.folds), exam_folds=np.zeros_like(run.exam_folds))
    areas = [f.protocol for f in figures(one) if "AUC" in f.name or "PR area" in f.name]
    assert areas and all("out of fold" not in text and "is not known" in text for text in areas)
    assert not operating_points(one)  # one threshold of 0.5 is no three operating points
    assert all("out of fold" in f.protocol for f in figures(run) if "AUC" in f.name) and operating_points(run)


def test_pictures_of_a_table_are_drawn_by_their_groups(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("Patient,Any\n" + "".join(f"{p},0.5\n" for p in PATIENTS))
    dataset = Made("pictures")
    dataset.groups = lambda: {p: f"g{int(p[1:]) // 2}" for p in PATIENTS}
    assert len(set(read_table(path, dataset).drawn(np.array(PATIENTS)))) == 15


def test_numbers_that_lost_their_zeros_are_found_again(tmp_path):
    dataset = Made()
    truth = {f"{k:03d}": dataset.slice_labels(f"p{k:02d}") for k in range(30)}
    dataset.slice_labels = truth.__getitem__
    dataset.patients = lambda: {name: labels.max(axis=0) for name, labels in truth.items()}
    path = tmp_path / "p.csv"
    rows = [f"{k},{j},0.{j}" for k in range(30) for j in range(4)]
    path.write_text("patient,slice,any\n" + "\n".join(rows) + "\n")
    assert list(read_table(path, dataset).exam_patients) == sorted(truth)
    truth["7"] = truth["007"]  # then 7 is another patient's own name
    with pytest.raises(UsageError, match=r"expected 1 more \(007\)"):
        read_table(path, dataset)


def test_what_a_system_does_not_tell_is_not_measured(tmp_path, run):
    path = tmp_path / "p.csv"
    rows = [f"{p},{k},{0.2 + 0.1 * k}" for p in PATIENTS for k in range(4)]
    path.write_text("patient,slice,p_ICH\n" + "\n".join(rows) + "\n")
    found = read_table(path, Made())
    names = {f.name for f in figures(found)}
    assert "slice AUC, any" in names and not names & {
        "slice AUC, intraparenchymal",
        "slice weighted log loss",
    }
    assert not subtype_figures(found)
    assert {d.name for d in compare(run, found)} == {
        "slice AUC, any", "slice accuracy, any", "exam AUC, any", "exam accuracy, any"
    }  # fmt: skip


def kaggle(path, change=lambda rows: rows):
    rows = [
        f"{p}_{name},{0.9 if Made('pictures').slice_labels(p)[0, 0] else 0.1}"
        for p in PATIENTS
        for name in LABEL_NAMES
    ]
    path.write_text("ID,Label\n" + "\n".join(change(rows)) + "\n")
    return path


def test_kaggles_long_form(tmp_path):
    found = read_table(kaggle(tmp_path / "k.csv"), Made("pictures"))
    assert {f.name: f.interval.value for f in figures(found)}["picture AUC, any"] == 1
    exams = Made()
    exams.images = lambda patient: [f"{patient}.{k}" for k in range(4)]
    rows = [f"{p}.{k}_{name},0.{k}" for p in PATIENTS for k in (3, 1, 0, 2) for name in LABEL_NAMES]
    (tmp_path / "e.csv").write_text("ID,Label\n" + "\n".join(rows) + "\n")
    p = levels(read_table(tmp_path / "e.csv", exams))[0].probabilities
    assert np.allclose(p[:4, 0], [0, 0.1, 0.2, 0.3])  # by place, not by line
    with pytest.raises(UsageError, match="no images by name"):
        read_table(tmp_path / "e.csv", Made())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[1:], "line 2: found p00 without any; expected six rows"),
        (lambda rows: [*rows, rows[0]], "line 182: found p00_any again"),
        (lambda rows: ["p00_fracture,0.1", *rows], "found 'p00_fracture'; expected an ID that ends in _any"),
        (
            lambda rows: [*rows, *(f"x_{name},0.1" for name in LABEL_NAMES)],
            "found image x, which made does not have",
        ),
        (lambda rows: rows[6:], r"expected 1 more \(p00\)"),
    ],
)
def test_a_broken_long_form_is_refused(tmp_path, change, says):
    with pytest.raises(UsageError, match=says):
        read_table(kaggle(tmp_path / "k.csv", change), Made("pictures"))


def test_two_columns_of_one_meaning_are_refused(tmp_path):
    (tmp_path / "p.csv").write_text("patient,any,ICH\np00,0.1,0.2\n")
    with pytest.raises(UsageError, match="found the column any again"):
        read_table(tmp_path / "p.csv", Made("pictures"))


def test_people_are_drawn_not_their_exams(tmp_path, run):
    together = Made()
    together.groups = lambda: {p: f"person {int(p[1:]) // 3}" for p in PATIENTS}
    found = read_table(table(tmp_path / "g.csv", together, logits=True), together)
    assert {f.interval.patients for f in figures(found)} == {10}
    assert {f.interval.patients for f in figures(run)} == {30}
    assert len(found.of(PATIENTS[:6]).exam_patients) == 6


def test_the_threshold_of_a_subtype_reaches_its_specificity_on_few_exams():
    p = np.linspace(0.02, 0.98, 49)
    labels = np.zeros(49)
    threshold = subtype_threshold(labels, p)
    assert (p < threshold).mean() >= 0.95
    assert (p < p[p < threshold].max()).mean() < 0.95  # and no lower one does
    assert subtype_threshold(labels + 1, p) == 1


def test_subtypes_have_their_own_verdicts(run):
    found = {f.name: f for f in subtype_figures(run)}
    area = sklearn_metrics.average_precision_score(run.labels[:, 2], run.logits[:, 2])
    assert found["slice PR area, intraparenchymal"].interval.value == pytest.approx(area)
    called = called_across_folds(run, "slice", best_threshold, label=2)
    expected = sklearn_metrics.recall_score(run.labels[:, 2], called)
    assert found["slice sensitivity, intraparenchymal"].interval.value == pytest.approx(expected)
    assert "only 5 positive patients" in found["exam F1, subarachnoid"].protocol
    assert not any("epidural" in name for name in found)


def test_the_clip_of_the_log_loss_is_as_asked(tmp_path):
    path = tmp_path / "p.csv"
    rows = [f"{p},{k}" + ",0" * 6 for p in PATIENTS for k in range(4)]
    path.write_text("\n".join([",".join(["patient", "slice", *LABEL_NAMES]), *rows]) + "\n")
    run = read_table(path, Made())
    for clip in (1e-15, 0.01):
        found = {f.name: f.interval.value for f in figures(run, clip)}
        labels = run.labels.astype(float)
        assert found["slice weighted log loss"] == pytest.approx(
            m.weighted_log_loss(labels, np.zeros((120, 6)), clip), rel=1e-6
        )


def test_areas_are_scikit_learns(run):
    found = {f.name: f.interval for f in figures(run)}
    for j, name in ((0, "any"), (2, "intraparenchymal"), (4, "subarachnoid")):
        expected = sklearn_metrics.roc_auc_score(run.labels[:, j], run.logits[:, j])
        assert found[f"slice AUC, {name}"].value == pytest.approx(expected)
    expected = sklearn_metrics.average_precision_score(run.exam_labels[:, 0], run.exam_logits[:, 0])
    assert found["exam PR area, any"].value == pytest.approx(expected)
    assert "slice AUC, epidural" not in found  # nobody has it
    assert all(i.low <= i.value <= i.high for n, i in found.items() if "AUC" in n)


def test_the_log_loss_is_kaggles():
    """Literally: each label of each image is a row, any weighs twice, the weighted mean of all rows."""
    rng = np.random.default_rng(0)
    labels, p = (rng.random((40, 6)) > 0.7).astype(float), rng.random((40, 6))
    p[0, 0], labels[0, 0] = 0.0, 1.0
    total = weight = 0.0
    for i in range(40):
        for j in range(6):
            q = min(max(p[i, j], 1e-15), 1 - 1e-15)
            w = 2.0 if j == 0 else 1.0
            total -= w * (labels[i, j] * np.log(q) + (1 - labels[i, j]) * np.log(1 - q))
            weight += w
    assert m.weighted_log_loss(labels, p) == pytest.approx(total / weight, rel=1e-12)


def test_verdicts_are_hand_counts():
    labels, called = np.array([1, 1, 1, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0, 0])
    assert m.confusion(labels, called).tolist() == [[3, 1], [1, 2]]
    assert m.accuracy(labels, called) == pytest.approx(5 / 7)
    assert m.precision(labels, called) == pytest.approx(sklearn_metrics.precision_score(labels, called))
    assert m.f1(labels, called) == pytest.approx(sklearn_metrics.f1_score(labels, called))
    assert np.isnan(m.precision(labels, np.zeros(7))) and np.isnan(m.f1(np.zeros(3), np.zeros(3)))


def test_a_fold_does_not_see_its_own_labels(run):
    """Turning the labels of one fold round changes every other fold's probabilities, and not its own."""
    p = crossfit(run.logits, run.labels, run.folds)
    turned = run.labels.copy()
    turned[run.folds == 2] = 1 - turned[run.folds == 2]
    q = crossfit(run.logits, turned, run.folds)
    assert np.array_equal(p[run.folds == 2], q[run.folds == 2])
    assert not np.allclose(p[run.folds != 2], q[run.folds != 2])
    called = called_across_folds(run, "slice", accurate_threshold)
    assert set(np.unique(called)) <= {0.0, 1.0}


def test_calibration_is_of_what_is_known():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 6))
    labels = (rng.random((4000, 6)) < 1 / (1 + np.exp(-(0.5 * logits - 1)))).astype(np.float32)
    labels[:, 3] = np.nan
    labels[:, 4] = 0
    labels[:2000, 1] = np.nan
    fitted = fit_calibration(logits, labels)
    assert [s.scale for s in fitted[:3]] == pytest.approx([0.5] * 3, abs=0.06)
    assert [s.offset for s in fitted[:3]] == pytest.approx([-1] * 3, abs=0.12)
    p = scaled_probabilities(logits, fitted)
    assert p[:, 3].max() < 0.01 and p[:, 4].max() < 0.01  # what was never seen is not called


def test_thresholds_for_a_sensitivity():
    labels, p = np.array([1] * 10 + [0] * 5), np.arange(15) / 15
    assert sensitive_threshold(0.9)(labels, p) == p[1]
    assert sensitive_threshold(0.95)(labels, p) == p[0]
    assert sensitive_threshold(0.9)(np.zeros(3), p[:3]) == 0.5


def test_operating_points_come_near_their_aim(run):
    found = {f.name: f.interval.value for f in operating_points(run)}
    assert found["slice sensitivity, any, aimed at 90% sensitivity"] > 0.75
    aims = [found[f"slice specificity, any, aimed at {a} sensitivity"] for a in ("90%", "95%", "99%")]
    assert aims == sorted(aims, reverse=True)


def test_two_models_are_compared_pair_by_pair(tmp_path):
    good, poor, same = (
        read_table(table(tmp_path / f"{k}.csv", Made(), quality, seed), Made())
        for k, (quality, seed) in enumerate(((2.5, 0), (0.2, 1), (2.5, 0)))
    )
    found = {d.name: d for d in compare(good, poor)}
    assert found["slice AUC, any"].better == "first" and found["slice AUC, any"].p < 0.01
    assert (
        found["slice weighted log loss"].better == "first"
        and found["slice weighted log loss"].interval.value < 0
    )
    backwards = {d.name: d for d in compare(poor, good)}
    assert backwards["slice AUC, any"].better == "second"
    assert backwards["slice AUC, any"].interval.value == pytest.approx(
        -found["slice AUC, any"].interval.value
    )
    for d in compare(good, same):
        assert (d.interval.value, d.better, d.p) == (0, "neither", 1)
    with pytest.raises(UsageError, match="expected both on the same slices"):
        compare(good, read_table(table(tmp_path / "x.csv", Made("pictures")), Made("pictures")))


def test_subgroups_are_of_their_patients(run):
    groups = {"first half": PATIENTS[:15], "none bleeds": ["p01", "p02"]}
    found = {f.name: f.interval for f in group_figures(run, groups)}
    inside = np.isin(run.patients, PATIENTS[:15])
    expected = sklearn_metrics.roc_auc_score(run.labels[inside, 0], run.logits[inside, 0])
    assert found["slice AUC, any, first half"].value == pytest.approx(expected)
    assert found["exam AUC, any, first half"].patients == 15
    assert not any("none bleeds" in name for name in found)


def test_folds_that_overlap_or_lack_a_patient_are_refused(tmp_path):
    header = "dataset,patient,level,slice,mm," + ",".join(f"rule_{n}" for n in LABEL_NAMES)
    for fold, patients in ((0, PATIENTS[:15]), (1, PATIENTS[15:])):
        folder = tmp_path / "run" / f"fold-{fold}"
        folder.mkdir(parents=True)
        places = ["exam,,", *(f"slice,{k}," for k in range(4))]
        rows = [f"made,{p},{place}" + ",0.1" * 6 for p in patients for place in places]
        (folder / "predictions.csv").write_text("\n".join([header, *rows]) + "\n")
    assert len(np.unique(read_predictions(tmp_path / "run", Made()).folds)) == 2
    with pytest.raises(UsageError, match="found no column map_any"):
        read_predictions(tmp_path / "run", Made(), "map")
    path = tmp_path / "run" / "fold-1" / "predictions.csv"
    text = path.read_text()
    path.write_text(
        text + "".join(f"made,p00,{place}" + ",0.1" * 6 + "\n" for place in ("exam,,", "slice,0,"))
    )
    with pytest.raises(UsageError, match="predicted in two folds"):
        read_predictions(tmp_path / "run", Made())
    path.write_text("".join(line for line in text.splitlines(True) if ",p20," not in line))
    with pytest.raises(UsageError, match=r"expected 1 more \(p20\)"):
        read_predictions(tmp_path / "run", Made())
    with pytest.raises(UsageError, match=r"found no fold-\*/predictions\.csv"):
        read_predictions(tmp_path, Made())


def test_resamplings_are_fewer_for_very_many():
    assert m.resamplings_for(2000) == 2000 and m.resamplings_for(750_000) == 200
    rng = np.random.default_rng(0)
    labels, first, who = rng.integers(0, 2, 200), rng.random(200), np.repeat(np.arange(50), 4)
    difference, p = m.paired_bootstrap(m.roc_auc, labels, first + labels, first, who, resamplings=300)
    assert difference.value > 0.3 and difference.low > 0 and p == pytest.approx(1 / 300)
