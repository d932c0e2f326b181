"""How often a warning comes: some once in a process, as PyTorch's do, whatever Python's filters say."""

import pytest

COUNTING = """
import sys
import warnings

import numpy as np
import torch
import torch.nn.functional as F

one, expanded = torch.tensor(1.0), torch.ones(1).expand(3)
index, mask, bytes_ = torch.tensor([0]), torch.ones(3) > 0, torch.ones(3, dtype=torch.uint8)
leaf = torch.ones(1, requires_grad=True)
optimizer = torch.optim.SGD([leaf], lr=0.1)
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)


class Plain:
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return 3


ONCE = '''
torch.ones(3).T
one.T
one.mT
one.mH
one.H
one.adjoint()
torch.ones(2, 3).cross(torch.ones(2, 3))
torch.qr(torch.eye(2))
torch.cholesky(torch.eye(2))
torch.chain_matmul(torch.eye(2), torch.eye(2))
torch.meshgrid(torch.ones(2), torch.ones(2))
torch.from_numpy(np.frombuffer(b"12345678", dtype=np.uint8))
torch.frombuffer(b"12345678", dtype=torch.uint8)
torch.tensor([np.ones(2), np.ones(2)])
torch.where(bytes_, one, one)
torch.scatter(torch.ones(3), 0, index, torch.ones(3), reduce="add")
torch.index_reduce(torch.ones(2), 0, index, torch.ones(1), "mean")
torch.searchsorted(torch.ones(2, 3), torch.ones(2, 2).t())
torch.searchsorted(torch.ones(3, 2).t(), torch.ones(2, 2))
F.conv1d(torch.ones(1, 1, 4), torch.ones(1, 1, 2), padding="same")
float(leaf)
(leaf * leaf).backward(create_graph=True)
torch.ones(3).add(1, torch.ones(3))
torch.add(Plain(), 1)
torch.set_default_tensor_type(torch.FloatTensor)
torch.nn.LSTM(1, 2, proj_size=1)(torch.ones(1, 1, 1))
'''
ALWAYS = '''
torch.ones(2).new_tensor(one)
expanded.masked_fill_(mask, 1.0)
expanded.index_fill_(0, index, 1.0)
expanded[index] = 1.0
plateau.step(1.0, 3)
one.is_pinned("cuda")
torch.set_float32_matmul_precision("some")
torch.add(torch.ones(3), 1, out=torch.ones(2))
'''
NEVER = '''
torch.zeros(3, out=torch.ones(2))
torch.eye(3, out=torch.ones(2))
torch.searchsorted(torch.ones(2, 3), torch.ones(2, 3))
torch.tensor([[np.float32(1.0)]])
'''


def count(line):
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        exec(compile(line, "here", "exec"), globals())
    in_torch = any(word in line for word in ("chain_matmul", "set_", "meshgrid", "backward"))  # PyTorch has these in Python
    assert in_torch or all(warning.filename == "here" for warning in given), line
    return len(given)


for lines, expected in ((ONCE, [1, 0]), (ALWAYS, [1, 1]), (NEVER, [0, 0])):
    for line in lines.strip().splitlines():
        if expected != (counted := [count(line), count(line)]):
            print(line, counted)

torch.set_warn_always(True)
print(torch.is_warn_always_enabled(), count("one.T"), count("one.T"))
torch.set_warn_always(False)
print(torch.is_warn_always_enabled(), count("one.T"))
"""


def test_how_often_a_warning_comes(run_script):
    done = run_script(COUNTING)
    assert (done.stdout, done.stderr) == ("True 1 1\nFalse 0\n", "")


@pytest.mark.parametrize(
    "third", ["", "torch.add(type('Asked', (), {'__torch_function__': classmethod(lambda *a: 0)})(), 1)"]
)
def test_a_loss_warns_at_the_line_that_calls_it(third, run_script):
    head = f"import torch\nF, x = torch.nn.functional, torch.ones(2).log()\n{third}\n"
    given = run_script(head + "F.mse_loss(x, x[:1])\nF.kl_div(x, x)\nF.softmax(x)\n").stderr
    lines = [line for line in given.splitlines() if "UserWarning" in line]
    assert [line.split("script.py:")[1].split(":")[0] for line in lines] == ["4", "5", "6"]


def test_the_warning_of_create_graph_waits_for_a_backward_that_runs(run_script):
    fails = ["y.backward({})", "y.backward(torch.ones(3), {})", "y.sum().backward(inputs=[torch.ones(2)], {})"]
    lines = "".join(f"try: {line.format('create_graph=True')}\nexcept RuntimeError: pass\n" for line in fails)
    head = "import torch\ny = torch.ones(2, requires_grad=True) * 2\n"
    assert run_script(head + lines).stderr == ""
    assert "reference cycle" in run_script(head + lines + "y.sum().backward(create_graph=True)\n").stderr
