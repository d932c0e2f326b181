/* What belongs to a thread, as a backward hands it to each of its nodes.

   Note [Locals of a backward]
   Every node runs in the modes that its backward was begun in: what a hook, or a node's own derivative, has set and not put
   back (the gradient mode, a scope of saved-tensor hooks that it began or ended, a mode of the host's) is forgotten with the
   node, as in PyTorch. All but two flags change rarely, and the context counts their changes: a node that changed nothing pays one
   comparison. */
#include "autograd_impl.h"

#include <string.h>

hg_status hg_locals_keep(hg_ctx *cx, hg_locals *l) {
    const char *words = cx->no_saved_hooks;
    *l = (hg_locals){.grad_enabled = cx->grad_enabled, .inference = cx->inference, .n_changes = cx->n_changes};
    if (HOST(cx)->modes && HOST(cx)->modes(HOST(cx)->ud, &l->host) != HG_OK) return cx->status = HG_HOST;
    l->saved = hg_saved_level_hold(cx->saved);
    if (!words) return HG_OK;
    if (!(l->no_saved_hooks = hg_mem(cx, strlen(words) + 1))) return HG_MEMORY;
    strcpy(l->no_saved_hooks, words);
    return HG_OK;
}

static hg_status put_back(hg_ctx *cx, hg_locals *l) {
    struct hg_saved_level *left = cx->saved;
    hg_status st = HG_OK;
    cx->saved = hg_saved_level_hold(l->saved);
    hg_saved_level_drop(cx, left);
    if (l->no_saved_hooks)
        st = hg_saved_hooks_disable(cx, l->no_saved_hooks, false);
    else
        hg_saved_hooks_enable(cx);
    if (st == HG_OK && HOST(cx)->set_modes && HOST(cx)->set_modes(HOST(cx)->ud, l->host) != HG_OK)
        st = cx->status = HG_HOST;
    l->n_changes = cx->n_changes;
    return st;
}

hg_status hg_locals_changed(hg_ctx *cx, hg_locals *l, hg_status st) {
    if (st == HG_OK) return put_back(cx, l);
    void *stashed = HOST(cx)->stash ? HOST(cx)->stash(HOST(cx)->ud) : NULL;
    char words[sizeof cx->words];
    memcpy(words, cx->words, sizeof words);
    if (put_back(cx, l) == HG_HOST && HOST(cx)->explain) HOST(cx)->explain(HOST(cx)->ud, NULL, 0);
    memcpy(cx->words, words, sizeof words);
    if (HOST(cx)->unstash) HOST(cx)->unstash(HOST(cx)->ud, stashed);
    return cx->status = st;
}

void hg_locals_drop(hg_ctx *cx, hg_locals *l) {
    hg_saved_level_drop(cx, l->saved);
    hg_mem_free(cx->lib, l->no_saved_hooks);
    if (l->host) HOST(cx)->drop(HOST(cx)->ud, l->host);
}
