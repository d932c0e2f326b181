"""torch.storage: the memory of tensors as an object, with a dtype or without."""

import copy
import gc
import pickle
import weakref

import pytest

import hookgrad as torch


def test_a_tensor_has_one_storage_which_its_views_share():
    x = torch.arange(6.0)
    storage = x.untyped_storage()
    assert storage is x[2:].untyped_storage() is x.data.untyped_storage() and {storage: 1}[x.untyped_storage()] == 1
    assert storage is not torch.arange(6.0).untyped_storage() and storage == x._typed_storage().untyped()
    gone, address = weakref.ref(storage), storage._cdata
    del storage
    gc.collect()
    assert gone() is None and x.untyped_storage()._cdata == address


def test_a_storage_is_emptied_and_filled_again_around_forward():
    """Fully sharded training frees a parameter's memory between its uses."""
    layer = torch.nn.Linear(2, 3)
    layer.weight.data.copy_(torch.arange(6.0).view(3, 2))
    kept = layer.weight.detach().clone()
    whole = layer.weight.untyped_storage().size()

    def fill(module, args):
        module.weight.untyped_storage().resize_(whole)
        module.weight.data.copy_(kept)

    def free(module, args, output):
        module.weight.data.untyped_storage().resize_(0)

    layer.register_forward_pre_hook(fill)
    layer.register_forward_hook(free)
    layer.register_full_backward_pre_hook(lambda module, grad_output: fill(module, ()))
    for _ in range(2):
        x = torch.ones(1, 2, requires_grad=True)
        out = layer(x).sum()
        assert layer.weight.untyped_storage().nbytes() == 0 and layer.weight.shape == (3, 2)
        out.backward()
        assert torch.equal(x.grad[0], kept.sum(0)) and layer.weight.untyped_storage().nbytes() == whole
    del layer, x, out
    assert torch.ones(3, 2).untyped_storage().nbytes() == whole


@pytest.mark.parametrize("n", [4, 60, 1000, 100_000])
def test_what_a_storage_once_had_it_can_have_again(n):
    x = torch.arange(float(n))
    storage, address = x.untyped_storage(), x.data_ptr()
    assert storage.resize_(0) is storage and len(storage) == 0 and storage.resize_(4 * n) is storage
    assert x.data_ptr() == address and x[-1].item() == n - 1
    storage.resize_(8 * n)
    assert x.untyped_storage() is storage and storage.nbytes() == 8 * n and x.tolist() == list(range(n))
    x.fill_(2)
    assert x.storage()[n - 1] == 2.0


def test_memory_of_somebody_else_is_not_resized():
    storage = torch.from_numpy(torch.ones(3).numpy()).untyped_storage()
    assert not storage.resizable() and torch.ones(3).untyped_storage().resizable()
    with pytest.raises(RuntimeError, match="not resizable"):
        storage.resize_(0)


def test_bytes_are_read_and_written():
    x = torch.zeros(3, dtype=torch.uint8)
    storage = x.untyped_storage()
    assert storage.fill_(7) is storage and x.tolist() == [7, 7, 7] == storage.tolist() == list(storage)
    storage[1] = 2
    assert x[1].item() == 2 == storage[1] and storage[-1] == 7 and storage[1:].tolist() == [2, 7]
    y = torch.tensor([1, 2, 3], dtype=torch.uint8)
    assert storage.copy_(y.untyped_storage()) is storage and x.tolist() == [1, 2, 3]
    with pytest.raises(RuntimeError, match="size does not match, self was 3 bytes but src was 2 bytes"):
        storage.copy_(torch.UntypedStorage(2))
    with pytest.raises(IndexError, match="index 3 out of range for storage of size 3"):
        storage[3]
    assert str(storage) == " 1\n 2\n 3\n[torch.storage.UntypedStorage(device=cpu) of size 3]"
    w = torch.ones(2, requires_grad=True)
    w.untyped_storage().fill_(0)
    assert w.tolist() == [0.0, 0.0] and w.is_leaf


