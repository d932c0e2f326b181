"""Datasets, samplers, batches: the order PyTorch takes after the same seed, and how samples become batches."""

import multiprocessing
from collections import defaultdict, namedtuple

import pytest

import hookgrad as torch
from hookgrad.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)


def test_tensor_dataset():
    data = TensorDataset(torch.arange(10), torch.arange(10.0) * 2)
    assert len(data) == 10
    assert repr(data[3]) == "(tensor(3), tensor(6.))"
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        TensorDataset(torch.ones(2), torch.ones(3))


def test_batches_in_order():
    data = TensorDataset(torch.arange(5), torch.arange(5.0) * 2)
    batches = list(DataLoader(data, batch_size=2))
    assert repr(batches) == (
        "[[tensor([0, 1]), tensor([0., 2.])], [tensor([2, 3]), tensor([4., 6.])], [tensor([4]), tensor([8.])]]"
    )
    assert len(DataLoader(data, 2)) == 3
    assert len(DataLoader(data, 2, drop_last=True)) == 2
    assert len(list(DataLoader(data, 2, drop_last=True))) == 2
    assert [repr(sample) for sample in DataLoader(data, batch_size=None)][1] == "[tensor(1), tensor(2.)]"


def test_shuffled_batches_follow_torch():
    data = TensorDataset(torch.arange(10))
    torch.manual_seed(5)
    loader = DataLoader(data, batch_size=4, shuffle=True)
    assert [x.tolist() for (x,) in loader] == [[8, 3, 0, 5], [9, 1, 6, 2], [4, 7]]
    assert [x.tolist() for (x,) in loader] == [[5, 8, 9, 7], [2, 0, 4, 1], [3, 6]]
    assert torch.rand(1).item() == pytest.approx(0.0332646, rel=1e-5)
    g = torch.Generator()
    g.manual_seed(1)
    assert [x.tolist() for (x,) in DataLoader(data, 10, shuffle=True, generator=g)] == [[4, 6, 9, 2, 3, 1, 0, 7, 8, 5]]


