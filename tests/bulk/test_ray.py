"""A real Ray cluster of this machine: the rows of the pool, also where a node is lost; no token, no cluster."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs the extra 'scale'")
pytest.importorskip("ray", reason="needs the extra 'scale'")

from bulk.cluster import cluster, end, tree
from bulk.made import BUNDLE, command, environment, raw_keys, rows, until
from bulk.test_preparing import labelled, prepare
from ichor.bulk.output import Output
from ichor.bulk.preparing import PREPARED

DIFFERS = {"seconds", "stage_seconds", "time", "worker", "attempts"}


def run(root, out, there, token, home) -> subprocess.Popen[str]:
    words = ["bulk", root, "-o", out, "--address", there.address, "--token", token, "--bundle", BUNDLE]
    return subprocess.Popen(
        command(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(HOME=str(home)),
    )


def works(node: subprocess.Popen[bytes]) -> bool:
    """Whether a process of a node has a task: Ray gives it a title for as long."""
    for pid in tree(node.pid):
        with contextlib.suppress(OSError):
            if b"ray::assess" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
    return False


def test_a_cluster_gives_the_rows_of_the_pool_also_where_a_node_is_lost(assessed, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    out = tmp_path / "out"
    with cluster(tmp_path / "cluster", nodes=2) as there:
        process = run(assessed.root, out, there, there.token, home)
        until(lambda: works(there.nodes[0]), "work in flight", process)
        end(there.nodes[0])
        _, stderr = process.communicate(timeout=900)
        assert process.returncode == 0, stderr
        assert list(home.iterdir()) == list(there.home.iterdir()) == [], "nothing is written to a home folder"
        name, rows_of = labelled(tmp_path / "data"), tmp_path / "prepared"
        words = ("-o", rows_of, "--recipe", tmp_path / "data" / "small.yaml", "--address", there.address)
        done = prepare(name, *words, "--token", there.token)
        assert done.returncode == 3, done.stderr
        found = sorted(row["state"] for row in Output(rows_of, PREPARED).rows())
        assert found == ["failed", "prepared", "prepared", "refused"]
        assert len(list(rows_of.glob("shards/csv-*/shards/*/*.slices"))) == 2
        wrong = tmp_path / "wrong"
        wrong.touch(mode=0o600)
        wrong.write_text("b" * 64)
        process = run(assessed.root, tmp_path / "other", there, wrong, home)
        _, stderr = process.communicate(timeout=900)
        assert process.returncode == 2
        assert "found no cluster that answers to this token" in stderr
        there.token.chmod(0o644)
        process = run(assessed.root, tmp_path / "other", there, there.token, home)
        _, stderr = process.communicate(timeout=900)
        assert (process.returncode, "found a token that others may read" in stderr) == (2, True)
    assert len(raw_keys(out)) == 7

    def plain(folder):
        return [{k: v for k, v in row.items() if k not in DIFFERS} for row in rows(folder)]

    assert plain(out) == plain(assessed.out)


def test_a_cluster_without_a_token_is_refused(assessed, tmp_path):
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("a" * 64)
    with cluster(tmp_path / "cluster", token=None, nodes=0) as there:
        process = run(assessed.root, tmp_path / "out", there, token, tmp_path)
        _, stderr = process.communicate(timeout=900)
    assert process.returncode == 2
    assert "found a cluster that asks for no token" in stderr
