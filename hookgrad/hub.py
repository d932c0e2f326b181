"""Models from a folder with a `hubconf.py`, and weights from a URL.

Source: https://docs.pytorch.org/docs/stable/hub.html
"""

import os
import re
import sys
from contextlib import contextmanager
from urllib.parse import urlparse

import hookgrad

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")  # the start of a file's SHA-256, before the suffix of its name
READ_DATA_CHUNK = 128 * 1024
_dir = None


def get_dir():
    """The folder for what is downloaded: as set_dir() said, or `hub` in $TORCH_HOME or in the user's cache."""
    return os.path.join(_get_torch_home(), "hub") if _dir is None else _dir


def _get_torch_home():
    cache = os.path.join(os.getenv("XDG_CACHE_HOME", "~/.cache"), "torch")
    return os.path.expanduser(os.getenv("TORCH_HOME", cache))


def set_dir(d):
    """Set the folder for what is downloaded."""
    global _dir
    _dir = os.path.expanduser(d)


# ---- Models --------------------------------------------------------------------------------------------------------


def list(github, force_reload=False, skip_validation=False, trust_repo=None, verbose=True, *, source="local"):
    """The names of the models in a folder: the functions of its `hubconf.py` that do not begin with `_`."""
    with _hubconf(github, source) as hubconf:
        return [name for name in dir(hubconf) if callable(getattr(hubconf, name)) and not name.startswith("_")]


def help(github, model, force_reload=False, skip_validation=False, trust_repo="check", *, source="local"):
    """The docstring of a model's function."""
    with _hubconf(github, source) as hubconf:
        return _entry(hubconf, model).__doc__


def load(
    repo_or_dir,
    model,
    *args,
    source="github",
    trust_repo=None,
    force_reload=False,
    verbose=True,
    skip_validation=False,
    **kwargs,
):
    """What the function `model` of the folder's `hubconf.py` returns; with `source="local"` only.

    Raises ValueError for another source, NotImplementedError for "github", RuntimeError where there is no such function.
    """
    with _hubconf(repo_or_dir, source) as hubconf:
        return _entry(hubconf, model)(*args, **kwargs)


@contextmanager
def _hubconf(folder, source):
    """The folder's `hubconf.py` as a module, with the folder on sys.path."""
    from importlib.util import module_from_spec, spec_from_file_location

    source = source.lower()
    if source not in ("github", "local"):
        raise ValueError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    if source == "github":
        raise NotImplementedError('hookgrad loads models from folders only: give the folder, and source="local"')
    sys.path.insert(0, folder)
    try:
        spec = spec_from_file_location("hubconf.py", os.path.join(folder, "hubconf.py"))
        hubconf = module_from_spec(spec)
        spec.loader.exec_module(hubconf)
        yield hubconf
    finally:
        sys.path.remove(folder)


def _entry(hubconf, name):
    from importlib.util import find_spec

    if not isinstance(name, str):
        raise ValueError("Invalid input: model should be a string of function name")
    missing = [package for package in getattr(hubconf, "dependencies", ()) if find_spec(package) is None]
    if missing:
        raise RuntimeError(f"Missing dependencies: {', '.join(missing)}")
    entry = getattr(hubconf, name, None)
    if not callable(entry):
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return entry


# ---- Weights -------------------------------------------------------------------------------------------------------


def download_url_to_file(url, dst, hash_prefix=None, progress=True):
    """Save what is at the URL as the file `dst`, once all of it has come.

    Raises RuntimeError where its SHA-256 does not begin with `hash_prefix`, URLError where nothing comes.
    """
    import hashlib
    import shutil
    import tempfile
    from urllib.request import Request, urlopen

    dst = os.path.expanduser(dst)
    digest = hashlib.sha256()
    with urlopen(Request(url, headers={"User-Agent": "torch.hub"})) as source:
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(dst) or ".", suffix=".partial", delete=False) as partial:
            while chunk := source.read(READ_DATA_CHUNK):
                partial.write(chunk)
                digest.update(chunk)
    try:
        if not digest.hexdigest().startswith(hash_prefix or ""):
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{digest.hexdigest()}")')
        shutil.move(partial.name, dst)
    finally:
        if os.path.exists(partial.name):
            os.remove(partial.name)


def load_state_dict_from_url(
    url, model_dir=None, map_location=None, progress=True, check_hash=False, file_name=None, weights_only=False
):
    """What torch.load() makes of the file at the URL, which is kept in `model_dir` and downloaded once.

    With `check_hash` the name of the file holds the start of its SHA-256: `resnet18-5c106cde.pth`.
    """
    model_dir = os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir
    os.makedirs(model_dir, exist_ok=True)
    name = file_name or os.path.basename(urlparse(url).path)
    kept = os.path.join(model_dir, name)
    if not os.path.exists(kept):
        sys.stdout.write(f'Downloading: "{url}" to {kept}\n')
        found = HASH_REGEX.search(name) if check_hash else None
        download_url_to_file(url, kept, found.group(1) if found else None, progress)
    return hookgrad.load(kept, map_location=map_location, weights_only=weights_only)


class _Faketqdm:
    """What stands for tqdm where it is not installed: an iterable, a context and a counter that shows nothing."""

    def __init__(self, iterable=(), *args, **kwargs):
        self.iterable, self.n = iterable, 0

    def __iter__(self):
        return iter(self.iterable)

    def update(self, n=1):
        self.n += n

    def close(self):
        pass

    set_description = set_postfix = lambda self, *args, **kwargs: None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return False


def __getattr__(name):
    if name != "tqdm":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from tqdm.auto import tqdm
    except ImportError:
        tqdm = _Faketqdm
    return tqdm
