"""The lock fits what is asked for, every dependency has a bound, and the bill of materials is up to date."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import lock_dependencies  # noqa: E402
import make_sbom  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "constraints.txt").read_text()


def test_every_dependency_has_an_upper_bound() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    asked = [*PROJECT["project"]["dependencies"], *(r for extra in extras for r in extra)]
    stubs = ("types-", "-stubs")  # only what mypy reads
    without = [
        text
        for text in asked
        if not any(s.operator in ("<", "<=", "==", "~=") for s in Requirement(text).specifier)
        and not any(stub in text for stub in stubs)
        and Requirement(text).name != PROJECT["project"]["name"]  # an extra that names others
    ]
    assert not without


def test_the_lock_fits_what_is_asked_for() -> None:
    assert lock_dependencies.wrong(PROJECT, LOCK) == []
    assert not re.search(r"https?://|--index|--find-links", LOCK), "no host of a registry"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("\nonnxruntime==", "\nother=="), r"onnxruntime.*: not pinned"),
        (lambda text: re.sub(r"\npydicom==[\d.]+", "\npydicom==9.9", text), r"pydicom.*: 9\.9 is pinned"),
        (lambda text: text + "\nextra==1.0\n", "extra 1.0: no hash"),
    ],
)
def test_a_lock_that_does_not_fit_is_told(change, said: str) -> None:
    assert any(re.search(said, fault) for fault in lock_dependencies.wrong(PROJECT, change(LOCK)))


def test_the_bill_of_materials_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_sbom.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_bill_of_materials_names_every_part_once() -> None:
    bill = json.loads(make_sbom.FILE.read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
    components = bill["components"]
    references = [c["bom-ref"] for c in components]
    assert len(set(references)) == len(references)
    assert bill["dependencies"][0]["dependsOn"] == references
    names = {c["name"] for c in components}
    assert {"numpy", "onnxruntime", "pydicom", "@niivue/niivue", "preact", "default", "fast", "open"} <= names
    assert not names & {"torch", "typescript", "vite"}, "what is not shipped"
    for component in components:
        assert component["hashes"], component["name"]
        for one in component["hashes"]:
            assert re.fullmatch(
                {"SHA-256": "[0-9a-f]{64}", "SHA-512": "[0-9a-f]{128}"}[one["alg"]], one["content"]
            )


def test_hashes_of_the_page_are_those_of_its_lock() -> None:
    locked = json.loads((ROOT / "web" / "package-lock.json").read_text())["packages"]["node_modules/preact"]
    bill = {c["name"]: c for c in make_sbom.sbom()["components"]}
    expected = base64.b64decode(locked["integrity"].removeprefix("sha512-")).hex()
    assert bill["preact"]["hashes"] == [{"alg": "SHA-512", "content": expected}]
