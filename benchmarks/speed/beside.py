"""Beside others on the same exam: ours, an upload app for pictures, whole-volume networks; each in its own process.

Usage: python -m benchmarks.speed.beside [--threads 2] [--count]

The exam is the simulated one that ships with ichor: 30 slices of 512 x 512, at 5 mm. Networks of others have their
architecture and random weights, which time and memory do not depend on. *Upload app* is what paper 5 describes: each
slice as a PNG, windowed and resized, through a ResNet-50, one after the other. Whole-volume networks resample the exam,
and slide over it: a patch is timed, times the patches of an exam. Seconds are those of the processor, in all threads;
threads that wait for a busy core spin, so a quiet machine is needed. *First* is with imports and loading, *next*
without. Memory is the most that the process held. ``--count`` runs nothing: it counts the multiply-adds of the
networks, which no machine changes. Needs the extra ``train``; no data.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.shared.tables import heading, row
from ichor.memory import peak_memory_mb

if TYPE_CHECKING:
    from ichor.exam import Exam

_SIDE = 224
_GIVES = {
    "ichor": "a verdict on the exam by a threshold with measured sensitivity; slices, outlines, mL; refusals",
    "upload app": "a probability of each picture; no verdict on the exam, nothing located",
    "nnU-Net-like": "a mask; a verdict needs a rule of one's own",
    "SegResNet-like": "a mask; a verdict needs a rule of one's own",
}


def ours() -> Callable[[], object]:
    """Load the shipped model; return the call that detects."""
    from ichor.cli.demo import demo_exam
    from ichor.detecting import Detector

    detector = Detector("default", "cpu", "onnxruntime")
    return lambda: list(detector.detect_all(demo_exam()))


def upload_app() -> Callable[[], object]:
    """Load ResNet-50 with random weights; return the call that reads and scores the pictures."""
    import numpy as np
    import timm
    import torch
    from PIL import Image

    from ichor.preparing.windows import BRAIN

    pictures = []
    for plane in _exam().volume:
        stream = io.BytesIO()
        Image.fromarray(BRAIN.to_grey(plane)).save(stream, "PNG")
        pictures.append(stream.getvalue())
    network = timm.create_model("resnet50", num_classes=2).eval()

    def predict() -> list[float]:
        found = []
        with torch.inference_mode():
            for content in pictures:
                image = Image.open(io.BytesIO(content)).convert("RGB").resize((_SIDE, _SIDE))
                stack = torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255)
                found.append(float(network(stack).softmax(1)[0, 1]))
        return found

    return predict


def whole_volume(name: str) -> Callable[[], float]:
    """Build a peer's network; return the call that resamples the exam and gives the seconds of its patches."""
    import numpy as np
    import torch
    from scipy import ndimage

    from benchmarks.speed.volumes import PEERS

    peer = next(one for one in PEERS if one.name == name)
    network = peer.make().eval()
    exam = _exam()

    def predict() -> float:
        zoom = [size / own for size, own in zip(peer.exam, exam.volume.shape, strict=True)]
        volume = ndimage.zoom(exam.volume.astype(np.float32), zoom, order=1)
        pads = [(0, max(0, size - own)) for size, own in zip(peer.patch, volume.shape, strict=True)]
        volume = np.pad(volume, pads)[tuple(slice(size) for size in peer.patch)]
        patch = torch.from_numpy(np.ascontiguousarray(volume))[None, None]
        before = time.process_time()
        with torch.inference_mode():
            network(patch)
        return (time.process_time() - before) * (peer.patches - 1)

    return predict


def _exam() -> Exam:
    from ichor.cli.demo import demo_exam
    from ichor.exam import Exam
    from ichor.reading import read

    found = read(demo_exam())
    if not isinstance(found, Exam):
        raise SystemExit(f"{demo_exam()}: found a picture; expected the exam that ships with ichor")
    return found


SYSTEMS: dict[str, Callable[[], Callable[[], object]]] = {
    "ichor": ours,
    "upload app": upload_app,
    "SegResNet-like": lambda: whole_volume("SegResNet-like"),
    "nnU-Net-like": lambda: whole_volume("nnU-Net-like"),
}


def counted() -> dict[str, float]:
    """Count each system's multiply-adds for the exam: convolutions and products of matrices."""
    import timm
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.speed.table import multiply_adds
    from benchmarks.speed.volumes import PEERS
    from ichor.detecting import Detector
    from ichor.preparing import prepare

    detector, exam = Detector("default", "cpu", "onnxruntime"), _exam()
    slices = len(prepare(exam, detector.bundle.manifest.preparation).stack)
    found = {"ichor": multiply_adds(detector) * slices}
    with torch.device("meta"):  # shapes alone
        runs = {"upload app": (timm.create_model("resnet50"), torch.empty(1, 3, _SIDE, _SIDE), exam.n_slices)}
        runs |= {peer.name: (peer.make(), torch.empty(1, 1, *peer.patch), peer.patches) for peer in PEERS}
        for name, (network, given, times) in runs.items():
            with FlopCounterMode(display=False) as counter:
                network(given)
            found[name] = counter.get_total_flops() / 2 * times
    return found


def measured(name: str) -> dict[str, float]:
    """Measure a system in this process: processor seconds of the first and of the next exam, and MB at most."""
    predict = SYSTEMS[name]()
    first = _seconds(predict, since=0.0)
    following = _seconds(predict, since=time.process_time())
    return {"first": first, "next": following, "mb": peak_memory_mb() or float("nan")}


def _seconds(predict: Callable[[], object], since: float) -> float:
    more = predict()  # of patches that were not computed
    return time.process_time() - since + (more if isinstance(more, float) else 0.0)


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments.add_argument("--count", action="store_true")
    arguments.add_argument("--one", choices=SYSTEMS, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        print(json.dumps(measured(options.one)))
        return
    if options.count:
        heading("system", "multiply-adds for the exam, G", "what it gives")
        for name, count in counted().items():
            row(name, f"{count / 1e9:,.0f}", _GIVES[name])
        return
    threads = str(options.threads)
    environment = os.environ | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "ICHOR_THREADS": threads,
    }
    print(f"{threads} threads, load {os.getloadavg()[0]:.1f}\n")
    heading("system", "processor seconds, first exam", "next exam", "memory, MB", "what it gives")
    for name in SYSTEMS:
        command = [sys.executable, "-m", "benchmarks.speed.beside", "--one", name]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(
                f"{name}: found status {done.returncode}; expected 0; it printed:\n{done.stderr}"
            )
        found = json.loads(done.stdout.splitlines()[-1])
        row(name, f"{found['first']:.1f}", f"{found['next']:.1f}", f"{found['mb']:.0f}", _GIVES[name])


if __name__ == "__main__":
    main()
