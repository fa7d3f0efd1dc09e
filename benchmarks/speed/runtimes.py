"""Which runtime is fastest, and what does it cost? fp32 and 8 bits in ONNX Runtime and OpenVINO, on the same arrays.

Usage: python -m benchmarks.speed.runtimes RUN [--data DIR] [--patients N] [--repeats N]

RUN is the folder of a run of a map model with its weights. Each exam of the target is predicted out of fold by each
runtime, from the same prepared slices. A table shows the area under the curve beside fp32's, and how long 30 slices
take, runtimes in turn so that what else the machine does falls on all of them. Graphs are kept in RUN/int8. OpenVINO
is of the extra ``openvino``.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.arguments import parser
from benchmarks.shared.fold_bundles import open_run
from benchmarks.shared.tables import heading, row
from ichor.datasets.labelled import Dataset
from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import load_split
from ichor.detecting.openvino_session import OpenVinoSession, is_installed
from ichor.detecting.scoring import Prediction, score
from ichor.detecting.sessions import open_session
from ichor.evaluating import metrics as m
from ichor.evaluating.metrics import paired_bootstrap
from ichor.preparing import Prepared, prepare
from ichor.training.export import export_graphs
from ichor.training.fitting import load_model
from ichor.training.quantise import quantised_run
from ichor.training.run_data import RunData
from ichor.training.run_folder import SPLIT

SLICES, BATCH = 30, 2
Predict = Callable[[NDArray[np.float32]], Prediction]
"""From prepared slices ``(m, channels, rows, columns)`` to maps and logits."""
Open = Callable[[Path], Predict]
Runtimes = dict[str, tuple[str, Open]]
"""By name: which graph, and how it is opened."""


@dataclass
class Measured:
    """What the runtimes predict, by name where they differ: of exams in ``patients``' order."""

    patients: list[str] = field(default_factory=list)
    labels: list[NDArray[np.float32]] = field(default_factory=list)
    exams: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    slices: dict[str, list[NDArray[np.float64]]] = field(default_factory=lambda: defaultdict(list))
    moved: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Mean absolute change of a map's logit against the first runtime."""
    megabytes: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Level:
    """Exams, or slices: labels, patients, and the logits of each runtime."""

    truth: NDArray[np.float32]
    patients: NDArray[np.str_]
    logits: dict[str, NDArray[np.float64]]

    def area(self, name: str, base: str) -> str:
        """Return a runtime's area, and its difference to another's on the same draws."""
        found, _ = paired_bootstrap(
            m.roc_auc, self.truth, self.logits[name], self.logits[base], self.patients
        )
        area = m.roc_auc(self.truth, self.logits[name])
        return f"{area:.4f}: {found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def main() -> None:
    arguments = parser(__doc__, run=True)
    arguments.add_argument("--patients", type=int, help="the first of each fold alone")
    arguments.add_argument("--repeats", type=int, default=9)
    options = arguments.parse_args()
    run = open_run(options.run, options.data)
    dataset = open_dataset(run.folder.recipe.target, options.data)
    folds = load_split(run.folder.path / SPLIT, dataset).folds
    kinds, measured = runtimes(), Measured()
    small = quantised_run(run)
    for part in run.folder.folds:
        patients = sorted(p for p, k in folds.items() if f"fold-{k}" == part)[: options.patients]
        if not patients:
            continue
        prepared = {p: prepare(dataset.load(p).exam, run.folder.recipe.preparation) for p in patients}
        with tempfile.TemporaryDirectory() as folder:
            graphs = {
                "int8": small.path / part / "slice.onnx",
                **exported(run, part, prepared, Path(folder)),
            }
            opened = {name: open_it(graphs[graph]) for name, (graph, open_it) in kinds.items()}
            measured.megabytes = {n: graphs[graph].stat().st_size / 1e6 for n, (graph, _) in kinds.items()}
            for patient in patients:
                measure(run, dataset, patient, prepared[patient], opened, measured)
            if not measured.seconds:
                stack = np.concatenate([s.stack for s in prepared.values()])[:SLICES]
                measured.seconds = timed(opened, stack, options.repeats)
    report(measured)


def runtimes() -> Runtimes:
    """Return the runtimes that are installed."""
    found: Runtimes = {
        "ONNX Runtime, fp32": ("fp32", onnx_runtime),
        "ONNX Runtime, 8 bits": ("int8", onnx_runtime),
        "ONNX Runtime, fp32, without the mirror image": ("one-sided", onnx_runtime),
    }
    if not is_installed():
        print("OpenVINO is not installed: left out\n")
        return found
    return found | {
        "OpenVINO, fp32": ("fp32", openvino("f32")),
        "OpenVINO, bf16": ("fp32", openvino("bf16")),
        "OpenVINO, 8 bits": ("int8", openvino("f32")),
    }


