/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "offload-ports.h"

#include <stdlib.h>
#include <string.h>

#include "dp-registry.h"
#include "engine-thread.h"
#include "engine.h"
#include "hash.h"
#include "netdev-offload.h"
#include "netdev-provider.h"
#include "netdev-vport.h"
#include "odp-util.h"
#include "offload-config.h"
#include "openvswitch/hmap.h"
#include "openvswitch/thread.h"
#include "openvswitch/vlog.h"
#include "provider.h"
#include "timeval.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(offload_ports);

/* A port of a datapath. */
struct port {
    struct hmap_node node;
    char *name;
    const char *dpif_type;          /* OVS's own: it compares addresses. */
    odp_port_t odp_port;
    bool is_tunnel;                 /* Never a port of a NIC. */
    bool is_dpdk;                   /* Of a NIC that needs no configuration. */
    const char *refusal;            /* Then why it is not, null if it is. */
    bool waiting;                   /* It may be soon: nobody else's. */
    const struct config_nic *cnic;  /* Null if not attached. */
    char *dev;                      /* As attached, may be null. */
    nic_port_id id;
    enum nic_port_role role;
    bool ct_offload;
};

static struct engine *engine;
static struct engine_thread *thread;

/* Written by the main thread, with 'ports_mutex'; read by it without. */
static struct ovs_mutex ports_mutex = OVS_MUTEX_INITIALIZER;
static struct hmap ports = HMAP_INITIALIZER(&ports);

void
offload_ports_init(struct engine *engine_, struct engine_thread *thread_)
{
    engine = engine_;
    thread = thread_;
}

static uint32_t
port_hash(const char *dpif_type, odp_port_t odp_port)
{
    return hash_string(dpif_type, odp_to_u32(odp_port));
}

static struct port *
find_port(const char *dpif_type, odp_port_t odp_port)
{
    struct port *port;

    HMAP_FOR_EACH_WITH_HASH (port, node, port_hash(dpif_type, odp_port),
                             &ports) {
        if (port->odp_port == odp_port
            && !strcmp(port->dpif_type, dpif_type)) {
            return port;
        }
    }
    return NULL;
}

/* Lets OVS choose the provider of 'port' again. */
static void
reassign(const struct port *port)
{
    struct netdev *netdev = netdev_ports_get(port->odp_port, port->dpif_type);

    if (netdev) {
        if (!provider_owns(netdev)) {
            provider_flush_stock(port->dpif_type, port->odp_port);
        }
        netdev_uninit_flow_api(netdev);
        netdev_init_flow_api(netdev);
        if (provider_owns(netdev)) {
            provider_reread_megaflows(port->dpif_type, port->odp_port);
        }
        netdev_close(netdev);
    }
}

static void
detach(struct port *port)
{
    const struct config_nic *cnic = port->cnic;

    ovs_mutex_lock(&ports_mutex);
    port->cnic = NULL;
    ovs_mutex_unlock(&ports_mutex);

    free(port->dev);
    port->dev = NULL;
    cnic->nic->class->port_del(cnic->nic, port->id);
    engine_lock(engine);
    engine_clear_port(engine, dp_registry_id(port->dpif_type), port->odp_port,
                      time_msec());
    engine_unlock(engine);
    engine_thread_wake(thread);
}

static void
attach(struct port *port, const struct config_nic *cnic,
       const struct config_iface *iface, enum nic_port_role role)
{
    const struct nic_class *class = cnic->nic->class;
    bool elsewhere = iface->dev && class->port_add_on;
    nic_port_id id;
    int error;

    error = (elsewhere
             ? class->port_add_on(cnic->nic, port->name, iface->dev,
                                  port->odp_port, role, &id)
             : class->port_add(cnic->nic, port->name, port->odp_port, role,
                               &id));
    if (error) {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);

        VLOG_WARN_RL(&rl, "%s: cannot be a port of NIC %s (%s)", port->name,
                     cnic->nic->name, ovs_strerror(error));
        return;
    }

    port->dev = nullable_xstrdup(iface->dev);
    ovs_mutex_lock(&ports_mutex);
    port->cnic = cnic;
    port->id = id;
    port->role = role;
    port->ct_offload = iface->ct_offload;
    ovs_mutex_unlock(&ports_mutex);

    engine_lock(engine);
    engine_set_port(engine, dp_registry_id(port->dpif_type), port->odp_port,
                    port->name, cnic->nic, id, iface->ct_offload,
                    time_msec());
    engine_unlock(engine);
    engine_thread_wake(thread);
}

