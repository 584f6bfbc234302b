/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "vport-bond-status.h"

#include <stdlib.h>

#include "openvswitch/shash.h"
#include "smap.h"
#include "util.h"
#include "vport-bond-watcher.h"

/* A vport that is or was. */
struct status {
    char *uplinks;                  /* Null if it is no vport any more. */
    uint64_t seq;
};

static struct shash statuses = SHASH_INITIALIZER(&statuses);
static uint64_t seen_seq;           /* Of the watcher. */

/* Brings 'statuses' up to date. */
static void
refresh(void)
{
    uint64_t seq = vport_bond_watcher_change_seq();
    struct shash_node *node;
    struct smap current;

    if (seq == seen_seq) {
        return;
    }
    seen_seq = seq;

    smap_init(&current);
    vport_bond_watcher_get_uplinks(&current);
    SHASH_FOR_EACH (node, &statuses) {
        struct status *status = node->data;
        const char *uplinks = smap_get(&current, node->name);

        if (!nullable_string_is_equal(status->uplinks, uplinks)) {
            free(status->uplinks);
            status->uplinks = nullable_xstrdup(uplinks);
            status->seq++;
        }
    }

    struct smap_node *smap_node;
    SMAP_FOR_EACH (smap_node, &current) {
        if (!shash_find(&statuses, smap_node->key)) {
            struct status *status = xmalloc(sizeof *status);

            status->uplinks = xstrdup(smap_node->value);
            status->seq = 1;
            shash_add(&statuses, smap_node->key, status);
        }
    }
    smap_destroy(&current);
}

const char *
vport_bond_status_get(const char *vport)
{
    const struct status *status;

    refresh();
    status = shash_find_data(&statuses, vport);
    return status ? status->uplinks : NULL;
}

uint64_t
vport_bond_status_seq(const char *vport)
{
    const struct status *status;

    refresh();
    status = shash_find_data(&statuses, vport);
    return status ? status->seq : 0;
}

void
vport_bond_status_destroy(void)
{
    struct shash_node *node;

    SHASH_FOR_EACH_SAFE (node, &statuses) {
        struct status *status = node->data;

        free(status->uplinks);
        free(status);
        shash_delete(&statuses, node);
    }
}
