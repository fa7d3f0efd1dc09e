"""Which engine judges fastest, and what does it cost? fp32 and 8 bits in ONNX Runtime and OpenVINO, on the same arrays.

Usage: python benchmarks/speed/speed.py RUN [DATA] [--patients N] [--repeats N]

RUN is the folder of a run of a map model with its weights. Each exam of the target is judged out of fold by each
engine, from the same prepared slices; a table tells the area under the curve beside fp32's, and how long 30 slices
take, engines in turn so that what else the machine does falls on all of them. Graphs are kept in RUN/int8. OpenVINO
is no dependency of ichor: pip install openvino.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ichor.datasets.registry import open_dataset
from ichor.datasets.splits import load_split
from ichor.detecting.scoring import exam_logits, slice_logits
from ichor.detecting.sessions import open_session
from ichor.evaluating import metrics as m
from ichor.evaluating.metrics import paired_bootstrap
from ichor.preparing import prepare
from ichor.training.export import export_graphs
from ichor.training.fitting import load_model
from ichor.training.quantise import quantised_run
from ichor.training.run import SPLIT, Run, read_recipe

SLICES, BATCH = 30, 2
Judge = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]


def onnx_runtime(graph: Path) -> Judge:
    session = open_session(graph)
    return in_batches(lambda batch: tuple(session.run(["map", "slice"], {"stack": batch})))


def openvino(precision: str) -> Callable[[Path], Judge]:
    def opened(graph: Path) -> Judge:
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        model = openvino.Core().compile_model(str(graph), "CPU", settings)

        def judge(batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            found = model({"stack": batch})
            return found["map"].copy(), found["slice"].copy()

        return in_batches(judge)

    return opened


def in_batches(judge: Judge) -> Judge:
    def judged(stack: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        parts = [judge(stack[k : k + BATCH]) for k in range(0, len(stack), BATCH)]
        return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])

    return judged


@dataclass(frozen=True)
class Level:
    """Exams, or slices: what is true of them, whose they are, and what each engine says."""

    truth: NDArray[np.float32]
    patients: NDArray[np.str_]
    scores: dict[str, NDArray[np.float64]]

    def lost(self, name: str, base: str) -> str:
        """Tell an engine's area, and what it is less another's on the same draws."""
        found, _ = paired_bootstrap(
            m.roc_auc, self.truth, self.scores[name], self.scores[base], self.patients
        )
        area = m.roc_auc(self.truth, self.scores[name])
        return f"{area:.4f}: {found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def engines() -> dict[str, tuple[str, Callable[[Path], Judge]]]:
    """Name, which graph, how it is opened."""
    found: dict[str, tuple[str, Callable[[Path], Judge]]] = {
        "ONNX Runtime, fp32": ("fp32", onnx_runtime),
        "ONNX Runtime, 8 bits": ("int8", onnx_runtime),
        "ONNX Runtime, fp32, without the mirror image": ("one-sided", onnx_runtime),
    }
    try:
        import openvino as _  # noqa: F401
    except ImportError:
        print("OpenVINO is not installed: left out\n")
        return found
    return found | {
        "OpenVINO, fp32": ("fp32", openvino("f32")),
        "OpenVINO, bf16": ("fp32", openvino("bf16")),
        "OpenVINO, 8 bits": ("int8", openvino("f32")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--patients", type=int, help="the first of each fold alone")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    run = Run(read_recipe(args.run), args.data, args.run, None, lambda *_: None)
    recipe, dataset = run.recipe, open_dataset(run.recipe.target, args.data)
    folds = load_split(run.folder / SPLIT, dataset).folds
    small = quantised_run(run)
    kinds = engines()
    scores: dict[str, list[NDArray[np.float64]]] = {name: [] for name in kinds}
    differ: dict[str, list[float]] = {name: [] for name in kinds}
    slices: dict[str, list[NDArray[np.float64]]] = {name: [] for name in kinds}
    labels: list[NDArray[np.float32]] = []
    patients: list[str] = []
    sizes: dict[str, float] = {}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in run.folds():
            who = sorted(p for p, k in folds.items() if f"fold-{k}" == part)[: args.patients]
            if not who:
                continue
            stacks = {p: prepare(dataset.load(p).exam, recipe.preparation) for p in who}
            graphs = {"int8": small.folder / part / "slice.onnx"}
            some = [stacks[p].stack[::step] for p, step in zip(who, (4, 5), strict=False)]
            network = load_model(recipe, run.folder / part / "weights.safetensors")
            for graph in ("fp32", "one-sided"):
                home = Path(folder) / part / graph
                home.mkdir(parents=True)
                network.mirrored = network.mirrored and graph == "fp32"
                export_graphs(network, recipe.preparation, home, some)
                graphs[graph] = home / "slice.onnx"
            judges = {name: opened(graphs[graph]) for name, (graph, opened) in kinds.items()}
            sizes = {name: graphs[graph].stat().st_size / 1e6 for name, (graph, _) in kinds.items()}
            for p in who:
                labels.append(np.asarray(dataset.slice_labels(p))[:, 0])
                patients.append(p)
                first = None
                for name, judge in judges.items():
                    maps, _ = judge(stacks[p].stack)
                    first = maps if first is None else first
                    differ[name].append(float(np.abs(maps[:, 0] - first[:, 0]).mean()))
                    rule = slice_logits(
                        maps,
                        stacks[p].transform.distances,
                        weights=recipe.slice_rule.weights,
                        pixels=recipe.slice_rule.pixels,
                        max_gap_mm=recipe.preparation.max_gap_mm,
                    )
                    native = stacks[p].transform.grid_values_to_native(rule)
                    slices[name].append(native[:, 0])
                    scores[name].append(exam_logits(native)[0])
            if not seconds:
                stack = np.concatenate([s.stack for s in stacks.values()])[:SLICES]
                seconds = timed(judges, stack, args.repeats)
    who_of_slices = np.repeat(patients, [len(v) for v in labels])
    truth = np.array([v.max() for v in labels])
    of_exam = Level(truth, np.array(patients), {n: np.array(v) for n, v in scores.items()})
    of_slice = Level(np.concatenate(labels), who_of_slices, {n: np.concatenate(v) for n, v in slices.items()})
    report(of_exam, of_slice, differ, sizes, seconds)


def timed(judges: dict[str, Judge], stack: NDArray[np.float32], repeats: int) -> dict[str, float]:
    """Return the median seconds of each, taken in turn."""
    taken: dict[str, list[float]] = {name: [] for name in judges}
    for _ in range(repeats):
        for name, judge in judges.items():
            began = time.perf_counter()
            judge(stack)
            taken[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in taken.items()}


def report(
    exams: Level,
    slices: Level,
    differ: dict[str, list[float]],
    sizes: dict[str, float],
    seconds: dict[str, float],
) -> None:
    base = next(iter(exams.scores))
    print(
        f"{SLICES} slices, {BATCH} at a time; {len(exams.truth)} exams, {int(exams.truth.sum())} with hemorrhage\n"
    )
    print("| engine | graph, MB | seconds | fp32 in ONNX Runtime takes | exam AUC less its | slice AUC less its | "
          "mean change of a logit |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for name in exams.scores:
        print(
            f"| {name} | {sizes[name]:.1f} | {seconds[name]:.2f} | {seconds[base] / seconds[name]:.2f} times as long "
            f"| {exams.lost(name, base)} | {slices.lost(name, base)} | {np.mean(differ[name]):.3f} |"
        )


if __name__ == "__main__":
    main()