def test_how_storages_are_made(tmp_path):
    assert torch.UntypedStorage().size() == 0 and torch.UntypedStorage([1, 2]).tolist() == [1, 2]
    assert torch.TypedStorage(2, dtype=torch.int16).nbytes() == 4 and torch.FloatStorage([1, 2]).tolist() == [1.0, 2.0]
    x = torch.arange(2.0)
    wrapped = torch.FloatStorage(wrap_storage=x.untyped_storage())
    wrapped[0] = 5
    assert x[0].item() == 5 and torch.FloatTensor(wrapped).data_ptr() == x.data_ptr()
    assert torch.ShortStorage.from_buffer(b"\1\0\2\0", "little").tolist() == [1, 2]
    assert torch.ShortStorage.from_buffer(b"\0\1\0\2", "big").tolist() == [1, 2]
    path = str(tmp_path / "numbers")
    storage = torch.DoubleStorage.from_file(path, True, 2)
    storage.fill_(0.5)
    assert torch.DoubleStorage.from_file(path, False, 2).tolist() == [0.5, 0.5] and storage.filename == path
    for wrong in (
        lambda: torch.FloatStorage(1, 2),
        lambda: torch.FloatStorage(1, dtype=torch.int8),
        lambda: torch.TypedStorage(1, dtype=3),
        lambda: torch.UntypedStorage("a"),
        lambda: torch.TypedStorage(wrap_storage=x.untyped_storage()),
    ):
        with pytest.raises(RuntimeError):
            wrong()


def test_typed_storages():
    x = torch.arange(3)
    with pytest.warns(UserWarning, match="TypedStorage is deprecated"):
        torch.storage._warned.clear()
        storage = x.storage()
    assert isinstance(storage, torch.LongStorage) and not isinstance(storage, torch.FloatStorage)
    assert torch.is_storage(storage) and not isinstance(storage, torch.UntypedStorage) and storage.dtype == torch.int64
    assert storage.type() == "torch.LongStorage" and storage.float().type() == "torch.FloatStorage"
    assert storage.type("torch.DoubleStorage").tolist() == [0.0, 1.0, 2.0] and storage.data_ptr() == x.data_ptr()
    assert storage.resize_(2) is None and storage.size() == 2 == len(storage) and storage.nbytes() == 16
    with pytest.raises(RuntimeError, match="slices are only supported in UntypedStorage"):
        storage[:1]
    assert str(storage) == " 0\n 1\n[torch.storage.TypedStorage(dtype=torch.int64, device=cpu) of size 2]"


def test_copies_of_storages():
    x = torch.arange(3.0)
    assert copy.copy(x.storage()).data_ptr() != x.data_ptr()
    y, storage = copy.deepcopy((x[1:], x.untyped_storage()))
    assert y.untyped_storage() is storage and y.data_ptr() != x[1:].data_ptr() and y.tolist() == [1.0, 2.0]
    again = pickle.loads(pickle.dumps(x.storage()))
    assert again.tolist() == [0.0, 1.0, 2.0] and again.dtype == torch.float32
    assert pickle.loads(pickle.dumps(x.untyped_storage())).nbytes() == 12


def test_a_file_is_a_tensor_and_a_storage_made_by_hand_warns(tmp_path, monkeypatch):
    path = str(tmp_path / "numbers")
    torch.tensor([1.0, 2.0, 3.0]).numpy().tofile(path)
    torch.from_file(path, True, 2)[1] = 5
    read = torch.from_file(path, size=3, requires_grad=True)
    assert read.tolist() == [1, 5, 3] and read.is_leaf and read.requires_grad
    monkeypatch.setattr(torch.storage, "_warned", [])
    with pytest.warns(UserWarning, match="TypedStorage is deprecated"):
        torch.TypedStorage(5, dtype=torch.float32)
