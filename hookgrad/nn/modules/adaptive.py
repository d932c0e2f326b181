"""Softmax over many classes, frequent ones first."""

from collections import namedtuple

import hookgrad

from .. import functional as F
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of classes in clusters: the frequent ones are in the head, the others each in a tail of its own.

    `cutoffs` are the first classes of the tails, whose inner width is in_features / div_value ** i. Input (N, in_features)
    or (in_features), target (N) or (); returns the target's log-probabilities and their mean, negated, as `output` and
    `loss`.

    >>> import hookgrad as torch
    >>> asm = AdaptiveLogSoftmaxWithLoss(16, 20, cutoffs=[5, 10])
    >>> asm(torch.randn(3, 16), torch.tensor([0, 7, 19])).output.shape, asm.log_prob(torch.randn(3, 16)).shape
    (torch.Size([3]), torch.Size([3, 20]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveLogSoftmaxWithLoss.html
    """

    def __init__(self, in_features, n_classes, cutoffs, div_value=4.0, head_bias=False, device=None, dtype=None):
        super().__init__()
        like = {"device": device, "dtype": dtype}
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        is_increasing = all(a < b for a, b in zip(cutoffs, cutoffs[1:]))
        if not is_increasing or cutoffs[0] <= 0 or cutoffs[-1] > n_classes - 1 or any(int(c) != c for c in cutoffs):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value "
                "is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, **like)
        self.tail = ModuleList()
        for i, (first, last) in enumerate(zip(self.cutoffs, self.cutoffs[1:])):
            width = int(in_features // div_value ** (i + 1))
            narrow = Linear(in_features, width, bias=False, **like)
            self.tail.append(Sequential(narrow, Linear(width, last - first, bias=False, **like)))

    def reset_parameters(self):
        """Draw all weights anew."""
        self.head.reset_parameters()
        for narrow, wide in self.tail:
            narrow.reset_parameters()
            wide.reset_parameters()

    @staticmethod
    def _check(input, target):
        if target.dim() > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target.dim() == 1 and input.size(0) != target.size(0):
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if input.dim() != target.dim() + 1:
            raise RuntimeError(
                f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found inputs with size "
                f"{input.size()}"
            )

    def forward(self, input_, target_):
        self._check(input_, target_)
        is_batched = target_.dim() > 0
        input = input_ if is_batched else input_.unsqueeze(0)
        target = target_ if is_batched else target_.unsqueeze(0)
        n = target.size(0)
        output = input.new_zeros(n)
        in_head = target.new_empty(n)
        n_found = 0
        for i, (first, last) in enumerate(zip([0, *self.cutoffs], self.cutoffs)):
            is_here = (target >= first) & (target < last)
            rows = is_here.nonzero().squeeze()
            if rows.numel() == 0:
                continue
            n_found += rows.numel()
            if i == 0:
                in_head.index_copy_(0, rows, target[is_here])
                continue
            log_prob = F.log_softmax(self.tail[i - 1](input.index_select(0, rows)), dim=1)
            in_head.index_fill_(0, rows, self.shortlist_size + i - 1)
            local = log_prob.gather(1, (target[is_here] - first).unsqueeze(1))
            output.index_copy_(0, rows, local.squeeze(1))
        if n_found != n:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )
        head = F.log_softmax(self.head(input), dim=1)
        output += head.gather(1, in_head.unsqueeze(1)).squeeze()
        loss = (-output).mean()
        return _ASMoutput(output if is_batched else output.squeeze(0), loss)

    def _get_full_log_prob(self, input, head_output):
        out = input.new_empty((head_output.size(0), self.n_classes))
        head = F.log_softmax(head_output, dim=1)
        size = self.shortlist_size
        out[:, :size] = head[:, :size]
        for i, (first, last) in enumerate(zip(self.cutoffs, self.cutoffs[1:])):
            log_prob = F.log_softmax(self.tail[i](input), dim=1)
            out[:, first:last] = log_prob + head[:, size + i].unsqueeze(1)
        return out

    def log_prob(self, input):
        """The log-probabilities of all classes, (N, n_classes)."""
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input):
        """The most probable class of each row, (N)."""
        head_output = self.head(input)
        output = hookgrad.argmax(head_output, dim=1)
        is_tail = output >= self.shortlist_size
        if bool(is_tail.any()):
            log_prob = self._get_full_log_prob(input[is_tail], head_output[is_tail])
            output[is_tail] = hookgrad.argmax(log_prob, dim=1)
        return output
