/* Note [Re-entrant backward]
   A hook or a Function may call backward, which calls hooks, to any depth; the stack of a thread, and the number of calls
   Python allows in one, have an end. So every few levels the next one runs in a thread of its own, while this thread waits.
   It runs in this thread's context: modes, saved-tensor hooks, sequence numbers and the backward under way are those of one
   thread that goes on, and so are exceptions. */
#include "py_tensor.h"

#include <pythread.h>

enum { LEVELS = 60 }; /* as in PyTorch */

typedef struct reentry {
    hg_ctx *cx;
    const py_backward_call *call;
    hg_status st;
    PyObject *type, *value, *traceback;
    PyThread_type_lock done;
} reentry;

static hg_status run(hg_ctx *cx, const py_backward_call *c) {
    return hg_backward(cx, c->roots, c->grads, c->n, c->keep_graph, c->create_graph, c->inputs, c->n_inputs,
                       c->allow_unused, c->results);
}

static void in_thread(void *arg) {
    reentry *r = arg;
    PyGILState_STATE state = PyGILState_Ensure();
    py_this_ctx = r->cx;
    r->st = run(r->cx, r->call);
    PyErr_Fetch(&r->type, &r->value, &r->traceback);
    py_this_ctx = NULL;
    PyGILState_Release(state);
    PyThread_release_lock(r->done);
}

hg_status py_backward(hg_ctx *cx, const py_backward_call *call) {
    int depth = hg_backward_depth(cx);
    if (depth == 0 || depth % LEVELS) return run(cx, call);
    reentry r = {.cx = cx, .call = call, .done = PyThread_allocate_lock()};
    if (!r.done) return hg_no_memory(cx);
    PyThread_acquire_lock(r.done, WAIT_LOCK);
    bool started = PyThread_start_new_thread(in_thread, &r) != PYTHREAD_INVALID_THREAD_ID;
    if (started) {
        Py_BEGIN_ALLOW_THREADS
        PyThread_acquire_lock(r.done, WAIT_LOCK);
        Py_END_ALLOW_THREADS
        PyErr_Restore(r.type, r.value, r.traceback);
    }
    PyThread_release_lock(r.done);
    PyThread_free_lock(r.done);
    return started ? r.st : hg_fail(cx, HG_STATE, "backward: cannot start a thread for the %dth level", depth);
}
