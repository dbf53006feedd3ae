"""Padded decode steps and their graphs, with a capture that stands for that of a card."""

import gc
import logging
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from align.adapters.tensors import read_factors
from align.inference.kernels.plain import PlainOps
from align.inference.modeling import model as model_module
from align.inference.modeling.cuda_graphs import CudaCapture, DecodeGraphs, capture_for
from align.inference.modeling.model import Model, Reading, Writing
from align.inference.scheduling.decode_buckets import capturable


class Recorder:
    """A capture that notes the shapes and that fails from the number `until` on."""

    def __init__(self, until: int = 1000):
        self.shapes: list[tuple[int, int, bool]] = []
        self.replays, self._until = 0, until

    def __call__(self, work: Any) -> Callable[[], None]:
        if len(self.shapes) == self._until:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nsee")
        shape, adapted = work.args
        self.shapes.append((shape.rows, shape.longest, adapted))
        work()

        def replay() -> None:
            self.replays += 1
            work()

        return replay


def inputs(*columns: tuple[int, int, int, int]) -> torch.Tensor:
    return torch.tensor(columns, dtype=torch.int32).T


def graphs(record: Recorder, slots: int = 4, limit: int = 600) -> tuple[DecodeGraphs, list[Any]]:
    """Graphs over a step whose logits are its tokens, and the calls of that step."""
    calls: list[Any] = []

    def step(given: torch.Tensor, longest: int, adapted: bool) -> torch.Tensor:
        calls.append((given.clone(), longest, adapted))
        return given[0].float()[:, None].expand(-1, 3)

    return DecodeGraphs(step, torch.full((slots, 3), -1.0), limit, record), calls


def test_all_shapes_are_captured_at_once_the_largest_first() -> None:
    record = Recorder()
    decode, _ = graphs(record)
    decode.capture(0)
    assert record.shapes == [(shape.rows, shape.longest, False) for shape in capturable(4, 600)]


def test_a_step_is_replayed_and_surplus_rows_write_to_the_spare_slot() -> None:
    record = Recorder()
    decode, calls = graphs(record)
    decode.capture(0)
    before = len(record.shapes)
    logits = decode.run(inputs((7, 2, 40, -1), (8, 0, 5, -1), (9, 1, 6, -1)), 41, False, 0)
    assert logits.tolist() == [[7.0] * 3, [8.0] * 3, [9.0] * 3]
    given, longest, adapted = calls[-1]
    assert given[:, 3].tolist() == [0, 4, 0, -1]  # slot 4 is no sequence's
    assert (longest, adapted) == (600, False)
    assert (record.replays, len(record.shapes)) == (1, before)


def test_tokens_of_the_device_replace_those_of_the_host() -> None:
    decode, calls = graphs(Recorder())
    decode.capture(0)
    rows = inputs((0, 2, 40, -1), (0, 0, 5, -1), (0, 1, 6, -1))
    logits = decode.run(rows, 41, False, 0, torch.tensor([7, 8, 9]))
    assert logits.tolist() == [[7.0] * 3, [8.0] * 3, [9.0] * 3]
    given, _, _ = calls[-1]
    assert given.T.tolist() == [[7, 2, 40, -1], [8, 0, 5, -1], [9, 1, 6, -1], [0, 4, 0, -1]]


def test_nothing_is_captured_in_a_step_and_the_padding_is_the_same() -> None:
    record = Recorder()
    decode, calls = graphs(record)
    row = inputs((7, 2, 40, -1))
    assert decode.run(row, 41, False, 0).tolist() == [[7.0] * 3]
    assert record.shapes == []
    eager = calls[-1]
    decode.capture(0)
    decode.run(row, 41, False, 0)
    assert record.replays == 1
    assert eager[0].tolist() == calls[-1][0].tolist() and eager[1:] == calls[-1][1:]


def test_a_bank_that_has_moved_costs_the_graphs_with_adapters_alone() -> None:
    record = Recorder()
    decode, _ = graphs(record)
    decode.capture(0)
    plain = list(record.shapes)
    adapted = [(rows, longest, True) for rows, longest, _ in plain]
    decode.capture(1)
    assert record.shapes == plain + adapted
    decode.run(inputs((7, 2, 40, 0)), 41, True, 1)
    decode.run(inputs((7, 2, 40, -1)), 41, False, 2)
    assert record.replays == 2
    decode.run(inputs((7, 2, 40, 0)), 41, True, 2)  # its factors lie elsewhere now
    assert record.replays == 2
    decode.capture_missed(2)
    decode.capture_missed(2)  # nothing else has been asked for
    assert record.shapes == [*plain, *adapted, (1, 600, True)]
    decode.run(inputs((7, 2, 40, 0)), 41, True, 2)
    assert record.replays == 3


def test_after_a_failed_capture_steps_go_on_without_and_that_is_said_once(caplog) -> None:
    record = Recorder(until=1)
    decode, _ = graphs(record)
    with caplog.at_level(logging.WARNING):
        decode.capture(0)
        after = decode.capture(1)
    assert len(record.shapes) == after.graphs == 1
    assert after.failure.startswith("CUDA error: operation not permitted")
    assert [one.getMessage().partition(": ")[2] for one in caplog.records] == [
        "2 rows of 600 tokens: CUDA error: operation not permitted when stream is capturing"
    ]
    full = inputs(*[(token, token, 500, 0) for token in range(4)])
    decode.run(full, 501, False, 1)
    assert record.replays == 1  # what has been captured is used
    decode.restart(600)
    with caplog.at_level(logging.WARNING):
        decode.capture(1)
    assert len(record.shapes) == len(caplog.records) == 1
    for adapted in (False, True):
        assert decode.run(full, 501, adapted, 1)[:, 0].tolist() == [0, 1, 2, 3]


