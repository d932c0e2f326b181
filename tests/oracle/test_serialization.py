"""Files of PyTorch's torch.save are read here, and ours there."""

import io

import pytest
import torch

import hookgrad


def checkpoint(lib):
    lib.manual_seed(0)
    model = lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.BatchNorm1d(3))
    optimizer = lib.optim.Adam(model.parameters())
    model(lib.randn(4, 2)).sum().backward()
    optimizer.step()
    numbers = lib.arange(6)
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "shared": [numbers, numbers[::2]],
        "dtypes": [
            lib.ones(2, dtype=getattr(lib, d)) for d in "float64 float16 bfloat16 int8 uint8 bool int32".split()
        ],
        "parameter": lib.nn.Parameter(lib.ones(2), requires_grad=False),
        "empty": lib.zeros(0, 3),
        "others": [lib.float16, lib.strided, lib.sparse_coo, lib.Size([2, 3]), lib.device("cpu"), 3, "word", None],
    }


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize("to", ["hookgrad", "PyTorch"])
def test_a_checkpoint_crosses_over(to, options):
    source, target = (torch, hookgrad) if to == "hookgrad" else (hookgrad, torch)
    file = io.BytesIO()
    source.save(checkpoint(source), file, **options)
    file.seek(0)
    loaded = target.load(file)
    assert repr(loaded) == repr(checkpoint(source))
    loaded["shared"][0].zero_()
    assert loaded["shared"][1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("to", ["hookgrad", "PyTorch"])
def test_a_module_crosses_over(to):
    source, target = (torch, hookgrad) if to == "hookgrad" else (hookgrad, torch)
    source.manual_seed(0)
    model = source.nn.Sequential(source.nn.Linear(2, 3), source.nn.Dropout(0.5)).eval()
    file = io.BytesIO()
    source.save(model, file)
    file.seek(0)
    loaded = target.load(file, weights_only=False)
    assert repr(loaded) == repr(model) and not loaded.training
    fired = []
    loaded.register_forward_hook(lambda *args: fired.append(1))
    assert loaded(target.ones(1, 2)).tolist() == model(source.ones(1, 2)).tolist() and fired == [1]


@pytest.mark.parametrize("source", [hookgrad, torch])
@pytest.mark.parametrize("target", [hookgrad, torch])
@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_a_module_with_hooks_crosses_over(source, target, options):
    """A handle that the module holds still removes its hook."""
    model, file = source.nn.Sequential(source.nn.ReLU()), io.BytesIO()
    model[0].register_forward_pre_hook(print, with_kwargs=True)
    model.register_full_backward_hook(print)
    model.handle = model[0].register_forward_hook(print)
    model[0].register_forward_hook(len, prepend=True, always_call=True)
    source.save(model, file, **options)
    file.seek(0)
    loaded = target.load(file, weights_only=False)
    assert list(loaded[0]._forward_pre_hooks.items()) == list(model[0]._forward_pre_hooks.items())
    assert list(loaded[0]._forward_pre_hooks_with_kwargs) == list(model[0]._forward_pre_hooks)
    assert list(loaded[0]._forward_hooks.values()) == [len, print]
    assert list(loaded[0]._forward_hooks_always_called.values()) == [True]
    assert list(loaded._backward_hooks.values()) == [print] and loaded._is_full_backward_hook
    loaded.handle.remove()
    assert list(loaded[0]._forward_hooks.values()) == [len] and loaded.handle.id == model.handle.id