def onnx_runtime(graph: Path) -> Predict:
    session = open_session(graph)
    return lambda stack: joined(
        Prediction(*session.run(["map", "slice"], {"stack": batch})) for batch in batches(stack)
    )


def openvino(precision: str) -> Open:
    def opened(graph: Path) -> Predict:
        session = OpenVinoSession(
            graph.read_bytes(), precision=precision, threads=len(os.sched_getaffinity(0))
        )
        return lambda stack: joined(
            Prediction(*session.run(["map", "slice"], {"stack": batch})) for batch in batches(stack)
        )

    return opened


def batches(stack: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    return (stack[k : k + BATCH] for k in range(0, len(stack), BATCH))


def joined(parts: Iterator[Prediction]) -> Prediction:
    every = list(parts)
    maps = np.concatenate([p.maps for p in every if p.maps is not None])
    return Prediction(maps, np.concatenate([p.slices for p in every]))


def exported(run: RunData, part: str, prepared: dict[str, Prepared], folder: Path) -> dict[str, Path]:
    """Export a fold's network with and without the mirror image."""
    some = [p.stack[::step] for p, step in zip(prepared.values(), (4, 5), strict=False)]
    network = load_model(run.folder.recipe, run.folder.path / part / "weights.safetensors")
    graphs = {}
    for graph in ("fp32", "one-sided"):
        home = folder / graph
        home.mkdir()
        network.mirrored = network.mirrored and graph == "fp32"  # type: ignore[assignment]  # a plain attribute
        export_graphs(run.folder.recipe, network, home, some)
        graphs[graph] = home / "slice.onnx"
    return graphs


def measure(
    run: RunData,
    dataset: Dataset,
    patient: str,
    prepared: Prepared,
    opened: dict[str, Predict],
    found: Measured,
) -> None:
    """Predict one exam by each runtime."""
    recipe = run.folder.recipe
    rules = recipe.family.rules(recipe)
    found.patients.append(patient)
    found.labels.append(np.asarray(dataset.slice_labels(patient))[:, 0])
    first: NDArray[np.float32] | None = None
    for name, predict in opened.items():
        prediction = predict(prepared.stack)
        if prediction.maps is None:
            raise SystemExit(f"{run.folder.path}: found a model that draws no map; expected a map model")
        first = prediction.maps if first is None else first
        found.moved[name].append(float(np.abs(prediction.maps[:, 0] - first[:, 0]).mean()))
        scores = score(prediction, prepared.transform.slice_distances, rules)
        found.slices[name].append(scores.native[:, 0])
        found.exams[name].append(float(scores.exam[0]))


def timed(opened: dict[str, Predict], stack: NDArray[np.float32], repeats: int) -> dict[str, float]:
    """Return the median seconds of each, taken in turn."""
    taken: dict[str, list[float]] = {name: [] for name in opened}
    for _ in range(repeats):
        for name, predict in opened.items():
            began = time.perf_counter()
            predict(stack)
            taken[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in taken.items()}


def report(found: Measured) -> None:
    """Print the table."""
    truth = np.array([v.max() for v in found.labels])
    patients = np.array(found.patients)
    exams = Level(truth, patients, {n: np.array(v) for n, v in found.exams.items()})
    counts = [len(v) for v in found.labels]
    of_slices = {n: np.concatenate(v) for n, v in found.slices.items()}
    slices = Level(np.concatenate(found.labels), np.repeat(patients, counts), of_slices)
    base = next(iter(found.exams))
    print(f"{SLICES} slices, {BATCH} at a time; {len(truth)} exams, {int(truth.sum())} with hemorrhage\n")
    heading(
        "runtime", "graph, MB", "seconds", "fp32 in ONNX Runtime takes", "exam AUC less its", "slice AUC less its",
        "mean change of a logit",
    )  # fmt: skip
    for name in found.exams:
        times = f"{found.seconds[base] / found.seconds[name]:.2f} times as long"
        areas = (exams.area(name, base), slices.area(name, base))
        moved = f"{np.mean(found.moved[name]):.3f}"
        row(name, f"{found.megabytes[name]:.1f}", f"{found.seconds[name]:.2f}", times, *areas, moved)


if __name__ == "__main__":
    main()
