"""The stream of random numbers every function draws from unless it is given a generator.

Source: https://docs.pytorch.org/docs/stable/random.html
"""

import copyreg

from ._C import Generator, default_generator


def _generator_of(state):
    generator = Generator()
    generator.set_state(state)
    return generator


copyreg.pickle(Generator, lambda generator: (_generator_of, (generator.get_state(),)))


def manual_seed(seed):
    """Start the stream again from a seed: the numbers that follow are PyTorch's.

    >>> import hookgrad as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    return default_generator.manual_seed(int(seed))


def seed():
    """Start the stream again from a seed of the system's, and return it."""
    return default_generator.seed()


def initial_seed():
    """The seed the stream was last started from."""
    return default_generator.initial_seed()


def get_rng_state():
    """Where the stream stands, as a tensor of bytes."""
    return default_generator.get_state()


def set_rng_state(new_state):
    """Go back to where the stream stood."""
    default_generator.set_state(new_state)


def thread_safe_generator():
    """The generator of a DataLoader's thread: there are no such threads, and None stands for the stream of all."""
    return None


class fork_rng:
    """Whatever is drawn inside the block, the stream goes on after it as if nothing had been."""

    def __init__(self, devices=None, enabled=True, _caller="fork_rng", _devices_kw="devices", device_type="cpu"):
        self._enabled = enabled

    def __enter__(self):
        self._state = get_rng_state() if self._enabled else None

    def __exit__(self, *exc):
        if self._enabled:
            set_rng_state(self._state)

    def __call__(self, function):
        from functools import wraps

        @wraps(function)
        def wrapped(*args, **kwargs):
            with fork_rng(enabled=self._enabled):
                return function(*args, **kwargs)

        return wrapped
