/* The generator: MT19937, seeded and read as torch does. */
#include "core_impl.h"

enum { SIZE = 624, SHIFT = 397 };

void hg_generator_seed(hg_generator *g, uint64_t seed) {
    g->seed = seed;
    g->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < SIZE; i++) g->state[i] = 1812433253u * (g->state[i - 1] ^ g->state[i - 1] >> 30) + i;
    g->at = SIZE;
    g->has_normal = false;
    g->next_normal = 0;
}

/* The next state of a word: from the one SHIFT places on, and the bits that span it and its neighbour. */
static uint32_t mixed(uint32_t far, uint32_t high, uint32_t low) {
    uint32_t y = (high & 0x80000000u) | (low & 0x7fffffffu);
    return far ^ y >> 1 ^ (-(low & 1) & 0x9908b0dfu);
}

static void refill(hg_generator *g) {
    uint32_t *s = g->state;
    for (int i = 0; i < SIZE - SHIFT; i++) s[i] = mixed(s[i + SHIFT], s[i], s[i + 1]);
    for (int i = SIZE - SHIFT; i < SIZE - 1; i++) s[i] = mixed(s[i + SHIFT - SIZE], s[i], s[i + 1]);
    s[SIZE - 1] = mixed(s[SHIFT - 1], s[SIZE - 1], s[0]);
    g->at = 0;
}

static inline uint32_t tempered(uint32_t y) {
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

uint32_t hg_generator_u32(hg_generator *g) {
    if (g->at >= SIZE) refill(g);
    return tempered(g->state[g->at++]);
}

void hg_generator_uniform(hg_generator *g, int64_t n, float *out) {
    while (n > 0) {
        if (g->at >= SIZE) refill(g);
        int some = n < SIZE - (int)g->at ? (int)n : SIZE - (int)g->at;
        const uint32_t *s = g->state + g->at;
        for (int i = 0; i < some; i++) out[i] = (float)(int32_t)(tempered(s[i]) & ((1u << 24) - 1)) * 0x1p-24f;
        g->at += some, out += some, n -= some;
    }
}

uint64_t hg_generator_u64(hg_generator *g) {
    uint64_t first = hg_generator_u32(g);
    return first << 32 | hg_generator_u32(g);
}
