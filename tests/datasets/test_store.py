"""Prepared stores: whole or not there, the same after a kill, read by any index."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("zarr", reason="needs the extra 'train'")
pytest.importorskip("filelock", reason="needs the extra 'train'")

from datasets.made import SPEC, Made, exam, total
from ichor.datasets.labelled import UNKNOWN, LabelledExam
from ichor.datasets.registry import open_dataset
from ichor.datasets.store import GROUP, META, StoredSlices, open_store
from ichor.datasets.store_build import build_store
from ichor.datasets.store_prepare import on_grid
from ichor.errors import UsageError
from ichor.preparing import GridSpec


def same(a, b):
    assert (
        a.patients == b.patients
        and np.array_equal(a.hu_ranges, b.hu_ranges)
        and np.array_equal(a.exam, b.exam)
    )
    assert np.array_equal(a.labels, b.labels) and np.array_equal(a.distances, b.distances)
    every = np.arange(len(a.exam))
    assert np.array_equal(a.hu[every], b.hu[every]) and np.array_equal(a.blood[every], b.blood[every])


def files(home):
    """All that a store is, byte for byte."""
    return {p.relative_to(home).as_posix(): p.read_bytes() for p in home.rglob("*") if p.is_file()}


def test_a_store_holds_every_exam_on_the_grid(tmp_path):
    told, shown = [], []
    store = build_store(
        Made(),
        SPEC,
        tmp_path,
        told.append,
        shard=16,
        progress=lambda doing, done: shown.append((doing, done)),
    )
    assert shown[0] == ("preparing made: 0 of 12", 0) and shown[-1] == ("preparing made: 11 of 12", 11 / 12)
    assert len(store.exam) == 108 and store.hu.shape == (108, 40, 32)
    for number in (0, 5, 11):
        hu, blood, labels, distances = on_grid(Made().load(f"p{number:02d}"), SPEC)
        inside = np.flatnonzero(store.exam == number)
        assert np.array_equal(store.hu[inside], hu) and np.array_equal(store.blood[inside], blood)
        assert np.array_equal(store.labels[inside], labels)
        assert np.array_equal(store.distances[inside], distances)
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


def test_a_changed_table_beside_the_images_makes_another_store(tmp_path):
    dataset = Made()
    dataset.root = tmp_path / "data"
    dataset.root.mkdir()
    for text in ("slice,any\n4,0\n", "slice,any\n4,1\n", "slice,any\n4,0\n"):
        (dataset.root / "slices.csv").write_text(text)
        build_store(dataset, SPEC, tmp_path / "stores", lambda _: None)
    assert len(list((tmp_path / "stores").iterdir())) == 2


def test_any_index_reads_as_numpy_would(tmp_path):
    store = build_store(Made(), SPEC, tmp_path, lambda _: None, shard=16)
    assert isinstance(store.hu, StoredSlices)
    whole = store.hu[0:108]
    rng = np.random.default_rng(0)
    indices = (
        np.array([5, 5, 0, 107]),
        np.array([3, 4, 5]),
        np.array([-1, 0, -108, 107]),
        rng.integers(0, 108, (4, 3)),
        np.array(7),
        7,
        -2,
        [],
        np.empty((0, 3), int),
        slice(100, 3, -7),
        store.exam == 4,
        np.zeros(108, bool),
    )
    for index in indices:
        asked = np.asarray(index, int) if isinstance(index, list) else index
        assert np.array_equal(store.hu[index], whole[asked])
    assert store.hu[store.neighbours(np.array([0, 8, 9]), 12.0)].shape == (3, 3, 40, 32)
    assert store.neighbours(np.array([0, 8, 9]), 12.0).tolist() == [[0, 0, 1], [7, 8, 8], [9, 9, 10]]
    for wrong in (108, -109):
        with pytest.raises(IndexError, match=f"slice {wrong} of a store of 108"):
            store.hu[np.array([0, wrong])]
    with pytest.raises(IndexError, match="float64"):
        store.hu[np.array([0.5])]


def test_zarr_reads_the_same(tmp_path):
    """The files are zarr's, though slices are not read through it."""
    import zarr

    store = build_store(Made(), SPEC, tmp_path, lambda _: None, shard=16)
    group = zarr.open_group(next(tmp_path.iterdir()) / GROUP, mode="r")
    every = np.arange(108)
    for name in ("hu", "blood"):
        mine = getattr(store, name)[every]
        assert np.array_equal(group[name][:], mine) and mine.any() and mine.dtype == group[name].dtype
    assert not group["blood"][0].any()  # zeros are stored, too


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", sorted({"fork", "spawn"} & set(multiprocessing.get_all_start_methods())))
def test_a_store_is_read_by_another_process(tmp_path, method):
    store = build_store(Made(), SPEC, tmp_path, lambda _: None, shard=16)
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        assert pool.submit(total, store).result() == total(store) != 0


