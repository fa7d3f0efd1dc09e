"""The API keeps to its own description, whatever it is sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test-serve'")

import httpx

schemathesis = pytest.importorskip("schemathesis", reason="needs the extra 'test-serve'")

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from serving.served import Served, done, exam, submit

EXAMPLES = 25
_known: dict[str, str] = {}


@pytest.fixture(scope="module")
def filled(server: Served) -> Iterator[Served]:
    """A server with a study, whose id the generated requests use half of the time."""
    with server.client() as client:
        _known["study"] = done(client, submit(client, ("a.nii", exam(1)))["studies"][0]["id"])["id"]
        _known["upload"] = client.post("/uploads", json={"files": [{"path": "a", "size": 9}]}).json()["id"]
    yield server


def operations(filled: Served) -> list[Any]:
    described = schemathesis.openapi.from_url(f"{filled.url}/api/v1/openapi.json")
    # A stream has no end, and deleting the one study would leave nothing to ask about.
    described = described.exclude(path="/api/v1/events").exclude(
        method="DELETE", path="/api/v1/studies/{study}"
    )
    return [result.ok() for result in described.get_all_operations()]


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda m: m.value)
def test_no_request_breaks_it_or_its_description(filled: Served, mode: Any) -> None:
    asked = failed = 0
    told = []
    # Whether a file is too large (413) is the server's limit, which the description does not know.
    left_out = {
        "/api/v1/uploads": [positive_data_acceptance],
        # In a form all is text: a number in it is no wrong alias.
        "/api/v1/studies": [negative_data_rejection] if mode is schemathesis.GenerationMode.NEGATIVE else [],
    }
    for operation in operations(filled):

        @seed(1)
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
        def check(case: Any, known: bool) -> None:
            nonlocal asked
            if known and mode is schemathesis.GenerationMode.POSITIVE and case.path_parameters:
                case.path_parameters |= {k: v for k, v in _known.items() if k in case.path_parameters}
            asked += 1
            case.call_and_validate(
                excluded_checks=left_out.get(case.path, []) if case.method == "POST" else []
            )

        try:
            check()
        except (
            BaseExceptionGroup
        ) as error:  # one operation after the other, so that all that is wrong is told
            failed += 1
            told.append(f"{operation.label}: {error}")
        except Unsatisfiable:  # nothing in it that could be wrong
            assert mode is schemathesis.GenerationMode.NEGATIVE
    assert not failed, "\n\n".join(told)
    assert asked > 20 * EXAMPLES


def test_events_are_described_too(filled: Served) -> None:
    answer = httpx.get(f"{filled.url}/api/v1/events", params={"once": True}, headers={"Last-Event-ID": "1"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    for wrong in ({"Last-Event-ID": "x" * 41},):
        assert (
            httpx.get(f"{filled.url}/api/v1/events", params={"once": True}, headers=wrong).status_code == 422
        )


def test_every_operation_says_what_it_does(filled: Served) -> None:
    description = httpx.get(f"{filled.url}/api/v1/openapi.json").json()
    names = set()
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert len(operation.get("description", "")) > 10, where
            assert operation["operationId"] not in names
            names.add(operation["operationId"])
            for status, answer in operation["responses"].items():
                if status[0] == "4":
                    assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/Problem"), where


def test_the_printed_reference_is_what_the_server_says() -> None:
    script = Path(__file__).parents[2] / "scripts" / "print_api.py"
    told = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
