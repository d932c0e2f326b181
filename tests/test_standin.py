"""`python -m hookgrad SCRIPT` shows a PyTorch script what plain Python and PyTorch would show it."""

import pytest


def output(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_torch_modules_are_hookgrad_modules(run_script):
    source = """
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim
import torch.utils.data
from torch import Tensor, optim
from torch.nn.parameter import Parameter
import hookgrad
print(torch is hookgrad, nn is hookgrad.nn, F is hookgrad.nn.functional, optim is hookgrad.optim)
print(Parameter is nn.Parameter, Tensor is hookgrad.Tensor, torch.utils.data is hookgrad.utils.data)
print(sys.modules["torch.nn.functional"] is sys.modules["hookgrad.nn.functional"])
print(hookgrad.__spec__.name, hookgrad.nn.__spec__.name)
"""
    assert output(run_script(source)) == ["True True True True", "True True True", "True", "hookgrad hookgrad.nn"]


def test_names_print_as_pytorch_prints_them(run_script):
    source = """
import torch
from torch import nn, optim
print(nn.Linear, nn.Module, nn.Conv2d, nn.Sequential, optim.SGD)
print(torch.Tensor, nn.Parameter, torch.Size)
print(torch.float32, torch.device("cpu"), repr(torch.device("cpu")))
print(type(torch.ones(1)), type(nn.Linear(1, 1).weight), type(torch.ones(1).shape))
print(type(torch.ones(1, 1).max(1)), type(torch.aminmax(torch.ones(1))))
leaves, _ = torch.utils._pytree.tree_flatten(torch.ones(1, 1).sort())
print(len(leaves))
"""
    assert output(run_script(source)) == [
        "<class 'torch.nn.modules.linear.Linear'> <class 'torch.nn.modules.module.Module'> "
        "<class 'torch.nn.modules.conv.Conv2d'> <class 'torch.nn.modules.container.Sequential'> "
        "<class 'torch.optim.sgd.SGD'>",
        "<class 'torch.Tensor'> <class 'torch.nn.parameter.Parameter'> <class 'torch.Size'>",
        "torch.float32 cpu device(type='cpu')",
        "<class 'torch.Tensor'> <class 'torch.nn.parameter.Parameter'> <class 'torch.Size'>",
        "<class 'torch.return_types.max'> <class 'torch.return_types.aminmax'>",
        "2",
    ]


def test_import_hookgrad_as_torch_needs_no_standin(run_python):
    source = """
import hookgrad as torch
from hookgrad import nn
import hookgrad.nn.functional as F
x = torch.ones(2, requires_grad=True)
F.relu(nn.Identity()(x)).sum().backward()
print(x.grad)
"""
    assert output(run_python("-c", source)) == ["tensor([1., 1.])"]


def test_a_script_replaces_nothing_by_being_run(run_script):
    """Layers in C would run in Python (Note [Layers in Python])."""
    source = """
import torch
from hookgrad.nn import _layers
_layers.table.clear()
print(torch.nn.ReLU()(torch.ones(1)))
torch.relu = None
try:
    torch.nn.ReLU()(torch.ones(1))
except KeyError as error:
    print(error)
"""
    assert output(run_script(source)) == ["tensor([1.])", "'relu'"]


@pytest.mark.parametrize(
    "code, error",
    [
        ("import torch; torch.foo", "AttributeError: hookgrad has no torch.foo"),
        ("import torch; torch.nn.functional.foo(1)", "AttributeError: hookgrad has no torch.nn.functional.foo"),
        ("import torch.nn as nn; nn.Foo(3)", "AttributeError: hookgrad has no torch.nn.Foo"),
        ("from torch import foo", "ImportError: hookgrad has no torch.foo"),
        ("from torch.nn import Foo", "ImportError: hookgrad has no torch.nn.Foo"),
        ("from torch.nn.functional import foo", "ImportError: hookgrad has no torch.nn.functional.foo"),
        ("import torch.foo", "ModuleNotFoundError: hookgrad has no torch.foo"),
        ("import torch.nn.foo as foo", "ModuleNotFoundError: hookgrad has no torch.nn.foo"),
        ("from torch.foo.bar import baz", "ModuleNotFoundError: hookgrad has no torch.foo"),
    ],
)
def test_missing_name_fails_where_it_is_used_under_its_pytorch_name(code, error, run_script):
    done = run_script(f"print('before')\n{code}\nprint('after')\n")
    assert done.stdout == "before\n"
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[-1].split(". Did you mean")[0] == error
    assert lines[1].endswith('script.py", line 2, in <module>')
    assert not any("hookgrad/" in line for line in lines)


def test_missing_name_can_be_asked_for(run_script):
    source = """
import torch
print(hasattr(torch, "foo"), getattr(torch, "foo", None), hasattr(torch.nn, "Foo"))
try:
    from torch import foo
except ImportError as error:
    print(error)
"""
    assert output(run_script(source)) == ["False None False", "hookgrad has no torch.foo"]


def test_installed_pytorch_is_not_touched(run_python, tmp_path):
    (tmp_path / "site" / "torch").mkdir(parents=True)
    (tmp_path / "site" / "torch" / "__init__.py").write_text("raise SystemExit('this is the installed torch')")
    (tmp_path / "script.py").write_text("import torch, torch.nn\nprint(torch.__spec__.name)\n")
    done = run_python("-c", PATH_FIRST, tmp_path / "site", tmp_path / "script.py")
    assert output(done) == ["hookgrad"]


PATH_FIRST = """
import runpy, sys
sys.path.insert(1, sys.argv[1])
sys.argv[1:2] = []
runpy.run_module("hookgrad", run_name="__main__", alter_sys=True)
"""


def test_script_sees_its_own_main(run_script, tmp_path):
    source = """
import os, pickle, sys
class Mine: pass
print(__name__, os.path.basename(__file__), __spec__, __doc__, sys.argv[1:])
print(sys.path[0] == os.path.dirname(os.path.realpath(__file__)))
print(type(pickle.loads(pickle.dumps(Mine()))) is Mine, sys.modules["__main__"].Mine is Mine)
import beside
"""
    (tmp_path / "beside.py").write_text("print('imported from beside the script')")
    assert output(run_script(source, "a", "--b")) == [
        "__main__ script.py None None ['a', '--b']",
        "True",
        "True True",
        "imported from beside the script",
    ]


@pytest.mark.parametrize(
    "source",
    [
        "1 / 0",
        "def f():\n    raise KeyError('x')\nf()",
        "x = (",
        "raise SystemExit(7)",
        "raise SystemExit('words')",
        "import sys\nsys.exit()",
        "try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError('second') from e",
        "import atexit\natexit.register(print, 'at exit')\nraise RuntimeError",
        "raise KeyboardInterrupt",
        "import sys\nsys.excepthook = lambda kind, error, tb: print('hooked', kind.__name__, tb.tb_lineno)\n1 / 0",
    ],
)
def test_a_script_ends_as_under_plain_python(source, run_script, run_python, tmp_path):
    ours, plain = run_script(source), run_python(tmp_path / "script.py")
    assert (ours.returncode, ours.stdout, ours.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_the_usage_is_an_answer_or_a_complaint(run_python):
    asked, wrong = run_python("-m", "hookgrad", "--help"), run_python("-m", "hookgrad")
    assert (asked.returncode, asked.stderr) == (0, "") and asked.stdout.startswith("usage:")
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", asked.stdout)


def test_script_that_is_not_there(run_python):
    done = run_python("-m", "hookgrad", "nowhere.py")
    assert done.returncode == 2
    assert "can't open file" in done.stderr and "[Errno 2] No such file or directory" in done.stderr


def test_code_module_and_standard_input(run_python, tmp_path):
    code = "import sys, torch; print(torch.ones(1), sys.argv)"
    assert output(run_python("-m", "hookgrad", "-c", code, "a")) == ["tensor([1.]) ['-c', 'a']"]
    assert output(run_python("-m", "hookgrad", "-", "a", input=code)) == ["tensor([1.]) ['-', 'a']"]
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "__main__.py").write_text("import sys, torch\nprint(__name__, torch.ones(1), sys.argv[1:])")
    assert output(run_python("-m", "hookgrad", "-m", "inside", "a")) == ["__main__ tensor([1.]) ['a']"]


def test_builtin_functions_are_torchs(run_script):
    source = """
import pickle, torch
print(torch.tensor.__module__, torch.is_grad_enabled.__module__, torch._C._set_grad_enabled.__module__)
print(b"hookgrad" in pickle.dumps(torch.from_numpy), pickle.loads(pickle.dumps(torch.from_numpy)) is torch.from_numpy)
"""
    assert output(run_script(source)) == ["torch torch torch._C", "False True"]


def test_pickles_name_torchs_modules_and_load_again(run_script):
    source = """
import pickle, pickletools
import torch
from torch import nn
data = pickle.dumps(nn.Linear(2, 1))
print(b"hookgrad.nn" in data, b"torch.nn.modules.linear" in data)
print(pickle.loads(data))
"""
    assert output(run_script(source)) == ["False True", "Linear(in_features=2, out_features=1, bias=True)"]


def test_frames_of_the_package_stay_in_tracebacks_that_run_through_it(run_script):
    done = run_script("import torch\ntorch.nn.Linear(2, 3)(torch.ones(1, 5))\n")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert 'script.py", line 2, in <module>' in done.stderr
    assert "__main__.py" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("RuntimeError: ")


def test_the_version_is_that_of_the_pytorch_it_stands_for(run_script):
    done = run_script(
        "import torch\n"
        "print([int(n) for n in torch.__version__.split('+')[0].split('.')] >= [2, 0], torch.version.cuda)\n"
        "print(torch.__version__ == torch.version.__version__, torch.__version__)\n"
    )
    import hookgrad

    assert done.stdout == f"True None\nTrue 2.13.0+hookgrad{hookgrad.__version__}\n", done.stderr


def test_the_version_of_the_installed_torch_can_be_asked_for(run_script):
    source = """
import importlib.metadata, torch
print(importlib.metadata.version("torch") == torch.__version__)
print(importlib.metadata.distribution("torch").metadata["Name"])
try:
    importlib.metadata.version("torch-of-another-name")
except importlib.metadata.PackageNotFoundError:
    print("not found")
"""
    assert output(run_script(source)) == ["True", "torch", "not found"]


def test_the_version_compares_as_versions_do(run_script):
    source = """
import torch
from torch.torch_version import TorchVersion
v = torch.__version__
print(isinstance(v, TorchVersion), isinstance(v, str), v.split("+")[0])
print(v >= "2.6", v >= (2, 6), v > (1, 13, 1), v < "2.9", v <= (2, 9, 0), v != "2.6")
t = TorchVersion("2.13.0")
print(t == "2.13", t == (2, 13), t > "2.13.0a0", t < "2.13.0+cpu", t < "2.14.0.dev1", t >= "2.13.0rc1", t == "none")
print({t: 1}["2.13.0"], v.split(".")[:2], v.startswith("2."))
"""
    assert output(run_script(source)) == [
        "True True 2.13.0",
        "True True True False False True",
        "True True True True True True False",
        "1 ['2', '13'] True",
    ]


def test_processes_that_are_spawned_have_hookgrad_as_torch(run_script, tmp_path):
    source = """
import multiprocessing
import torch

def draw(queue):
    queue.put([torch.ones(2).sum().item(), torch.nn.Linear.__module__])

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=draw, args=(queue,))
    process.start()
    print(queue.get())
    process.join()
"""
    assert output(run_script(source)) == ["[2.0, 'torch.nn.modules.linear']"]


def test_modules_show_their_torch_names(run_script):
    source = """
import importlib, torch
import torch.nn.functional as F
print(torch.__name__, F.__name__, torch.optim.lr_scheduler.__name__)
print(importlib.import_module(".nn", torch.__name__) is torch.nn, importlib.import_module(F.__name__) is F)
"""
    assert output(run_script(source)) == ["torch torch.nn.functional torch.optim.lr_scheduler", "True True"]


def test_functorch_comes_with_torch(run_script):
    source = """
import torch
from functorch import combine_state_for_ensemble, make_functional, make_functional_with_buffers, vmap
net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).eval()
x = torch.ones(3, 2)
fn, params, buffers = make_functional_with_buffers(net)
print(torch.equal(fn(params, buffers, x), net(x)), len(params), len(buffers), params[0] is net[0].weight)
print(torch.equal(fn([torch.zeros_like(p) for p in params], buffers, x), torch.zeros(3, 2)))
try:
    make_functional(net)
except RuntimeError as error:
    print("has buffers" in str(error))
fn, params = make_functional(net[0], disable_autograd_tracking=True)
print(fn(params, x).requires_grad)
fn, params, buffers = combine_state_for_ensemble([torch.nn.Linear(2, 1) for _ in range(4)])
print(vmap(fn, (0, 0, None))(params, buffers, x).shape)
"""
    expected = ["True 4 3 False", "True", "True", "False", "torch.Size([4, 3, 1])"]
    assert output(run_script(source)) == expected


def test_the_dict_of_torch_optim_has_all_optimizers(run_script):
    source = """
import sys, torch
print("torch.optim.lbfgs" in sys.modules, "hookgrad.optim.lbfgs" in sys.modules)
found = [n for n, c in torch.optim.__dict__.items() if isinstance(c, type) and issubclass(c, torch.optim.Optimizer)]
print(sorted({"Adam", "LBFGS", "Muon", "SGD"} & set(found)), vars(torch.optim)["NAdam"] is torch.optim.NAdam)
"""
    assert output(run_script(source)) == ["False False", "['Adam', 'LBFGS', 'Muon', 'SGD'] True"]


def test_what_libraries_import_and_hardly_use_is_there(run_script):
    source = """
import torch, torch._custom_ops, torch.distributed.nn as dist_nn
from torch._subclasses.fake_tensor import is_fake
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.fx.graph_module import GraphModule, _CodeOnlyModule
from torch.utils.data._utils.collate import np_str_obj_array_pattern
from torch.onnx import symbolic_opset11
from torch.onnx.symbolic_helper import parse_args

print(is_fake(torch.ones(1)), get_proxy_mode(), GraphModule is torch.fx.GraphModule, parse_args("v")(is_fake) is is_fake)
print(torch.fx.node.Node is torch.fx.Node, torch.fx.proxy.Proxy is torch.fx.Proxy, torch.fx.node.Target is not None)
print(np_str_obj_array_pattern.search("<U3") is not None, np_str_obj_array_pattern.search("<f4"))

@torch.jit.interface
class Twice(torch.nn.Module):
    pass

print(Twice.__name__)
"""
    assert output(run_script(source)) == ["False None True True", "True True True", "True None", "Twice"]


def test_parts_of_cuda_and_names_of_traced_graphs_can_be_imported(run_script):
    source = """
import torch
print(torch.cuda.random.manual_seed(3), torch.cuda.memory.memory_allocated())
import torch.cuda.memory
from torch.cuda.random import manual_seed_all
from torch.jit import _get_trace_graph
def graph_of(module) -> torch._C.Graph:
    return _get_trace_graph(module)
try:
    graph_of(torch.nn.ReLU())
except NotImplementedError as error:
    print(error)
"""
    assert output(run_script(source)) == ["None 0", "hookgrad has no graphs of traced functions"]


def test_methods_and_types_in_errors_have_the_names_of_pytorch(run_script):
    source = """
import torch
from torch import nn
print(nn.Module.apply.__module__, torch.autograd.Function.apply.__module__, torch.optim.Optimizer.state_dict.__module__)
handle = torch.ones(1, requires_grad=True).register_hook(print)
for f in (torch.float32, torch.device("cpu"), torch.Size([1]), handle):
    try:
        f()
    except TypeError as error:
        print(error)
"""
    assert output(run_script(source)) == [
        "torch.nn.modules.module torch.autograd.function torch.optim.optimizer",
        "'torch.dtype' object is not callable",
        "'torch.device' object is not callable",
        "'torch.Size' object is not callable",
        "'RemovableHandle' object is not callable",
    ]


def test_the_forward_traceback_of_an_anomaly_begins_in_the_script(run_script):
    source = """
import torch, warnings
x = torch.zeros(1, requires_grad=True)
with warnings.catch_warnings(record=True) as caught, torch.autograd.detect_anomaly():
    warnings.simplefilter("always")
    y = x.sqrt() * 0
    try:
        y.backward()
    except RuntimeError:
        print(str(caught[-1].message).splitlines()[1].strip().split(", ")[1:])
"""
    assert output(run_script(source)) == ["['line 6', 'in <module>']"]


def test_modules_of_pytorch_that_are_part_of_another_here_can_be_imported(run_script):
    source = """
import torch, torch._inductor.config, torch._logging
from torch.amp.autocast_mode import autocast
from torch.cuda.amp.grad_scaler import GradScaler
from torch._subclasses import FakeTensor
from torch._guards import detect_fake_mode
from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, load

torch._dynamo.config.suppress_errors = True
torch._inductor.config.triton.unique_kernel_names = True
torch._logging.set_logs()
print(autocast is torch.amp.autocast, GradScaler is torch.cuda.amp.GradScaler, isinstance(torch.ones(1), FakeTensor))
print(torch.cuda.amp.autocast_mode.autocast is torch.cuda.amp.autocast, detect_fake_mode(torch.ones(1)), CUDA_HOME)
try:
    load("mine", sources=[])
except RuntimeError as error:
    print(error)
"""
    assert output(run_script(source)) == [
        "True True False",
        "True None None",
        "hookgrad has no libtorch to build mine against",
    ]


def test_classes_are_found_in_the_module_that_they_name(run_script):
    source = """
import inspect
import sys
import torch
from torch import nn
for c in (nn.Linear, torch.optim.SGD, torch.autograd.Function, torch.utils.hooks.RemovableHandle):
    print(getattr(sys.modules[c.__module__], c.__name__) is c, inspect.getmodule(c).__name__)
print(inspect.getsource(nn.Linear)[:16], nn.Linear.forward.__module__, nn.Linear(1, 1).forward.__module__)
import torch.optim.swa_utils  # loaded now, and once
print(sys.modules["torch.optim.swa_utils"] is sys.modules["hookgrad.optim.swa_utils"] is torch.optim.swa_utils)
"""
    assert output(run_script(source)) == [
        "True torch.nn.modules.linear",
        "True torch.optim.sgd",
        "True torch.autograd.function",
        "True torch.utils.hooks",
        "class Linear(Mod torch.nn.modules.linear torch.nn.modules.linear",
        "True",
    ]


def test_modules_have_what_pytorch_s_import(run_script):
    source = """
import collections
import torch
from torch.utils.hooks import OrderedDict, warnings, weakref
from torch.nn.modules.module import Optional, functools
print(OrderedDict is collections.OrderedDict, torch.utils.hooks.torch is torch, torch.autograd.graph.functools is functools)
print(hasattr(torch, "Optional"), hasattr(torch.utils.hooks, "io"))
"""
    assert output(run_script(source)) == ["True True True", "False False"]


def test_what_a_library_puts_on_object_hides_no_name_of_the_package(run_script):
    """nnsight gives every object a save()."""
    done = run_script("""
import ctypes, gc, torch
gc.get_referents(object.__dict__)[0]["save"] = lambda self: "mounted"
ctypes.pythonapi.PyType_Modified(ctypes.py_object(object))
print((3).save(), type(torch.save).__name__, torch.load is torch.serialization.load)
del gc.get_referents(object.__dict__)[0]["save"]
ctypes.pythonapi.PyType_Modified(ctypes.py_object(object))
""")
    assert done.stdout == "mounted function True\n"
