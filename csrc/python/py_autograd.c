/* Functions of the module about gradients, defaults and optimizer steps: what hookgrad.autograd and hookgrad.optim
   call. */
#include "py_op.h"
#include "py_tensor.h"

/* ---- Lists of tensors ------------------------------------------------------------------------------------------- */

/* The tensors of a sequence, or of one tensor, held while we use them. None stands for none, where that is allowed. */
typedef struct tensors {
    PyObject *held; /* a tuple, or the one; NULL: nothing is held */
    hg_tensor **at; /* `few`, or PyMem */
    int n;
    hg_tensor *few[4];
} tensors;

static void tensors_free(tensors *list) {
    if (list->at != list->few) PyMem_Free(list->at);
    Py_CLEAR(list->held);
    list->at = NULL;
}

static int tensors_get(PyObject *o, tensors *list, bool none_allowed, const char *function, const char *name) {
    list->at = NULL, list->n = 0;
    bool one = py_is_tensor(o) || (o == Py_None && none_allowed);
    list->held = one ? Py_NewRef(o) : PySequence_Tuple(o);
    if (!list->held) return -1;
    Py_ssize_t n = one ? 1 : PyTuple_GET_SIZE(list->held);
    list->at = n <= (Py_ssize_t)(sizeof list->few / sizeof *list->few) ? list->few : PyMem_New(hg_tensor *, (size_t)n);
    if (!list->at) {
        PyErr_NoMemory();
        goto fail;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = one ? o : PyTuple_GET_ITEM(list->held, i);
        if (py_is_tensor(item)) {
            list->at[i] = TENSOR(item);
        } else if (item == Py_None && none_allowed) {
            list->at[i] = NULL;
        } else {
            PyErr_Format(PyExc_TypeError, "%s(): argument '%s' must be tensors; element %zd is %.100s", function, name,
                         i, Py_TYPE(item)->tp_name);
            goto fail;
        }
    }
    list->n = (int)n;
    return 0;
fail:
    tensors_free(list);
    return -1;
}

/* ---- Transforms of torch.func ------------------------------------------------------------------------------------ */

static PY_THREAD_LOCAL bool transformed;

bool py_refused_in_transform(const char *method) {
    if (!transformed) return false;
    if (!strcmp(method, "backward"))
        PyErr_SetString(
            PyExc_RuntimeError,
            "backward() called inside a functorch transform. This is not supported, please use functorch.grad "
            "or functorch.vjp instead or call backward() outside of functorch transforms.");
    else
        PyErr_Format(PyExc_RuntimeError,
                     "You are attempting to call Tensor.%s() %sinside of a function being transformed by a functorch "
                     "transform. This is unsupported, please attempt to use the functorch transforms (e.g. grad, vjp, "
                     "jacrev, jacfwd, hessian) or call %s() outside of a function being transformed instead.",
                     method,
                     !strcmp(method, "requires_grad_") ? "(or perhaps using torch.autograd.functional.* APIs) " : "",
                     method);
    return true;
}

/* _in_transform(on): whether this thread is within one. */
static PyObject *in_transform(PyObject *Py_UNUSED(m), PyObject *on) {
    transformed = on == Py_True;
    Py_RETURN_NONE;
}

/* ---- Backward --------------------------------------------------------------------------------------------------- */

/* Under create_graph `.grad` is part of a graph that leads back to its tensor: said once, by the first backward that runs
   at all. Its words come when it has ended: where it failed, its exception stays. */
static const char warning_of_cycle[] =
    "Using backward() with create_graph=True will create a reference cycle between the parameter and its "
    "gradient which can cause a memory leak. We recommend using autograd.grad when creating the graph to "
    "avoid this. If you have to use this function, make sure to reset the .grad fields of your parameters "
    "to None after use to break the cycle and avoid the leak.";

