/* SPDX-License-Identifier: Apache-2.0 */

/* Hooks in OVS's vswitchd/bridge.c.
 *
 *   netdev_set_flow_api_enabled   Called in each main loop after the database
 *   was
 *       read and before anything is configured from it: the place where our
 *       configuration is read, so that it is known whose a port is before the
 *       port exists.
 *
 *   bridge_run, bridge_wait, bridge_exit   Our part of the main loop. */

#include <config.h>

#include "datapath-offload/hook-version.h"
#include "datapath-offload/offload.h"
#include "datapath-offload/test-switch.h"
#include "netdev-offload.h"
#include "vswitchd/bridge.h"

static void hooked_set_flow_api_enabled(const struct smap *other_config);

void ovs_bridge_run(void);
void ovs_bridge_wait(void);
void ovs_bridge_exit(bool);

#define netdev_set_flow_api_enabled hooked_set_flow_api_enabled
#define bridge_run ovs_bridge_run
#define bridge_wait ovs_bridge_wait
#define bridge_exit ovs_bridge_exit
#include "vswitchd/bridge.c"
#undef netdev_set_flow_api_enabled
#undef bridge_run
#undef bridge_wait
#undef bridge_exit

/* Reads our configuration from the database. */
static void
read_config(const struct smap *other_config)
{
    struct offload_iface_config *ifaces = NULL;
    const struct ovsrec_interface *row;
    size_t allocated = 0;
    size_t n = 0;

    OVSREC_INTERFACE_FOR_EACH (row, idl) {
        if (n == allocated) {
            ifaces = x2nrealloc(ifaces, &allocated, sizeof *ifaces);
        }
        ifaces[n].name = row->name;
        ifaces[n].other_config = test_switch_iface_config(&row->other_config);
        n++;
    }
    offload_config_set(other_config, ifaces, n);
    free(ifaces);
}

static void
hooked_set_flow_api_enabled(const struct smap *other_config)
{
    static unsigned int seqno;
    bool was_enabled = netdev_is_flow_api_enabled();
    static bool initialized;

    if (!initialized) {
        initialized = true;
        test_switch_init();
        offload_init();
    }
    other_config = test_switch_ovs_config(other_config);
    if (seqno != ovsdb_idl_get_seqno(idl)) {
        seqno = ovsdb_idl_get_seqno(idl);
        read_config(other_config);
    }
    netdev_set_flow_api_enabled(other_config);
    if (!was_enabled && netdev_is_flow_api_enabled()) {
        offload_config_hw_offload_enabled();
    }
}

void
bridge_run(void)
{
    ovs_bridge_run();
    offload_run();
}

void
bridge_wait(void)
{
    ovs_bridge_wait();
    offload_wait();
}

void
bridge_exit(bool delete_datapath)
{
    test_switch_report();
    ovs_bridge_exit(delete_datapath);
    offload_exit();
}
