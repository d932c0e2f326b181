"""L-BFGS: Newton's method, with the curvature estimated from the last gradients."""

from functools import partial

import hookgrad

from .optimizer import Optimizer, _check_rate, _to_scalar


class LBFGS(Optimizer):
    """Up to `max_iter` changes of all parameters at once in one step, each after a call of the closure.

    `history_size` is how many earlier changes the curvature is estimated from. `line_search_fn="strong_wolfe"` looks
    along the direction for a good length; without it the length is `lr`. One group of parameters only.

    >>> import hookgrad as torch
    >>> p = torch.nn.Parameter(torch.tensor([3.0]))
    >>> optimizer = torch.optim.LBFGS([p])
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (p - 1).square().sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure)
    tensor(4., grad_fn=<SumBackward0>)
    >>> p.data
    tensor([1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.LBFGS.html
    """

    def __init__(
        self,
        params,
        lr=1,
        max_iter=20,
        max_eval=None,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        history_size=100,
        line_search_fn=None,
    ):
        _check_rate(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    # ---- all parameters as one vector ----------------------------------------------------------------------------

    def _gradient(self):
        grads = [hookgrad.zeros_like(p) if p.grad is None else p.grad for p in self._params]
        return hookgrad.cat([grad.view(-1) for grad in grads], 0)

    def _move(self, length, direction):
        start = 0
        for p in self._params:
            p.add_(direction[start : start + p.numel()].view_as(p), alpha=length)
            start += p.numel()

    def _trial(self, closure, start, length, direction):
        """The loss and the gradient some way along the direction; the parameters are put back."""
        self._move(length, direction)
        loss, grad = float(closure()), self._gradient()
        for p, before in zip(self._params, start):
            p.copy_(before)
        return loss, grad

    def _search(self, closure, length, direction, loss, grad, slope, most_calls):
        """Move along the direction as far as _strong_wolfe() says, whose answer it returns."""
        start = [p.clone() for p in self._params]
        trial = partial(self._trial, closure)
        found = _strong_wolfe(trial, start, length, direction, loss, grad, slope, max_ls=most_calls)
        self._move(found[2], direction)
        return found

    # ---- one step --------------------------------------------------------------------------------------------------

    @hookgrad.no_grad()
    def step(self, closure):
        """Change the parameters up to `max_iter` times; returns what the first call of `closure` returned."""
        closure = hookgrad.enable_grad()(closure)
        group = self.param_groups[0]
        lr, most = _to_scalar(group["lr"]), group["max_iter"]
        search, tolerance = group["line_search_fn"], group["tolerance_change"]
        state = self.state[self._params[0]]  # of all parameters; the first one's dtype is that of all
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = closure()
        loss = float(first_loss)
        evals = 1
        state["func_evals"] += 1
        grad = self._gradient()
        if grad.abs().max() <= group["tolerance_grad"]:
            return first_loss

        memory = _Memory(state, group["history_size"])
        direction, length, before = state.get("d"), state.get("t"), state.get("prev_flat_grad")
        loss_before = state.get("prev_loss")
        for iteration in range(1, most + 1):
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                memory.clear()
                direction = grad.neg()
            else:
                memory.add(grad.sub(before), direction.mul(length))
                direction = memory.direction(grad)
            before = grad.clone() if before is None else before.copy_(grad)
            loss_before = loss
            length = min(1.0, 1.0 / grad.abs().sum()) * lr if state["n_iter"] == 1 else lr
            slope = grad.dot(direction)
            if slope > -tolerance:
                break

            tried = 0
            if search is not None:
                if search != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                most_calls = group["max_eval"] - evals
                loss, grad, length, tried = self._search(closure, length, direction, loss, grad, slope, most_calls)
            else:
                self._move(length, direction)
                if iteration != most:  # after the last move nobody asks for the loss
                    loss, grad, tried = float(closure()), self._gradient(), 1
            evals += tried
            state["func_evals"] += tried
            if (
                iteration == most
                or evals >= group["max_eval"]
                or grad.abs().max() <= group["tolerance_grad"]
                or direction.mul(length).abs().max() <= tolerance
                or abs(loss - loss_before) < tolerance
            ):
                break

        state.update(d=direction, t=length, **memory.saved(), prev_flat_grad=before, prev_loss=loss_before)
        return first_loss


class _Memory:
    """The last changes and how the gradient changed with them: what the inverse of the Hessian is estimated from."""

    def __init__(self, state, size):
        self.state, self.size = state, size
        self.changes, self.moves, self.weights = (state.get(name) for name in ("old_dirs", "old_stps", "ro"))
        self.scale = state.get("H_diag")

    def clear(self):
        self.changes, self.moves, self.weights, self.scale = [], [], [], 1

    def saved(self):
        return {"old_dirs": self.changes, "old_stps": self.moves, "ro": self.weights, "H_diag": self.scale}

    def add(self, change, move):
        curvature = change.dot(move)
        if curvature > 1e-10:
            if len(self.changes) == self.size:
                for kept in (self.changes, self.moves, self.weights):
                    kept.pop(0)
            self.changes.append(change)
            self.moves.append(move)
            self.weights.append(1.0 / curvature)
            self.scale = curvature / change.dot(change)

    def direction(self, grad):
        """The estimated inverse of the Hessian times -grad: one loop back through the changes, one forth."""
        factors = self.state.setdefault("al", [None] * self.size)
        q = grad.neg()
        for i in reversed(range(len(self.changes))):
            factors[i] = self.moves[i].dot(q) * self.weights[i]
            q.add_(self.changes[i], alpha=-factors[i])
        r = q.mul(self.scale)
        for i in range(len(self.changes)):
            r.add_(self.moves[i], alpha=factors[i] - self.changes[i].dot(r) * self.weights[i])
        return r


# ---- The line search --------------------------------------------------------------------------------------------------


def _cubic_interpolate(x1, f1, g1, x2, f2, g2, bounds=None):
    """Where the cubic through two points, with their slopes, is lowest; the middle where it has no minimum."""
    low, high = bounds or ((x1, x2) if x1 <= x2 else (x2, x1))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1**2 - g1 * g2
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square.sqrt()
    if x1 <= x2:
        lowest = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    else:
        lowest = x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2))
    return min(max(lowest, low), high)


