/* The runner: all tests, or those whose names contain the first argument. */
#include "test.h"

#include <stdarg.h>

hg_malloc_host *host;
hg_ctx *cx;
int n_failed_checks;

static test *tests, **last = &tests;

void test_add(test *t) {
    *last = t;
    last = &t->next;
}

void test_fail(const char *file, int line, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    n_failed_checks++;
}

hg_tensor *tensor_of(int n_dim, const int64_t *shape, const double *values) {
    hg_tensor *t;
    if (hg_tensor_empty(cx, HG_F32, n_dim, shape, &t) != HG_OK) return NULL;
    for (int64_t i = 0; i < t->numel; i++) ((float *)(void *)t->data)[i] = (float)values[i];
    return t;
}

hg_tensor *leaf_of(int n_dim, const int64_t *shape, const double *values) {
    hg_tensor *t = tensor_of(n_dim, shape, values);
    if (t) t->requires_grad = true;
    return t;
}

hg_tensor *scalar(double value) { return tensor_of(0, NULL, &value); }
hg_tensor *leaf(double value) { return leaf_of(0, NULL, &value); }

double value_at(const hg_tensor *t, int64_t i) { return t ? ((const float *)(const void *)t->data)[i] : NAN; }

hg_tensor *op(int id, const hg_arg *a, int n) {
    hg_tensor *out[HG_MAX_OUT] = {NULL};
    for (int i = 0; i < n; i++)
        if (a[i].kind == HG_A_TENSOR && !a[i].u.t) return NULL;
    if (hg_call_op(cx, id, a, n, out) != HG_OK) return NULL;
    for (int k = 1; k < HG_MAX_OUT; k++) hg_release(cx, out[k]);
    return out[0];
}

hg_status backward(hg_tensor *root) {
    return root ? hg_backward(cx, &root, NULL, 1, false, false, NULL, -1, false, NULL) : HG_MEMORY;
}

void drop(hg_tensor *t) { hg_release(cx, t); }

char seen[512];

void note(const char *what) {
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s%s", seen[0] ? " " : "", what);
}

hg_status note_hook(hg_ctx *c, hg_call *call, void *data) {
    (void)c, (void)call;
    note(data);
    return HG_OK;
}

static bool run(const test *t) {
    int before = n_failed_checks;
    host = NULL;
    if (hg_malloc_open(&host, &cx) != HG_OK) {
        test_fail(__FILE__, __LINE__, "%s: the library does not open", t->name);
        return false;
    }
    seen[0] = 0;
    t->run();
    long objects = host->n_objects, refs = host->n_refs, alive = hg_malloc_close(host, cx);
    if (alive)
        test_fail(__FILE__, __LINE__, "%s: %ld left alive (before closing: %ld objects, %ld references)", t->name,
                  alive, objects, refs);
    return n_failed_checks == before;
}

int main(int argc, char **argv) {
    int n = 0, n_bad = 0;
    for (const test *t = tests; t; t = t->next) {
        if (argc > 1 && !strstr(t->name, argv[1])) continue;
        n++;
        if (!run(t)) {
            n_bad++;
            fprintf(stderr, "FAILED %s\n", t->name);
        }
    }
    printf("%d tests in C, %d failed\n", n, n_bad);
    return n_bad || !n;
}
