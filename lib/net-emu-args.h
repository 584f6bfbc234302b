/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NET_EMU_ARGS_H
#define NET_EMU_ARGS_H 1

/* Arguments of a net_emu device: doc/reference.md, parsed.
 *
 * Thread-safety: functions of their arguments only. */

#include <stdbool.h>

#include <rte_config.h>
#include <rte_ether.h>

#include "net-emu-private.h"
#include "nic-emu-config.h"

struct net_emu_args {
    unsigned int n_uplinks, n_vfs;
    bool rings;                     /* Ports without device have rings. */
    bool has_mac;
    struct rte_ether_addr mac;      /* Of the first port. */
    enum net_emu_restrict restriction;
    struct nic_emu_config config;

    /* Kernel devices, null where there is none; owned. */
    char *uplinks[NET_EMU_MAX_UPLINKS];
    char *vfs[NET_EMU_MAX_VFS];
};

/* Parses 'text', "KEY=VALUE,KEY=VALUE...", null or empty for none.  Returns 0
 * if successful, otherwise EINVAL and stores in '*errorp' a malloc()'d
 * sentence; '*args' must be given to net_emu_args_destroy() in both cases. */
int net_emu_args_parse(const char *text, struct net_emu_args *args,
                       char **errorp);
void net_emu_args_destroy(struct net_emu_args *args);

#endif /* net-emu-args.h */