class _Line:
    """The loss along a direction: a point of it is (length, loss, gradient, slope)."""

    def __init__(self, trial, start, direction, f, slope, c1, c2):
        self.trial, self.start, self.direction = trial, start, direction
        self.f, self.slope, self.c1, self.c2 = f, slope, c1, c2
        self.widest, self.calls = direction.abs().max(), 0

    def at(self, t):
        loss, grad = self.trial(self.start, t, self.direction)
        self.calls += 1
        return t, loss, grad, grad.dot(self.direction)

    def is_too_high(self, point):
        return point[1] > self.f + self.c1 * point[0] * self.slope

    def is_flat(self, point):
        return abs(point[3]) <= -self.c2 * self.slope


def _strong_wolfe(trial, start, t, direction, f, g, slope, c1=1e-4, c2=0.9, tolerance_change=1e-9, max_ls=25):
    """A length at which the loss is low enough and the slope flat enough (Nocedal & Wright, algorithms 3.5 and 3.6).

    `trial(start, t, direction)` gives loss and gradient there; `f`, `g` and `slope` are those at zero. Returns the loss, the
    gradient, the length, and how often `trial` was called: once and `max_ls` times at the most.
    """
    line = _Line(trial, start, direction, f, slope, c1, c2)
    ends = _enclosed(line, (0, f, g.clone(), slope), t, max_ls)
    t, loss, grad, _ = ends[0] if len(ends) == 1 else _narrowed(line, ends, tolerance_change, max_ls)
    return loss, grad, t, line.calls


def _enclosed(line, zero, t, most):
    """Outwards from t: two points that enclose a good one, or a good one alone."""
    previous, point = zero, line.at(t)
    for i in range(most):
        if line.is_too_high(point) or (i > 1 and point[1] >= previous[1]):
            return [previous, point]
        if line.is_flat(point):
            return [point]
        if point[3] >= 0:
            return [previous, point]
        x = point[0]
        bounds = (x + 0.01 * (x - previous[0]), x * 10)
        t = _cubic_interpolate(*previous[:2], previous[3], *point[:2], point[3], bounds)
        previous, point = point, line.at(t)
    return [zero, point]


def _narrowed(line, ends, tolerance, most):
    """Inwards from the two ends, of which the lower one stays: the lowest point found."""

    def by_height():
        return (0, 1) if ends[0][1] <= ends[1][1] else (1, 0)

    is_stuck, (low, high) = False, by_height()
    while line.calls - 1 < most:
        left, right = (end[0] for end in ends)
        if abs(right - left) * line.widest < tolerance:
            break
        t = _cubic_interpolate(left, ends[0][1], ends[0][3], right, ends[1][1], ends[1][3])
        # Close to an end twice, or beyond it, is no progress: go a tenth of the way in from there.
        least, greatest = min(left, right), max(left, right)
        margin = 0.1 * (greatest - least)
        is_close = min(greatest - t, t - least) < margin
        if is_close and (is_stuck or t >= greatest or t <= least):
            t = greatest - margin if abs(t - greatest) < abs(t - least) else least + margin
            is_stuck = False
        else:
            is_stuck = is_close
        point = line.at(t)
        if line.is_too_high(point) or point[1] >= ends[low][1]:
            ends[high] = point
            low, high = by_height()
            continue
        is_flat = line.is_flat(point)
        if not is_flat and point[3] * (ends[high][0] - ends[low][0]) >= 0:
            ends[high] = ends[low]
        ends[low] = point
        if is_flat:
            break
    return ends[low]
