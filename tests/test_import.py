"""What importing hookgrad brings, and what it leaves alone until it is wanted."""

import re
from pathlib import Path

import pytest

import hookgrad as torch
from hookgrad import _C


def test_rare_parts_come_with_their_first_use(run_python):
    code = (
        "import sys, hookgrad as torch\n"
        "parts = ['nn', 'optim', 'linalg', 'special', 'testing', 'serialization', 'cuda', 'utils']\n"
        "print([p for p in parts if 'hookgrad.' + p in sys.modules])\n"
        "print(torch.nn.Linear.__name__, torch.cuda.is_available(), torch.linalg.norm.__name__)\n"
    )
    done = run_python("-c", code)
    assert (done.stdout, done.stderr) == ("[]\nLinear False linalg_norm\n", "")


def test_names_of_torch():
    for (
        name
    ) in """Tensor Size Generator device dtype layout float32 long add matmul tensor zeros no_grad save load finfo
                   manual_seed autograd nn optim linalg special random inf pi is_tensor set_printoptions cuda""".split():
        assert hasattr(torch, name) and name in dir(torch)
    assert not hasattr(torch, "no_such_name") and not hasattr(torch, "sgd_step")
    assert torch.inf == float("inf") and torch.newaxis is None


def test_every_op_is_where_the_table_says():
    places = {1: torch.Tensor, 2: torch, 4: torch.nn.functional, 64: torch.linalg, 512: torch.special}
    for row in _C.op_table():
        for flag, place in places.items():
            if row["flags"] & flag and row["name"][0] != "_":
                assert hasattr(place, row["name"])
                assert not row["flags"] & 8 or hasattr(place, row["name"] + "_")


def test_the_extension_survives_being_imported_again(run_python):
    code = (
        "import sys, hookgrad; t = hookgrad.ones(2)\n"
        "for name in [n for n in sys.modules if n.startswith('hookgrad')]: del sys.modules[name]\n"
        "import hookgrad as again\n"
        "print(again.Tensor is type(t), (again.ones(2) + t).tolist())"
    )
    done = run_python("-c", code)
    assert (done.stdout, done.stderr) == ("True [2.0, 2.0]\n", "")


def test_a_second_interpreter_is_refused(run_python):
    code = (
        "import hookgrad\n"
        "try: import _xxsubinterpreters as s\n"
        "except ImportError: import _interpreters as s\n"
        "i = s.create()\n"
        "done = s.run_string(i, '''try:\n    import hookgrad\n    print('imported')\nexcept ImportError: print('refused')''')\n"
        "assert done is None, done\n"
    )
    done = run_python("-c", code)
    assert done.stdout == "refused\n", done.stderr


def test_it_ends_cleanly_with_objects_alive(run_python):
    code = (
        "import hookgrad as torch, threading, builtins\n"
        "x = torch.ones(2, requires_grad=True); y = (x * 2).sum(); y.register_hook(lambda g: None)\n"
        "builtins.kept = (x, y, torch.nn.Linear(2, 2)); x.me = y; y.me = x\n"
        "class Late:\n"
        "    def __del__(self): (builtins_kept[0] + 1).sum().backward()\n"
        "builtins_kept = builtins.kept; late = Late()\n"
        "threading.Thread(target=lambda: x.sum()).start()\n"
    )
    done = run_python("-X", "dev", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missing_name_is_told_by_its_torch_name():
    for module, name in (
        (torch, "torch.sparse_coo_tensor"),
        (torch.nn, "torch.nn.Nothing"),
        (torch.nn.functional, "torch.nn.functional.nothing"),
        (torch.optim, "torch.optim.Nothing"),
    ):
        with pytest.raises(AttributeError, match=f"^hookgrad has no {name}$"):
            getattr(module, name.rpartition(".")[2])


def test_the_stub_of_nn_names_the_layers_that_are_loaded_at_once():
    nn = torch.nn
    stub = (Path(nn.__file__).parent / "__init__.pyi").read_text()
    starred = re.findall(r"^from \.modules\.(\w+) import \*", stub, re.M)
    named = {name for module in starred for name in vars(getattr(nn.modules, module))}
    assert {name for name in nn.modules.__all__ if name in vars(nn.modules)} - set(nn.modules._LATE) <= named
