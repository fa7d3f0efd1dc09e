"""Running a bundle's graphs in ONNX Runtime."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ichor.detecting.brain_reach import predict_near_brain
from ichor.detecting.heat_map import grad_cam
from ichor.detecting.scoring import Prediction, Stacking
from ichor.detecting.volume_model import VolumeModel
from ichor.errors import BundleError, UsageError
from ichor.labels import LABEL_NAMES

if TYPE_CHECKING:
    import onnxruntime

    from ichor.detecting.bundle import Bundle

__all__ = [
    "ENGINES",
    "Batches",
    "ClassifierModel",
    "MapModel",
    "Model",
    "Session",
    "asked_engine",
    "available_providers",
    "open_model",
    "open_session",
]

_log = logging.getLogger(__name__)

ENGINES = ("auto", "onnxruntime", "openvino")
"""What runs the graph of the slices; the small graph over all slices of an exam stays in ONNX Runtime."""

_CUDA_BATCH = 32
_MOST_AT_ONCE = 4
"""Slices that a CPU works on at a time, each on threads of its own: every one takes about 45 MB."""
_CUDA = "CUDAExecutionProvider"
_Result = TypeVar("_Result")


class Session(Protocol):
    """An open graph: of ONNX Runtime's sessions what is used here."""

    def run(
        self, outputs: Sequence[str] | None, inputs: Mapping[str, NDArray[np.float32]], /
    ) -> list[NDArray[np.float32]]:
        """Run it; several threads may at once."""

    def get_inputs(self) -> Sequence[Any]:
        """Return the inputs, each with a ``name``."""

    def get_outputs(self) -> Sequence[Any]:
        """Return the outputs, each with a ``name``."""

    def get_providers(self) -> Sequence[str]:
        """Return what runs it, first of all."""


class Batches:
    """Shares the slices of an exam out: some at a time, several of them side by side.

    On a CPU each slice runs on a thread of its own. That gives the same numbers as all threads on one slice, in a tenth
    less of processor time: nothing waits for another thread within a slice.

    Parameters
    ----------
    size
        Slices at a time.
    at_once
        How many such run side by side, for all callers together.
    """

    def __init__(self, size: int = 1, at_once: int = 1) -> None:
        self.size = size
        self._pool = ThreadPoolExecutor(at_once, "ichor-model") if at_once > 1 else None

    def map(self, run: Callable[[NDArray[np.float32]], _Result], stack: NDArray[np.float32]) -> list[_Result]:
        """Run something on each batch of a stack ``(m, ...)``, and give its results in order."""
        parts = [stack[k : k + self.size] for k in range(0, len(stack), self.size)]
        if self._pool is None or len(parts) < 2:
            return [run(part) for part in parts]
        running = [self._pool.submit(run, part) for part in parts]
        try:
            return [one.result() for one in running]
        finally:
            for one in running:
                one.cancel()  # where one failed, the rest is not begun


