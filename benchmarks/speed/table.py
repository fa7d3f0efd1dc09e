"""Speed in one table: ours by each engine, whole-volume networks as others use them, and what the machine could do.

Usage: python -m benchmarks.speed.table [--data DIR] [--repeats 5] [--bundles default,fast] [--no-peers]

Every row is of the same exam of 30 slices of 512 x 512; ours have another one of 238 thin slices. *Bare* is the
decoding with pydicom and the graph on the same arrays, in turn with ours. The others' networks have random weights,
which time does not depend on, and run in torch: a patch is timed, times the patches of an exam, without reading,
resampling and mirroring. The floor is the bytes of the exam over the speed of the disk, and the multiply-adds of the
graph over those of a product of matrices. Needs the extra ``train``; ``openvino`` where installed.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pydicom
import torch
from numpy.typing import NDArray

import ichor
from benchmarks.shared.arguments import parser
from benchmarks.shared.series import write_series
from benchmarks.shared.tables import heading, row
from benchmarks.speed.volumes import PEERS, seconds
from ichor.detecting import Detector
from ichor.detecting.openvino_session import OpenVinoSession, has_bf16, is_installed
from ichor.detecting.sessions import MapModel
from ichor.preparing import prepare

THIN = 238
_SIDE = 2048
"""Of the matrices whose product gives the rate of multiply-adds."""
_DISK_BYTES = 256 << 20
_MOST_AT_ONCE = 4


@dataclass(frozen=True)
class Engine:
    """What runs a bundle's graph of slices; ``precision`` is OpenVINO's, empty for ONNX Runtime."""

    name: str
    precision: str = ""

    def open(self, bundle: str) -> Detector:
        """Open a bundle."""
        found = Detector(bundle, "cpu", "onnxruntime")
        if self.precision:
            cores = len(os.sched_getaffinity(0))
            graph = found.bundle.read_graph(next(iter(found.bundle.manifest.used_graphs)))
            map_model(found).session = OpenVinoSession(
                graph, precision=self.precision, threads=cores, at_once=min(cores, _MOST_AT_ONCE)
            )
        return found


def map_model(detector: Detector) -> MapModel:
    """Return the open graphs of a bundle that draws maps."""
    if not isinstance(detector.model, MapModel):
        raise SystemExit(f"{detector.bundle.name}: found a bundle that draws no map; expected one that does")
    return detector.model


def engines() -> Iterator[Engine]:
    """Yield what is installed and what the processor has."""
    yield Engine("ONNX Runtime")
    if is_installed():
        yield Engine("OpenVINO, fp32", "f32")
        if has_bf16():
            yield Engine("OpenVINO, bf16", "bf16")


def warm(detector: Detector, study: Path) -> float:
    """Return the seconds of one call, from files to findings."""
    began = time.perf_counter()
    (detection,) = detector.detect_all(study)
    if not detection.findings.assessable:
        raise SystemExit(f"{study}: found {detection.findings.warnings}; expected an exam that is assessed")
    return time.perf_counter() - began


def bare(detector: Detector, files: list[Path], stack: NDArray[np.float32]) -> float:
    """Return the seconds of decoding, and of the graph, and of nothing else."""
    model = map_model(detector)
    began = time.perf_counter()
    for path in files:
        _ = pydicom.dcmread(path).pixel_array
    model.batches.map(lambda batch: model.session.run(["map", "slice"], {"stack": batch}), stack)
    return time.perf_counter() - began


def ours(detector: Detector, study: Path, repeats: int) -> tuple[float, float, float]:
    """Return median seconds, those of bare, and the median share above bare."""
    files = sorted(study.iterdir())
    exam = ichor.read(study)
    stack = prepare(exam, detector.bundle.manifest.preparation).stack
    warm(detector, study)
    pairs = [(warm(detector, study), bare(detector, files, stack)) for _ in range(repeats)]
    return (
        median(w for w, _ in pairs),
        median(b for _, b in pairs),
        median((w - b) / w for w, b in pairs),
    )


def multiply_adds(detector: Detector) -> float:
    """Return those of the graph of slices for one slice: its convolutions and products of matrices."""
    import onnx

    manifest = detector.bundle.manifest
    graph = onnx.load_from_string(detector.bundle.read_graph(next(iter(manifest.used_graphs))))
    own = manifest.preparation
    sides = (1, len(own.channels), own.rows, own.columns)
    for dim, side in zip(graph.graph.input[0].type.tensor_type.shape.dim, sides, strict=True):
        dim.dim_value = side
    inferred = onnx.shape_inference.infer_shapes(graph, data_prop=True).graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    shapes |= {v.name: list(v.dims) for v in inferred.initializer}
    total = 0.0
    for node in inferred.node:
        if node.op_type == "Conv":  # of each output, the weights of one filter
            total += float(np.prod(shapes[node.output[0]])) * float(np.prod(shapes[node.input[1]][1:]))
        elif node.op_type in ("Gemm", "MatMul"):
            total += float(np.prod(shapes[node.output[0]])) * shapes[node.input[0]][-1]
    return total


def matrix_rate(kind: torch.dtype) -> float:
    """Return multiply-adds a second of a product of matrices."""
    one = torch.rand(_SIDE, _SIDE).to(kind)
    taken = []
    for _ in range(6):
        began = time.perf_counter()
        one @ one
        taken.append(time.perf_counter() - began)
    return float(_SIDE**3 / min(taken))


def disk_rate(folder: Path) -> float:
    """Return bytes a second that a new file is read with, which the system was asked to forget."""
    path = folder / "disk"
    with path.open("wb") as file:
        for _ in range(_DISK_BYTES >> 20):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
    taken = time.perf_counter() - began
    path.unlink()
    return _DISK_BYTES / taken


def chip() -> str:
    """Return the processor's name and what it computes in."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    known = [
        f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8") if f in flags
    ]
    return f"{names[0] if names else platform.processor()} ({', '.join(known)})"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--bundles", default="default,fast")
    arguments.add_argument("--no-peers", action="store_true")
    options = arguments.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{chip()}; {cores} cores, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}\n")
    heading("what", "run by", "30 slices, s", "bare, s", "above bare", f"{THIN} thin slices, s")
    torch.set_num_threads(cores)
    with tempfile.TemporaryDirectory() as name:
        short, thin = Path(name) / "short", Path(name) / "thin"
        for folder in (short, thin):
            folder.mkdir()
        write_series(short, options.data)
        write_series(thin, options.data, slices=THIN)
        for bundle in options.bundles.split(","):
            for engine in engines():
                detector = engine.open(bundle)
                total, only, above = ours(detector, short, options.repeats)
                warm(detector, thin)
                long = median(warm(detector, thin) for _ in range(3))
                row(
                    f"ichor, {bundle}",
                    engine.name,
                    f"{total:.2f}",
                    f"{only:.2f}",
                    f"{above:.0%}",
                    f"{long:.2f}",
                )
        for peer in () if options.no_peers else PEERS:
            row(f"{peer.name}, {peer.patches} patches", "torch, fp32", f"{seconds(peer):.1f}", "", "", "")
        floors(Engine("").open(options.bundles.split(",")[0]), short, thin)


def floors(detector: Detector, short: Path, thin: Path) -> None:
    """Print what the machine could do."""
    disk = disk_rate(short.parent)
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    preparation = detector.bundle.manifest.preparation
    slices = {study: len(prepare(ichor.read(study), preparation).stack) for study in (short, thin)}
    one = multiply_adds(detector)
    for name, kind in kinds.items():
        if name == "bf16" and not has_bf16():
            continue
        rate = matrix_rate(kind)
        found = {
            s: sum(p.stat().st_size for p in s.iterdir()) / disk + one * slices[s] / rate
            for s in (short, thin)
        }
        what = (
            f"floor: {disk / 1e9:.2f} GB/s, {one / 1e9:.2f} G multiply-adds a slice at {rate / 1e9:.0f} G/s"
        )
        row(what, name, f"{found[short]:.2f}", "", "", f"{found[thin]:.2f}")


if __name__ == "__main__":
    main()
