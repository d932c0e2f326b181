/* The strided iterator: see Note [Loops]. */
#include "iter_impl.h"
#include "pool_impl.h"

#include <string.h>

void hg_iter_begin(hg_iter *it, int n_dim, const int64_t *shape) {
    it->n_operands = 0;
    it->n_dim = n_dim;
    it->joins = false;
    for (int i = 0; i < n_dim; i++) it->shape[i] = shape[i];
}

void hg_iter_add(hg_iter *it, const void *data, size_t itemsize, int n_dim, const int64_t *shape,
                 const int64_t *stride) {
    int k = it->n_operands++, lead = it->n_dim - n_dim;
    it->p[k] = (char *)data;
    it->size[k] = (int64_t)itemsize;
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

/* Numbers of a row; bytes of rows that were joined, and behind them; numbers that are rather copied than computed again. */
enum { MOST_JOINED = 128, JOINED = 4096, SLACK = 16, MANY = 64 };

void hg_iter_lengthen(hg_iter *it) {
    enum { SHORT_ROW = 4 };
    int last = it->n_dim - 1;
    if (last < 1 || it->shape[last] > SHORT_ROW || it->shape[last - 1] < 2 * SHORT_ROW) return;
    int64_t size = it->shape[last], step[HG_ITER_MAX];
    memcpy(step, it->step[last], sizeof step);
    it->shape[last] = it->shape[last - 1], memcpy(it->step[last], it->step[last - 1], sizeof step);
    it->shape[last - 1] = size, memcpy(it->step[last - 1], step, sizeof step);
}

bool hg_iter_join(hg_iter *it) {
    int last = it->n_dim - 1;
    it->joins = last > 0 && it->shape[last] <= MOST_JOINED;
    for (int k = 0; it->joins && k < it->n_operands; k++) {
        int64_t row = it->step[last][k], down = it->step[last - 1][k];
        bool repeats = down ? row == 0 && it->size[k] == sizeof(uint32_t) : row == it->size[k];
        it->joins = down == row * it->shape[last] || (k > 0 && repeats);
    }
    return it->joins;
}

/* to[] = `times` rows of one number each, n times; writes on through a unit, which is said to be a vector where compilers keep to
   loops. */
static void write_out(const char *from, int64_t down, int64_t times, int64_t n, uint32_t *to) {
    enum { UNIT = 4 };
    typedef uint32_t unit __attribute__((vector_size(UNIT * sizeof(uint32_t)), aligned(4), may_alias));
    for (; times > 0; times--, from += down, to += n) {
        const uint32_t x = *(const uint32_t *)(const void *)from;
        for (int64_t i = 0; i < n; i += UNIT) *(unit *)(to + i) = (unit){x, x, x, x};
    }
}

/* What lies in the first `done` bytes, again and again up to `all`. */
static void repeat(char *to, int64_t done, int64_t all) {
    for (; done < all; done += done) memcpy(to + done, to, (size_t)(done < all - done ? done : all - done));
}

/* The next `rows` rows as few long ones. An operand whose row is the same in each has it written out, as often as there is
   room; so has one that has a number for each, again and again. */
static void run_joined(const hg_iter *it, int64_t rows, char *const *p, hg_row_fn fn, void *arg) {
    const int last = it->n_dim - 1;
    const int64_t n = it->shape[last], *down = it->step[last - 1];
    int64_t most = rows, step[HG_ITER_MAX];
    uint32_t room[HG_ITER_MAX][(JOINED + SLACK) / sizeof(uint32_t)];
    char *q[HG_ITER_MAX];
    memcpy(q, p, sizeof q), memcpy(step, it->step[last], sizeof step);
    for (int k = 1; k < it->n_operands; k++) {
        if (down[k] == step[k] * n) continue;
        int64_t size = n * it->size[k], all = rows * size;
        char *to = (char *)room[k];
        if (all > JOINED) all = JOINED / size * size;
        if (most > all / size) most = all / size;
        step[k] = it->size[k];
        if (down[k]) continue;
        q[k] = memcpy(to, p[k], (size_t)size);
        repeat(to, size, all);
    }
    for (int64_t some; rows > 0; rows -= some) {
        char *from[HG_ITER_MAX];
        some = rows < most ? rows : most;
        for (int k = 0; k < it->n_operands; k++) {
            bool each = down[k] && !it->step[last][k];
            if (each) write_out(q[k], down[k], some, n, room[k]);
            from[k] = each ? (char *)room[k] : q[k];
            q[k] += some * down[k];
        }
        fn(arg, some * n, from, step);
    }
}

/* Elements begin to end, counted in the order of the dimensions. */
static void rows_between(const hg_iter *it, int64_t begin, int64_t end, hg_row_fn fn, void *arg) {
    static const int64_t still[HG_ITER_MAX] = {0};
    int last = it->n_dim - 1;
    char *p[HG_ITER_MAX];
    memcpy(p, it->p, sizeof p);
    if (last < 0) {
        fn(arg, 1, p, still);
        return;
    }
    int64_t at[HG_MAX_DIM], left = begin;
    for (int i = last; i >= 0; i--) {
        at[i] = left % it->shape[i], left /= it->shape[i];
        for (int k = 0; k < it->n_operands; k++) p[k] += at[i] * it->step[i][k];
    }
    const int64_t *step = it->step[last];
    for (int64_t n; begin < end; begin += n) {
        n = it->shape[last] - at[last] < end - begin ? it->shape[last] - at[last] : end - begin;
        const bool is_whole = last && n == it->shape[last];
        const int64_t *down = is_whole ? it->step[last - 1] : still;
        if (is_whole && it->joins) {
            const int64_t left = it->shape[last - 1] - at[last - 1], fit = (end - begin) / n;
            const int64_t rows = left < fit ? left : fit;
            run_joined(it, rows, p, fn, arg);
            for (int k = 0; k < it->n_operands; k++) p[k] += (rows - 1) * down[k];
            begin += (rows - 1) * n, at[last - 1] += rows - 1;
        } else {
            fn(arg, n, p, step);
            /* the whole rows of one plane, without asking where they are */
            for (; is_whole && begin + 2 * n <= end && at[last - 1] + 1 < it->shape[last - 1];
                 begin += n, at[last - 1]++) {
                for (int k = 0; k < HG_ITER_MAX; k++) p[k] += k < it->n_operands ? down[k] : 0;
                fn(arg, n, p, step);
            }
        }
        for (int k = 0; k < it->n_operands; k++) p[k] -= at[last] * step[k];
        at[last] = 0;
        for (int i = last - 1; i >= 0; i--) {
            if (++at[i] < it->shape[i]) {
                for (int k = 0; k < it->n_operands; k++) p[k] += it->step[i][k];
                break;
            }
            for (int k = 0; k < it->n_operands; k++) p[k] -= it->step[i][k] * (it->shape[i] - 1);
            at[i] = 0;
        }
    }
}

static int64_t count(const hg_iter *it) {
    int64_t n = 1;
    for (int i = 0; i < it->n_dim; i++) n *= it->shape[i];
    return n;
}

void hg_iter_rows(const hg_iter *it, hg_row_fn fn, void *arg) {
    int64_t n = count(it);
    if (n) rows_between(it, 0, n, fn, arg);
}

typedef struct job {
    const hg_iter *it;
    hg_row_fn fn;
    void *arg;
} job;

static void do_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    rows_between(j->it, begin, end, j->fn, j->arg);
}

