"""Running a bundle's graphs in OpenVINO, where it is installed: the same sessions as ONNX Runtime's, to their users."""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichor.errors import BundleError, UsageError
from ichor.reading.muting import hidden_module

__all__ = ["OpenVinoSession", "has_bf16", "is_installed", "is_like"]

_log = logging.getLogger(__name__)

_BF16_FLAGS = {"amx_bf16", "avx512_bf16"}
_MOST_DIFFERENCE = {"bf16": 0.5, "f32": 0.02}
"""Of a logit, at the median over an output: bf16 moved those of the bundles by 0.24, fp32 by 1e-5."""


def is_installed() -> bool:
    """Whether the package ``openvino`` is there (the extra ``openvino``)."""
    return find_spec("openvino") is not None


def has_bf16() -> bool:
    """Whether the processor computes in bf16: AMX or AVX512-BF16."""
    if platform.system() == "Linux":
        try:
            text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
        return bool(_BF16_FLAGS & set(flags.split()))
    return is_installed() and "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@dataclass(frozen=True)
class _Name:
    """What ONNX Runtime's sessions say of an input or output."""

    name: str


class OpenVinoSession:
    """A graph in OpenVINO, with the methods of an ONNX Runtime session that ichor uses.

    May be run by several threads at once: each has a request of its own.

    Parameters
    ----------
    graph
        Content of an ``.onnx`` file.
    precision
        ``bf16`` or ``f32``.
    threads, at_once
        Threads in all, and how many calls run side by side.
    name
        What errors call the graph.

    Raises
    ------
    BundleError
        Where OpenVINO cannot open it.
    """

    def __init__(
        self, graph: bytes, *, precision: str, threads: int, at_once: int = 1, name: str = "graph"
    ) -> None:
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": at_once,
        }
        if cache := os.environ.get("ICHOR_CACHE"):
            settings["CACHE_DIR"] = str(_private(Path(cache) / "openvino"))
        core = _core()
        try:
            self._compiled = core.compile_model(core.read_model(graph), "CPU", settings)
        except RuntimeError as error:
            raise BundleError(
                f"{name}: found a graph that OpenVINO {_version()} cannot open ({type(error).__name__}); expected "
                "one it knows; use --engine onnxruntime"
            ) from None
        self.precision = precision
        self._requests = threading.local()

    def get_inputs(self) -> list[_Name]:
        """Return the inputs, each with its name."""
        return [_Name(value.get_any_name()) for value in self._compiled.inputs]

    def get_outputs(self) -> list[_Name]:
        """Return the outputs, each with its name."""
        return [_Name(value.get_any_name()) for value in self._compiled.outputs]

    def get_providers(self) -> list[str]:
        """Return the engine and its precision."""
        return [f"OpenVINO {_version()}, {'bf16' if self.precision == 'bf16' else 'fp32'}"]

    def run(
        self, outputs: Sequence[str] | None, inputs: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """Run the graph.

        Parameters
        ----------
        outputs
            Names of those wanted, in this order; None for all.
        inputs
            By name.
        """
        request = getattr(self._requests, "own", None)
        if request is None:
            request = self._requests.own = self._compiled.create_infer_request()
        found = request.infer(dict(inputs))
        names = outputs or [value.get_any_name() for value in self._compiled.outputs]
        # The request's own memory is written over by its next call.
        return [np.array(found[name], np.float32) for name in names]


def is_like(session: Any, reference: Any, shape: Sequence[int], precision: str) -> bool:
    """Whether a session answers as another does, to what bf16 or fp32 rounds: on made input.

    Parameters
    ----------
    session, reference
        Open on the same graph.
    shape
        Of what the graph takes, without the first axis: channels, then pixels or voxels.
    precision
        Of the session.
    """
    rng = np.random.default_rng(1)
    probe = rng.random((1, shape[0], *(-(-side // 16) for side in shape[1:])), np.float32)
    for axis, side in enumerate(shape[1:], start=2):
        probe = probe.repeat(16, axis=axis).take(range(side), axis=axis)
    inputs = {reference.get_inputs()[0].name: np.ascontiguousarray(probe)}
    pairs = zip(session.run(None, inputs), reference.run(None, inputs), strict=True)
    differences = [float(np.median(np.abs(a - b))) for a, b in pairs]
    _log.debug("OpenVINO in %s differs by %s", precision, differences)
    return all(value <= _MOST_DIFFERENCE[precision] for value in differences)


def _core() -> Any:
    # What its import brings along could send telemetry.
    with hidden_module("openvino_telemetry"):
        try:
            import openvino
        except ImportError:
            raise UsageError(
                "engine 'openvino': found no package openvino; expected the extra 'openvino'; "
                "run pip install -e '.[openvino]' in the clone, or use --engine onnxruntime"
            ) from None
    return openvino.Core()


def _version() -> str:
    import openvino

    return str(openvino.__version__).split("-")[0]


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
