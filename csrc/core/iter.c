/* The strided iterator: see Note [Loops]. */
#include "iter_impl.h"

#include <string.h>

void hg_iter_begin(hg_iter *it, int n_dim, const int64_t *shape) {
    it->n_operands = 0;
    it->n_dim = n_dim;
    for (int i = 0; i < n_dim; i++) it->shape[i] = shape[i];
}

void hg_iter_add(hg_iter *it, const void *data, size_t itemsize, int n_dim, const int64_t *shape,
                 const int64_t *stride) {
    int k = it->n_operands++, lead = it->n_dim - n_dim;
    it->p[k] = (char *)data;
    for (int i = 0; i < lead; i++) it->step[i][k] = 0;
    for (int i = 0; i < n_dim; i++) it->step[lead + i][k] = shape[i] == 1 ? 0 : stride[i] * (int64_t)itemsize;
}

/* Can dimension `outer` continue where `inner` ends, for every operand? */
static bool continues(const hg_iter *it, int outer, int inner) {
    for (int k = 0; k < it->n_operands; k++)
        if (it->step[outer][k] != it->step[inner][k] * it->shape[inner]) return false;
    return true;
}

/* Would `a` be the better inner dimension than `b`? By the first operand that tells, smaller steps are. */
static bool is_finer(const hg_iter *it, int a, int b) {
    for (int k = 0; k < it->n_operands; k++) {
        int64_t sa = it->step[a][k] < 0 ? -it->step[a][k] : it->step[a][k];
        int64_t sb = it->step[b][k] < 0 ? -it->step[b][k] : it->step[b][k];
        if (sa == 0 || sb == 0 || sa == sb) continue;
        return sa < sb;
    }
    return false;
}

void hg_iter_coalesce(hg_iter *it) {
    int n = 0;
    for (int i = 0; i < it->n_dim; i++) { /* sizes of 1 go */
        if (it->shape[i] == 1) continue;
        it->shape[n] = it->shape[i];
        memmove(it->step[n], it->step[i], sizeof it->step[i]);
        n++;
    }
    for (int i = 1; i < n; i++) /* finest last */
        for (int j = i; j > 0 && is_finer(it, j - 1, j); j--) {
            int64_t size = it->shape[j], step[HG_ITER_MAX];
            memcpy(step, it->step[j], sizeof step);
            it->shape[j] = it->shape[j - 1], memcpy(it->step[j], it->step[j - 1], sizeof step);
            it->shape[j - 1] = size, memcpy(it->step[j - 1], step, sizeof step);
        }
    int last = 0; /* from the outermost in, each dimension merges into the one before or starts a new one */
    for (int i = 1; i < n; i++) {
        if (continues(it, last, i)) {
            it->shape[last] *= it->shape[i];
        } else {
            last++;
            it->shape[last] = it->shape[i];
        }
        memmove(it->step[last], it->step[i], sizeof it->step[i]);
    }
    it->n_dim = n ? last + 1 : 0;
}

void hg_iter_rows(const hg_iter *it, hg_row_fn fn, void *arg) {
    static const int64_t still[HG_ITER_MAX] = {0};
    int outer = it->n_dim - 1;
    if (outer < 0) {
        fn(arg, 1, it->p, still);
        return;
    }
    for (int i = 0; i <= outer; i++)
        if (it->shape[i] == 0) return;
    int64_t n = it->shape[outer], at[HG_MAX_DIM];
    const int64_t *step = it->step[outer];
    char *p[HG_ITER_MAX];
    memcpy(p, it->p, sizeof p);
    for (int i = 0; i < outer; i++) at[i] = 0;
    for (;;) {
        fn(arg, n, p, step);
        int i = outer - 1;
        for (; i >= 0; i--) {
            if (++at[i] < it->shape[i]) {
                for (int k = 0; k < it->n_operands; k++) p[k] += it->step[i][k];
                break;
            }
            for (int k = 0; k < it->n_operands; k++) p[k] -= it->step[i][k] * (it->shape[i] - 1);
            at[i] = 0;
        }
        if (i < 0) return;
    }
}

typedef struct loop_call {
    hg_loop loop;
    const hg_extra_args *extra;
} loop_call;

static void call_loop(void *arg, int64_t n, char *const *p, const int64_t *step) {
    const loop_call *c = arg;
    c->loop(n, p, step, c->extra);
}

void hg_iter_run(const hg_iter *it, hg_loop loop, const hg_extra_args *extra) {
    loop_call c = {loop, extra};
    hg_iter_rows(it, call_loop, &c);
}
