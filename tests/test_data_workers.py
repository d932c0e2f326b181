"""Loaders whose batches come from worker processes: PyTorch's batches, in its order, from the same draws."""

import gc
import multiprocessing
import os
import pickle
import random
import time

import numpy
import pytest

import hookgrad as torch
from hookgrad.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info


class Drawn(Dataset):
    """An index and what the generators of its process draw."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return index, torch.rand(1).item(), random.random(), numpy.random.rand()


class Counting(Dataset):
    """An index and how often its process has been asked."""

    asked = 0

    def __len__(self):
        return 6

    def __getitem__(self, index):
        self.asked += 1
        return index * 100 + self.asked


class Shares(IterableDataset):
    """Its worker's share of the numbers below seven."""

    def __len__(self):
        return 3

    def __iter__(self):
        worker = get_worker_info()
        return iter(range(worker.id, 7, worker.num_workers) if worker else range(7))


def loaded(dataset, *args, **kwargs):
    return DataLoader(dataset, *args, num_workers=2, multiprocessing_context="fork", **kwargs)


def test_workers_draw_what_pytorchs_do():
    torch.manual_seed(0)
    batches = list(loaded(Drawn(), 2, shuffle=True))
    assert [batch[0].tolist() for batch in batches] == [[2, 1], [3, 0]]  # PyTorch's, as all below
    expected = [
        [0.78214, 0.05360, 0.21315, 0.27645, 0.83716, 0.38758],
        [0.69382, 0.29796, 0.77339, 0.16342, 0.67027, 0.07590],
    ]
    for batch, numbers in zip(batches, expected):
        assert torch.cat(batch[1:]).tolist() == pytest.approx(numbers, abs=1e-4)
    assert torch.rand(1).item() == pytest.approx(0.3074, abs=1e-4)


def test_each_worker_has_its_own_dataset_which_lasts_while_it_persists():
    dataset = Counting()
    once = loaded(dataset, 1)
    assert [batch.item() for batch in once] == [batch.item() for batch in once] == [1, 101, 202, 302, 403, 503]
    persistent = loaded(dataset, 1, persistent_workers=True)
    assert [batch.item() for batch in persistent] == [1, 101, 202, 302, 403, 503]
    for batch in persistent:  # broken off: what was fetched ahead is passed over
        assert batch.item() == 4
        break
    assert [batch.item() % 100 >= 5 for batch in persistent] == [True] * 6
    assert dataset.asked == 0


def test_workers_share_an_iterable_dataset():
    assert [batch.tolist() for batch in loaded(Shares(), 2)] == [[0, 2], [1, 3], [4, 6], [5]]
    assert [batch.tolist() for batch in loaded(Shares(), 2, drop_last=True)] == [[0, 2], [1, 3], [4, 6]]
    assert list(loaded(Shares(), None)) == list(range(7))
    persistent = loaded(Shares(), 4, persistent_workers=True)
    for _ in range(2):
        assert [batch.tolist() for batch in persistent] == [[0, 2, 4, 6], [1, 3, 5]]
    assert len(persistent) == 1
    singly = loaded(Shares(), None)
    assert len(singly) == 3
    passing = iter(singly)
    assert [next(passing) for _ in range(3)] == [0, 1, 2]
    with pytest.warns(UserWarning, match=r"reported to be 3\(when accessing len\(dataloader\)\), but 4 samples"):
        assert next(passing) == 3


def test_a_worker_knows_itself():
    def seen(index):
        worker = get_worker_info()
        return worker.id, worker.num_workers, torch.initial_seed() == worker.seed, worker.dataset[index]

    def prepare(worker_id):
        get_worker_info().dataset[:] = [worker_id * 10 + i for i in range(4)]

    assert get_worker_info() is None
    loader = loaded([0, 1, 2, 3], None, worker_init_fn=prepare, collate_fn=lambda sample: seen(sample % 10))
    assert list(loader) == [(0, 2, True, 0), (1, 2, True, 11), (0, 2, True, 2), (1, 2, True, 13)]
    assert get_worker_info() is None


def test_an_error_in_a_worker_is_raised_and_names_it():
    def fail(worker_id):
        raise ValueError(f"no start for {worker_id}")

    with pytest.raises(ValueError, match=r"(?s)Caught ValueError in DataLoader worker process 0.*no start for 0"):
        list(loaded([1], worker_init_fn=fail))
    batches = iter(loaded(["a", 0, "b", "c"], 1, collate_fn=lambda batch: {"a": 1, "b": 2, "c": 3}[batch[0]]))
    assert next(batches) == 1
    with pytest.raises(KeyError, match=r"(?s)Caught KeyError in DataLoader worker process 1"):
        next(batches)
    assert list(batches) == [2, 3]
    with pytest.raises((AttributeError, pickle.PicklingError), match="Caught .* in DataLoader worker process 0"):
        list(loaded([1], collate_fn=lambda batch: lambda: batch))


def test_a_worker_that_dies_and_one_that_sleeps_are_noticed():
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly with exit code 3"):
        list(loaded([1], collate_fn=lambda batch: os._exit(3)))
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.1 seconds"):
        list(loaded([1], collate_fn=lambda batch: time.sleep(1), timeout=0.1))


def test_batches_out_of_order_are_all_there():
    other_was_seen = multiprocessing.Event()

    def first_is_late(batch):
        assert batch != [1] or other_was_seen.wait(60)
        return batch[0]

    batches = iter(loaded([1, 2, 3, 4], 1, in_order=False, collate_fn=first_is_late))
    assert next(batches) == 2
    other_was_seen.set()
    assert sorted(batches) == [1, 3, 4]


def test_a_pass_that_is_dropped_ends_its_workers():
    batches = iter(loaded([torch.ones(300, 300)] * 8, 2))
    assert next(batches).shape == (2, 300, 300)
    workers = batches._workers
    del batches
    gc.collect()
    assert not any(worker.is_alive() for worker in workers)


def test_settings_that_need_workers():
    for arguments, words in (
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"prefetch_factor": 2}, "prefetch_factor option could only be specified in multiprocessing"),
        ({"multiprocessing_context": "fork"}, "multiprocessing_context can only be used with multi-process loading"),
        ({"multiprocessing_context": "x", "num_workers": 1}, "should specify a valid start method in"),
    ):
        with pytest.raises(ValueError, match=words):
            DataLoader(range(3), **arguments)
    with pytest.warns(UserWarning, match="This DataLoader will create 4096 worker processes in total"):
        DataLoader(range(3), num_workers=4096)
    with pytest.warns(UserWarning, match="'pin_memory' argument is set as true but no accelerator is found"):
        assert len(list(DataLoader(range(3), pin_memory=True))) == 3
