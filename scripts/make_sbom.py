"""Write ``sbom.cdx.json``: what ichor is made of, as CycloneDX 1.6, from what is committed.

``python scripts/make_sbom.py`` reads ``pyproject.toml`` (the version), ``constraints.txt`` (Python packages, with the
hashes of their files), ``web/package-lock.json`` (what the built page holds) and the bundles (models, with the hashes
of their graphs). The same sources give the same bytes. ``--check`` writes nothing, and is 1 where the file is out of
date.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["sbom"]

ROOT = Path(__file__).parents[1]
FILE = ROOT / "sbom.cdx.json"
_LOCK = ROOT / "constraints.txt"
_PAGE = ROOT / "web" / "package-lock.json"
_BUNDLES = ROOT / "src" / "ichor" / "bundles"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/ichor")


def sbom() -> dict[str, Any]:
    """Return the bill of materials."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    components = [*_python(), *_page(), *_models()]
    name, version = project["name"], project["version"]
    root = {
        "type": "application",
        "bom-ref": f"pkg:pypi/{name}@{version}",
        "name": name,
        "version": version,
        "description": project["description"],
        "licenses": [{"license": {"id": project["license"]}}],
        "purl": f"pkg:pypi/{name}@{version}",
    }
    content = json.dumps([root, components], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": [{"ref": root["bom-ref"], "dependsOn": [c["bom-ref"] for c in components]}],
    }


def _python() -> Iterator[dict[str, Any]]:
    """Give Python packages; a package has a file for each platform, and each file its hash."""
    for entry in re.split(r"\n(?=\w)", _LOCK.read_text()):
        match = re.match(r"([\w.-]+)==([^\s;\\]+)(?: ; ([^\\\n]+))?", entry)
        if match is None:
            continue
        name, version, marker = match[1], match[2], (match[3] or "").strip()
        files = re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)
        component = _component("library", f"pkg:pypi/{name}@{version}", name, version)
        component["hashes"] = [{"alg": "SHA-256", "content": digest} for digest in files]
        if marker:
            component["properties"] = [{"name": "ichor:marker", "value": marker}]
        yield component


def _page() -> Iterator[dict[str, Any]]:
    """Give what the built page holds, not what builds it."""
    packages = json.loads(_PAGE.read_text())["packages"]
    for path, package in packages.items():
        if not path or package.get("dev") or package.get("optional"):
            continue
        name, version = path.rpartition("node_modules/")[2], package["version"]
        component = _component("library", f"pkg:npm/{name.replace('@', '%40')}@{version}", name, version)
        kind, _, digest = package.get("integrity", "").partition("-")
        if kind == "sha512":
            component["hashes"] = [{"alg": "SHA-512", "content": base64.b64decode(digest).hex()}]
        if "license" in package:
            component["licenses"] = [{"license": {"name": package["license"]}}]
        yield component


def _models() -> Iterator[dict[str, Any]]:
    for path in sorted(_BUNDLES.glob("*/bundle.json")):
        content = path.read_bytes()
        manifest = json.loads(content)
        name, version = manifest["name"], manifest["version"]
        component = _component("machine-learning-model", f"bundle:{name}@{version}", name, version)
        del component["purl"]
        component["description"] = manifest["description"]
        component["licenses"] = [{"license": {"name": manifest["licence"]}}]
        component["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
        component["properties"] = [
            {"name": f"ichor:graph:{key}:sha256", "value": graph["sha256"]}
            for key, graph in manifest["graphs"].items()
        ]
        yield component


def _component(kind: str, reference: str, name: str, version: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": reference, "name": name, "version": version, "purl": reference}


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the file is out of date")
    options = parser.parse_args()
    text = json.dumps(sbom(), indent=1, ensure_ascii=False) + "\n"
    if not options.check:
        FILE.write_text(text, encoding="utf-8")
    elif not FILE.exists() or FILE.read_text(encoding="utf-8") != text:
        print(f"{FILE.name}: out of date; run python scripts/make_sbom.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