def test_samplers_follow_torch():
    torch.manual_seed(2)
    assert list(RandomSampler(range(5))) == [3, 2, 0, 4, 1]
    assert list(RandomSampler(range(5), num_samples=7)) == [1, 2, 3, 4, 0, 2, 0]
    assert list(RandomSampler(range(5), replacement=True, num_samples=40))[30:] == [3, 1, 1, 2, 1, 3, 0, 0, 3, 3]
    assert list(SequentialSampler(range(3))) == [0, 1, 2]
    assert list(BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    torch.manual_seed(0)
    assert list(RandomSampler(range(5))) == [1, 3, 4, 2, 0]
    assert list(WeightedRandomSampler([0.1, 0.9, 0.5], 5)) == [2, 1, 2, 1, 2]
    assert list(SubsetRandomSampler([3, 4, 9])) == [3, 9, 4]
    assert sorted(WeightedRandomSampler([0.1, 0.9, 0.5], 3, replacement=False)) == [0, 1, 2]
    with pytest.raises(ValueError, match="weights should be a 1d sequence"):
        WeightedRandomSampler([[1.0]], 1)


def test_random_split_follows_torch():
    torch.manual_seed(5)
    assert [list(part) for part in random_split(range(10), [3, 7])] == [[1, 4, 9], [6, 3, 5, 0, 2, 8, 7]]
    assert [list(part) for part in random_split(range(10), [0.35, 0.65])] == [[4, 2, 8, 7], [6, 1, 0, 3, 5, 9]]
    with pytest.raises(ValueError, match="Sum of input lengths does not equal the length of the input dataset!"):
        random_split(range(3), [1, 1])


def test_subset_and_concatenation():
    assert list(Subset("abcd", [3, 0])) == ["d", "a"]

    class Numbers(Dataset):
        def __init__(self, *numbers):
            self.numbers = numbers

        def __getitem__(self, i):
            return self.numbers[i]

        def __len__(self):
            return len(self.numbers)

    both = Numbers(1, 2, 3) + Numbers(8, 9)
    assert type(both) is ConcatDataset
    assert [both[i] for i in range(5)] == [1, 2, 3, 8, 9]
    assert both[-1] == 9
    assert len(both) == 5


def test_iterable_datasets():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(7))

    assert [b.tolist() for b in DataLoader(Stream(), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [b.tolist() for b in DataLoader(Stream(), 3, drop_last=True)] == [[0, 1, 2], [3, 4, 5]]
    assert list(DataLoader(Stream(), batch_size=None)) == list(range(7))
    with pytest.raises(ValueError, match="expected unspecified shuffle option, but got shuffle=True"):
        DataLoader(Stream(), shuffle=True)


def test_orders_of_ones_own():
    assert [b.tolist() for b in DataLoader(range(5), batch_sampler=[[0, 4], [1]])] == [[0, 4], [1]]
    assert [b.tolist() for b in DataLoader(range(5), 2, sampler=[3, 1, 0])] == [[3, 1], [0]]
    assert list(DataLoader(range(3), 2, collate_fn=lambda batch: batch)) == [[0, 1], [2]]


def test_collate():
    Point = namedtuple("Point", "x y")
    assert repr(default_collate([{"a": 1, "b": [1.5, "x"]}, {"a": 2, "b": [2.5, "y"]}])) == (
        "{'a': tensor([1, 2]), 'b': [tensor([1.5000, 2.5000], dtype=torch.float64), ('x', 'y')]}"
    )
    assert repr(default_collate([(torch.ones(1), True), (torch.zeros(1), False)])) == (
        "[tensor([[1.],\n        [0.]]), tensor([ True, False])]"
    )
    point = default_collate([Point(1, 2.0), Point(3, 4.0)])
    assert type(point) is Point
    assert point.x.tolist() == [1, 3]
    assert default_collate(["a", "b"]) == ["a", "b"]
    with pytest.raises(RuntimeError, match="each element in list of batch should be of equal size"):
        default_collate([[1, 2], [3]])
    with pytest.raises(TypeError, match="default_collate: batch must contain tensors, numpy arrays, numbers, dicts or"):
        default_collate([None])


def test_collate_numpy():
    numpy = pytest.importorskip("numpy")
    batch = default_collate([numpy.ones(2, dtype="float32"), numpy.zeros(2, dtype="float32")])
    assert batch.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert batch.dtype == torch.float32
    assert default_collate([numpy.float64(1.5), numpy.float64(2.5)]).dtype == torch.float64


def test_errors():
    for arguments, words in (
        ({"batch_size": 0}, "batch_size should be a positive integer value, but got batch_size=0"),
        ({"sampler": [1], "shuffle": True}, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[1]], "drop_last": True}, "batch_sampler option is mutually exclusive with"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None option disables auto-batching"),
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"timeout": -1}, "timeout option should be non-negative"),
    ):
        with pytest.raises(ValueError, match=words):
            DataLoader(range(3), **arguments)


def test_a_loader_feeds_a_training_loop():
    torch.manual_seed(0)
    x = torch.randn(64, 2)
    y = (x[:, 0] > x[:, 1]).long()
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(5):
        for inputs, targets in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    assert (model(x).argmax(1) == y).float().mean().item() > 0.9


def test_processes_share_the_samples_of_a_pass():
    data = range(10)
    passes = [list(DistributedSampler(data, num_replicas=3, rank=rank)) for rank in range(3)]
    assert passes[1] == [1, 3, 8, 4]  # PyTorch's
    assert sorted(set().union(*passes)) == [*data] and {len(p) for p in passes} == {4}
    plain = DistributedSampler(data, num_replicas=3, rank=1, shuffle=False, drop_last=True)
    assert (list(plain), len(plain)) == ([1, 4, 7], 3)
    later = DistributedSampler(data, num_replicas=3, rank=1)
    later.set_epoch(1)
    assert list(later) != passes[1]
    with pytest.raises(ValueError, match=r"Invalid rank 3, rank should be in the interval \[0, 1\]"):
        DistributedSampler(data, num_replicas=2, rank=3)