static bool is_to_warn(hg_ctx *cx, const tensors *roots, const tensors *grads, const tensors *inputs) {
    for (int i = 0; i < roots->n; i++)
        if (!hg_tensor_requires_grad(roots->at[i]) || roots->at[i]->numel != (grads->at[i] ? grads->at[i]->numel : 1))
            return false;
    for (int i = 0; i < inputs->n; i++)
        if (!hg_tensor_requires_grad(inputs->at[i])) return false;
    return hg_is_news(cx, warning_of_cycle);
}

/* Takes the result: NULL with the exception; new. */
static PyObject *warn_of_cycle(PyObject *result) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    int failed = PyErr_WarnEx(PyExc_UserWarning, warning_of_cycle, 1);
    if (!failed || type) {
        if (failed) PyErr_Print();
        PyErr_Restore(type, value, traceback);
        return result;
    }
    Py_XDECREF(result);
    return NULL;
}

PyObject *py_run_backward(hg_ctx *cx, PyObject *roots, PyObject *grads, bool keep, bool create, PyObject *inputs) {
    tensors r, g, in = {.n = -1};
    PyObject *result = NULL;
    if (py_refused_in_transform("backward") || tensors_get(roots, &r, false, "backward", "tensors")) return NULL;
    if (tensors_get(grads, &g, true, "backward", "grad_tensors")) goto done_roots;
    if (inputs != Py_None && tensors_get(inputs, &in, false, "backward", "inputs")) goto done_grads;
    if (in.n == 0) {
        PyErr_SetString(PyExc_RuntimeError, "`inputs` argument to `backward()` cannot be empty.");
    } else if (g.n != r.n) {
        PyErr_Format(PyExc_RuntimeError, "got %d tensors and %d gradients", r.n, g.n);
    } else {
        bool warns = create && is_to_warn(cx, &r, &g, &in);
        hg_status st = py_backward(cx, &(py_backward_call){r.at, g.at, r.n, keep, create, in.at, in.n, true, NULL});
        result = st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
        if (warns) result = warn_of_cycle(result);
    }
    if (in.held) tensors_free(&in);
done_grads:
    tensors_free(&g);
done_roots:
    tensors_free(&r);
    return result;
}

/* _C.run_backward(tensors, grad_tensors, retain_graph, create_graph, inputs) */
static PyObject *run_backward(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[5];
    hg_ctx *cx = py_ctx();
    if (!cx ||
        py_parse("run_backward", "tensors,grad_tensors,retain_graph,create_graph,inputs", 2, args, n, kwnames, at))
        return NULL;
    int keep = py_bool(at[2], "backward", "retain_graph"), create = py_bool(at[3], "backward", "create_graph");
    if (keep < 0 || create < 0) return NULL;
    return py_run_backward(cx, at[0], at[1], keep, create, at[4] ? at[4] : Py_None);
}

/* _C.grad(outputs, grad_outputs, inputs, retain_graph, create_graph, allow_unused) -> tuple */
static PyObject *grad(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[6];
    hg_ctx *cx = py_ctx();
    const char *names = "outputs,grad_outputs,inputs,retain_graph,create_graph,allow_unused";
    if (!cx) return NULL;
    if (n == 6 && !kwnames)
        memcpy(at, args, sizeof at);
    else if (py_parse("grad", names, 3, args, n, kwnames, at))
        return NULL;
    int keep = py_bool(at[3], "grad", "retain_graph"), create = py_bool(at[4], "grad", "create_graph");
    int unused = py_bool(at[5], "grad", "allow_unused");
    if (keep < 0 || create < 0 || unused < 0) return NULL;
    tensors out, g, in;
    PyObject *result = NULL;
    hg_tensor *few[4] = {NULL}, **results = few;
    if (tensors_get(at[0], &out, false, "grad", "outputs")) return NULL;
    if (tensors_get(at[1], &g, true, "grad", "grad_outputs")) goto done_out;
    if (tensors_get(at[2], &in, false, "grad", "inputs")) goto done_grads;
    if (in.n > (int)(sizeof few / sizeof *few)) results = PyMem_Calloc((size_t)in.n, sizeof *results);
    if (!results) {
        PyErr_NoMemory();
    } else if (g.n != out.n) {
        PyErr_Format(PyExc_RuntimeError, "got %d tensors and %d gradients", out.n, g.n);
    } else {
        hg_status st = py_backward(
            cx, &(py_backward_call){out.at, g.at, out.n, keep, create, in.at, in.n, unused, results});
        result = st == HG_OK ? PyTuple_New(in.n) : py_raise(cx, st);
        for (int i = 0; i < in.n && st == HG_OK; i++) {
            if (result)
                PyTuple_SET_ITEM(result, i, py_own(results[i]));
            else
                hg_release(cx, results[i]);
        }
    }
    if (results != few) PyMem_Free(results);
    tensors_free(&in);
done_grads:
    tensors_free(&g);
done_out:
    tensors_free(&out);
    return result;
}

