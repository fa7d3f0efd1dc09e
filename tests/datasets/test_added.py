"""A data set is a module and a line of the registry: this one is added while the tests run, and everything knows it."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("zarr", reason="needs the extra 'train'")
pytest.importorskip("imagehash", reason="needs the extra 'train'")

from datasets.made import SPEC, exam
from ichor.cli import run
from ichor.datasets.labelled import Dataset, DatasetInfo, LabelledExam
from ichor.datasets.registry import DATASETS, open_dataset
from ichor.datasets.splits import split_of
from ichor.datasets.store_build import build_store
from ichor.datasets.tables import read_table
from ichor.errors import UsageError
from ichor.evaluating.groups import groups_of

ROOT = Path(__file__).parents[2]


class Added(Dataset):
    """What a contributor writes: one exam a row of a table, two exams a person."""

    name = "added"
    info = DatasetInfo(
        title="A data set that was added",
        citation="Nobody 2026",
        licence="CC BY 4.0",
        url="https://example.org/added",
        kind="exams",
        access="by letter",
        expected=("exams.csv",),
        content="8 made exams",
        labels="one subtype a slice",
        remark="made of circles",
    )

    def __init__(self, root):
        super().__init__(root)
        self._rows = {row["exam"]: row for row in read_table(self.root / "exams.csv", ("exam", "bleeds"))}
        self.notes = ["1 exam without a head was left out"]

    def patients(self):
        return {name: self.slice_labels(name).max(axis=0) for name in self._rows}

    def slice_labels(self, patient):
        labels = np.zeros((9, 6), np.float32)
        labels[4, [0, 2]] = self._rows[patient].flag("bleeds")
        return labels

    def groups(self):
        return {name: f"person {k // 2}" for k, name in enumerate(self._rows)}

    def images(self, patient):
        return [f"{patient}-{k}" for k in range(9)]

    def subgroup_values(self, patient):
        return {"age_years": 12.0 if patient < "e4" else 60.0}

    def load(self, patient):
        image = exam(int(patient[1:]))
        labels = self.slice_labels(patient)
        blood = np.zeros(image.volume.shape, np.uint8)
        blood[labels[:, 2] == 1, 20:30, 20:30] = 2
        return LabelledExam(self.name, patient, image, labels, blood, (-1024.0, 3071.0))


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "added", (Added,))
    (tmp_path / "added").mkdir()
    rows = "".join(f"e{k},{k % 2}\n" for k in range(8))
    (tmp_path / "added" / "exams.csv").write_text(f"exam,bleeds\n{rows}")
    return tmp_path


def test_the_commands_know_it(data, capsys):
    assert run(["data", "list", "--data", str(data)]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("added"))
    assert line.split() == ["added", "exams", "8", "CC", "BY", "4.0"]
    assert run(["data", "info", "added", "--data", str(data)]) == 0
    assert "Nobody 2026" in (out := capsys.readouterr().out) and "8 made exams" in out
    assert run(["data", "check", "added", "--data", str(data)]) == 0
    out = capsys.readouterr().out
    assert "exams 8, patients 4, slices read 72" in out and "intraparenchymal: 4 positive" in out
    assert "note: 1 exam without a head was left out" in out and "no faults" in out
    assert run(["data", "get", "added", "--data", str(data / "elsewhere")]) == 2
    assert "by hand from https://example.org/added (by letter) and put exams.csv" in capsys.readouterr().err


def test_it_is_explored(data, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert run(["explore", str(data), "--dataset", "added", "-o", str(page)]) == 0
    assert "Left out by the data set: 1 exam without a head" in capsys.readouterr().out
    figures = json.loads(page.with_suffix(".json").read_text())
    assert figures["exams"] == figures["exams_read"] == 8 and figures["measures"]["age_years"]["known"] == 8
    assert run(["explore", str(data / "added"), "-o", str(page)]) == 0  # by what lies in the folder
    assert json.loads(page.with_suffix(".json").read_text())["dataset"] == "added"


def test_a_split_keeps_its_people_together_and_a_store_is_built(data):
    dataset = open_dataset("added", data)
    split = split_of(dataset, 2, 0)
    people = {
        group: {split.folds[p] for p, g in split.groups.items() if g == group}
        for group in dataset.groups().values()
    }
    assert len(people) == 4 and all(len(folds) == 1 for folds in people.values())
    store = build_store(dataset, SPEC, data / "stores", lambda _: None, 1, 16)
    assert store.name == "added" and store.patients == tuple(dataset.patients()) and len(store.exam) == 72
    assert store.labels[:, 2].sum() == 4 and (store.blood[0:72] == 2).any()
    assert groups_of(dataset, sizes=False)["children (under 18 years)"] == ["e0", "e1", "e2", "e3"]


def test_a_release_and_the_documentation_say_where_it_comes_from(data):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from ichor.training.describing import _trained_on
    from ichor.training.recipe import load_recipe
    from ichor.training.run_data import RunData
    from ichor.training.run_folder import RunFolder

    recipe = load_recipe("default")
    sampling = recipe.sampling.model_copy(update={"weights": {}})
    recipe = recipe.replaced(target="added", extra=(), folded=(), pictures=(), sampling=sampling)
    run = RunData(RunFolder(data / "run", recipe), data)
    (stated,) = _trained_on(run)
    assert (stated.name, stated.exams, stated.slices) == ("added", 8, 72)
    assert (stated.licence, stated.citation, stated.note) == ("CC BY 4.0", "Nobody 2026", "made of circles")
    spec = importlib.util.spec_from_file_location("print_reference", ROOT / "scripts" / "print_reference.py")
    page = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        spec.loader.exec_module(page)
    assert "| `added` | 8 made exams | one subtype a slice | by letter | CC BY 4.0 |" in page.data_sets()


def test_a_wrong_name_names_it_among_the_others(data):
    with pytest.raises(UsageError, match="did you mean 'added'"):
        open_dataset("aded", data)


def test_every_published_data_set_says_what_a_card_and_the_table_need():
    for name, forms in DATASETS.items():
        for form in forms:
            assert form.name == name and issubclass(form, Dataset)
            needed = (
                "title",
                "citation",
                "licence",
                "url",
                "access",
                "expected",
                "content",
                "labels",
                "remark",
            )
            assert all(vars(form.info)[field] for field in needed), (name, needed)