# -- whole or not opened -------------------------------------------------------------------------------


def test_what_is_not_whole_is_not_opened(tmp_path):
    with pytest.raises(UsageError, match=r"found no store\.json"):
        open_store(tmp_path)
    build_store(Made(), SPEC, tmp_path, lambda _: None, shard=16)
    home = next(tmp_path.iterdir())
    shard = home / GROUP / "blood" / "c" / "2" / "0" / "0"
    kept = shard.read_bytes()
    shard.write_bytes(kept[:-1])
    with pytest.raises(
        UsageError, match=rf"{len(kept) - 1} bytes, expected {len(kept)}.*remove the store's folder"
    ):
        build_store(Made(), SPEC, tmp_path, lambda _: None, shard=16)
    shard.unlink()
    with pytest.raises(UsageError, match="no file"):
        open_store(home)
    shard.write_bytes(kept)
    open_store(home)
    meta = json.loads((home / META).read_text())
    (home / META).write_text(json.dumps(meta | {"format": "ichor.store/0"}))
    with pytest.raises(UsageError, match=r"format 'ichor\.store/0'; expected"):
        open_store(home)
    (home / META).write_text("{")
    with pytest.raises(UsageError, match="no JSON"):
        open_store(home)


@pytest.mark.parametrize("what", ["altered", "lost"])
def test_damage_within_a_file_is_noticed_where_it_is_read(tmp_path, what):
    build_store(Made(), SPEC, tmp_path, lambda _: None, shard=16)
    store = open_store(next(tmp_path.iterdir()))
    shard = next(tmp_path.iterdir()) / GROUP / "hu" / "c" / "1" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3] = b"abc"
    if what == "lost":
        shard.unlink()
    else:
        shard.write_bytes(content)
    store.hu[np.arange(16)]
    with pytest.raises(UsageError, match="damaged store"):
        store.hu[np.arange(16, 32)]


def test_nothing_readable_makes_no_store(tmp_path):
    with pytest.raises(UsageError, match="12 exams of which none can be read"):
        build_store(Made(broken=tuple(Made().patients())), SPEC, tmp_path, lambda _: None)
    assert not list(tmp_path.glob(f"*/{META}"))


def test_a_failing_disk_stops_the_build_and_it_goes_on(tmp_path):
    """What is no refusal must not leave an exam out for good."""
    with pytest.raises(UsageError, match=r"made/p09: found that it cannot be read \(OSError: disk\)"):
        build_store(Made(failing="p09"), SPEC, tmp_path / "a", lambda _: None, 2, 16)
    told = []
    store = build_store(Made(), SPEC, tmp_path / "a", told.append, 1, 16)
    assert any("going on after" in line for line in told)
    same(store, build_store(Made(), SPEC, tmp_path / "b", lambda _: None, 1, 16))


def test_a_process_that_is_ended_stops_the_build_and_it_goes_on(tmp_path):
    with pytest.raises(UsageError, match="a process that prepares exams was ended"):
        build_store(Made(ending="p09"), SPEC, tmp_path, lambda _: None, 2, 16)
    assert build_store(Made(), SPEC, tmp_path, lambda _: None, 1, 16).patients == tuple(Made().patients())


# -- two at once, and killed ---------------------------------------------------------------------------


