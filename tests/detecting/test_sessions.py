from __future__ import annotations

import numpy as np
import pytest

from ichor.detecting import sessions as module
from ichor.detecting.bundle import load_bundle
from ichor.detecting.sessions import Engine, Prediction, available_providers, open_engine, open_session
from ichor.errors import BundleError, UsageError


@pytest.fixture(autouse=True)
def _fresh_sessions() -> None:
    module._session.cache_clear()


def _stack(n: int) -> np.ndarray:
    preparation = load_bundle().manifest.preparation
    shape = (n, len(preparation.channels), preparation.rows, preparation.columns)
    return np.random.default_rng(2).random(shape, np.float32)


def test_maps_and_logits_of_the_shipped_graph() -> None:
    bundle = load_bundle()
    stack = _stack(5)
    maps, slices, pooled = open_engine(bundle, "cpu").run(stack)
    stride = bundle.manifest.map_stride
    assert maps.shape == (5, 6, stack.shape[2] // stride, stack.shape[3] // stride)
    for logits in (slices, pooled):
        assert logits.shape == (5, 6)
        assert np.isfinite(logits).all()
    assert np.isfinite(maps).all()
    assert not np.allclose(slices, pooled)


def test_slices_are_weighed_with_those_around() -> None:
    engine = open_engine(load_bundle(), "cpu")
    rng = np.random.default_rng(0)
    ruled, slices, pooled = rng.normal(-3, 2, (3, 9, 6))
    judged = Prediction(None, slices.astype(np.float32), pooled.astype(np.float32))
    weighed = engine.together(ruled, judged)
    assert weighed.shape == ruled.shape
    slices[8] += 5
    other = engine.together(ruled, Prediction(None, slices.astype(np.float32), judged.pooled))
    assert not np.allclose(weighed[4], other[4], atol=1e-4)  # four slices away, and back
    # Without the graph the rule stands; without what it needs nothing does.
    np.testing.assert_array_equal(Engine(engine.session).together(ruled, judged), ruled)
    with pytest.raises(ValueError, match="no logits of the pooled head"):
        engine.together(ruled, Prediction(None, judged.slices))


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
    engine = Engine(open_engine(load_bundle(), "cpu").session, sequence=open_session(path))
    slices = np.zeros((4, 6), np.float32)
    with pytest.raises(BundleError, match=r"graph 'sequence': found an output of shape \(4, 18\)"):
        engine.together(slices.astype(np.float64), Prediction(None, slices, slices))


def test_batches_do_not_change_the_answer() -> None:
    opened = open_engine(load_bundle(), "cpu")
    stack = _stack(5)
    one_by_one = Engine(opened.session, 1, opened.sequence).run(stack)
    for batch in (2, 5, 8):
        for a, b in zip(one_by_one, Engine(opened.session, batch, opened.sequence).run(stack), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-3)


def test_a_session_is_opened_once() -> None:
    first, second = (open_engine(load_bundle(), "cpu") for _ in range(2))
    assert isinstance(first, Engine) and isinstance(second, Engine) and first.session is second.session


def test_an_unknown_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="expected auto, cpu or cuda"):
        open_engine(load_bundle(), "tpu")


@pytest.mark.skipif("CUDAExecutionProvider" in available_providers(), reason="this machine has CUDA")
def test_cuda_where_there_is_none_says_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"no CUDA provider.*install onnxruntime-gpu"):
        open_engine(load_bundle(), "cuda")
    assert open_engine(load_bundle(), "auto").provider == "CPUExecutionProvider"


@pytest.mark.parametrize("text", ["-1", "two", "1.5"])
def test_a_wrong_number_of_threads_is_a_usage_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHOR_THREADS", text)
    with pytest.raises(UsageError, match="ICHOR_THREADS"):
        open_engine(load_bundle(), "cpu")


def test_threads_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHOR_THREADS", "1")
    assert open_engine(load_bundle(), "cpu").session.get_session_options().intra_op_num_threads == 1


def test_a_stack_that_the_graph_cannot_take_names_the_shapes() -> None:
    with pytest.raises(BundleError, match=r"shape \(1, 2, 320, 256\)"):
        open_engine(load_bundle(), "cpu").run(np.zeros((1, 2, 320, 256), np.float32))


def test_a_graph_that_is_none_is_refused(tmp_path) -> None:
    broken = tmp_path / "slice.onnx"
    broken.write_bytes(b"no graph at all" * 50)
    with pytest.raises(BundleError, match=r"slice\.onnx: found a graph that ONNX Runtime .* cannot open"):
        module._session(broken, "0" * 64, False)
