"""Sequences of unequal length: padded to one length, or packed one step after another.

Source: https://docs.pytorch.org/docs/stable/nn.html#utilities
"""

from collections import namedtuple

import hookgrad

from .._whole import one_node

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]

PackedSequence_ = namedtuple("PackedSequence_", ["data", "batch_sizes", "sorted_indices", "unsorted_indices"])


class PackedSequence(PackedSequence_):
    """The steps of several sequences side by side: first the first step of all of them, then the second ...

    `data` (sum of lengths, *) holds them, `batch_sizes` says how many sequences have a step of each number. The sequences
    are in the order of their lengths, longest first; `sorted_indices` says where each came from, `unsorted_indices` where
    it went, both None where the order has not changed. pack_sequence() and pack_padded_sequence() make them.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.PackedSequence.html
    """

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. They "
                "should be instantiated by functions like pack_sequence and pack_padded_sequences in nn.utils.rnn."
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def __getnewargs__(self):
        return tuple(self)

    def pin_memory(self):
        """The same sequences: there is no accelerator to copy to."""
        return self

    def to(self, *args, **kwargs):
        """The same sequences, their data converted as Tensor.to() does; itself where nothing changes."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else type(self)(data, *self[1:])

    def cuda(self, *args, **kwargs):
        """Fails as Tensor.cuda() does."""
        return type(self)(self.data.cuda(*args, **kwargs), *self[1:])

    def cpu(self, *args, **kwargs):
        """Itself."""
        return self

    def double(self):
        """Its data as float64."""
        return self.to(dtype=hookgrad.double)

    def float(self):
        """Its data as float32."""
        return self.to(dtype=hookgrad.float)

    def half(self):
        """Its data as float16."""
        return self.to(dtype=hookgrad.half)

    def long(self):
        """Its data as int64."""
        return self.to(dtype=hookgrad.long)

    def int(self):
        """Its data as int32."""
        return self.to(dtype=hookgrad.int)

    def short(self):
        """Its data as int16."""
        return self.to(dtype=hookgrad.short)

    def char(self):
        """Its data as int8."""
        return self.to(dtype=hookgrad.int8)

    def byte(self):
        """Its data as uint8."""
        return self.to(dtype=hookgrad.uint8)

    @property
    def is_cuda(self):
        """Is its data on an accelerator? Never."""
        return self.data.is_cuda

    def is_pinned(self):
        """Is its data's memory locked for an accelerator? Never."""
        return self.data.is_pinned()


def invert_permutation(permutation):
    """Where each place of a permutation went: the permutation that undoes it; None of None.

    >>> import hookgrad as torch
    >>> invert_permutation(torch.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    if permutation is None:
        return None
    return hookgrad.empty_like(permutation).scatter_(0, permutation, hookgrad.arange(permutation.numel()))


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Pack padded sequences (T, N, *), with `batch_first` (N, T, *), of the given lengths.

    They must come longest first unless `enforce_sorted` is False, which sorts them.

    >>> import hookgrad as torch
    >>> padded = torch.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
    >>> packed = pack_padded_sequence(padded, [2, 1, 3], batch_first=True, enforce_sorted=False)
    >>> packed.data, packed.batch_sizes
    (tensor([4, 1, 3, 5, 2, 6]), tensor([3, 2, 1]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pack_padded_sequence.html
    """
    lengths = hookgrad.as_tensor(lengths, dtype=hookgrad.int64)
    sorted_indices = None
    if not enforce_sorted:
        lengths, sorted_indices = hookgrad.sort(lengths, descending=True)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    if batch_first:
        input = input.transpose(0, 1)
    sizes = lengths.tolist()
    if input.dim() == 0 or input.shape[0] == 0 or input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if len(sizes) != input.shape[1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={input.shape[1]})"
        )
    if sizes[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if any(a < b for a, b in zip(sizes, sizes[1:])):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you do "
            "not need ONNX exportability."
        )
    batch_sizes = [sum(size > t for size in sizes) for t in range(sizes[0])]
    return PackedSequence(_packed(input, batch_sizes), hookgrad.tensor(batch_sizes), sorted_indices, None)


@one_node("PackPaddedSequenceBackward0", 0)
def _packed(input, batch_sizes):
    """The steps (sum of batch_sizes, *) of (T, N, *); those that as many sequences take part in are one piece."""
    pieces, start = [], 0
    for t in range(1, len(batch_sizes) + 1):
        if t == len(batch_sizes) or batch_sizes[t] != batch_sizes[start]:
            pieces.append(input[start:t, : batch_sizes[start]].reshape(-1, *input.shape[2:]))
            start = t
    return hookgrad.cat(pieces)


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """Padded sequences (T, N, *), with `batch_first` (N, T, *), from packed ones, and their lengths (N).

    T is `total_length` where that is given.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_packed_sequence.html
    """
    data, sizes = sequence.data, sequence.batch_sizes.tolist()
    steps = len(sizes)
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    padded = data.new_full((steps, sizes[0], *data.shape[1:]), padding_value)
    # The place of each packed step in the padded sequences.
    places = hookgrad.tensor([t * sizes[0] + n for t, size in enumerate(sizes) for n in range(size)])
    padded = padded.flatten(0, 1).index_copy(0, places, data).unflatten(0, (steps, sizes[0]))
    if batch_first:
        padded = padded.transpose(0, 1)
    lengths = hookgrad.tensor([sum(size > n for size in sizes) for n in range(sizes[0])])
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(0 if batch_first else 1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices]
    return padded, lengths


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Stack sequences (L, *) of unequal length, padded to the longest: (T, N, *), with `batch_first` (N, T, *).

    >>> import hookgrad as torch
    >>> pad_sequence([torch.tensor([1, 2]), torch.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_sequence.html
    """
    if not hasattr(type(sequences), "__iter__"):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    sequences = tuple(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    longest, rest = max(len(s) for s in sequences), sequences[0].shape[1:]
    lead = (len(sequences), longest) if batch_first else (longest, len(sequences))
    padded = sequences[0].new_full((*lead, *rest), padding_value)
    for row, s in zip(range(len(sequences)), sequences):
        start = longest - len(s) if padding_side == "left" else 0
        along = slice(start, start + len(s))
        padded[(row, along) if batch_first else (along, row)] = s
    return padded


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The sequences of the given lengths (N) that stand padded in (T, N, *), with `batch_first` (N, T, *).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.unpad_sequence.html
    """
    if not batch_first:
        padded_sequences.transpose_(0, 1)
    places = hookgrad.arange(padded_sequences.shape[1])
    return [s[places < n] for s, n in zip(padded_sequences, lengths, strict=True)]


def pack_sequence(sequences, enforce_sorted=True):
    """Pack sequences (L, *), longest first unless `enforce_sorted` is False.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pack_sequence.html
    """
    lengths = hookgrad.as_tensor([s.size(0) for s in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The sequences that were packed, in their old order.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.unpack_sequence.html
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
