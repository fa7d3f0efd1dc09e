"""Prepared stores: whole or not there, the same after a kill, read by any index."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("zarr", reason="needs the extra 'train'")
pytest.importorskip("filelock", reason="needs the extra 'train'")

from datasets.made import SPEC, Made, exam
from ichor.datasets.labelled import UNKNOWN, LabelledExam
from ichor.datasets.registry import open_dataset
from ichor.datasets.store import META, StoredSlices, open_store
from ichor.datasets.store_build import build_store, on_grid
from ichor.preparing import GridSpec


def same(a, b):
    assert a.patients == b.patients and a.hu_range == b.hu_range and np.array_equal(a.exam, b.exam)
    assert np.array_equal(a.labels, b.labels)
    every = np.arange(len(a.exam))
    assert np.array_equal(a.hu[every], b.hu[every]) and np.array_equal(a.blood[every], b.blood[every])


def test_a_store_holds_every_exam_on_the_grid(tmp_path):
    told = []
    store = build_store(Made(), SPEC, tmp_path, told.append, shard=16)
    assert len(store.exam) == 108 and store.hu.shape == (108, 40, 32)
    for number in (0, 5, 11):
        hu, blood, labels = on_grid(Made().load(f"p{number:02d}"), SPEC)
        inside = np.flatnonzero(store.exam == number)
        assert np.array_equal(store.hu[inside], hu) and np.array_equal(store.blood[inside], blood)
        assert np.array_equal(store.labels[inside], labels)
    assert any("min left" in line for line in told)
    again = []
    same(build_store(Made(), SPEC, tmp_path, again.append, shard=16), store)
    assert again == []


def test_processes_build_the_same(tmp_path):
    same(
        build_store(Made(), SPEC, tmp_path / "one", lambda _: None, 1, 16),
        build_store(Made(), SPEC, tmp_path / "two", lambda _: None, 2, 16),
    )


def test_an_exam_that_cannot_be_read_is_told_and_left_out(tmp_path):
    told = []
    store = build_store(Made(broken=("p03",)), SPEC, tmp_path, told.append, shard=16)
    assert "p03" not in store.patients and len(store.patients) == 11
    assert any("left out" in line and "p03: found nothing" in line for line in told)
    assert "p03" in json.loads(next(tmp_path.glob(f"*/{META}")).read_text())["left_out"]


def test_changed_labels_make_another_store(tmp_path):
    build_store(Made(), SPEC, tmp_path, lambda _: None)

    class Other(Made):
        def patients(self):
            return super().patients() | {"p00": np.ones(6, np.float32)}

    build_store(Other(), SPEC, tmp_path, lambda _: None)
    assert len(list(tmp_path.iterdir())) == 2


def test_any_index_reads_as_numpy_would(tmp_path):
    store = build_store(Made(), SPEC, tmp_path, lambda _: None, shard=16)
    assert isinstance(store.hu, StoredSlices)
    whole = store.hu[0:108]
    rng = np.random.default_rng(0)
    for index in (np.array([5, 5, 0, 107]), rng.integers(0, 108, (4, 3)), np.array(7), 7, np.empty(0, int)):
        assert np.array_equal(store.hu[index], whole[index])
    assert store.hu[store.neighbours(np.array([0, 8, 9]))].shape == (3, 3, 40, 32)
    assert store.neighbours(np.array([0, 8, 9])).tolist() == [[0, 0, 1], [7, 8, 8], [9, 9, 10]]
    with pytest.raises(IndexError, match="slice 108 of a store of 108"):
        store.hu[np.array([108])]


def test_two_at_once_do_not_disturb_each_other(tmp_path):
    stores = []
    threads = [
        threading.Thread(target=lambda: stores.append(build_store(Made(0.01), SPEC, tmp_path, lambda _: None, 1, 16)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(*stores)


def test_killed_and_gone_on_with_it_is_the_same(tmp_path):
    """With SIGKILL, several times, wherever it was."""
    whole = build_store(Made(), SPEC, tmp_path / "whole", lambda _: None, 1, 16)
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from datasets.made import SPEC, Made; from ichor.datasets.store_build import build_store\n"
        "build_store(Made(0.05), SPEC, Path(sys.argv[2]), lambda line: print(line, flush=True), 1, 16)"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parents[1]), str(tmp_path / "killed")]
    goings = 0
    for _ in range(12):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        lines = []
        for line in process.stdout:
            lines.append(line)
            if sum("exams, " in told for told in lines) == 2:
                process.send_signal(signal.SIGKILL)
        process.communicate()
        goings += any("going on after" in line for line in lines)
        if process.returncode == 0:
            break
    assert process.returncode == 0 and goings >= 2
    home = next((tmp_path / "killed").iterdir())
    same(open_store(home), whole)
    assert not list(home.glob("progress.json*"))


def test_slabs_of_thin_slices_have_what_their_slices_have():
    thin = exam(0, n=41, step=1.25)
    labels = np.zeros((41, 6), np.float32)
    labels[8, [0, 2]] = 1
    labels[20, 0] = np.nan
    blood = np.zeros(thin.volume.shape, np.uint8)
    blood[20] = UNKNOWN
    item = LabelledExam("made", "p", thin, labels, blood, (-1024.0, 3071.0))
    hu, marks, slabs = on_grid(item, SPEC)
    assert len(hu) == len(marks) == len(slabs) < 20
    assert slabs[:, 2].sum() == 1 and slabs[2, 0] == 1
    assert np.isnan(slabs[:, 0]).sum() == 1 and np.isnan(slabs[5, 0])


def test_a_real_exam(shared_data, tmp_path):
    dataset = open_dataset("cq500", shared_data)
    store = build_store(dataset, GridSpec(80, 64, 0.06, 5.0), tmp_path, lambda _: None)
    assert store.patients == ("0",) and not store.labels.any()
    assert 20 < np.median(store.hu[np.arange(len(store.exam))][:, 35:45, 25:40]) < 45