/* _C.are_tensors(one, more): is `one` a tensor, and `more` another or a list or tuple of some, not empty, and nobody is asked
   about them? */
static PyObject *are_tensors(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    bool all = n == 2 && py_is_tensor(args[0]) && !(hg_py->override && py_overrides(args, n));
    if (all && !py_is_tensor(args[1])) {
        all = (PyTuple_CheckExact(args[1]) || PyList_CheckExact(args[1])) && PySequence_Fast_GET_SIZE(args[1]);
        for (Py_ssize_t i = 0; all && i < PySequence_Fast_GET_SIZE(args[1]); i++)
            all = py_is_tensor(PySequence_Fast_GET_ITEM(args[1], i));
    }
    return PyBool_FromLong(all);
}

/* ---- Modes and defaults ----------------------------------------------------------------------------------------- */

static int flag_of(PyObject *o, const char *function, const char *argument) {
    if (PyBool_Check(o)) return o == Py_True;
    PyErr_Format(PyExc_TypeError, "%s(): argument '%s' (position 1) must be bool, not %.100s", function, argument,
                 Py_TYPE(o)->tp_name);
    return -1;
}

static PyObject *is_grad_enabled(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    return cx ? PyBool_FromLong(*hg_grad_mode(cx)) : NULL;
}

static PyObject *grad_mode(PyObject *Py_UNUSED(m), PyObject *mode) {
    hg_ctx *cx = py_ctx();
    int on = flag_of(mode, "set_grad_enabled", "enabled");
    if (!cx || on < 0) return NULL;
    bool was = *hg_grad_mode(cx);
    *hg_grad_mode(cx) = on;
    return PyBool_FromLong(was);
}

static PyObject *set_grad_enabled(PyObject *m, PyObject *mode) {
    if (hg_py->function_modes && py_overrides(NULL, 0)) {
        PyObject *itself = PyObject_GetAttrString(m, "_set_grad_enabled");
        PyObject *asked = itself ? py_override(itself, &mode, 1, NULL) : NULL;
        Py_XDECREF(itself);
        return asked;
    }
    PyObject *was = grad_mode(m, mode);
    Py_XDECREF(was);
    return was ? Py_NewRef(Py_None) : NULL;
}

static PyObject *is_inference_mode_enabled(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    return cx ? PyBool_FromLong(cx->inference) : NULL;
}

static PyObject *set_inference_mode(PyObject *Py_UNUSED(m), PyObject *mode) {
    hg_ctx *cx = py_ctx();
    int on = flag_of(mode, "inference_mode", "mode");
    if (!cx || on < 0) return NULL;
    bool was = cx->inference;
    cx->inference = on;
    return PyBool_FromLong(was);
}

static PyObject *is_grad_layout_enforced(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    return cx ? PyBool_FromLong(!cx->loose_grads) : NULL;
}