void hg_iter_work(hg_ctx *cx, const hg_iter *it, hg_row_fn fn, void *arg) { hg_iter_work_each(cx, it, 1, fn, arg); }

void hg_iter_work_each(hg_ctx *cx, const hg_iter *it, int64_t each, hg_row_fn fn, void *arg) {
    hg_work(cx, count(it), 1 + (HG_GRAIN - 1) / (each ? each : 1), do_range, &(job){it, fn, arg});
}

typedef struct roomy {
    job j;
    int64_t n, workers;
    size_t room;
    char *rooms;
} roomy;

static void do_shares(void *arg, int64_t begin, int64_t end) {
    const roomy *r = arg;
    for (int64_t i = begin; i < end; i++) {
        hg_row_room own = {r->j.arg, r->rooms + (size_t)i * r->room};
        rows_between(r->j.it, r->n * i / r->workers, r->n * (i + 1) / r->workers, r->j.fn, &own);
    }
}

hg_status hg_iter_work_in_room(hg_ctx *cx, const hg_iter *it, int64_t each, size_t room, hg_row_fn fn, void *arg) {
    roomy r = {.j = {it, fn, arg}, .n = count(it), .room = (room + 63) & ~(size_t)63};
    r.workers = r.n * each / HG_GRAIN;
    if (r.workers > hg_get_num_threads()) r.workers = hg_get_num_threads();
    if (r.workers > r.n) r.workers = r.n;
    if (r.workers < 1) r.workers = 1;
    size_t all;
    if (__builtin_mul_overflow((size_t)r.workers, r.room, &all)) return hg_no_memory(cx);
    if (!(r.rooms = hg_mem(cx, all))) return HG_MEMORY;
    hg_work(cx, r.workers, 1, do_shares, &r);
    hg_mem_free(cx->lib, r.rooms);
    return HG_OK;
}

typedef struct loop_call {
    const hg_iter *it;
    hg_loop loop;
    const hg_extra_args *extra;
} loop_call;

static void call_loop(void *arg, int64_t n, char *const *p, const int64_t *step) {
    const loop_call *c = arg;
    const int64_t size = c->it->size[0];
    bool is_one = n >= MANY && step[0] == size;
    for (int k = 1; k < c->it->n_operands; k++) is_one = is_one && step[k] == 0;
    c->loop(is_one ? 1 : n, p, step, c->extra);
    if (is_one) repeat(p[0], size, n * size); /* what comes of one number each, everywhere */
}

void hg_iter_work_loop(hg_ctx *cx, const hg_iter *it, hg_loop loop, const hg_extra_args *extra) {
    hg_iter_work(cx, it, call_loop, &(loop_call){it, loop, extra});
}
