/* The memory of large storages: kept, bounded, given back, and asked for again where there is none. */
#include "core_impl.h"
#include "test.h"

static hg_storage *take(size_t size) {
    hg_storage *s = NULL;
    CHECK_OK(hg_storage_new(cx, size, &s));
    if (s) memset(s->data, 7, size);
    return s;
}
static void give(hg_storage *s) { hg_storage_release(cx->lib, s); }
static hg_memory now(void) { return hg_memory_stats(cx->lib); }

#ifdef __SANITIZE_ADDRESS__
enum { KEEPS = 0 };
#else
enum { KEEPS = 1 };
#endif

TEST(freed_memory_serves_the_next_of_its_size) {
    hg_storage *a = take(100000);
    CHECK(a && (uintptr_t)a->data % 64 == 0);
    CHECK(now().in_use >= 100000 && now().in_use <= 112500 && now().waiting == 0);
    give(a);
    CHECK_EQ(now().in_use, 0);
    CHECK((now().waiting >= 100000) == KEEPS);
    hg_storage *b = take(99999);
    CHECK(!KEEPS || b == a);
    CHECK(b && b->size == 99999 && b->version == 0 && b->n_ref == 1 && !b->counter && !b->free);
    hg_storage *c = take(200000);
    CHECK(c != b && now().n_in_use == 2 && now().n_taken == 3);
    give(b), give(c);
    hg_empty_cache(cx->lib);
    CHECK_EQ(now().waiting, 0);
    CHECK(now().peak >= 300000);
    hg_reset_peak_memory(cx->lib);
    CHECK_EQ(now().peak, 0);
}

TEST(small_storages_are_not_kept) {
    long before = host->n_blocks;
    hg_storage *s = take(HG_BLOCK - 1);
    CHECK(now().n_in_use == 0);
    give(s);
    CHECK(host->n_blocks == before && now().waiting == 0);
}

/* Every size has a class that holds it and wastes little, and comes back as it was. */
TEST(sizes_are_rounded_up_by_an_eighth_at_most) {
    for (size_t size = HG_BLOCK; size < 40000; size += 61) {
        hg_storage *s = take(size);
        CHECK(now().in_use >= size && now().in_use <= size + size / 8 + 1);
        give(s);
        hg_storage *again = take(size);
        CHECK(!KEEPS || again == s);
        give(again);
    }
}

TEST(what_waits_never_raises_the_peak_by_much) {
    enum { MB = 1 << 20 };
    for (size_t size = 3 * MB; size < 60 * MB; size += 5 * MB + 4096) give(take(size));
    CHECK(host->peak_bytes <= now().peak + 33 * (size_t)MB);
    CHECK(now().in_use == 0);
    hg_storage *large = take(100 * (size_t)MB);
    CHECK(now().waiting <= 32 * (size_t)MB);
    give(large);
}

/* What one network has left serves the small storages of the next, and is whole again after them. */
TEST(a_block_that_waits_is_divided_for_smaller_ones) {
    hg_storage *whole = take(300000), *part[8] = {NULL};
    give(whole);
    long asked = host->n_blocks;
    size_t reserved = now().in_use + now().waiting;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 8; i++) {
            part[i] = take(5000 + 7000 * i);
            CHECK(part[i] && (uintptr_t)part[i]->data % 64 == 0);
            memset(part[i]->data, (int)i, part[i]->size);
        }
        CHECK(!KEEPS || (host->n_blocks == asked && now().in_use + now().waiting <= reserved));
        hg_empty_cache(cx->lib); /* of which parts are in use is not given back */
        for (size_t i = 0; i < 8; i++)
            for (size_t k = 0; k < part[i]->size; k++)
                if (part[i]->data[k] != (char)i) CHECK(!"a part was overwritten");
        for (size_t i = 0; i < 8; i++) give(part[(i * 3 + (size_t)round) % 8]);
    }
    hg_storage *again = take(300000);
    CHECK(!KEEPS || (again == whole && host->n_blocks == asked && now().waiting == 0));
    give(again);
    hg_empty_cache(cx->lib);
    CHECK_EQ(now().waiting, 0);
}

TEST(parts_come_and_go_in_any_order) {
    enum { N = 24 };
    hg_storage *at[N] = {NULL};
    uint32_t x = 1;
    give(take(400000)), give(take(200000));
    for (int step = 0; step < 4000; step++) {
        x = x * 1664525u + 1013904223u;
        size_t i = (x >> 8) % N;
        if (at[i]) {
            const char *data = at[i]->data;
            CHECK(data[0] == (char)i && data[at[i]->size - 1] == (char)i);
            give(at[i]);
            at[i] = NULL;
        } else {
            at[i] = take(HG_BLOCK + (x >> 12) % (step % 100 ? 30000 : 400000));
            if (at[i]) memset(at[i]->data, (int)i, at[i]->size);
        }
    }
    for (int i = 0; i < N; i++)
        if (at[i]) give(at[i]);
    CHECK_EQ(now().in_use, 0);
    hg_empty_cache(cx->lib);
    CHECK_EQ(now().waiting, 0);
}

TEST(a_process_that_grows_gives_back_what_waits) {
    enum { MB = 1 << 20 };
    for (int i = 0; i < 3; i++) give(take(MB + i * MB / 2));
    hg_storage *large = take(10 * MB);
    CHECK_EQ(now().waiting, 0);
    CHECK(host->peak_bytes <= 11 * (size_t)MB);
    give(large);
    give(take(MB)); /* less than before: both stay */
    CHECK((now().waiting >= 11 * MB) == KEEPS);
}

TEST(the_cache_is_given_back_before_memory_runs_out) {
    give(take(50000));
    give(take(5000));
    bool kept = now().waiting > 0;
    host->fail_at = 1; /* all fail from here on */
    hg_storage *s = NULL;
    CHECK_FAIL(HG_MEMORY, "can't allocate memory", hg_storage_new(cx, 500000, &s));
    host->fail_at = 0;
    CHECK(kept == KEEPS && now().waiting == 0 && now().in_use == 0);
    give(take(500000));
}

TEST(large_blocks_begin_with_a_huge_page) {
    for (int i = 0; i < 3; i++) {
        hg_storage *s = take((4u << 20) + (size_t)i * 1000000);
#ifdef __linux__
        if (KEEPS) CHECK_EQ((uintptr_t)s->data % (2u << 20), 0);
#endif
        memset(s->data, i, s->size);
        give(s);
    }
}

TEST(sizes_beyond_all_memory_are_refused) {
    hg_storage *s = NULL;
    CHECK_FAIL(HG_MEMORY, "can't allocate memory", hg_storage_new(cx, SIZE_MAX, &s));
    CHECK_FAIL(HG_MEMORY, "can't allocate memory", hg_storage_new(cx, PTRDIFF_MAX, &s));
    CHECK_FAIL(HG_MEMORY, "can't allocate memory", hg_storage_new(cx, (size_t)1 << 62, &s));
}