static PyObject *set_grad_layout_enforced(PyObject *Py_UNUSED(m), PyObject *mode) {
    int on = flag_of(mode, "set_grad_layout_enforcement_enabled", "enabled");
    hg_ctx *cx = on < 0 ? NULL : py_ctx();
    if (!cx) return NULL;
    cx->loose_grads = !on;
    Py_RETURN_NONE;
}

static PyObject *is_view_replay_enabled(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    return cx ? PyBool_FromLong(cx->replays_views) : NULL;
}

static PyObject *set_view_replay_enabled(PyObject *Py_UNUSED(m), PyObject *mode) {
    int on = flag_of(mode, "set_view_replay_enabled", "enabled");
    hg_ctx *cx = on < 0 ? NULL : py_ctx();
    if (!cx) return NULL;
    cx->replays_views = on;
    Py_RETURN_NONE;
}

static PyObject *is_multithreading_enabled(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    return PyBool_FromLong(!hg_py->one_thread);
}

static PyObject *set_multithreading_enabled(PyObject *Py_UNUSED(m), PyObject *mode) {
    int on = flag_of(mode, "set_multithreading_enabled", "enabled");
    if (on < 0) return NULL;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    cx->n_changes++;
    hg_py->one_thread = !on;
    Py_RETURN_NONE;
}

static PyObject *get_default_dtype(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    return cx ? Py_NewRef(hg_py->dtypes[hg_default_dtype(cx)]) : NULL;
}

static PyObject *set_default_dtype(PyObject *Py_UNUSED(m), PyObject *dtype) {
    hg_ctx *cx = py_ctx();
    hg_dtype d = HG_NO_DTYPE;
    if (!cx) return NULL;
    if (Py_TYPE(dtype) != hg_py->dtype_type || py_dtype(dtype, &d) || !hg_dtype_is_float(d))
        return PyErr_SetString(PyExc_TypeError, "only floating-point types are supported as the default type"), NULL;
    hg_set_default_dtype(cx, d);
    Py_RETURN_NONE;
}

static PyObject *promote_types(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[2];
    hg_dtype a = HG_NO_DTYPE, b = HG_NO_DTYPE;
    if (py_parse("promote_types", "type1,type2", 2, args, n, kwnames, at) || py_dtype(at[0], &a) || py_dtype(at[1], &b))
        return NULL;
    if (a == HG_NO_DTYPE || b == HG_NO_DTYPE)
        return PyErr_SetString(PyExc_TypeError, "promote_types(): expected two torch.dtype"), NULL;
    return Py_NewRef(hg_py->dtypes[hg_dtype_promote(a, b)]);
}

/* ---- Optimizer steps -------------------------------------------------------------------------------------------- */

static int numbers(hg_ctx *cx, PyObject *const *args, int n, double *const *to) {
    for (int i = 0; i < n; i++) {
        hg_arg one = HG_NONE;
        hg_status st = py_is_tensor(args[i]) ? hg_item(cx, TENSOR(args[i]), &one) : HG_OK;
        if (st != HG_OK) return py_fail(cx, st);
        if (py_is_tensor(args[i]))
            *to[i] = one.kind == HG_A_FLOAT ? one.u.f : (double)one.u.i;
        else if (py_double(args[i], to[i]))
            return -1;
    }
    return 0;
}

/* The entries of that name in a list of states, which are dicts: a tuple, with None for those that lack it where that is
   allowed. */
static PyObject *entries(PyObject *states, PyObject *name, bool may_lack) {
    if (!PyList_Check(states))
        return PyErr_Format(PyExc_TypeError, "states must be a list, not %.100s", Py_TYPE(states)->tp_name);
    Py_ssize_t n = PyList_GET_SIZE(states);
    PyObject *made = PyTuple_New(n);
    for (Py_ssize_t i = 0; made && i < n; i++) {
        PyObject *state = PyList_GET_ITEM(states, i), *one = NULL;
        if (!PyDict_Check(state))
            PyErr_Format(PyExc_TypeError, "a parameter's state must be a dict, not %.100s", Py_TYPE(state)->tp_name);
        else if (!(one = PyDict_GetItemWithError(state, name)) && !PyErr_Occurred())
            may_lack ? (void)(one = Py_None) : PyErr_SetObject(PyExc_KeyError, name);
        if (!one) Py_CLEAR(made);
        if (made) PyTuple_SET_ITEM(made, i, Py_NewRef(one));
    }
    return made;
}