def test_datasets_samplers_and_loaders_can_be_subclassed_by_what_they_give():
    class Numbers(Dataset[int]):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return i

    class Backwards(Sampler[int]):
        def __iter__(self):
            return iter((2, 1, 0))

    class Loader(DataLoader[int]):
        pass

    assert [batch.tolist() for batch in Loader(Numbers(), sampler=Backwards())] == [[2], [1], [0]]
    assert issubclass(IterableDataset[int].__origin__, Dataset)
    with pytest.raises(TypeError, match="not a generic class"):
        TensorDataset[int]


def test_names_of_pytorchs_modules_for_loaders():
    from hookgrad.utils.data._utils.collate import default_collate
    from hookgrad.utils.data.dataloader import _collate_fn_t

    assert default_collate is torch.utils.data.default_collate and _collate_fn_t.__args__[1:]


def test_a_loader_remembers_its_settings():
    context = multiprocessing.get_context("fork")
    loader = DataLoader(
        [1, 2], generator=torch.Generator(), multiprocessing_context="fork", in_order=False, num_workers=1
    )
    assert loader.multiprocessing_context is context and loader.in_order is False and loader.prefetch_factor == 2
    assert loader.persistent_workers is False and loader.pin_memory_device == "" and loader.num_workers == 1
    with pytest.raises(ValueError, match="batch_size attribute should not be set after DataLoader is initialized"):
        loader.batch_size = 3


def test_what_becomes_of_samples_of_a_class_can_be_said():
    from hookgrad.utils.data._utils.collate import collate, collate_tensor_fn, default_collate, default_collate_fn_map

    class Point:
        pass

    with pytest.raises(TypeError, match="found <class .*Point"):
        default_collate([Point(), Point()])
    default_collate_fn_map[Point] = lambda batch, *, collate_fn_map: len(batch)
    try:
        assert str(default_collate([(Point(), 1), (Point(), 2)])) == "[2, tensor([1, 2])]"
    finally:
        del default_collate_fn_map[Point]
    only = {torch.Tensor: collate_tensor_fn}
    assert collate([[torch.zeros(1)], [torch.ones(1)]], collate_fn_map=only)[0].tolist() == [[0], [1]]
    with pytest.raises(TypeError, match="found <class 'int'>"):
        collate([1, 2], collate_fn_map=only)


def test_a_subset_asks_for_a_whole_batch():
    class Squares(Dataset):
        def __getitems__(self, indices):
            return [tuple(indices)]

    assert Subset(Squares(), [3, 1, 2]).__getitems__([2, 0]) == [(2, 3)]
    assert Subset("abcd", [3, 0]).__getitems__([1, 0]) == ["a", "d"]
    loader = DataLoader(Subset(Squares(), [3, 1, 2]), batch_size=2, collate_fn=list)
    assert list(loader) == [[(3, 1)], [(2,)]]

    class Half(Subset):
        def __getitem__(self, idx):
            return super().__getitem__(idx) / 2

    with pytest.raises(NotImplementedError, match="__getitems__"):
        Half([1, 2], [0])


def test_batches_are_of_the_class_of_the_samples():
    class Named(list):
        pass

    sample = Named([1, 2])
    sample.name = "n"
    batch = default_collate([sample, [3, 4]])
    assert type(batch) is Named
    assert batch.name == "n"
    assert [t.tolist() for t in batch] == [[1, 3], [2, 4]]
    assert sample == [1, 2]
    assert default_collate([defaultdict(int, a=1)]) == defaultdict(int, a=torch.tensor([1]))
    assert default_collate([defaultdict(int, a=1)])["b"] == 0
    assert type(default_collate([type("Pair", (tuple,), {})([1, 2])])) is list


def test_iterable_datasets_are_chained():
    class Letters(IterableDataset):
        def __iter__(self):
            return iter("ab")

    both = Letters() + Letters()
    assert type(both) is ChainDataset
    assert list(both) == ["a", "b", "a", "b"]
    with pytest.raises(AssertionError, match="ConcatDataset does not support IterableDataset"):
        ConcatDataset([Letters()])
    with pytest.raises(TypeError, match="abstract"):
        IterableDataset()
    with pytest.raises(AssertionError, match="ChainDataset only supports IterableDataset"):
        len(ChainDataset([Letters.__iter__, "a"]))
