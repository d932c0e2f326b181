/* Data types: what they are called, and how they combine. */
#include "core_impl.h"

const hg_dtype_info hg_dtypes[HG_N_DTYPES] = {
#define X(id, type, name, tensor_name, category) [HG_##id] = {name, tensor_name, sizeof(type), category},
    HG_DTYPES(X)
#undef X
};

hg_dtype hg_dtype_promote(hg_dtype a, hg_dtype b) {
    if (a == b) return a;
    uint8_t ca = hg_dtypes[a].category, cb = hg_dtypes[b].category;
    if (ca != cb) return ca > cb ? a : b;
    if (ca == 2) { /* neither half type holds the other */
        if ((a == HG_F16 && b == HG_BF16) || (a == HG_BF16 && b == HG_F16)) return HG_F32;
        return hg_dtypes[a].size > hg_dtypes[b].size ? a : b;
    }
    if ((a == HG_U8 && b == HG_I8) || (a == HG_I8 && b == HG_U8)) return HG_I16;
    return hg_dtypes[a].size > hg_dtypes[b].size ? a : b;
}