static int entries_get(PyObject *states, PyObject *name, tensors *list, bool may_lack, const char *function) {
    PyObject *found = entries(states, name, may_lack);
    int failed = found ? tensors_get(found, list, may_lack, function, PyUnicode_AsUTF8(name)) : -1;
    Py_XDECREF(found);
    return failed;
}

/* _C.states_of(states, params): what the mapping has for each parameter, a list; and whether all of it is true. */
static PyObject *states_of(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n_args) {
    if (n_args != 2 || !PyTuple_Check(args[1]))
        return PyErr_SetString(PyExc_TypeError, "states_of() takes a mapping and a tuple"), NULL;
    PyObject *states = args[0], *params = args[1], *list = PyList_New(PyTuple_GET_SIZE(params));
    int all = 1;
    for (Py_ssize_t i = 0; list && i < PyTuple_GET_SIZE(params); i++) {
        PyObject *param = PyTuple_GET_ITEM(params, i), *state = PyObject_GetItem(states, param);
        if (state) PyList_SET_ITEM(list, i, state);
        int full = state ? PyObject_IsTrue(state) : -1;
        if (full < 0) Py_CLEAR(list);
        all &= full;
    }
    PyObject *both = list ? PyTuple_Pack(2, list, all ? Py_True : Py_False) : NULL;
    Py_XDECREF(list);
    return both;
}

static bool equally_long(const tensors *lists, int n, const char *function) {
    for (int i = 1; i < n; i++)
        if (lists[i].n != lists[0].n) {
            PyErr_Format(PyExc_ValueError, "%s(): expected as many tensors in each list: %d and %d", function,
                         lists[0].n, lists[i].n);
            return false;
        }
    return true;
}

/* _C.with_grad(params): those that have a gradient, and their gradients; two tuples. */
static PyObject *with_grad(PyObject *Py_UNUSED(m), PyObject *params) {
    PyObject *items = PySequence_Fast(params, "expected a sequence of parameters"), *both = NULL;
    PyObject *pair[2] = {NULL, NULL}; /* made for the first that has one, with room for all that follow */
    Py_ssize_t n = items ? PySequence_Fast_GET_SIZE(items) : 0, room = 0, found = 0;
    bool ok = items;
    for (Py_ssize_t i = 0; ok && i < n && i < PySequence_Fast_GET_SIZE(items); i++) {
        PyObject *param = PySequence_Fast_GET_ITEM(items, i);
        bool plain = Py_TYPE(param) == hg_py->tensor_type || (PyObject *)Py_TYPE(param) == hg_py->parameter;
        hg_tensor *leaf = plain && !TENSOR(param)->grad_fn ? TENSOR(param) : NULL;
        if (leaf && !leaf->grad) continue;
        PyObject *grad = leaf ? py_wrap(leaf->grad) : PyObject_GetAttr(param, NAME(grad));
        ok = grad;
        if (ok && grad != Py_None && !room) {
            room = n - i;
            ok = (pair[0] = PyTuple_New(room)) && (pair[1] = PyTuple_New(room));
        }
        if (ok && grad != Py_None) {
            PyTuple_SET_ITEM(pair[0], found, Py_NewRef(param));
            PyTuple_SET_ITEM(pair[1], found++, Py_NewRef(grad));
        }
        Py_XDECREF(grad);
    }
    for (int k = 0; ok && k < 2; k++)
        if (found)
            ok = found == room || !_PyTuple_Resize(&pair[k], found);
        else
            pair[k] = Py_NewRef(hg_py->empty_tuple);
    if (ok) both = PyTuple_Pack(2, pair[0], pair[1]);
    Py_XDECREF(items), Py_XDECREF(pair[0]), Py_XDECREF(pair[1]);
    return both;
}

