"""``ichor evaluate`` on the kept run of the default: figures, one page, one JSON, a comparison."""

import csv
import json
import re
from pathlib import Path

import pytest

from ichor.cli import run
from ichor.detecting.bundle import load_bundle

pytest.importorskip("sklearn", reason="needs the extra 'train'")
pytest.importorskip("matplotlib", reason="needs the extra 'train'")

KEPT = Path(__file__).parents[2] / "benchmarks" / "runs"


def test_the_kept_run_of_the_default(shared_data, tmp_path, capfd):
    other = tmp_path / "other.csv"
    lines = ["patient,slice,any"]
    for path in sorted((KEPT / "default").glob("fold-*/predictions.csv")):
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["level"] == "slice"]
        lines += [f"{row['patient']},{row['slice']},{0.1 + 0.01 * (int(row['slice']) % 7)}" for row in rows]
    other.write_text("\n".join(lines) + "\n")
    command = ["evaluate", str(KEPT / "default"), "--data", str(shared_data), "-o", str(tmp_path / "page")]
    assert run([*command, "--against", str(other)]) == 0
    out, err = capfd.readouterr()
    claimed = {m.name: m.value for m in load_bundle().manifest.measured}
    for name in ("slice AUC, any", "exam AUC, any"):
        assert f"| {name} | {claimed[name]:.3f} |" in out, "the bundle claims what the kept run measured"
    assert "Less other" in out and re.search(r"\| slice AUC, any \| \+0\.\d+ .* \| default \|", out)
    assert "evaluation.html" in err
    page = (tmp_path / "page" / "evaluation.html").read_text()
    assert page.count("<svg") >= 2 and "no bleed" in page and "currentColor" in page
    assert not re.search(r"https?://(?!www\.w3\.org|matplotlib)", page)  # nothing is fetched
    found = json.loads((tmp_path / "page" / "evaluation.json").read_text())
    assert (
        found["model"] == "default"
        and found["confusion"]["exam"][0][0] + found["confusion"]["exam"][0][1] == 38
    )
    names = [f["name"] for rows in found["figures"].values() for f in rows]
    assert {"slice F1, any", "exam precision, any", "exam specificity, any, aimed at 95% sensitivity"} <= set(
        names
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "found neither a run's folder nor a CSV"),
        ([str(KEPT / "default"), "--head", "best"], "--head 'best': expected rule, map, pooled"),
        ([str(KEPT / "default"), "--dataset", "xyz"], "found no such data set"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(shared_data, capfd, arguments, says):
    assert run(["evaluate", *arguments, "--data", str(shared_data)]) == 2
    assert says in capfd.readouterr().err