/* Returns true if some port called 'name' is a NIC's.  Datapaths that OVSDB
 * does not know (dpctl/add-dp) may have ports of the same device. */
static bool
is_name_attached(const char *name)
{
    const struct port *port;

    HMAP_FOR_EACH (port, node, &ports) {
        if (port->cnic && !strcmp(port->name, name)) {
            return true;
        }
    }
    return false;
}

static bool
is_userspace(const char *dpif_type)
{
    return !strcmp(dpif_type, "netdev") || !strcmp(dpif_type, "dummy");
}

/* Returns true if 'port', which is attached, is on another device than when it
 * was attached. */
static bool
has_changed(const struct port *port)
{
    const struct nic *nic = port->cnic->nic;

    return nic->class->port_changed && nic->class->port_changed(nic, port->id);
}

/* Returns true if nothing is configured about the NIC of 'port', 'iface': it
 * belongs to that of its DPDK device, if this has one. */
static bool
is_automatic(const struct port *port, const struct config_iface *iface)
{
    return port->is_dpdk && iface && !iface->nic;
}

/* Returns the NIC that 'port', 'iface', is to be a port of, or null, and
 * stores its role there in '*role'. */
static const struct config_nic *
find_nic(struct port *port, const struct config_iface *iface,
         enum nic_port_role *role)
{
    const struct config_nic *cnic = NULL;
    bool waiting = false;

    port->refusal = NULL;
    if (!iface || !is_userspace(port->dpif_type) || port->is_tunnel) {
        return NULL;
    }
    *role = iface->role;
    if (iface->nic) {
        cnic = offload_config_get_nic(iface->nic);
    } else if (is_automatic(port, iface)) {
        enum nic_port_role device_role;

        if (!offload_config_hw_offload()) {
            port->refusal = "hw-offload is false";
            return NULL;
        }
        cnic = offload_config_find_dpdk_nic(port->name, &device_role,
                                            &port->refusal, &waiting);
        if (cnic && !iface->has_role) {
            *role = device_role;
        }
    }
    ovs_mutex_lock(&ports_mutex);
    port->waiting = waiting;
    ovs_mutex_unlock(&ports_mutex);
    return cnic && !cnic->removing ? cnic : NULL;
}

/* Attaches or detaches 'port' as configured.  Returns true if that changed
 * whose it is. */
static bool
reconcile_port(struct port *port)
{
    const struct config_iface *iface = offload_config_find_iface(port->name);
    enum nic_port_role role = NIC_PORT_VF;
    const struct config_nic *cnic;
    bool was_ours = port->cnic != NULL;
    bool was_waiting = port->waiting;

    if (port->cnic && !iface && !port->cnic->removing) {
        /* OVS is about to remove the port. */
        return false;
    }
    cnic = find_nic(port, iface, &role);
    if (port->cnic
        && (port->cnic != cnic || port->role != role
            || !nullable_string_is_equal(port->dev, iface->dev)
            || has_changed(port))) {
        detach(port);
    }
    if (cnic && !port->cnic) {
        if (!is_name_attached(port->name)) {
            attach(port, cnic, iface, role);
        }
    } else if (port->cnic && port->ct_offload != iface->ct_offload) {
        port->ct_offload = iface->ct_offload;
        engine_lock(engine);
        engine_set_port(engine, dp_registry_id(port->dpif_type),
                        port->odp_port, port->name, cnic->nic, port->id,
                        port->ct_offload, time_msec());
        engine_unlock(engine);
        engine_thread_wake(thread);
    }
    return (was_ours != (port->cnic != NULL)
            || was_waiting != port->waiting);
}

void
offload_ports_reconcile(void)
{
    struct port *port;

    HMAP_FOR_EACH (port, node, &ports) {
        if (reconcile_port(port)) {
            reassign(port);
        }
    }
}

void
offload_ports_add(struct netdev *netdev, const char *dpif_type,
                  odp_port_t odp_port)
{
    struct port *port = find_port(dpif_type, odp_port);
    bool is_new = !port;

    if (is_new) {
        port = xzalloc(sizeof *port);
        port->name = xstrdup(netdev_get_name(netdev));
        port->dpif_type = dpif_type;
        port->odp_port = odp_port;
        port->is_tunnel
            = netdev_vport_is_vport_class(netdev_get_class(netdev));
        port->is_dpdk = !strcmp(netdev_get_type(netdev), "dpdk");
        ovs_mutex_lock(&ports_mutex);
        hmap_insert(&ports, &port->node, port_hash(dpif_type, odp_port));
        ovs_mutex_unlock(&ports_mutex);
    }
    if (engine && is_new) {
        reconcile_port(port);
    }
}