static bool any_half(const tensors *list) {
    bool any = false;
    for (int i = 0; i < list->n; i++) any |= list->at[i]->dtype == HG_F16 || list->at[i]->dtype == HG_BF16;
    return any;
}

/* _C.sgd_step(params, grads, states, lr, weight_decay, momentum, dampening, nesterov, maximize, fused).
   With momentum the states have a "momentum_buffer", or get it. Unless it is `fused`, a step of halves rounds after each
   operation: that is left to others, and False. */
static PyObject *sgd_step(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (n != 10) return PyErr_Format(PyExc_TypeError, "sgd_step() takes 10 arguments, got %zd", n);
    hg_sgd o = {0};
    double *const to[] = {&o.lr, &o.weight_decay, &o.momentum, &o.dampening};
    int nesterov = PyObject_IsTrue(args[7]), maximize = PyObject_IsTrue(args[8]);
    if (nesterov < 0 || maximize < 0 || numbers(cx, args + 3, 4, to)) return NULL;
    o.nesterov = nesterov, o.maximize = maximize;
    tensors params = {.n = 0}, grads = {.n = 0}, buffers = {.n = 0};
    PyObject *result = NULL;
    bool with_buffers = o.momentum != 0;
    if (tensors_get(args[0], &params, false, "sgd_step", "params") ||
        tensors_get(args[1], &grads, false, "sgd_step", "grads") ||
        (with_buffers && entries_get(args[2], NAME(momentum_buffer), &buffers, true, "sgd_step")) ||
        !equally_long((tensors[]){params, grads, buffers}, with_buffers ? 3 : 2, "sgd_step"))
        goto done;
    if (args[9] != Py_True && any_half(&params)) {
        result = Py_NewRef(Py_False);
        goto done;
    }
    hg_status st = hg_sgd_step(cx, &o, params.n, params.at, grads.at, with_buffers ? buffers.at : NULL);
    int failed = 0;
    for (int i = 0; i < buffers.n; i++) { /* also after a failure: what was made is kept */
        if (PyTuple_GET_ITEM(buffers.held, i) != Py_None || !buffers.at[i]) continue;
        failed |= i < PyList_GET_SIZE(args[2])
                      ? PyDict_SetItem(PyList_GET_ITEM(args[2], i), NAME(momentum_buffer), PY(buffers.at[i]))
                      : 0;
        Py_DECREF(PY(buffers.at[i]));
    }
    if (st != HG_OK)
        py_raise(cx, st);
    else if (!failed)
        result = Py_NewRef(Py_None);
done:
    tensors_free(&params), tensors_free(&grads), tensors_free(&buffers);
    return result;
}

