"""hookgrad in torch's place.

After `install()`, `import torch` gives the module object `hookgrad`, `import torch.nn.functional` gives
`hookgrad.nn.functional`, and so on for every name; an installed PyTorch is not looked for. A name hookgrad lacks fails
where it is used, under its PyTorch name. Classes and functions answer to their PyTorch names too: `nn.Linear` prints as
`<class 'torch.nn.modules.linear.Linear'>`, and a pickle written here names torch's modules.
"""

import importlib
import sys
from dis import opmap
from importlib.machinery import ModuleSpec, PathFinder
from types import BuiltinFunctionType, FunctionType, ModuleType

from ._C import _ops_of_torch, _Package

HERE = __package__  # "hookgrad"
THERE = "torch"
FUNCTORCH = "functorch"  # a package of its own that comes with torch
SPAWN = "multiprocessing.spawn"
IMPORTED = """_custom_ops _dynamo.config _guards _inductor _inductor.config _logging _subclasses _subclasses.fake_tensor
    distributed.elastic distributed.elastic.multiprocessing distributed.elastic.multiprocessing.errors distributed.nn
    fx.experimental fx.experimental.proxy_tensor fx.graph fx.graph_module fx.interpreter fx.node fx.proxy onnx.symbolic_helper onnx.symbolic_opset11""".split()

# What PyTorch's modules import, and programs take from them or look for there: each name's home.
TAKEN = {
    **dict.fromkeys(
        "Any Callable Iterable Iterator List Mapping Optional Sequence Tuple TypeVar Union cast".split(), "typing"
    ),
    **dict.fromkeys(("OrderedDict", "defaultdict", "deque", "namedtuple"), "collections"),
    **{
        name: name
        for name in """collections contextlib copy functools inspect itertools logging math os re sys threading torch types typing
        warnings weakref""".split()
    },
}


def install() -> None:
    """Put hookgrad in torch's place for the rest of the process."""
    if any(isinstance(finder, Finder) for finder in sys.meta_path):
        return
    for name in [n for n in sys.modules if n == THERE or n.startswith(THERE + ".")]:
        del sys.modules[name]
    sys.meta_path.insert(0, Finder())
    _ops_of_torch()
    for name, module in list(sys.modules.items()):
        if is_ours(name) and module is not None:
            present_as_torch(module)
    if SPAWN in sys.modules:
        hand_on(sys.modules[SPAWN])
    torch = importlib.import_module(THERE)
    version = importlib.import_module(THERE + ".torch_version").TorchVersion
    torch.__version__ = version(f"{torch.version.pytorch}+hookgrad{torch.version.__version__}")
    torch.version.__version__ = str(torch.__version__)


def is_ours(name: str) -> bool:
    return name == HERE or name.startswith(HERE + ".")


def torch_name(name: str) -> str:
    return THERE + name[len(HERE) :]


class Finder:
    """Answers for `torch` and everything below it, and watches hookgrad's own modules as they load."""

    def find_spec(self, name, path=None, target=None):
        if name == THERE or name.startswith(THERE + ".") or name == FUNCTORCH:
            ours = f"{HERE}.{name}" if name == FUNCTORCH else HERE + name[len(THERE) :]
            if name[len(THERE) + 1 :] in IMPORTED:
                ours = HERE + "._imported"
            # Parts of amp, cuda.amp and cuda, whose names are those modules' own
            if name.endswith((".autocast_mode", ".grad_scaler", "cuda.memory", "cuda.random")):
                ours = ours.rpartition(".")[0]
            try:
                module = importlib.import_module(ours)
            except ModuleNotFoundError as error:
                if error.name != ours:
                    raise
                raise missing(ModuleNotFoundError, name, name=name) from None
            sys.modules.pop(name, None)  # or the import would take its spec for the answer, and run it again
            return ModuleSpec(name, Alias(module), is_package=hasattr(module, "__path__"))
        if is_ours(name):
            spec = PathFinder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = Watched(spec.loader, present_as_torch)
            return spec
        if name == SPAWN:
            spec = PathFinder.find_spec(name, path, target)
            spec.loader = Watched(spec.loader, hand_on)
            return spec
        return None

    @staticmethod
    def find_distributions(context):
        """What importlib.metadata asks of the installed `torch`: its version is hookgrad's."""
        if context.name is None or context.name.lower() != THERE:
            return ()
        from importlib.metadata import Distribution

        class Torch(Distribution):
            def read_text(self, filename):
                version = importlib.import_module(THERE).__version__
                return f"Metadata-Version: 2.1\nName: {THERE}\nVersion: {version}\n" if filename == "METADATA" else None

            def locate_file(self, path):
                return path

        return (Torch(),)