class Graph:
    def replay(self) -> None:
        pass


@pytest.fixture
def captured(monkeypatch) -> list[tuple[Graph, dict[str, Any]]]:
    """What is captured, with a card in place of torch's."""
    graphs: list[tuple[Graph, dict[str, Any]]] = []
    current = SimpleNamespace(wait_stream=lambda other: None)

    def graph(one: Graph, **options: Any) -> Any:
        graphs.append((one, options))
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: object())
    monkeypatch.setattr(
        torch.cuda, "Stream", lambda: SimpleNamespace(wait_stream=lambda other: None)
    )
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)
    return graphs


def test_all_graphs_share_a_pool_and_a_stream(captured) -> None:
    capture, runs = CudaCapture(), []
    replays = [capture(lambda: runs.append(1)) for _ in range(3)]
    assert len(runs) == 7  # each a warm-up and the capture itself; once it is seen not to wait
    assert len({id(options["pool"]) for _, options in captured}) == 1
    assert len({id(options["stream"]) for _, options in captured}) == 1
    assert {options["capture_error_mode"] for _, options in captured} == {"thread_local"}
    assert replays == [one.replay for one, _ in captured]


def test_after_the_last_graph_of_a_pool_another_pool_is_taken(captured) -> None:
    capture = CudaCapture()
    replays = [capture(lambda: None) for _ in range(2)]
    first = {id(options["pool"]) for _, options in captured}
    replays.clear()
    pools = [options["pool"] for _, options in captured]  # alive, so that ids are not reused
    captured.clear()
    gc.collect()
    capture(lambda: None)
    assert len(first) == 1
    assert captured[0][1]["pool"] not in pools


def test_work_that_makes_the_host_wait_is_not_captured(captured, monkeypatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def reads_back() -> None:
        if modes and modes[-1] == "error":
            raise RuntimeError("called a synchronizing CUDA operation")

    capture = CudaCapture()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="synchronizing"):
            capture(reads_back)
    assert captured == []
    assert modes == ["error", "default"] * 2


@pytest.mark.parametrize(
    "rotation",
    [
        {"rope_type": "dynamic"},
        {"full": {"rope_type": "default"}, "sliding": {"rope_type": "dynamic"}},
    ],
)
def test_dynamic_rotation_is_not_captured(rotation, monkeypatch, caplog) -> None:
    """Each of its steps reads the sequence length back; LongRoPE's do not."""
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: object())
    monkeypatch.setattr(torch.cuda, "Stream", object)
    card, cpu = torch.device("cuda"), torch.device("cpu")
    with caplog.at_level(logging.WARNING):
        assert capture_for(SimpleNamespace(rope_parameters=rotation), card) is None
    assert "dynamic RoPE" in caplog.text
    longrope = SimpleNamespace(rope_parameters={"rope_type": "longrope"})
    assert isinstance(capture_for(longrope, card), CudaCapture)
    assert capture_for(longrope, cpu) is None


def test_padded_steps_equal_plain_ones(tiny, make_adapter, monkeypatch) -> None:
    monkeypatch.setattr(model_module, "choose_ops", lambda device, dtype: PlainOps())
    record = Recorder()
    plain = Model(tiny, 4, 64, 2, 64)
    graphed = Model(tiny, 4, 64, 2, 64, record)
    graphed.capture_graphs()
    without = len(record.shapes)
    small, tall = make_adapter("small", 1), make_adapter("tall", 2, r=32)
    prompts = [[5, 6, 7], [8, 9], [10, 11, 12, 13]]

    def step(model, token):
        rows = [Writing(token + at, at, len(p), (0, 1, -1)[at]) for at, p in enumerate(prompts)]
        return model.write(rows)

    with torch.inference_mode():
        for model in (plain, graphed):
            model.bank.put(0, model.bank.prepare(read_factors(small), "small"))
            model.read([Reading(p, at, 0, -1) for at, p in enumerate(prompts)])
        for token in (20, 30, 40):
            torch.testing.assert_close(step(graphed, token), step(plain, token))
            graphed.capture_missed_graph()
        assert len(record.shapes) == without + 1
        assert record.replays == 2
        for model in (plain, graphed):
            model.bank.put(1, model.bank.prepare(read_factors(tall), "tall"))
        torch.testing.assert_close(step(graphed, 50), step(plain, 50))
        assert graphed.bank.batch is None  # what a step's layers share ends with the step


def test_longer_slots_keep_what_they_hold(tiny, monkeypatch) -> None:
    monkeypatch.setattr(model_module, "choose_ops", lambda device, dtype: PlainOps())
    record = Recorder()
    long, short = Model(tiny, 2, 300, 1, 8), Model(tiny, 2, 16, 1, 8, record)
    short.capture_graphs()
    with torch.inference_mode():
        for model in (long, short):
            model.read([Reading([5, 6, 7], 1, 0, -1)])
        short.lengthen(300)
        before = len(record.shapes)
        rows = [Writing(9, 1, 3, -1)]
        torch.testing.assert_close(short.write(rows), long.write(rows))
        assert record.replays == 0 and len(record.shapes) == before  # the old graphs are gone
        short.capture_graphs()
        torch.testing.assert_close(short.write(rows), long.write(rows))
        assert record.replays == 1
