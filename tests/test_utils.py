"""torch._utils: what pickles call and what other code takes from there."""

import io
import sys
from collections import OrderedDict

import pytest

import hookgrad as torch
from hookgrad import _utils, nn


def test_flat_and_back():
    parts = [torch.arange(4.0).view(2, 2).t(), torch.tensor(5.0), torch.zeros(0), torch.ones(2)]
    flat = _utils._flatten_dense_tensors(parts)
    assert flat.tolist() == [0.0, 2.0, 1.0, 3.0, 5.0, 1.0, 1.0]
    back = _utils._unflatten_dense_tensors(flat, parts)
    assert all(torch.equal(a, b) for a, b in zip(back, parts))
    back[0].zero_()
    assert flat[:4].tolist() == [0.0] * 4


def test_groups_by_type_and_size():
    a, b, c = torch.ones(2), torch.ones(2, dtype=torch.float64), torch.ones(3)
    assert [len(group) for group in _utils._take_tensors([a, b, a, c], 16)] == [2, 1, 1]
    assert _utils._reorder_tensors_as([a, c, b], [b, a, c]) == (b, a, c)


def test_rebuilding():
    base = torch.arange(6.0)
    view = _utils._rebuild_tensor_v2(base.storage(), 1, (2, 2), (2, 1), True, OrderedDict())
    assert view.tolist() == [[1.0, 2.0], [3.0, 4.0]] and view.requires_grad and view.is_leaf
    base[1] = 9
    assert view[0, 0] == 9
    parameter = _utils._rebuild_parameter_with_state(torch.ones(2), False, OrderedDict(), {"note": 1})
    assert type(parameter) is nn.Parameter and parameter.note == 1 and not parameter.requires_grad


@pytest.mark.parametrize("error", [ValueError("v"), KeyError("k")])
def test_exceptions_are_raised_again_with_their_text(error):
    try:
        raise error
    except Exception:
        wrapped = _utils.ExceptionWrapper(sys.exc_info(), where="in a thread")
    with pytest.raises(type(error)) as again:
        wrapped.reraise()
    text = str(again.value)
    assert text.startswith(f"Caught {type(error).__name__} in a thread.\nOriginal Traceback") and "raise error" in text


def test_exceptions_of_other_arguments_become_runtime_errors():
    class Two(Exception):
        def __init__(self, a, b):
            super().__init__(a, b)

    try:
        raise Two(1, 2)
    except Two:
        wrapped = _utils.ExceptionWrapper()
    with pytest.raises(RuntimeError, match="Caught Two in background"):
        wrapped.reraise()


def test_device_numbers():
    assert _utils._get_device_index(3) == 3 and _utils._get_device_index("cpu", allow_cpu=True) == -1
    with pytest.raises(ValueError, match="Expected a non cpu device"):
        _utils._get_device_index("cpu")
    with pytest.raises(ValueError, match="Expected a torch.device with a specified index or an integer"):
        _utils._get_device_index(None)


def test_globals_are_safe_within_a_block():
    from fractions import Fraction

    file = io.BytesIO()
    torch.save(Fraction(1, 2), file)
    with torch.serialization.safe_globals([Fraction]):
        assert torch.serialization.get_safe_globals() == [Fraction]
        assert torch.load(io.BytesIO(file.getvalue())) == Fraction(1, 2)
    assert torch.serialization.get_safe_globals() == []
    torch.serialization.add_safe_globals([Fraction])
    torch.serialization.clear_safe_globals()
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(io.BytesIO(file.getvalue()))


def test_a_file_holds_shared_memory_once():
    a = torch.arange(1000.0)
    file = io.BytesIO()
    torch.save({"a": a, "part": a[2:4], "square": a[:900].view(30, 30)}, file)
    assert len(file.getvalue()) < 5000
    file.seek(0)
    back = torch.load(file)
    back["a"][2] = -1
    assert back["part"].tolist() == [-1.0, 3.0] and back["square"][0, 2] == -1
