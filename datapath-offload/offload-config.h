/* SPDX-License-Identifier: Apache-2.0 */

#ifndef OFFLOAD_CONFIG_H
#define OFFLOAD_CONFIG_H 1

/* Configuration, and which NICs there are
 * =======================================
 *
 * Takes what OVSDB says (doc/reference.md lists the keys), and keeps NICs open
 * accordingly, and ports attached to them (offload-ports.h).  A bad value is
 * reported once, with the key, the value and what is allowed; the last good
 * one stays in force.
 *
 * Thread-safety: main thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include "lib/nic.h"

struct engine;
struct engine_thread;
struct smap;

/* One row of the Interface table. */
struct offload_iface_config {
    const char *name;
    const struct smap *other_config;
};

void offload_config_init(struct engine *, struct engine_thread *);

/* Removes all ports from NICs and closes the NICs.  The engine's thread does
 * not run any more. */
void offload_config_exit(void);

/* Applies what OVSDB says: other_config of table Open_vSwitch, and the
 * interfaces. */
void offload_config_set(const struct smap *ovs_other_config,
                        const struct offload_iface_config *, size_t n);

/* Goes on with what takes time.  To be called in each main loop. */
void offload_config_run(void);
void offload_config_wait(void);

/* Iterates over NICs, for commands. */
void offload_config_for_each_nic(void (*cb)(struct nic *, const char *config,
                                            void *aux),
                                 void *aux);
struct nic *offload_config_find_nic(const char *name);

/* What is configured now, for offload-ports.h. */

/* A NIC that is open. */
struct config_nic {
    struct nic *nic;
    char *config;                   /* As last applied. */
    bool removing;
    bool mark;
};

/* What an Interface says. */
struct config_iface {
    char *nic;                      /* Null if none. */
    char *dev;                      /* Kernel device for its rules, or null. */
    enum nic_port_role role;
    bool has_role;                  /* 'role' is configured. */
    bool ct_offload;
    bool mark;
};

/* Return the NIC, or the interface, called 'name', or null if there is none.
 * Valid until the configuration changes. */
const struct config_nic *offload_config_get_nic(const char *name);
const struct config_iface *offload_config_find_iface(const char *name);

/* Returns the NIC that DPDK device 'name' belongs to, which needs no
 * configuration, opens it if necessary, and stores what the device is in
 * '*role'.  Returns null if there is none, and then stores text that stays
 * valid and says why in '*whyp', and in '*waitingp' whether there may be one
 * as soon as other ports are there. */
const struct config_nic *offload_config_find_dpdk_nic(const char *name,
                                                      enum nic_port_role *role,
                                                      const char **whyp,
                                                      bool *waitingp);

/* Returns true if 'hw-offload' has ever been true: OVS does not stop. */
bool offload_config_hw_offload(void);

#endif /* offload-config.h */
