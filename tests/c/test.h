/* A small test runner. TEST(name) { ... } registers itself; before it runs, `cx` is opened on a malloc host (`host`), and
   after it nothing may be alive: no object, no name or tuple, no block of memory. */
#ifndef TEST_H
#define TEST_H

#include "hookgrad_malloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
} test;

extern hg_malloc_host *host;
extern hg_ctx *cx;
extern int n_failed_checks;

void test_add(test *t);
void test_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define TEST(name)                                                                                                     \
    static void test_##name(void);                                                                                     \
    static test test_of_##name = {#name, test_##name, NULL};                                                           \
    __attribute__((constructor)) static void add_##name(void) { test_add(&test_of_##name); }                           \
    static void test_##name(void)

#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        if (!(cond)) test_fail(__FILE__, __LINE__, "%s", #cond);                                                       \
    } while (0)
#define CHECK_OK(expr)                                                                                                 \
    do {                                                                                                               \
        hg_status st_ = (expr);                                                                                        \
        if (st_ != HG_OK) test_fail(__FILE__, __LINE__, "%s: status %d, %s", #expr, (int)st_, hg_error(cx));           \
    } while (0)
/* The expression fails with that status, and what it says contains the words. */
#define CHECK_FAIL(status, words, expr)                                                                                \
    do {                                                                                                               \
        hg_status st_ = (expr);                                                                                        \
        if (st_ != (status))                                                                                           \
            test_fail(__FILE__, __LINE__, "%s: status %d, not %d", #expr, (int)st_, (int)(status));                    \
        else if (!strstr(hg_error(cx), words))                                                                         \
            test_fail(__FILE__, __LINE__, "%s: it says: %s", #expr, hg_error(cx));                                     \
    } while (0)
#define CHECK_EQ(got, want)                                                                                            \
    do {                                                                                                               \
        double got_ = (double)(got), want_ = (double)(want);                                                           \
        if (got_ != want_) test_fail(__FILE__, __LINE__, "%s is %.17g, not %.17g", #got, got_, want_);                 \
    } while (0)
#define CHECK_NEAR(got, want)                                                                                          \
    do {                                                                                                               \
        double got_ = (double)(got), want_ = (double)(want);                                                           \
        if (!(fabs(got_ - want_) <= 1e-5 * (1 + fabs(want_))))                                                         \
            test_fail(__FILE__, __LINE__, "%s is %.17g, not about %.17g", #got, got_, want_);                          \
    } while (0)
#define CHECK_WORDS(got, want)                                                                                         \
    do {                                                                                                               \
        if (strcmp(got, want) != 0) test_fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #got, got, want);        \
    } while (0)

/* ---- Short ways to tensors: new ones; NULL when they fail ------------------------------------------------------------------ */

#define SHAPE(...)                                                                                                     \
    ((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))), (int64_t[]) { __VA_ARGS__ }
#define VALUES(...) ((const double[]){__VA_ARGS__})

hg_tensor *tensor_of(int n_dim, const int64_t *shape, const double *values); /* float32 */
hg_tensor *leaf_of(int n_dim, const int64_t *shape, const double *values);   /* ... that requires a gradient */
hg_tensor *scalar(double value);
hg_tensor *leaf(double value);
double value_at(const hg_tensor *t, int64_t i); /* element i of a contiguous float32 tensor; NaN for NULL */
#define ITEM(t) value_at(t, 0)

/* Call an op with one result: new, NULL when it failed. */
hg_tensor *op(int id, const hg_arg *a, int n);
#define OP(name, ...) op(HG_OP_##name, (hg_arg[]){__VA_ARGS__}, (int)(sizeof((hg_arg[]){__VA_ARGS__}) / sizeof(hg_arg)))
hg_status backward(hg_tensor *root);
void drop(hg_tensor *t); /* hg_release */

/* ---- What the hooks of a test have done, in order: "a b c" ------------------------------------------------------------------ */

extern char seen[512]; /* empty as a test begins */
void note(const char *what);
hg_status note_hook(hg_ctx *c, hg_call *call, void *data); /* notes data, a string */

#endif