def test_two_at_once_do_not_disturb_each_other(tmp_path):
    stores, told = [], []
    threads = [
        threading.Thread(
            target=lambda: stores.append(build_store(Made(0.01), SPEC, tmp_path, told.append, 1, 16))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(*stores)
    assert sum("preparing" in line for line in told) == 1 and sum("waiting" in line for line in told) == 1


def test_killed_and_gone_on_with_it_is_the_same(tmp_path):
    """With SIGKILL, several times, whatever it was doing."""
    build_store(Made(), SPEC, tmp_path / "whole", lambda _: None, 1, 16)
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from datasets.made import SPEC, Made; from ichor.datasets.store_build import build_store\n"
        "build_store(Made(0.02), SPEC, Path(sys.argv[2]), lambda line: print(line, flush=True), 1, 16)"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parents[1]), str(tmp_path / "killed")]
    rng = np.random.default_rng(0)
    goings = 0
    for _ in range(12):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        lines = []
        for line in process.stdout:
            lines.append(line)
            if sum("exams, " in told for told in lines) == 2:
                time.sleep(rng.uniform(0, 0.1))
                process.send_signal(signal.SIGKILL)
        process.communicate()
        goings += any("going on after" in line for line in lines)
        if process.returncode == 0:
            break
    assert process.returncode == 0 and goings >= 2
    killed, whole = (files(next((tmp_path / name).iterdir())) for name in ("killed", "whole"))
    assert killed == whole


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes as Linux shows them")
def test_the_processes_of_a_killed_build_end(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from datasets.made import SPEC, Made; from ichor.datasets.store_build import build_store\n"
        "if __name__ == '__main__':\n"
        "    build_store(Made(0.2), SPEC, Path(sys.argv[2]), lambda line: print(line, flush=True), 2, 16)"
    )
    script = tmp_path / "build.py"
    script.write_text(program)
    command = [sys.executable, str(script), str(Path(__file__).parents[1]), str(tmp_path / "store")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while "exams, " not in process.stdout.readline():
        assert process.poll() is None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [n for n in children if "spawn_main" in Path(f"/proc/{n}/cmdline").read_text()]
    process.kill()
    process.communicate()
    assert len(workers) == 2
    until = time.monotonic() + 60
    while left := [n for n in workers if Path(f"/proc/{n}").exists()]:
        assert time.monotonic() < until, left
        time.sleep(0.1)


@pytest.mark.parametrize("name", ["hu", "blood", "labels"])
def test_a_shard_that_was_being_written_is_written_anew(tmp_path, name):
    import zarr

    with pytest.raises(UsageError):
        build_store(Made(failing="p09"), SPEC, tmp_path / "torn", lambda _: None, 1, 16)
    home = next((tmp_path / "torn").iterdir())
    array = zarr.open_group(home / GROUP, mode="a")[name]
    written = array.shape[0]
    array.resize((written + 16, *array.shape[1:]))
    array[written:] = 1
    shard = home / GROUP / name / "c" / str(written // 16) / "0" / "0"
    shard = shard if name != "labels" else shard.parents[0]
    shard.write_bytes(shard.read_bytes()[:-7])
    shard.with_name("0.1234.partial").write_bytes(b"half")
    build_store(Made(), SPEC, tmp_path / "torn", lambda _: None, 1, 16)
    build_store(Made(), SPEC, tmp_path / "whole", lambda _: None, 1, 16)
    assert files(home) == files(next((tmp_path / "whole").iterdir()))


# -- thin slices and real exams ------------------------------------------------------------------------


def test_slabs_of_thin_slices_have_what_their_slices_have():
    thin = exam(0, n=41, step=1.25)
    labels = np.zeros((41, 6), np.float32)
    labels[8, [0, 2]] = 1
    labels[20, 0] = np.nan
    blood = np.zeros(thin.volume.shape, np.uint8)
    blood[20] = UNKNOWN
    item = LabelledExam("made", "p", thin, labels, blood, (-1024.0, 3071.0))
    hu, marks, slabs, _ = on_grid(item, SPEC)
    assert len(hu) == len(marks) == len(slabs) < 20
    assert slabs[:, 2].sum() == 1 and slabs[2, 0] == 1
    assert np.isnan(slabs[:, 0]).sum() == 1 and np.isnan(slabs[5, 0])


def test_a_real_exam(shared_data, tmp_path):
    dataset = open_dataset("cq500", shared_data)
    store = build_store(dataset, GridSpec(80, 64, 0.06, 5.0), tmp_path, lambda _: None)
    assert store.patients == ("0",) and not store.labels.any()
    assert 20 < np.median(store.hu[np.arange(len(store.exam))][:, 35:45, 25:40]) < 45
