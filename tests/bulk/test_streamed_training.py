"""A whole fold of training, its slices read from S3 (moto as a server): the network that a local store gives."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

for module, extra in (("pyarrow", "scale"), ("moto", "test-scale"), ("torch", "train")):
    pytest.importorskip(module, reason=f"needs the extra '{extra}'")

from bulk.made import command, environment, study
from bulk.s3 import KEYS, moto

RECIPE = """
name: small
description: for a test
n_folds: 2
preparation: {rows: 64, columns: 48, channels: [{offset: 0, level: 40, width: 80}]}
border: 8
model: {kind: classifier, backbone: cnn-8-16, pretrained: false}
sampling: {kind: plain, balance: none}
batch_size: 4
epochs: 2
"""
EXAMS, SLICES = 6, 8


def run(*words: object) -> None:
    done = subprocess.run(command(*words), capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr


def predicted(path: Path) -> tuple[list[list[str]], np.ndarray]:
    """What each row is of, and its logits."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    of = ("dataset", "patient", "level", "slice", "mm")
    logits = [[float(value) for name, value in row.items() if name not in of] for row in rows]
    return [[row[name] for name in of] for row in rows], np.array(logits)


def test_a_fold_learns_from_s3_what_it_learns_from_a_local_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    data, runs = tmp_path / "data", tmp_path / "runs"
    data.mkdir()
    with (data / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "slice", "any"])
        for k in range(EXAMS):
            study(data / f"exam-{k}", n=SLICES)
            table.writerows([f"exam-{k}", n, int(k % 2 and n == 4)] for n in range(SLICES))
    (data / "small.yaml").write_text(RECIPE)
    dataset, recipe = f"csv:{data / 'labels.csv'}", data / "small.yaml"
    words = ("train", recipe, "--dataset", dataset, "--data", data, "--parts", "fold-0", "--threads", 1)
    with moto(tmp_path, "slices") as host:
        address = f"s3://slices/all?endpoint_override={quote(host)}&scheme=http&region=us-east-1"
        prepare = ("data", "prepare", dataset, "--recipe", recipe, "--shards", address)
        run(*prepare, "-o", tmp_path / "prepared", "--jobs", 2)
        run(*words, "-o", runs / "streamed", "--shards", address, "--workers", 1)
    run(*words, "-o", runs / "local", "--workers", 1)
    (of, streamed), (expected_of, expected) = (
        predicted(runs / name / "fold-0" / "predictions.csv") for name in ("streamed", "local")
    )
    assert of == expected_of and len(of) >= EXAMS // 2 * SLICES
    np.testing.assert_allclose(streamed, expected, atol=1e-5)
    with (runs / "streamed" / "fold-0" / "log.csv").open(newline="") as file:
        assert all(0 <= float(row["waited"]) <= 1 for row in csv.DictReader(file))
