from __future__ import annotations

import numpy as np
import pytest

from ichor.detecting.bundle import load_bundle
from ichor.detecting.sessions import (
    Batches,
    MapModel,
    Prediction,
    available_providers,
    open_model,
    open_session,
)
from ichor.errors import BundleError, UsageError


def _stack(n: int) -> np.ndarray:
    preparation = load_bundle().manifest.preparation
    shape = (n, len(preparation.channels), preparation.rows, preparation.columns)
    return np.random.default_rng(2).random(shape, np.float32)


def test_maps_and_logits_of_the_shipped_graph() -> None:
    bundle = load_bundle()
    stack = _stack(5)
    maps, slices, pooled, exam, *_ = open_model(bundle, "cpu").predict(stack)
    stride = bundle.manifest.map_stride
    assert maps.shape == (5, 6, stack.shape[2] // stride, stack.shape[3] // stride)
    for logits in (slices, pooled):
        assert logits.shape == (5, 6)
        assert np.isfinite(logits).all()
    assert np.isfinite(maps).all()
    assert not np.allclose(slices, pooled)
    assert exam is None  # this model does not predict exams itself


def test_slices_are_stacked_with_those_around() -> None:
    model = open_model(load_bundle(), "cpu")
    rng = np.random.default_rng(0)
    ruled, slices, pooled = rng.normal(-3, 2, (3, 9, 6))
    prediction = Prediction(None, slices.astype(np.float32), pooled.astype(np.float32))
    stacked = model.stack(ruled, prediction)
    assert stacked.shape == ruled.shape
    slices[8] += 5
    other = model.stack(ruled, Prediction(None, slices.astype(np.float32), prediction.pooled))
    assert not np.allclose(stacked[4], other[4], atol=1e-4)  # four slices away, and back
    # Without the graph the rule stands; without what it needs nothing does.
    np.testing.assert_array_equal(MapModel(model.session).stack(ruled, prediction), ruled)
    with pytest.raises(ValueError, match="no logits of the pooled head"):
        model.stack(ruled, Prediction(None, prediction.slices))


def test_a_graph_over_the_slices_that_gives_something_else_is_refused(tmp_path) -> None:
    onnx = pytest.importorskip("onnx", reason="makes graphs with onnx, of the extra 'train'")
    opinions, found = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 18])
        for name in ("opinions", "slice")
    )
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["opinions"], ["slice"])], "made", [opinions], [found]
    )
    path = tmp_path / "sequence.onnx"
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path
    )
    model = MapModel(open_model(load_bundle(), "cpu").session, sequence=open_session(path))
    slices = np.zeros((4, 6), np.float32)
    with pytest.raises(BundleError, match=r"graph 'sequence': found an output of shape \(4, 18\)"):
        model.stack(slices.astype(np.float64), Prediction(None, slices, slices))


def test_batches_do_not_change_the_answer() -> None:
    opened = open_model(load_bundle(), "cpu")
    stack = _stack(5)
    one_by_one = MapModel(opened.session, sequence=opened.sequence).predict(stack)
    for batches in (Batches(1, 2), Batches(2), Batches(2, 3), Batches(5), Batches(8, 4)):
        found = MapModel(opened.session, batches, opened.sequence).predict(stack)
        for name in ("maps", "slices", "pooled"):
            np.testing.assert_allclose(getattr(found, name), getattr(one_by_one, name), atol=2e-3)


def test_an_unknown_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="expected auto, cpu or cuda"):
        open_model(load_bundle(), "tpu")


@pytest.mark.skipif("CUDAExecutionProvider" in available_providers(), reason="this machine has CUDA")
def test_cuda_where_there_is_none_says_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"no CUDA provider.*install onnxruntime-gpu"):
        open_model(load_bundle(), "cuda")
    assert open_model(load_bundle(), "auto").provider == "CPUExecutionProvider"


@pytest.mark.parametrize("text", ["-1", "two", "1.5"])
def test_a_wrong_number_of_threads_is_a_usage_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHOR_THREADS", text)
    with pytest.raises(UsageError, match="ICHOR_THREADS"):
        open_model(load_bundle(), "cpu")


def test_threads_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHOR_THREADS", "1")
    assert open_model(load_bundle(), "cpu").session.get_session_options().intra_op_num_threads == 1


def test_a_stack_that_the_graph_cannot_take_names_the_shapes() -> None:
    with pytest.raises(BundleError, match=r"shape \(1, 2, 320, 256\)"):
        open_model(load_bundle(), "cpu").predict(np.zeros((1, 2, 320, 256), np.float32))


def test_a_graph_that_onnx_runtime_cannot_open_is_refused(tmp_path) -> None:
    broken = tmp_path / "slice.onnx"
    broken.write_bytes(b"no graph at all" * 50)
    with pytest.raises(BundleError, match=r"slice\.onnx: found a graph that ONNX Runtime .* cannot open"):
        open_session(broken)


def test_a_session_is_opened_from_the_bytes_whose_hash_was_checked(bundle_copy, monkeypatch) -> None:
    """A file that is changed once it was read changes nothing: it is not read again."""
    bundle = load_bundle(bundle_copy)
    stack = _stack(1)
    expected = open_model(bundle, "cpu").predict(stack)
    read = type(bundle).read_graph

    def read_then_spoil(self, name: str) -> bytes:
        content = read(self, name)
        self.graph(name).write_bytes(b"spoilt")
        return content

    monkeypatch.setattr(type(bundle), "read_graph", read_then_spoil)
    for a, b in zip(expected, open_model(bundle, "cpu").predict(stack), strict=True):
        np.testing.assert_array_equal(a, b)