void
offload_ports_remove(const char *dpif_type, odp_port_t odp_port)
{
    struct port *port = find_port(dpif_type, odp_port);

    if (port) {
        if (port->cnic) {
            detach(port);
        }
        if (engine) {
            engine_push_flush(engine, dp_registry_id(dpif_type), odp_port);
        }
        ovs_mutex_lock(&ports_mutex);
        hmap_remove(&ports, &port->node);
        ovs_mutex_unlock(&ports_mutex);
        free(port->name);
        free(port);
    }
}

void
offload_ports_hw_offload_enabled(void)
{
    struct port *port;

    HMAP_FOR_EACH (port, node, &ports) {
        if (port->cnic) {
            provider_reread_megaflows(port->dpif_type, port->odp_port);
        }
    }
}

bool
offload_ports_find(const struct netdev *netdev, odp_port_t *odp_port)
{
    const char *dpif_type = netdev_get_dpif_type(netdev);
    const char *name = netdev_get_name(netdev);
    struct port *port;
    bool found = false;

    ovs_mutex_lock(&ports_mutex);
    HMAP_FOR_EACH (port, node, &ports) {
        if (port->cnic && !strcmp(port->name, name)
            && dpif_type && !strcmp(port->dpif_type, dpif_type)) {
            *odp_port = port->odp_port;
            found = true;
            break;
        }
    }
    ovs_mutex_unlock(&ports_mutex);
    return found;
}

bool
offload_ports_is_waiting(const struct netdev *netdev)
{
    const char *dpif_type = netdev_get_dpif_type(netdev);
    const char *name = netdev_get_name(netdev);
    const struct port *port;
    bool waiting = false;

    ovs_mutex_lock(&ports_mutex);
    HMAP_FOR_EACH (port, node, &ports) {
        if (port->waiting && !strcmp(port->name, name)
            && dpif_type && !strcmp(port->dpif_type, dpif_type)) {
            waiting = true;
            break;
        }
    }
    ovs_mutex_unlock(&ports_mutex);
    return waiting;
}

static int
compare_ports(const void *a_, const void *b_)
{
    const struct port *const *a = a_;
    const struct port *const *b = b_;

    return strcmp((*a)->name, (*b)->name);
}

void
offload_ports_for_each(void (*cb)(const struct offload_port_info *, void *aux),
                       void *aux)
{
    struct port **sorted = xmalloc(hmap_count(&ports) * sizeof *sorted);
    bool hw_offload = offload_config_hw_offload();
    struct port *port;
    size_t n = 0;

    HMAP_FOR_EACH (port, node, &ports) {
        sorted[n++] = port;
    }
    qsort(sorted, n, sizeof *sorted, compare_ports);
    for (size_t i = 0; i < n; i++) {
        const struct config_iface *iface;
        struct offload_port_info info;

        port = sorted[i];
        iface = offload_config_find_iface(port->name);
        info = (struct offload_port_info) {
            .name = port->name,
            .dpif_type = port->dpif_type,
            .odp_port = port->odp_port,
            .nic = port->cnic ? port->cnic->nic : NULL,
            .id = port->id,
            .role = port->role,
            .ct_offload = port->ct_offload,
            .owner = (port->waiting ? "none"
                      : !port->cnic ? "stock" : hw_offload ? "ovs-handoff"
                      : "none"),
            .why = (is_automatic(port, iface)
                    ? (port->cnic ? "its driver takes flow rules"
                       : port->refusal ? port->refusal
                       : "the NIC did not take it")
                    : port->cnic
                    ? (hw_offload ? "other_config:nic names a NIC"
                       : "hw-offload is false")
                    : !is_userspace(port->dpif_type)
                    ? "not a port of the userspace datapath"
                    : port->is_tunnel
                    ? "a tunnel is not a port of a NIC"
                    : (!iface || !iface->nic
                       || !offload_config_get_nic(iface->nic))
                    ? "other_config:nic names no NIC"
                    : "the NIC did not take it"),
        };
        if (info.nic && info.nic->class->port_problem) {
            info.problem = info.nic->class->port_problem(info.nic, info.id);
        }
        cb(&info, aux);
    }
    free(sorted);
}

void
offload_ports_exit(void)
{
    struct port *port;

    HMAP_FOR_EACH_SAFE (port, node, &ports) {
        offload_ports_remove(port->dpif_type, port->odp_port);
    }
}
