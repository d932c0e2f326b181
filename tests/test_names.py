"""Names of PyTorch's that a program may ask for, though few do."""

import pytest

import hookgrad as torch


def test_normalisations_with_their_statistics():
    x = torch.arange(12.0).view(2, 6)
    out, mean, scale = torch.native_layer_norm(x, (6,), None, None, 1e-5)
    assert torch.equal(out, torch.nn.functional.layer_norm(x, (6,))) and mean.tolist() == [[2.5], [8.5]]
    assert torch.allclose(scale, x.var(1, correction=0, keepdim=True).add(1e-5).rsqrt())
    out, mean, scale = torch.native_group_norm(x[..., None], None, None, 2, 6, 1, 3, 1e-5)
    assert out.shape == (2, 6, 1) and mean.shape == scale.shape == (2, 3)
    assert torch.native_group_norm(x[:0, :, None], None, None, 0, 6, 1, 3, 1e-5)[1].shape == (0, 3)
    out, mean, scale = torch.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)
    assert mean.tolist() == [3, 4, 5, 6, 7, 8] and scale.shape == (6,)
    still = torch.native_batch_norm(x, None, None, torch.zeros(6), torch.ones(6), False, 0.1, 1e-5)
    assert torch.allclose(still[0], x, atol=1e-4) and still[1].numel() == still[2].numel() == 0


def test_an_optimizer_steps_for_other_parameters():
    own, other = ([torch.zeros(2, requires_grad=True)] for _ in range(2))
    optimizer = torch.optim.Adam(own, lr=0.1)
    own[0].grad = other[0].grad = torch.ones(2)
    optimizer.step()
    before, state = own[0].tolist(), optimizer.state
    given = {
        "state": {0: {k: v.clone() for k, v in state[own[0]].items()}},
        "param_groups": [{"lr": 0.5, "params": [0]}],
    }
    with torch.optim.swap_in_optimizer_params_and_state(optimizer, {"a": other[0]}, given):
        optimizer.step()
        assert optimizer.param_groups[0]["params"][0] is other[0] and optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.state is state and state[own[0]]["step"] == 1 and given["state"][0]["step"] == 2
    assert optimizer.param_groups[0]["params"][0] is own[0] and optimizer.param_groups[0]["lr"] == 0.1
    assert own[0].tolist() == before and other[0].tolist() == [-0.5, -0.5]


def test_what_is_not_there_can_be_asked_about():
    assert not torch.xpu.is_available() and not torch.mtia.is_available() and torch.xpu.device_count() == 0
    assert torch.get_device_module("cpu") is torch.cpu and torch.math.pi > 3
    with torch.Stream("cpu") as stream:
        assert stream.query() and stream.record_event(event := torch.Event()) is event
    assert torch.Tag["pointwise"] in torch.Tag
    assert not torch.backends.miopen.is_available() and torch.backends.quantized.supported_engines
    assert torch.overrides.get_testing_overrides()[torch.add](1, 2) == -1
    with pytest.raises(RuntimeError, match="now removed"):
        torch.symeig(torch.eye(2))


SPAWNING = """
import torch.multiprocessing as mp

def put(i, queue):
    queue.put(i)

def fail(i, word):
    if i == 1:
        raise ValueError(word)

if __name__ == "__main__":
    queue = mp.get_context("fork").Queue()
    mp.start_processes(put, (queue,), nprocs=2, start_method="fork")
    print(sorted([queue.get(), queue.get()]))
    try:
        mp.spawn(fail, ("no",), nprocs=2)
    except mp.ProcessRaisedException as error:
        print(error.error_index, "ValueError: no" in str(error))
    print(mp.spawn(fail, ("no",), join=False).join())
"""


def test_processes(run_script):
    assert run_script(SPAWNING).stdout == "[0, 1]\n1 True\nTrue\n"
