"""A data set prepared by the bulk driver: a shard and a row an exam, read from S3 (moto as a server) where they lie."""

from __future__ import annotations

import csv
import pickle
import subprocess
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra 'scale'")
pytest.importorskip("yaml", reason="needs PyYAML, which reads recipes")

from bulk.made import command, environment, files, study
from bulk.s3 import KEYS, moto
from ichor.bulk.output import Output
from ichor.bulk.preparing import PREPARED
from ichor.datasets.labelled import UNKNOWN
from ichor.datasets.places import below, open_place
from ichor.datasets.registry import open_dataset
from ichor.datasets.shards import open_shards, shards_name
from ichor.datasets.store_prepare import on_grid
from ichor.errors import UsageError
from ichor.preparing import GridSpec

RECIPE = """
name: small
description: for a test
preparation: {rows: 64, columns: 48}
border: 8
"""
GRID = GridSpec(80, 64, 0.06, 5.0, border=8)
"""Of this recipe."""


def labelled(folder: Path) -> str:
    """Write a table of three exams, of which one lacks the slice that is labelled, and of a file that is no image."""
    for name, n in (("one", 8), ("two", 6), ("three", 8)):
        study(folder / name, n=n)
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 400)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "slice", "any", "IPH"])
        writer.writerows([["one", 3, 1, 1], ["one", 4, 0, 0], ["two", 7, 0, 0], ["three", "", 0, 0]])
        writer.writerow(["broken.dcm", "", 0, 0])
    (folder / "small.yaml").write_text(RECIPE)
    return f"csv:{folder / 'labels.csv'}"


def prepare(dataset: str, *words: object) -> subprocess.CompletedProcess[str]:
    line = command("data", "prepare", dataset, *words)
    return subprocess.run(line, capture_output=True, text=True, env=environment())


def test_exams_are_prepared_into_a_store_and_read_where_they_lie(tmp_path, monkeypatch):
    pytest.importorskip("moto", reason="needs the extra 'test-scale'")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    data, out = tmp_path / "data", tmp_path / "out"
    name = labelled(data)
    dataset = open_dataset(name, data)
    with moto(tmp_path, "slices") as host:
        address = f"s3://slices/all?endpoint_override={quote(host)}&scheme=http&region=us-east-1"
        words = ("-o", out, "--recipe", data / "small.yaml", "--shards", address, "--jobs", 2)
        done = prepare(name, *words)
        assert done.returncode == 3, done.stderr
        found = {row["input"]: row for row in Output(out, PREPARED).rows()}
        patients = list(dataset.patients())
        states = [found[patient]["state"] for patient in patients]
        assert states == ["prepared", "failed", "prepared", "refused"]
        assert found[patients[1]]["message"].startswith("UsageError at listing.py:")
        with pytest.raises(UsageError, match=r"found no prepared slices of csv .*run ichor data prepare csv"):
            open_shards(address, dataset, GRID)

        study(data / "two", n=9)
        done = prepare(name, *words, "--retry-failed")
        assert done.returncode == 0, done.stderr
        before = files(out)
        assert prepare(name, *words).returncode == 0
        assert files(out) == before
        as_on_the_grid(open_shards(address, dataset, GRID), dataset, patients[:3])
        as_on_the_grid(pickle.loads(pickle.dumps(open_shards(address, dataset, GRID))), dataset, patients[:3])

        place = open_place(below(address, shards_name(dataset, GRID)))
        shard = found[patients[0]]["file"]
        content = bytearray(place.read(shard))
        content[len(content) // 2] ^= 1
        place.write(shard, bytes(content))
        with pytest.raises(UsageError, match=f"{shard}: found a damaged store .another checksum"):
            open_shards(address, dataset, GRID).hu[:8]


def as_on_the_grid(store, dataset, patients) -> None:
    """Compare a store with what its exams are on the grid, read in any order and with neighbours."""
    assert store.patients == tuple(patients)
    assert [int(n) for n in np.bincount(store.exam)] == [8, 9, 8]
    exams = [on_grid(dataset.load(patient), GRID) for patient in patients]
    hu, blood = (np.concatenate([getattr(exam, name) for exam in exams]) for name in ("hu", "blood"))
    assert np.array_equal(store.labels, np.concatenate([e.labels for e in exams]), equal_nan=True)
    assert np.array_equal(store.distances, np.concatenate([e.distances for e in exams]))
    assert np.array_equal(store.bleed_pixels, ((blood > 0) & (blood != UNKNOWN)).sum(axis=(1, 2)))
    index = np.random.default_rng(1).permutation(len(hu))
    assert np.array_equal(store.hu[index], hu[index])
    assert np.array_equal(store.blood[index], blood[index])
    near = store.neighbours(np.array([0, 8, 12, 24]), 40.0)
    assert np.array_equal(store.hu[near], hu[near])
    assert np.array_equal(store.blood[near], blood[near])


def test_settings_reach_a_worker_as_they_were() -> None:
    from ichor.bulk.preparing import PreparerSettings

    settings = PreparerSettings("rsna", "/data", GRID, "s3://slices/rsna", "rsna-1")
    assert PreparerSettings.from_json(settings.as_json()) == settings
    assert settings.as_json()["grid"] == asdict(GRID)
