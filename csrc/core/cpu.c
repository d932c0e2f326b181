/* Which version of the kernels runs: see Note [Vector units] in cpu_impl.h. */
#include "cpu_impl.h"
#include "hookgrad.h"

#include <stdlib.h>
#include <string.h>

hg_cpu hg_cpu_used = HG_CPU_BASELINE;

static const char *const names[] = {"baseline", "avx2", "avx512"};

static hg_cpu machine(void) {
#ifdef HG_HAS_VERSIONS
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
    return avx512 ? HG_CPU_AVX512 : avx2 ? HG_CPU_AVX2 : HG_CPU_BASELINE;
#else
    return HG_CPU_BASELINE;
#endif
}

void hg_cpu_choose(void) {
    const char *wanted = getenv("HOOKGRAD_CPU");
    hg_cpu best = machine();
    hg_cpu_used = best;
    for (int i = 0; wanted && i < (int)best; i++)
        if (strcmp(wanted, names[i]) == 0) hg_cpu_used = (hg_cpu)i;
}

const char *hg_cpu_name(void) { return names[hg_cpu_used]; }