class MapModel:
    """Sessions over the graphs of a model that draws maps.

    Parameters
    ----------
    session
        Open, of the graph ``slice``.
    batches
        How its slices are shared out.
    sequence
        Open, of the graph that stacks: it weighs what is predicted for all slices of an exam; None of a bundle
        without.
    pooled
        Whether the pooled head is asked, too; it is wherever there is a graph that stacks.
    """

    def __init__(
        self,
        session: Session,
        batches: Batches | None = None,
        sequence: Session | None = None,
        *,
        pooled: bool = False,
    ) -> None:
        self.session = session
        self.batches = batches or Batches()
        self.sequence = sequence
        self._outputs = ["map", "slice", *(["pooled"] if sequence or pooled else [])]

    @property
    def provider(self) -> str:
        """What runs the slices: ONNX Runtime's execution provider, or OpenVINO with its precision."""
        return str(self.session.get_providers()[0])

    @property
    def stacking(self) -> Stacking | None:
        """What :func:`~ichor.detecting.scoring.score` takes to weigh slices together; None where no graph does."""
        return None if self.sequence is None else self.stack

    def predict(self, stack: NDArray[np.float32], near: NDArray[np.bool_] | None = None) -> Prediction:
        """Predict maps and logits of slices.

        Parameters
        ----------
        stack
            ``(m, channels, rows, columns)`` float32, 0..1.
        near
            ``(m,)`` which slices are run, see :func:`~ichor.detecting.brain_reach.predict_near_brain`; by default all.

        Raises
        ------
        BundleError
            Where the graph cannot take the stack, or gives something else.
        """
        if near is not None:
            return predict_near_brain(self.predict, stack, near)
        parts = self.batches.map(self._predict_batch, stack)
        return Prediction(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    def stack(self, ruled: NDArray[np.float64], prediction: Prediction) -> NDArray[np.float64]:
        """Weigh all slices of an exam together.

        Parameters
        ----------
        ruled
            ``(m, 6)`` logits by the bundle's slice rule.
        prediction
            What :meth:`predict` gave for the same slices.

        Returns
        -------
        numpy.ndarray
            ``(m, 6)`` logits; the rule's where the bundle has no graph for it.

        Raises
        ------
        BundleError
            Where the graph gives something else.
        ValueError
            Where the prediction has no logits of the pooled head.
        """
        if self.sequence is None:
            return ruled
        if prediction.pooled is None:
            raise ValueError(
                "prediction: found no logits of the pooled head; expected what this model's predict gives"
            )
        inputs = np.concatenate([ruled, prediction.slices, prediction.pooled], axis=1, dtype=np.float32)
        found = _run(self.sequence, "slice", inputs)
        if found.shape != ruled.shape or not np.isfinite(found).all():
            raise BundleError(
                f"graph 'sequence': found an output of shape {found.shape}, or logits that are no numbers, for "
                f"{len(ruled)} slices; expected {len(LABEL_NAMES)} finite logits each; bundle.json and the graph do "
                "not belong together: get the bundle again"
            )
        return found.astype(np.float64)

    def _predict_batch(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        labels, wrong = len(LABEL_NAMES), ""
        try:
            given: list[NDArray[np.float32]] = self.session.run(self._outputs, {"stack": batch})
        except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
            wrong = type(error).__name__
        else:
            maps, *slices = given
            fits = maps.ndim == 4 and all(v.shape[:2] == (len(batch), labels) for v in given)
            fits = fits and all(v.ndim == 2 for v in slices)
            if fits and all(np.isfinite(v).all() for v in given):
                return given
            shapes = " and ".join(str(v.shape) for v in given)
            wrong = "logits that are no numbers" if fits else f"outputs of shapes {shapes}"
        raise BundleError(
            f"graph 'slice': found {wrong} on an input of shape {batch.shape}; expected {labels} maps and "
            f"{labels} logits a slice; bundle.json and the graph do not belong together: get the "
            "bundle again, or use --device cpu if this was on a GPU"
        )


class ClassifierModel:
    """Sessions over the graphs of a model that scores slices: features slice by slice, then all of an exam.

    The first graph may give maps as well, and the second logits of the exam; or the first the ``activations`` of its
    last layer and the second ``channel_weights`` for them, which make the map of Grad-CAM.

    Parameters
    ----------
    features, head
        Open.
    batches
        How slices are shared out, of the first graph.
    """

    stacking: Stacking | None = None

    def __init__(
        self,
        features: Session,
        head: Session,
        batches: Batches | None = None,
    ) -> None:
        self.features = features
        self.head = head
        self.batches = batches or Batches()
        by_features, by_head = ({output.name for output in graph.get_outputs()} for graph in (features, head))
        self._maps = "map" in by_features
        self._exam = "exam" in by_head
        self._explains = "activations" in by_features and "channel_weights" in by_head

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return str(self.features.get_providers()[0])

    def predict(self, stack: NDArray[np.float32], near: NDArray[np.bool_] | None = None) -> Prediction:
        """Predict logits of the slices of one exam, in order, all of them: a recurrent head goes from one to the next.

        Parameters
        ----------
        stack
            ``(m, channels, rows, columns)`` float32, 0..1.
        near
            Not used: every slice is run.

        Raises
        ------
        BundleError
            Where a graph cannot take its input, or gives something else.
        """
        given = ["features", *["map"] * self._maps, *["activations"] * self._explains]
        wanted = ["slice", *["exam"] * self._exam, *["channel_weights"] * self._explains]
        parts = self.batches.map(lambda batch: _run_all(self.features, given, batch), stack)
        by_features = dict(zip(given, map(np.concatenate, zip(*parts, strict=True)), strict=True))
        by_head = dict(zip(wanted, _run_all(self.head, wanted, by_features["features"]), strict=True))
        slices, exam, maps = by_head["slice"], by_head.get("exam"), by_features.get("map")
        if slices.shape != (len(stack), len(LABEL_NAMES)):
            raise BundleError(
                f"graph 'head': found an output of shape {slices.shape} for {len(stack)} slices; expected "
                f"{len(LABEL_NAMES)} logits each; bundle.json and the graph do not belong together"
            )
        if exam is not None and exam.shape != (1, len(LABEL_NAMES)):
            raise BundleError(
                f"graph 'head': found logits of the exam of shape {exam.shape}; expected "
                f"{(1, len(LABEL_NAMES))}; bundle.json and the graph do not belong together"
            )
        if maps is not None and (maps.ndim != 4 or maps.shape[1] != len(LABEL_NAMES)):
            raise BundleError(
                f"graph 'features': found maps of shape {maps.shape}; expected {len(LABEL_NAMES)} a slice; "
                "bundle.json and the graph do not belong together"
            )
        # NaN lies below every threshold: a silent negative
        if not all(np.isfinite(values).all() for values in (slices, exam, maps) if values is not None):
            raise BundleError(
                f"graph 'head': found logits that are no numbers for {len(stack)} slices; expected finite ones; "
                "get the bundle again, or use --device cpu if this was on a GPU"
            )
        cam = grad_cam(by_features["activations"], by_head["channel_weights"]) if self._explains else None
        return Prediction(maps, slices, exam=None if exam is None else exam[0], grad_cam=cam)


Model: TypeAlias = MapModel | ClassifierModel | VolumeModel
"""A bundle's graphs, open."""


def _run(session: Session, output: str, value: NDArray[np.float32]) -> NDArray[np.float32]:
    return _run_all(session, [output], value)[0]


def _run_all(session: Session, outputs: list[str], value: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    try:
        found = session.run(outputs, {session.get_inputs()[0].name: value})
    except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
        raise BundleError(
            f"graph of {outputs[0]!r}: found {type(error).__name__} on an input of shape {value.shape}; expected "
            "the bundle's own preparation; get the bundle again, or use --device cpu if this was on a GPU"
        ) from None
    return [np.asarray(values, np.float32) for values in found]


def available_providers() -> list[str]:
    """Return ONNX Runtime's execution providers on this machine."""
    import onnxruntime

    return list(onnxruntime.get_available_providers())


def asked_engine(engine: str) -> str:
    """Return the engine that is asked for: that of ``ICHOR_ENGINE`` in place of ``auto``, where it is set.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    engine = os.environ.get("ICHOR_ENGINE", "") or "auto" if engine == "auto" else engine
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}: expected {', '.join(ENGINES)}")
    return engine


def open_model(bundle: Bundle, device: str = "auto", engine: str = "auto") -> Model:
    """Open a bundle's graphs on a device, each from the very bytes whose hash was checked.

    Sessions may be run by several threads at once. To detect more than once, keep a
    :class:`~ichor.detecting.detector.Detector`.

    Parameters
    ----------
    bundle
        The bundle.
    device
        ``auto`` (CUDA if ONNX Runtime has it, else CPU), ``cpu`` or ``cuda``.
    engine
        ``onnxruntime``, ``openvino`` (CPU alone), or ``auto``: that of ``ICHOR_ENGINE`` where it is set, else
        OpenVINO where it is installed and answers as ONNX Runtime does: in bf16 where the processor computes in it,
        and in fp32 for a network that takes volumes.

    Raises
    ------
    BundleError
        Where a graph is missing, altered, or cannot be opened.
    UsageError
        For another name, or a device or an engine that is not there.
    """
    engine = asked_engine(engine)
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device {device!r}: expected auto, cpu or cuda")
    cuda_known = _CUDA in available_providers()
    if device == "cuda" and not cuda_known:
        raise UsageError(
            "device 'cuda': found no CUDA provider in ONNX Runtime; expected one; "
            "install onnxruntime-gpu in place of onnxruntime, or use --device cpu"
        )
    cuda = cuda_known and device != "cpu"
    threads = _threads() or _cores()
    manifest = bundle.manifest
    # A window of a volume is large enough for all threads, and too large to have several at a time.
    at_once = 1 if cuda or manifest.sliding_window else min(threads, _MOST_AT_ONCE)
    opened = {
        name: open_session(
            bundle.read_graph(name), name=str(bundle.graph(name)), cuda=cuda, threads=-(-threads // at_once)
        )
        for name in manifest.used_graphs
    }
    first: Session = next(iter(opened.values()))
    on_cuda = first.get_providers()[0] == _CUDA
    if not on_cuda:
        first = _faster(first, bundle, engine, threads, at_once)
    elif engine == "openvino":
        raise UsageError("engine 'openvino': found device cuda; expected the CPU; use --device cpu")
    batches = Batches(_CUDA_BATCH if on_cuda else 1, at_once)
    model: Model
    if manifest.sliding_window and manifest.preparation.volume:
        model = VolumeModel(first, opened["labels"], manifest.sliding_window, manifest.preparation.volume)
    elif "slice" in opened:
        pooled = manifest.slice_rule.pooled_share > 0
        model = MapModel(first, batches, opened.get("sequence"), pooled=pooled)
    else:
        model = ClassifierModel(first, opened["head"], batches)
    if device == "cuda" and model.provider != _CUDA:
        raise UsageError(
            "device 'cuda': ONNX Runtime could not start on it; check the driver, or use --device cpu"
        )
    return model


def _faster(session: Session, bundle: Bundle, engine: str, threads: int, at_once: int) -> Session:
    """Return the graph of the slices in OpenVINO, where that is asked for or sure to be faster; else as it is.

    That of a window of a volume stays in fp32, which an import was compared in; there OpenVINO is faster on every
    processor.
    """
    from ichor.detecting import openvino_session as openvino

    window = bundle.manifest.sliding_window
    bf16 = window is None and openvino.has_bf16()
    sure = openvino.is_installed() and (bf16 or window is not None)
    if engine == "onnxruntime" or (engine == "auto" and not sure):
        return session
    name = next(iter(bundle.manifest.used_graphs))
    precision = "bf16" if bf16 else "f32"
    opened = openvino.OpenVinoSession(
        bundle.read_graph(name),
        precision=precision,
        threads=threads,
        at_once=at_once,
        name=str(bundle.graph(name)),
    )
    preparation = bundle.manifest.preparation
    sides = (preparation.rows, preparation.columns) if window is None else window.input_size
    shape = (len(preparation.channels), *sides)
    if openvino.is_like(opened, session, shape, precision):
        return opened
    if engine == "openvino":
        raise UsageError(
            "engine 'openvino': found other logits than ONNX Runtime's on made input; expected the same but for "
            "rounding; use --engine onnxruntime"
        )
    _log.warning("OpenVINO answers otherwise than ONNX Runtime on made input: ONNX Runtime is used")
    return session


def open_session(
    graph: bytes | Path, *, name: str = "graph", cuda: bool = False, threads: int | None = None
) -> onnxruntime.InferenceSession:
    """Open a graph as detection does, on a CPU or on CUDA.

    Parameters
    ----------
    graph
        Content of an ``.onnx`` file, or its path.
    name
        What errors call it, where it is no path.
    cuda
        On CUDA.
    threads
        That work on one call; by default those of ``ICHOR_THREADS``, or one for each core.

    Raises
    ------
    BundleError
        Where ONNX Runtime cannot open it.
    """
    import onnxruntime

    if isinstance(graph, Path):
        name, graph = str(graph), graph.read_bytes()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = _threads() if threads is None else threads
    # Only the form that was looked through for external data, never ONNX Runtime's own.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Waiting threads sleep instead of spinning: a third faster where something else runs on the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # plans memory ahead: 35 MB more, no faster
    providers = [_CUDA, "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
        raise BundleError(
            f"{name}: found a graph that ONNX Runtime {onnxruntime.__version__} cannot open "
            f"({type(error).__name__}); expected one it knows; upgrade onnxruntime, or get the bundle again"
        ) from None


def _threads() -> int:
    """Return ``ICHOR_THREADS``, or 0: as many as there are cores."""
    text = os.environ.get("ICHOR_THREADS", "") or "0"
    if not text.isdecimal():
        raise UsageError(f"ICHOR_THREADS: found {text!r}; expected a whole number, 0 for all cores")
    return int(text)


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