/* _C.adam_step(params, grads, states, lr, beta1, beta2, eps, weight_decay, amsgrad, maximize, decoupled, fused) */
static PyObject *adam_step(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (n != 12) return PyErr_Format(PyExc_TypeError, "adam_step() takes 12 arguments, got %zd", n);
    hg_adam o = {0};
    double *const to[] = {&o.lr, &o.beta1, &o.beta2, &o.eps, &o.weight_decay};
    int amsgrad = PyObject_IsTrue(args[8]), maximize = PyObject_IsTrue(args[9]), decoupled = PyObject_IsTrue(args[10]);
    if (amsgrad < 0 || maximize < 0 || decoupled < 0 || numbers(cx, args + 3, 5, to)) return NULL;
    o.amsgrad = amsgrad, o.maximize = maximize, o.decoupled = decoupled;
    enum { PARAMS, GRADS, AVG, AVG_SQ, STEPS, MAX_AVG_SQ, N_LISTS };
    PyObject *const names[N_LISTS] = {
        [AVG] = NAME(exp_avg), [AVG_SQ] = NAME(exp_avg_sq), [STEPS] = NAME(step), [MAX_AVG_SQ] = NAME(max_exp_avg_sq)};
    tensors lists[N_LISTS] = {{.n = 0}};
    int n_lists = amsgrad ? N_LISTS : N_LISTS - 1;
    PyObject *result = NULL;
    for (int i = 0; i < n_lists; i++)
        if (names[i] ? entries_get(args[2], names[i], &lists[i], false, "adam_step")
                     : tensors_get(args[i], &lists[i], false, "adam_step", i == PARAMS ? "params" : "grads"))
            goto done;
    if (!equally_long(lists, n_lists, "adam_step")) goto done;
    if (args[11] != Py_True && any_half(&lists[PARAMS])) {
        result = Py_NewRef(Py_False);
        goto done;
    }
    hg_status st = hg_adam_step(cx, &o, lists[PARAMS].n, lists[PARAMS].at, lists[GRADS].at, lists[AVG].at,
                                lists[AVG_SQ].at, amsgrad ? lists[MAX_AVG_SQ].at : NULL, lists[STEPS].at);
    result = st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
done:
    for (int i = 0; i < N_LISTS; i++) tensors_free(&lists[i]);
    return result;
}

static PyMethodDef functions[] = {
    {"_in_transform", in_transform, METH_O, NULL},
    {"run_backward", FAST(run_backward), KEYWORDS, "Run backward, accumulating into .grad."},
    {"grad", FAST(grad), KEYWORDS, "Run backward, returning the gradients of inputs."},
    {"are_tensors", FAST(are_tensors), METH_FASTCALL, "(one, more): are they tensors, and more may be a list of some?"},
    {"is_grad_enabled", is_grad_enabled, METH_NOARGS, "Are operations recorded?"},
    {"_grad_mode", grad_mode, METH_O, "Record operations, or not; returns whether they were."},
    {"_set_grad_enabled", set_grad_enabled, METH_O, "Record operations, or not."},
    {"is_inference_mode_enabled", is_inference_mode_enabled, METH_NOARGS, "Is inference mode on?"},
    {"_set_inference_mode", set_inference_mode, METH_O, "Returns whether it was on."},
    {"_is_grad_layout_enforcement_enabled", is_grad_layout_enforced, METH_NOARGS, "As its setter left it."},
    {"_set_grad_layout_enforcement_enabled", set_grad_layout_enforced, METH_O,
     "Does .grad lie in memory as its tensor?"},
    {"_is_view_replay_enabled", is_view_replay_enabled, METH_NOARGS, "As _set_view_replay_enabled() left it."},
    {"_set_view_replay_enabled", set_view_replay_enabled, METH_O, "Stale views made now are made again as they were."},
    {"_is_multithreading_enabled", is_multithreading_enabled, METH_NOARGS, "As _set_multithreading_enabled() left it."},
    {"_set_multithreading_enabled", set_multithreading_enabled, METH_O, "The engine has one thread, whatever is set."},
    {"get_default_dtype", get_default_dtype, METH_NOARGS, "The dtype of new floating-point tensors."},
    {"set_default_dtype", set_default_dtype, METH_O, "Choose the dtype of new floating-point tensors."},
    {"promote_types", FAST(promote_types), KEYWORDS, "The dtype two dtypes meet in."},
    {"with_grad", with_grad, METH_O, "The tensors of a sequence that have a gradient, and their gradients."},
    {"states_of", FAST(states_of), METH_FASTCALL,
     "What a mapping has for each parameter of a tuple, and is it all true?"},
    {"sgd_step", FAST(sgd_step), METH_FASTCALL, "One step of SGD over lists of tensors, in place."},
    {"adam_step", FAST(adam_step), METH_FASTCALL, "One step of Adam or AdamW over lists of tensors, in place."},
    {NULL, NULL, 0, NULL},
};

int py_autograd_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
