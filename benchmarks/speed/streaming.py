"""Training from shards in S3 (moto): what a batch asks for, what a step waits, and on paper what 8 GPUs would take.

Usage: python -m benchmarks.speed.streaming [--data DIR] [--exams N] [--steps N] [--step-seconds S]
       python -m benchmarks.speed.streaming --paper [--kb-a-slice K] [--requests-a-slice R] [--seconds-a-batch S]

Measured: exams of CT-ICH are prepared by the bulk driver into a bucket; the default's sampler draws its batches from it
in one process, and then in a worker of its own while each step of training is a pause, as long as the default's own
step took in its kept run (seconds over steps). *Waited* is what ``log.csv`` has: the share of time until a batch was
there. On paper: requests, bytes and workers for GPUs that take so many slices a second. Needs the extras ``train``,
``scale`` and ``test-scale``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from benchmarks.shared.arguments import KEPT_RUNS, ROOT, parser
from benchmarks.shared.tables import heading, row

sys.path.insert(0, str(ROOT / "tests"))

GPUS = 8
_GPU_SLICES = (250, 500, 1000)
"""A second and GPU, trained: assumptions around what networks of this size reach."""
_LATENCY_S = 0.03
"""Of a small request to S3, to its first byte."""
_RSNA_SLICES = 750_000
_SLICES_AN_EXAM = 35


@dataclass(frozen=True)
class Batches:
    """What batches take.

    Attributes
    ----------
    slices
        Of a batch.
    requests, bytes
        A slice of the batch: it comes with its neighbours, and now and then with a donor.
    seconds
        A batch in one process, without waiting for a network.
    """

    slices: int
    requests: float
    bytes: float
    seconds: float


def paper(found: Batches) -> None:
    """Print what GPUs would take."""
    print(f"\n{GPUS} GPUs, {found.requests:.2f} requests and {found.bytes / 1e3:.0f} KB a slice:\n")
    heading(
        "slices a second and GPU", "shards (exams) a second", "requests a second", "MB a second", "workers a GPU",
        "minutes for an epoch of RSNA",
    )  # fmt: skip
    for rate in _GPU_SLICES:
        slices = GPUS * rate
        batch_s = found.seconds + _LATENCY_S * found.requests * found.slices
        workers = math.ceil(rate / found.slices * batch_s / 0.95)
        row(
            rate,
            f"{slices / _SLICES_AN_EXAM:.0f}",
            f"{slices * found.requests:.0f}",
            f"{slices * found.bytes / 1e6:.0f}",
            workers,
            f"{_RSNA_SLICES / slices / 60:.1f}",
        )


def step_seconds() -> float:
    """Return what a step of the default took in its kept run."""
    folder = KEPT_RUNS / "default" / "fold-0"
    with (folder / "log.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    return float(json.loads((folder / "run.json").read_text())["seconds"]) / int(last["step"])


class Steps:
    """Batches by the number of their step, as a loader takes them; may go to another process."""

    def __init__(self, sampler: Any, slots: range) -> None:
        self.sampler, self.slots = sampler, slots

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, step: int) -> Any:
        return self.sampler.batch(step, self.slots)


def waited(steps: Steps, count: int, pause: float) -> tuple[float, float]:
    """Return the share of time that steps waited for their batches, without the first, and seconds until that."""
    from torch.utils.data import DataLoader

    def numbers() -> Iterator[int]:
        yield from range(count + 1)

    loader: DataLoader[Any] = DataLoader(
        steps,  # type: ignore[arg-type]
        batch_size=None,
        sampler=list(numbers()),
        num_workers=1,
        prefetch_factor=4,
        multiprocessing_context="spawn",
    )
    batches = iter(loader)
    began = time.perf_counter()
    next(batches)
    first = time.perf_counter() - began
    idle = busy = 0.0
    for _ in range(count):
        time.sleep(pause)
        busy += pause
        began = time.perf_counter()
        next(batches)
        idle += time.perf_counter() - began
    return idle / (idle + busy), first


def measure(options: argparse.Namespace) -> Batches:
    """Prepare exams into a bucket, and draw batches from it."""
    from benchmarks.speed.loading import FirstExams
    from bulk.s3 import KEYS, moto
    from ichor.bulk.prepare_run import PreparePlan, prepare_dataset
    from ichor.datasets.registry import open_dataset
    from ichor.datasets.shards import open_shards
    from ichor.training.recipe import load_recipe
    from ichor.training.sampling import MixedSampler

    os.environ.update(KEYS)
    recipe = load_recipe("default")
    with tempfile.TemporaryDirectory() as name, moto(Path(name), "slices") as host:
        folder = Path(name)
        address = f"s3://slices/all?endpoint_override={quote(host)}&scheme=http&region=us-east-1"
        table = listed(folder, FirstExams(open_dataset("ct-ich", options.data), options.exams))
        plan = PreparePlan(f"csv:{table}", folder, recipe.store_grid, folder / "out", address, jobs=1)
        began = time.perf_counter()
        progress = prepare_dataset(plan, lambda _: None)
        prepared = time.perf_counter() - began
        store = open_shards(address, open_dataset(plan.dataset, folder), recipe.store_grid)
        sampler = MixedSampler(recipe, (store, set(store.patients)), [])
        reads: list[int] = []
        place = store.hu._shards.place  # type: ignore[attr-defined]
        read = place.read

        def counted(name: str, start: int = 0, length: int | None = None) -> bytes:
            content: bytes = read(name, start, length)
            reads.append(len(content))
            return content

        place.read = counted
        slots = range(recipe.batch_size)
        sampler.batch(0, slots)
        reads.clear()
        began, used = time.perf_counter(), time.process_time()
        for step in range(options.steps):
            sampler.batch(step, slots)
        wall, used = time.perf_counter() - began, time.process_time() - used
        del place.read
        rng, used_reading = np.random.default_rng(1), time.process_time()
        for _ in range(options.steps):
            near = store.neighbours(rng.integers(len(store.exam), size=recipe.batch_size), 12.0)
            _ = store.hu[near], store.blood[near]
        used_reading = time.process_time() - used_reading
        slices = options.steps * recipe.batch_size
        found = Batches(recipe.batch_size, len(reads) / slices, sum(reads) / slices, used / options.steps)
        heading("what", "found")
        row("exams, slices in the bucket", f"{progress.done}, {len(store.exam)}")
        row("exams prepared and stored a minute, one process", f"{60 * progress.done / prepared:.1f}")
        row("requests a slice of a batch", f"{found.requests:.2f}")
        row("KB a slice of a batch, neighbours and blood maps with it", f"{found.bytes / 1e3:.0f}")
        row(
            "seconds a batch, one process: of the clock, of the processor",
            f"{wall / options.steps:.2f}, {found.seconds:.2f}",
        )
        share, first = waited(Steps(sampler, slots), options.steps, options.step_seconds)
        row(
            f"waited, steps of {options.step_seconds:.2f} s, one worker",
            f"{share:.1%} (first batch after {first:.0f} s)",
        )
    return found


def listed(folder: Path, dataset: Any) -> Path:
    """Write exams as volumes, and a table that names them with the labels of their slices."""
    import nibabel

    path = folder / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "slice", "any", "EDH", "IPH", "IVH", "SAH", "SDH"])
        for number, patient in enumerate(dataset.names):
            item = dataset.load(patient)
            geometry = item.exam.geometry
            step = float(geometry.slice_step)
            affine = np.diag([-geometry.spacing[1], -geometry.spacing[0], step, 1.0])
            image = nibabel.Nifti1Image(item.exam.volume.transpose(2, 1, 0), affine)
            nibabel.save(image, folder / f"{number}.nii.gz")
            for k, labels in enumerate(item.labels):
                writer.writerow([f"{number}.nii.gz", k, *("" if np.isnan(v) else int(v) for v in labels)])
    return path


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--exams", type=int, default=4)
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--step-seconds", type=float, default=step_seconds())
    arguments.add_argument("--paper", action="store_true", help="nothing is measured")
    arguments.add_argument("--requests-a-slice", type=float, default=1.0)
    arguments.add_argument("--kb-a-slice", type=float, default=205.0)
    arguments.add_argument("--seconds-a-batch", type=float, default=1.0)
    options = arguments.parse_args()
    if options.paper:
        paper(Batches(16, options.requests_a_slice, 1e3 * options.kb_a_slice, options.seconds_a_batch))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    paper(measure(options))


if __name__ == "__main__":
    main()
