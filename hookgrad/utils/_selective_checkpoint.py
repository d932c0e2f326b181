"""Checkpoints that keep some results: a policy says of each op whether its result is kept or computed again.

The first run goes under a mode that asks the policy and keeps copies of what is to be kept, the second under one that hands them
out, the n-th result of an op for its n-th call.

Source: https://docs.pytorch.org/docs/stable/checkpoint.html#torch.utils.checkpoint.create_selective_checkpoint_contexts
"""

import enum
from collections import defaultdict

from .. import _C
from .._ops import OpOverload, OpOverloadPacket, ops
from ._python_dispatch import TorchDispatchMode
from ._pytree import tree_map


class CheckpointPolicy(enum.Enum):
    """What becomes of an op's result: saved for backward, computed again, or saved in the CPU's memory (where it is here).

    PREFER_ and MUST_ differ only where a compiler overrides them; there is none here.
    """

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


class SelectiveCheckpointContext:
    """What a policy is told of the call besides the op and its arguments."""

    def __init__(self, *, is_recompute, op_output=None):
        self.is_recompute = is_recompute
        self.op_output = op_output


SAC_IGNORED_OPS = {ops.aten.detach.default}
_SAVING = (CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE)
_RECOMPUTE, _CONSUMED = object(), object()
_MISMATCH = (
    "This can happen if the operations in the checkpointed region are nondeterministic or depend on global state that changed "
    "between forward and backward."
)


class _Kept:
    """A tensor that was kept, and what its version was."""

    def __init__(self, value):
        self.value = value.detach() if isinstance(value, _C.Tensor) else value
        self.version = value._version if isinstance(value, _C.Tensor) else None

    def get(self, may_have_changed):
        if self.version is not None and not may_have_changed and self.value._version != self.version:
            raise RuntimeError("Tensor cached during selective activation checkpoint has been mutated")
        return self.value


class _Counting(TorchDispatchMode):
    """A mode that numbers the calls of each op."""

    def __init__(self, storage):
        super().__init__()
        self.storage = storage  # op -> number of the call -> what was kept
        self.n_calls = defaultdict(int)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in SAC_IGNORED_OPS:
            return func(*args, **kwargs)
        n = self.n_calls[func]
        self.n_calls[func] += 1
        return self.call(n, func, args, kwargs)


class _CachingTorchDispatchMode(_Counting):
    def __init__(self, policy_fn, storage):
        super().__init__(storage)
        self.policy_fn = policy_fn

    def call(self, n, func, args, kwargs):
        out = func(*args, **kwargs)
        policy = self.policy_fn(SelectiveCheckpointContext(is_recompute=False, op_output=out), func, *args, **kwargs)
        if isinstance(policy, bool):
            policy = CheckpointPolicy.MUST_SAVE if policy else CheckpointPolicy.PREFER_RECOMPUTE
        self.storage[func][n] = tree_map(_Kept, out) if policy in _SAVING else _RECOMPUTE
        return out


class _CachedTorchDispatchMode(_Counting):
    def __init__(self, policy_fn, storage, allow_cache_entry_mutation=False):
        super().__init__(storage)
        self.allow_cache_entry_mutation = allow_cache_entry_mutation

    def __enter__(self):
        self.n_calls.clear()
        return super().__enter__()

    def call(self, n, func, args, kwargs):
        if func not in self.storage:
            raise RuntimeError(f"{func} encountered during backward but not found in storage. {_MISMATCH}")
        kept = self.storage[func].get(n)
        if kept is None:
            raise RuntimeError(
                f"{func} invocation index {n} encountered during backward but not found in storage. {_MISMATCH}"
            )
        if kept is _RECOMPUTE:
            return func(*args, **kwargs)
        if kept is _CONSUMED:
            raise RuntimeError(
                "Trying to backward an extra time. You are only allowed to backward once on any region computed under "
                "selective activation checkpoint."
            )
        self.storage[func][n] = _CONSUMED
        return tree_map(lambda one: one.get(self.allow_cache_entry_mutation), kept)


def create_selective_checkpoint_contexts(policy_fn_or_list, allow_cache_entry_mutation=False):
    """Two contexts, for the first and the second run of a checkpoint: for its `context_fn`.

    The policy is a list of the ops whose results are kept, or a function of (context, op, *args, **kwargs) that returns a
    CheckpointPolicy, or True to save.

    >>> import functools
    >>> import hookgrad as torch
    >>> from hookgrad.utils.checkpoint import checkpoint
    >>> keep = functools.partial(create_selective_checkpoint_contexts, [torch.ops.aten.mm.default])
    >>> x = torch.ones(2, 2, requires_grad=True)
    >>> checkpoint(lambda x: (x @ x).sigmoid(), x, use_reentrant=False, context_fn=keep).sum().backward()
    """
    if isinstance(policy_fn_or_list, list):
        for op in policy_fn_or_list:
            if not isinstance(op, OpOverload):
                advice = ""
                if isinstance(op, OpOverloadPacket):
                    advice = (
                        "Please update the OpOverloadPacket to a specific OpOverload.For example, if you have "
                        "`torch.ops.aten.mm`, change it to `torch.ops.aten.mm.default`."
                    )
                raise ValueError(
                    f"Expected op in `op_list` to be an OpOverload but got: {op} of type {type(op)}. {advice}"
                )

        def policy_fn(context, op, *args, **kwargs):
            return op in policy_fn_or_list

    elif callable(policy_fn_or_list):
        policy_fn = policy_fn_or_list
    else:
        raise TypeError("policy_fn_or_list must be either a function or a list of ops.")
    storage = defaultdict(dict)
    return _CachingTorchDispatchMode(policy_fn, storage), _CachedTorchDispatchMode(
        None, storage, allow_cache_entry_mutation
    )
