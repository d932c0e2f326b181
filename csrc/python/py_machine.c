/* What the process uses of the machine: threads and memory. */
#include "binding.h"

static PyObject *get_num_threads(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    return PyLong_FromLong(hg_get_num_threads());
}

static PyObject *set_num_threads(PyObject *Py_UNUSED(m), PyObject *n) {
    if (!PyLong_Check(n) || PyBool_Check(n))
        return PyErr_Format(PyExc_RuntimeError, "set_num_threads expects an int, but got %s", Py_TYPE(n)->tp_name);
    int overflow;
    long wanted = PyLong_AsLongAndOverflow(n, &overflow);
    if (overflow < 0 || (!overflow && wanted <= 0))
        return PyErr_SetString(PyExc_RuntimeError, "set_num_threads expects a positive integer"), NULL;
    hg_set_num_threads(overflow || wanted > INT_MAX ? INT_MAX : (int)wanted);
    Py_RETURN_NONE;
}

static PyObject *memory_stats(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_memory now = hg_memory_stats(hg_py->lib);
    return Py_BuildValue("{snsnsnsLsL}", "allocated_bytes.all.current", (Py_ssize_t)now.in_use,
                         "allocated_bytes.all.peak", (Py_ssize_t)now.peak, "reserved_bytes.all.current",
                         (Py_ssize_t)(now.in_use + now.waiting), "allocation.all.current", (long long)now.n_in_use,
                         "allocation.all.allocated", (long long)now.n_taken);
}

static PyObject *reset_peak_memory_stats(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_reset_peak_memory(hg_py->lib);
    Py_RETURN_NONE;
}

static PyObject *empty_cache(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_empty_cache(hg_py->lib);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    memory_stats_doc,
    "memory_stats() -> dict\n\n"
    "What tensors of 4 KiB and more take, in bytes, and how many blocks of memory that is: now, at the peak, and with the\n"
    "freed blocks that are kept for tensors to come. Smaller tensors are not counted. The names are those of\n"
    "torch.accelerator.memory_stats().\n\n"
    ">>> x = torch.zeros(1024)\n"
    ">>> torch.memory_stats()['allocated_bytes.all.current'] >= 4096\n"
    "True\n");
PyDoc_STRVAR(empty_cache_doc,
             "empty_cache() -> None\n\n"
             "Give the memory of freed tensors that is kept for tensors to come back to the system.\n\n"
             ">>> torch.empty_cache()\n"
             ">>> s = torch.memory_stats()\n"
             ">>> s['reserved_bytes.all.current'] == s['allocated_bytes.all.current']\n"
             "True\n");

static PyObject *cpu_name(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    return PyUnicode_FromString(hg_cpu_name());
}

static PyObject *is_news(PyObject *Py_UNUSED(m), PyObject *words) {
    const char *chars = PyUnicode_AsUTF8(words);
    return chars ? PyBool_FromLong(hg_is_news(hg_py->first, chars)) : NULL;
}

static PyObject *set_warn_always(PyObject *Py_UNUSED(m), PyObject *always) {
    hg_set_warn_always(hg_py->first, always == Py_True);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"get_num_threads", get_num_threads, METH_NOARGS, "How many threads one large operation may use."},
    {"set_num_threads", set_num_threads, METH_O, "Let one large operation use that many threads."},
    {"_cpu_name", cpu_name, METH_NOARGS, "What the kernels are compiled for that run."},
    {"memory_stats", memory_stats, METH_NOARGS, memory_stats_doc},
    {"reset_peak_memory_stats", reset_peak_memory_stats, METH_NOARGS, "The peak is what is in use now."},
    {"_is_news", is_news, METH_O, "Have these words of a warning not been given yet?"},
    {"_set_warn_always", set_warn_always, METH_O, "Let what is news stay news."},
    {"empty_cache", empty_cache, METH_NOARGS, empty_cache_doc},
    {NULL, NULL, 0, NULL},
};

int py_machine_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