class Alias:
    """A loader that hands out a module that is loaded already."""

    def __init__(self, module):
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec):
        return self.module

    def exec_module(self, module):
        module.__spec__ = self.spec  # importlib has put the alias's own there


class Watched:
    """A loader that has its module changed by a function once it has run."""

    def __init__(self, loader, change):
        self.loader = loader
        self.change = change

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        self.change(module)


class InTheChild:
    """Pickles as a call of `install()`."""

    def __reduce__(self):
        return install, ()


def hand_on(spawn) -> None:
    """Have processes that multiprocessing spawns, rather than forks, install hookgrad before they load the script."""
    install.__module__ = f"{HERE}._standin"  # the name by which pickle finds it in a process without `torch`
    prepare = spawn.get_preparation_data
    spawn.get_preparation_data = lambda name: {HERE: InTheChild(), **prepare(name)}


def names_of(module) -> dict:
    """A module's own dict: vars() would load what comes late where a module sees to that."""
    return ModuleType.__dict__["__dict__"].__get__(module)


def rename(names: dict, kinds) -> None:
    """Say of the functions and classes that these names have, and of the classes' methods, that they are torch's."""
    for value in list(names.values()):
        value = getattr(value, "__func__", value)  # of a static or class method
        home = getattr(value, "__module__", None)
        if isinstance(value, kinds) and isinstance(home, str) and is_ours(home):
            public = isinstance(value, BuiltinFunctionType) and value.__name__[0] != "_"
            line = vars(value).get("__firstlineno__") if isinstance(value, type) else None
            try:
                value.__module__ = THERE if public else torch_name(home)
            except TypeError:
                pass  # an immutable type of the extension, of which a script sees no name
            if line is not None:
                value.__firstlineno__ = line  # which Python 3.13 forgets with the old name
            if isinstance(value, type):
                rename(vars(value), FunctionType)


def present_as_torch(module) -> None:
    """Rename what the module defines and the module itself, and let a name it lacks fail under PyTorch's name."""
    rename(names_of(module), (type, FunctionType, BuiltinFunctionType))
    if not module.__name__.rpartition(".")[2].startswith("_"):
        # No setattr: layers would look for what a program has replaced.
        names_of(module)["__getattr__"] = Missing(module)
        if type(module) is ModuleType:
            module.__class__ = _Package
    module.__name__ = torch_name(module.__name__)
    sys.modules.setdefault(module.__name__, module)  # where the `__module__` of its classes says that it is


class Missing:
    """A module's `__getattr__`: what the module itself finds late, or an error that says what hookgrad lacks."""

    def __init__(self, module):
        self.name = torch_name(module.__name__)
        self.late = names_of(module).get("__getattr__")

    def __call__(self, attr):
        if self.late is not None:
            try:
                return self.late(attr)
            except AttributeError:
                pass
        if attr in TAKEN and self.name != THERE:
            home = importlib.import_module(TAKEN[attr])
            return home if TAKEN[attr] == attr else getattr(home, attr)
        if attr.startswith("__"):
            raise AttributeError(f"module {self.name!r} has no attribute {attr!r}")
        full = f"{self.name}.{attr}"
        if imports_from(sys._getframe(1)):
            raise missing(ImportError, full, name=self.name)
        raise missing(AttributeError, full, name=attr, obj=sys.modules.get(self.name))


def imports_from(frame) -> bool:
    """Whether the frame stands at `from ... import ...`, which would turn an AttributeError into words of its own."""
    return frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]


def missing(kind, full_name: str, **more):
    return kind(f"hookgrad has no {full_name}", **more)
