"""An index on a GPU masks what it cannot remove, is called by one thread, and gives up its place to the CPU's."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import structlog

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.errors import StartError
from exemplar_server.store import opening
from exemplar_server.store.index import gpu_device
from exemplar_server.store.index.flat import FlatIndex
from exemplar_server.store.index.gpu import GpuIndex
from exemplar_server.store.index.gpu_device import Device, FaissDevice, Gpu, card, find_gpu, gpu_count, out_of_memory
from tests.server.store.index.gpu_stand_in import StandInDevice
from tests.server.store.index.makers import needs_gpu
from tests.server.store.index.test_vector_index import check_contents, check_nearest

DIMENSION = 16


@pytest.fixture
def device() -> StandInDevice:
    return StandInDevice()


@pytest.fixture
def gpu(device: StandInDevice) -> Iterator[Gpu]:
    gpu = Gpu(device)
    yield gpu
    gpu.close()


def drawn(count: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)


def numbers(first: int, last: int) -> Ints:
    return np.arange(first, last + 1)


def modeled(rows: Ints, vectors: Floats) -> dict[int, Sequence[float]]:
    return dict(zip(rows.tolist(), vectors, strict=True))


def test_a_stale_vector_stays_on_the_gpu_and_in_no_answer(device: StandInDevice, gpu: Gpu) -> None:
    index = GpuIndex(DIMENSION, gpu)
    vectors = drawn(100)
    index.put(numbers(1, 100), vectors)
    index.remove(numbers(1, 5))
    index.put(numbers(6, 10), drawn(5, seed=1))
    assert device.opened[0].ntotal == 105
    model = modeled(numbers(6, 100), np.concatenate([drawn(5, seed=1), vectors[10:]]))
    check_contents(index, model)
    check_nearest(index, model, vectors[:12], 3)
    assert index.on_gpu


def test_the_gpu_s_index_is_built_anew_when_more_than_a_tenth_is_stale(device: StandInDevice, gpu: Gpu) -> None:
    index = GpuIndex(DIMENSION, gpu)
    vectors = drawn(100)
    index.put(numbers(1, 100), vectors)
    index.remove(numbers(1, 10))
    assert device.opened[0].ntotal == 100
    index.remove(numbers(11, 11))
    assert device.opened[0].ntotal == 89
    check_nearest(index, modeled(numbers(12, 100), vectors[11:]), vectors[:12], 3)
    assert len(device.opened) == 1


def test_stale_vectors_nearest_to_a_query_hide_no_other(device: StandInDevice, gpu: Gpu) -> None:
    index = GpuIndex(DIMENSION, gpu)
    vectors = drawn(3000)
    vectors[:200] = vectors[0] * np.linspace(1, 1.01, 200, dtype=np.float32)[:, None]
    index.put(numbers(1, 3000), vectors)
    index.remove(numbers(1, 200))
    check_nearest(index, modeled(numbers(201, 3000), vectors[200:]), vectors[:1], 4)
    assert device.opened[0].searched == [12, 48, 192, 768], "it is searched for ever more, and no further than that"


def test_more_equals_than_a_gpu_can_fetch_are_all_in_the_answer(device: StandInDevice, gpu: Gpu) -> None:
    index = GpuIndex(DIMENSION, gpu)
    vectors = np.repeat(drawn(1), 2500, axis=0)
    index.put(numbers(1, 2500), vectors)
    check_nearest(index, modeled(numbers(1, 2500), vectors), vectors[:1], 2)
    assert max(device.opened[0].searched) <= 2048
    assert index.on_gpu


def test_more_than_a_gpu_can_fetch_can_be_asked_for(gpu: Gpu) -> None:
    index = GpuIndex(DIMENSION, gpu)
    vectors = drawn(2500)
    index.put(numbers(1, 2500), vectors)
    check_nearest(index, modeled(numbers(1, 2500), vectors), vectors[:1], 2100)


def test_one_thread_makes_every_call_of_all_galleries(device: StandInDevice, gpu: Gpu) -> None:
    indexes = [GpuIndex(DIMENSION, gpu) for _ in range(2)]
    vectors = drawn(2000)
    for index in indexes:
        index.put(numbers(1, 2000), vectors)
    flat = FlatIndex(DIMENSION)
    flat.put(numbers(1, 2000), vectors)

    def search(place: int) -> None:
        queries = drawn(20, seed=place)
        rows, distances = indexes[place % 2].nearest(queries, 1)
        expected_rows, expected = flat.nearest(queries, 1)
        assert np.array_equal(np.sort(distances)[:, :1], np.sort(expected)[:, :1])
        assert np.array_equal(
            np.take_along_axis(rows, distances.argmin(axis=1)[:, None], axis=1),
            np.take_along_axis(expected_rows, expected.argmin(axis=1)[:, None], axis=1),
        )

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(search, range(80)))
    for index in indexes:
        index.close()
    assert device.threads == {"exemplar-gpu_0"}


def test_a_gallery_that_outgrows_the_gpu_s_memory_goes_on_on_the_cpu(device: StandInDevice, gpu: Gpu) -> None:
    told: list[str] = []
    large, small = GpuIndex(DIMENSION, gpu, lambda: told.append("large")), GpuIndex(DIMENSION, gpu)
    vectors = drawn(300)
    small.put(numbers(1, 10), vectors[:10])
    large.put(numbers(1, 100), vectors[:100])
    device.memory = device.used + 100 * DIMENSION * 4
    with structlog.testing.capture_logs() as logs:
        large.put(numbers(101, 300), vectors[100:])
        large.remove(numbers(1, 1))
        check_contents(large, modeled(numbers(2, 300), vectors[1:]))
        check_nearest(large, modeled(numbers(2, 300), vectors[1:]), vectors[:5], 3)
    assert [entry["event"] for entry in logs] == ["gpu index is out of memory; its gallery is searched on the CPU"]
    assert logs[0]["log_level"] == "warning"
    assert "cudaMalloc error out of memory" in logs[0]["error"]
    assert told == ["large"]
    assert (large.on_gpu, small.on_gpu) == (False, True)
    assert device.used == 10 * DIMENSION * 4, "what it held is free for others"


def test_a_search_that_needs_more_memory_than_there_is_is_answered(device: StandInDevice, gpu: Gpu) -> None:
    index = GpuIndex(DIMENSION, gpu)
    vectors = drawn(100)
    index.put(numbers(1, 100), vectors)
    device.memory = device.used
    check_nearest(index, modeled(numbers(1, 100), vectors), vectors[:5], 3)
    assert not index.on_gpu


def test_searches_that_wait_while_the_memory_runs_out_are_answered(device: StandInDevice, gpu: Gpu) -> None:
    told: list[str] = []
    index = GpuIndex(DIMENSION, gpu, lambda: told.append("once"))
    vectors = drawn(500)
    index.put(numbers(1, 500), vectors)
    device.memory = device.used
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: index.nearest(vectors[:5], 1), range(40)))
    for rows, distances in answers:
        assert np.take_along_axis(rows, distances.argmin(axis=1)[:, None], axis=1).ravel().tolist() == [1, 2, 3, 4, 5]
    assert told == ["once"]


def test_all_galleries_together_take_no_more_memory_than_they_may(device: StandInDevice) -> None:
    gpu = Gpu(device, memory=150 * DIMENSION * 4)
    first, second = GpuIndex(DIMENSION, gpu), GpuIndex(DIMENSION, gpu)
    vectors = drawn(100)
    first.put(numbers(1, 100), vectors)
    second.put(numbers(1, 60), vectors[:60])
    assert (first.on_gpu, second.on_gpu) == (True, False)
    assert device.used == 100 * DIMENSION * 4
    first.close()
    third = GpuIndex(DIMENSION, gpu)
    third.put(numbers(1, 100), vectors)
    assert third.on_gpu, "a gallery that is closed gives back what it held"
    gpu.close()


def test_a_gpu_that_fails_otherwise_is_called_no_more(device: StandInDevice, gpu: Gpu) -> None:
    told: list[str] = []
    index = GpuIndex(DIMENSION, gpu, lambda: told.append("once"))
    vectors = drawn(20)
    index.put(numbers(1, 20), vectors)

    def fail(vectors: Floats) -> None:
        raise RuntimeError("CUDA error 719 unspecified launch failure")

    device.opened[0].add = fail  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as logs:
        index.remove(numbers(1, 10))
    assert [entry["event"] for entry in logs] == ["gpu index failed; its gallery is searched on the CPU"]
    assert "unspecified launch failure" in logs[0]["error"]
    assert (told, index.on_gpu) == (["once"], False)
    check_contents(index, modeled(numbers(11, 20), vectors[10:]))
    check_nearest(index, modeled(numbers(11, 20), vectors[10:]), vectors, 3)


def test_the_stand_in_refuses_two_calls_at_once(device: StandInDevice) -> None:
    index = device.open(DIMENSION)
    with device.call(), pytest.raises(AssertionError, match="two calls of one GPU at once"):
        index.add(drawn(1))


DEVICES = pytest.mark.parametrize(
    "make_device",
    [pytest.param(StandInDevice, id="stand-in"), pytest.param(FaissDevice, id="gpu", marks=needs_gpu)],
)


@DEVICES
def test_a_gpu_neither_removes_nor_fetches_more_than_2048(make_device: Callable[[], Device]) -> None:
    index = make_device().open(DIMENSION)
    index.add(drawn(3000))
    squared, found = index.search(drawn(2), 2048)
    assert squared.shape == found.shape == (2, 2048)
    with pytest.raises(RuntimeError, match="selection up to 2048"):
        index.search(drawn(2), 2049)
    with pytest.raises(RuntimeError, match="remove_ids not implemented for this type of index"):
        index.remove_ids(np.array([1], np.int64))  # type: ignore[attr-defined]
    assert index.ntotal == 3000


@DEVICES
def test_a_gpu_s_refusal_of_too_much_is_known_as_such(make_device: Callable[[], Device]) -> None:
    index = make_device().open(4096)
    no_reserve = 0x4000  # of Linux; a tebibyte that nothing reads takes no memory here
    space = mmap.mmap(-1, 2**40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
    with pytest.raises(RuntimeError) as raised:
        index.add(np.frombuffer(space, np.float32).reshape(-1, 4096))
    assert out_of_memory(raised.value)
    index.add(np.ones((3, 4096), np.float32))
    assert index.ntotal == 3


@needs_gpu
def test_a_real_gpu_answers_as_the_cpu_does(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nThe GPU is: {card()}")
    gpu = find_gpu(memory=2**30)
    index, flat = GpuIndex(128, gpu), FlatIndex(128)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50_000, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for kept in index, flat:
        kept.put(numbers(1, 50_000), vectors)
        kept.remove(numbers(1, 3000))
        kept.put(numbers(3001, 4000), vectors[:1000])
    queries = vectors[::500] + np.float32(0.01)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: index.nearest(queries, 5), range(20)))
    expected = np.sort(flat.nearest(queries, 5)[1], axis=1)[:, :5]
    for _, distances in answers:
        assert np.array_equal(np.sort(distances, axis=1)[:, :5], expected)
    assert index.on_gpu
    index.close()
    gpu.close()


@pytest.mark.skipif(gpu_count() > 0, reason="FAISS reports a GPU")
def test_without_a_gpu_the_server_does_not_start_on_one() -> None:
    with pytest.raises(StartError, match="FAISS reports no GPU; install exemplar\\[server-gpu\\]"):
        find_gpu()
    assert card() == "no card"


@pytest.mark.skipif(gpu_count() > 0, reason="FAISS reports a GPU, and can use it")
def test_a_gpu_that_faiss_cannot_use_is_left_out_or_said_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in gpu_device, opening:  # as where a GPU is, and no code for it: it ends the process that tries
        monkeypatch.setattr(module, "gpu_count", lambda: 1)
    store = f"sqlite:{tmp_path}"
    with pytest.raises(StartError, match=r"cannot search on .* 'StandardGpuResources'; install a driver"):
        opening.open_store(store, "gpu")
    with structlog.testing.capture_logs() as logged:
        opened = opening.open_store(store, "auto")
    opened.create_gallery("g", "f" * 64, DIMENSION)
    opened.close()
    assert [entry["event"] for entry in logged] == ["the gpu is not used"]
    assert "'StandardGpuResources'" in logged[0]["reason"]
