"""The files of ``deploy/`` and the cost model: what their own tools make of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
import jsonschema

from bulk.made import environment

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def test_the_cluster_file_fits_rays_schema():
    ray = pytest.importorskip("ray", reason="needs the extra 'scale'")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    data = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())
    jsonschema.validate(data, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data | {"max_workers": "two"}, schema)


def test_every_start_of_ray_has_a_token_and_sends_no_statistics():
    starts = 0
    for path in DEPLOY.iterdir():
        text = re.sub(r"\\\n\s*", " ", path.read_text())
        starts += len(re.findall(r"ray start --", text))
        if "ray start --" in text or "RayJob" in text:
            assert re.search(r"RAY_AUTH_MODE(=token|, value: token)", text), path.name
            assert "disable-usage-stats" in text, path.name
    assert starts == 4


def test_the_job_names_the_version_of_ray_that_is_asked_for():
    job, policy = yaml.safe_load_all((DEPLOY / "kuberay-job.yaml").read_text())
    version = job["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"ray>={'.'.join(version.split('.')[:2])}," in (ROOT / "pyproject.toml").read_text()
    assert policy["spec"]["podSelector"]["matchLabels"] == {"app": "ichor-bulk"}


def test_scripts_are_bash_and_units_are_sections():
    subprocess.run(["bash", "-n", DEPLOY / "slurm-bulk.sh"], check=True)
    for name in ("ichor-bulk.service", "ichor-bulk.timer"):
        lines = [
            line for line in (DEPLOY / name).read_text().splitlines() if line and not line.startswith("#")
        ]
        assert all(re.fullmatch(r"\[\w+\]|\w+=.+", line) for line in lines), name


def test_the_cost_model_gives_the_figures_of_the_page():
    page = (ROOT / "docs" / "how-to" / "bulk-on-a-cluster.md").read_text()
    for column, (seconds, size, slices) in enumerate((("3.5", "15.8e6", "30"), ("10.3", "125e6", "238"))):
        command = [sys.executable, "-m", "benchmarks.speed.bulk_cost", "--seconds", seconds]
        command += ["--bytes", size, "--slices", slices]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment(), check=True
        )
        for line in done.stdout.splitlines()[3:]:
            name, _, value = (cell.strip() for cell in line.strip("|").split("|"))
            (shown,) = re.findall(rf"^\| {name} \| (.+) \|$", page, re.MULTILINE)
            assert shown.split(" | ")[column] == value
