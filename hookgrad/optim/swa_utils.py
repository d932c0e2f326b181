"""Weights averaged over the course of training, and the learning rates and statistics that go with them.

Source: https://docs.pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema
"""

import math
from copy import deepcopy
from itertools import chain

import hookgrad

from ..nn.modules.batchnorm import _BatchNorm
from ..nn.modules.module import Module
from .lr_scheduler import LRScheduler, _for_each, _warn_get_lr_called_within_step

__all__ = [
    "AveragedModel",
    "SWALR",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _check_decay(decay):
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_avg_fn(decay=0.999):
    """A function of (average, current, n) that gives the running mean of which `decay` is kept."""
    _check_decay(decay)

    @hookgrad.no_grad()
    def ema_update(ema_param, current_param, num_averaged):
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_ema_multi_avg_fn(decay=0.999):
    """The same for lists of tensors, which it changes in place."""
    _check_decay(decay)

    @hookgrad.no_grad()
    def ema_update(ema_param_list, current_param_list, _):
        for average, current in zip(ema_param_list, current_param_list):
            if average.is_floating_point():
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(average * decay + current * (1 - decay))

    return ema_update


def get_swa_avg_fn():
    """A function of (average, current, n) that gives the mean of all, n of which are in the average."""

    @hookgrad.no_grad()
    def swa_update(averaged_param, current_param, num_averaged):
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def get_swa_multi_avg_fn():
    """The same for lists of floating tensors, which it changes in place."""

    @hookgrad.no_grad()
    def swa_update(averaged_param_list, current_param_list, num_averaged):
        for average, current in zip(averaged_param_list, current_param_list):
            average.lerp_(current, 1 / float(num_averaged + 1))

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of those it had at each `update_parameters`.

    The mean of all, unless `avg_fn` (of one tensor) or `multi_avg_fn` (of lists of them) says otherwise; with
    `use_buffers` the buffers are averaged too, else they are the model's.

    >>> import hookgrad as torch
    >>> model = torch.nn.Linear(1, 1)
    >>> average = AveragedModel(model)
    >>> for value in (1.0, 3.0):
    ...     torch.nn.init.constant_(model.weight, value).shape
    ...     average.update_parameters(model)
    torch.Size([1, 1])
    torch.Size([1, 1])
    >>> average.module.weight.item()
    2.0

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.swa_utils.AveragedModel.html
    """

    def __init__(self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", hookgrad.tensor(0, dtype=hookgrad.int64))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        """What the averaged model computes."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model):
        """Take the model's parameters into the average."""
        buffers = (lambda m: m.buffers()) if self.use_buffers else (lambda m: ())
        averages = [p.detach() for p in chain(self.module.parameters(), buffers(self.module))]
        currents = [p.detach() for p in chain(model.parameters(), buffers(model))]
        if self.n_averaged == 0:
            for average, current in zip(averages, currents):
                average.copy_(current)
        elif self.multi_avg_fn is not None:
            by_dtype = {}
            for average, current in zip(averages, currents):
                lists = by_dtype.setdefault(average.dtype, ([], []))
                lists[0].append(average)
                lists[1].append(current)
            for lists in by_dtype.values():
                self.multi_avg_fn(*lists, self.n_averaged)
        else:
            update = self.avg_fn or get_swa_avg_fn()
            for average, current in zip(averages, currents):
                average.copy_(update(average, current, self.n_averaged))
        if not self.use_buffers:
            for average, current in zip(self.module.buffers(), model.buffers()):
                average.detach().copy_(current.detach())
        self.n_averaged += 1


@hookgrad.no_grad()
def update_bn(loader, model, device=None):
    """Have the model's batch normalisations take their statistics from one pass over the loader.

    An item of the loader is an input, or a list or tuple of which the first is.
    """
    layers = {layer: layer.momentum for layer in model.modules() if isinstance(layer, _BatchNorm)}
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all batches
    if not layers:
        return
    was_training = model.training
    model.train()
    for batch in loader:
        batch = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(batch if device is None else batch.to(device))
    for layer, momentum in layers.items():
        layer.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From the present rate to `swa_lr` in `anneal_epochs` epochs, along a cosine or a line, and then constant.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.swa_utils.SWALR.html
    """

    def __init__(self, optimizer, swa_lr, anneal_epochs=10, anneal_strategy="cos", last_epoch=-1):
        for rate, group in zip(_for_each("swa_lr", swa_lr, optimizer.param_groups), optimizer.param_groups):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def anneal_func(self, t):
        """How much of the way is behind, at the part `t` of the time."""
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self):
        """The rates of this epoch."""
        _warn_get_lr_called_within_step(self)
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = (
            self.anneal_func(max(0, min(1, epoch / max(1, self.anneal_epochs)))) for epoch in (step - 1, step)
        )
        rates = []
        for group in self.optimizer.param_groups:
            rate, final = group["lr"], group["swa_lr"]
            start = final if before == 1 else (rate - before * final) / (1 - before)
            rates.append(final * now + start * (1 - now))
        return rates
