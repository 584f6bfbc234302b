/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu.h"

#include <errno.h>
#include <string.h>

#include "connectivity.h"
#include "nic-emu-config.h"
#include "nic-emu-grace.h"
#include "nic-emu-hw.h"
#include "nic-emu-pass.h"
#include "nic-emu-port.h"
#include "nic-emu-table.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/shash.h"
#include "openvswitch/thread.h"
#include "openvswitch/vlog.h"
#include "ovs-rcu.h"
#include "seq.h"
#include "unixctl.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_emu);

struct nic_emu {
    struct nic up;

    struct ovs_mutex mutex;
    struct nic_emu_hw *hw OVS_GUARDED;

    /* Changed only under 'mutex'. */
    struct nic_emu_ports ports;

    struct nic_emu_table *table;    /* Immutable pointer. */
    uint32_t n_stale;               /* Immutable. */

    /* Counted by any thread. */
    atomic_uint64_t carried_packets;
    atomic_uint64_t carried_bytes;
    atomic_uint64_t missed_packets;
    atomic_uint64_t dropped_packets;
};

/* Open NICs, by name.  Accessed by the main thread only. */
static struct shash nics = SHASH_INITIALIZER(&nics);

atomic_count nic_emu_n_ports = ATOMIC_COUNT_INIT(0);

static struct nic_emu *
nic_emu_cast(const struct nic *nic)
{
    ovs_assert(nic->class == &nic_emu_class);
    return CONTAINER_OF(CONST_CAST(struct nic *, nic), struct nic_emu, up);
}

/* Life. */

static int
nic_emu_open(const char *name, const struct smap *smap, struct nic **nicp,
             char **errorp)
{
    struct nic_emu_config config;
    struct nic_emu *nic;
    int error;

    if (!name[0] || strchr(name, '/') || strlen(name) > 100) {
        *errorp = xasprintf("%s: bad name for an emulated NIC, must be 1 to "
                            "100 characters without slash", name);
        return EINVAL;
    }
    if (shash_find(&nics, name)) {
        *errorp = xasprintf("%s: an emulated NIC of this name is open "
                            "already, names must be unique", name);
        return EEXIST;
    }
    error = nic_emu_config_parse(smap, &config, errorp);
    if (error) {
        return error;
    }

    nic = xzalloc(sizeof *nic);
    nic->up.class = &nic_emu_class;
    nic->up.name = xstrdup(name);
    ovs_mutex_init(&nic->mutex);
    nic_emu_ports_init(&nic->ports);
    atomic_init(&nic->carried_packets, 0);
    atomic_init(&nic->carried_bytes, 0);
    atomic_init(&nic->missed_packets, 0);
    atomic_init(&nic->dropped_packets, 0);

    ovs_mutex_lock(&nic->mutex);
    nic->hw = nic_emu_hw_create(name, &config, &nic->ports);
    nic->table = nic_emu_hw_table(nic->hw);
    nic->n_stale = nic_emu_hw_flush(nic->hw);
    nic_emu_ports_forget(&nic->ports);
    ovs_mutex_unlock(&nic->mutex);
    if (nic->n_stale) {
        VLOG_INFO("%s: removed %"PRIu32" rules and connections of an earlier "
                  "life", name, nic->n_stale);
    }

    shash_add_assert(&nics, name, nic);
    *nicp = &nic->up;
    return 0;
}

static void
nic_emu_free(struct nic_emu *nic)
{
    nic_emu_ports_destroy(&nic->ports);
    ovs_mutex_destroy(&nic->mutex);
    free(nic->up.name);
    free(nic);
}

static void
nic_emu_close(struct nic *nic_)
{
    struct nic_emu *nic = nic_emu_cast(nic_);

    shash_find_and_delete_assert(&nics, nic->up.name);
    ovs_mutex_lock(&nic->mutex);
    nic_emu_hw_destroy(nic->hw);
    nic->hw = NULL;
    ovs_mutex_unlock(&nic->mutex);

    /* A thread that receives packets may have found a port just before it was
     * removed. */
    ovsrcu_postpone(nic_emu_free, nic);
}

static int
nic_emu_reconfigure(struct nic *nic_, const struct smap *smap, char **errorp)
{
    struct nic_emu *nic = nic_emu_cast(nic_);
    struct nic_emu_config config;
    int error;

    error = nic_emu_config_parse(smap, &config, errorp);
    if (!error) {
        ovs_mutex_lock(&nic->mutex);
        error = nic_emu_hw_reconfigure(nic->hw, &config, errorp);
        ovs_mutex_unlock(&nic->mutex);
    }
    return error;
}

static void
nic_emu_get_caps(const struct nic *nic_, struct nic_caps *caps)
{
    struct nic_emu *nic = nic_emu_cast(nic_);

    ovs_mutex_lock(&nic->mutex);
    nic_emu_config_caps(nic_emu_hw_config(nic->hw), caps);
    ovs_mutex_unlock(&nic->mutex);
}

static void
nic_emu_get_stats(const struct nic *nic_, struct nic_stats *stats)
{
    struct nic_emu *nic = nic_emu_cast(nic_);

    memset(stats, 0, sizeof *stats);
    ovs_mutex_lock(&nic->mutex);
    nic_emu_hw_get_stats(nic->hw, stats);
    ovs_mutex_unlock(&nic->mutex);
    atomic_read_relaxed(&nic->carried_packets, &stats->carried_packets);
    atomic_read_relaxed(&nic->carried_bytes, &stats->carried_bytes);
    atomic_read_relaxed(&nic->missed_packets, &stats->missed_packets);
    atomic_read_relaxed(&nic->dropped_packets, &stats->dropped_packets);
    stats->n_stale = nic->n_stale;
}

/* Ports. */

static int
nic_emu_port_add_(struct nic *nic_, const char *name, odp_port_t odp_port,
                  enum nic_port_role role, nic_port_id *idp)
{
    struct nic_emu *nic = nic_emu_cast(nic_);
    struct nic_emu_port *port;
    int error;

    ovs_mutex_lock(&nic->mutex);
    error = nic_emu_port_add(&nic->ports, name, odp_port, role, &port);
    if (!error) {
        nic_emu_hw_port_added(nic->hw, port->id, name);
        atomic_count_inc(&nic_emu_n_ports);
        *idp = port->id;
    }
    ovs_mutex_unlock(&nic->mutex);
    return error;
}

static void
nic_emu_port_del_(struct nic *nic_, nic_port_id id)
{
    struct nic_emu *nic = nic_emu_cast(nic_);
    struct nic_emu_port *port;

    ovs_mutex_lock(&nic->mutex);
    port = nic_emu_port_by_id(&nic->ports, id);
    if (port) {
        nic_emu_hw_port_removed(nic->hw, id);
        nic_emu_port_del(&nic->ports, port);
        atomic_count_dec(&nic_emu_n_ports);
    }
    ovs_mutex_unlock(&nic->mutex);
}

bool
nic_emu_get_carrier(const char *name, bool *carrier)
{
    const struct nic_emu_port *port = nic_emu_port_by_name(name);

    if (!port) {
        return false;
    }
    *carrier = nic_emu_port_get_carrier(port);
    return true;
}

/* Operations. */

static const char *
nic_emu_check_template_(const struct nic *nic_,
                        const struct nic_template *template)
{
    struct nic_emu *nic = nic_emu_cast(nic_);
    const char *reason;

    ovs_mutex_lock(&nic->mutex);
    reason = nic_emu_hw_check_template(nic->hw, template);
    ovs_mutex_unlock(&nic->mutex);
    return reason;
}

static void
nic_emu_submit(struct nic *nic_, const struct nic_op ops[], size_t n,
               long long int now_ms)
{
    struct nic_emu *nic = nic_emu_cast(nic_);

    ovs_mutex_lock(&nic->mutex);
    nic_emu_hw_submit(nic->hw, ops, n, now_ms);
    ovs_mutex_unlock(&nic->mutex);
}

static size_t
nic_emu_poll(struct nic *nic_, struct nic_completion completions[],
             size_t max, long long int now_ms)
{
    struct nic_emu *nic = nic_emu_cast(nic_);
    size_t n;

    ovs_mutex_lock(&nic->mutex);
    n = nic_emu_hw_poll(nic->hw, completions, max, now_ms);
    ovs_mutex_unlock(&nic->mutex);
    return n;
}

static long long int
nic_emu_wake_ms(const struct nic *nic_, long long int now_ms)
{
    struct nic_emu *nic = nic_emu_cast(nic_);
    long long int wake_ms;

    ovs_mutex_lock(&nic->mutex);
    wake_ms = nic_emu_hw_wake_ms(nic->hw, now_ms);
    ovs_mutex_unlock(&nic->mutex);
    return wake_ms;
}

static int
nic_emu_egress_set_(struct nic *nic_, nic_handle handle, nic_port_id port,
                    const char **reasonp)
{
    struct nic_emu *nic = nic_emu_cast(nic_);
    int error;

    ovs_mutex_lock(&nic->mutex);
    error = nic_emu_hw_egress_set(nic->hw, handle, port, reasonp);
    ovs_mutex_unlock(&nic->mutex);
    return error;
}

static void
nic_emu_rule_counters(struct nic *nic_, const nic_handle handles[], size_t n,
                      struct nic_counter counters[], long long int now_ms)
{
    struct nic_emu *nic = nic_emu_cast(nic_);

    ovs_mutex_lock(&nic->mutex);
    nic_emu_hw_rule_counters(nic->hw, handles, n, counters, now_ms);
    ovs_mutex_unlock(&nic->mutex);
}

static void
nic_emu_conn_counters_(struct nic *nic_, const nic_handle handles[], size_t n,
                       struct nic_counter counters[][2], long long int now_ms)
{
    struct nic_emu *nic = nic_emu_cast(nic_);

    ovs_mutex_lock(&nic->mutex);
    nic_emu_hw_conn_counters(nic->hw, handles, n, counters, now_ms);
    ovs_mutex_unlock(&nic->mutex);
}

static void
nic_emu_dump(struct nic *nic_,
             void (*cb)(const char *kind, nic_handle, const char *description,
                        const struct nic_counter *, void *aux),
             void *aux)
{
    struct nic_emu *nic = nic_emu_cast(nic_);

    ovs_mutex_lock(&nic->mutex);
    nic_emu_hw_dump(nic->hw, cb, aux);
    ovs_mutex_unlock(&nic->mutex);
}

/* Packets. */

static void
count(atomic_uint64_t *counter, uint64_t n)
{
    if (n) {
        uint64_t orig;

        atomic_add_relaxed(counter, n, &orig);
    }
}

/* A packet and the port that it leaves through. */
struct output {
    struct dp_packet *packet;       /* Null when it is sent. */
    odp_port_t odp_port;
};

/* Sends 'outputs', in order, in few batches per port.  Copies are from another
 * source than what devices received, and netdev-dpdk wants the packets of a
 * batch to be from one source. */
static void
send_outputs(struct output outputs[], size_t n, nic_emu_send_cb *send,
             void *aux)
{
    for (size_t i = 0; i < n; i++) {
        struct dp_packet *first = outputs[i].packet;
        struct dp_packet_batch batch;

        if (!first) {
            continue;
        }
        dp_packet_batch_init(&batch);
        for (size_t j = i; j < n && !dp_packet_batch_is_full(&batch); j++) {
            struct output *o = &outputs[j];

            if (o->packet && o->odp_port == outputs[i].odp_port) {
                if (o->packet->source != first->source) {
                    break;
                }
                dp_packet_batch_add(&batch, o->packet);
                o->packet = NULL;
            }
        }
        send(aux, outputs[i].odp_port, &batch);
    }
}

/* Returns the port called 'id' of 'nic' if packets can leave through it,
 * otherwise null. */
static const struct nic_emu_port *
usable_port(const struct nic_emu *nic, nic_port_id id)
{
    const struct nic_emu_port *port = nic_emu_port_by_id(&nic->ports, id);

    return port && nic_emu_port_get_carrier(port) ? port : NULL;
}

/* Adds to 'outputs', which has '*n' elements, what of 'leaving' can leave
 * 'nic', and frees the rest, and 'packet' if it does not leave.  Returns true
 * if anything leaves. */
static bool
add_outputs(const struct nic_emu *nic, struct dp_packet *packet,
            const struct nic_emu_outputs *leaving, struct output outputs[],
            size_t *n)
{
    bool packet_leaves = false;
    size_t old_n = *n;

    for (size_t i = 0; i < leaving->n; i++) {
        const struct nic_emu_output *o = &leaving->list[i];
        const struct nic_emu_port *port = usable_port(nic, o->port);

        if (port) {
            packet_leaves = packet_leaves || o->packet == packet;
            outputs[*n].packet = o->packet;
            outputs[(*n)++].odp_port = port->odp_port;
        } else if (o->packet != packet) {
            dp_packet_delete(o->packet);
        }
    }
    if (!packet_leaves) {
        dp_packet_delete(packet);
    }
    return *n > old_n;
}

void
nic_emu_receive(const char *name, struct dp_packet_batch *batch,
                long long int now_ms, nic_emu_send_cb *send, void *aux)
{
    const struct nic_emu_port *in_port = nic_emu_port_by_name(name);
    const size_t n = dp_packet_batch_size(batch);
    struct output outputs[NETDEV_MAX_BURST * NIC_EMU_MAX_OUTPUTS];
    size_t n_outputs = 0, n_carried = 0, n_dropped = 0, n_bytes = 0;
    struct nic_emu_outputs leaving;
    struct dp_packet *packet;
    struct nic_emu *nic;
    size_t i;

    if (!in_port) {
        return;
    }
    nic = CONTAINER_OF(in_port->owner, struct nic_emu, ports);

    if (!nic_emu_port_get_carrier(in_port)) {
        count(&nic->dropped_packets, n);
        dp_packet_delete_batch(batch, true);
        return;
    }

    nic_emu_section_enter();
    DP_PACKET_BATCH_REFILL_FOR_EACH (i, n, packet, batch) {
        size_t size = dp_packet_size(packet);

        switch (nic_emu_table_execute(nic->table, in_port->id, packet, now_ms,
                                      &leaving)) {
        case NIC_EMU_MISS:
            dp_packet_batch_refill(batch, packet, i);
            break;

        case NIC_EMU_OUTPUT:
            if (add_outputs(nic, packet, &leaving, outputs, &n_outputs)) {
                n_carried++;
                n_bytes += size;
            } else {
                n_dropped++;
            }
            break;

        case NIC_EMU_DROP:
            n_dropped++;
            dp_packet_delete(packet);
            break;

        default:
            OVS_NOT_REACHED();
        }
    }
    nic_emu_section_leave();

    count(&nic->missed_packets, dp_packet_batch_size(batch));
    count(&nic->dropped_packets, n_dropped);
    count(&nic->carried_packets, n_carried);
    count(&nic->carried_bytes, n_bytes);
    send_outputs(outputs, n_outputs, send, aux);
}

/* Commands. */

/* Returns the NIC called 'name', or null after replying that there is none. */
static struct nic_emu *
command_nic(struct unixctl_conn *conn, const char *name)
{
    struct nic_emu *nic = shash_find_data(&nics, name);

    if (!nic) {
        char *error = xasprintf("%s: no such emulated NIC (see nic-emu/show)",
                                name);
        unixctl_command_reply_error(conn, error);
        free(error);
    }
    return nic;
}

static void
command_fault(struct unixctl_conn *conn, int argc, const char *argv[],
              void *aux OVS_UNUSED)
{
    /* Words that mean "the next N" of something. */
    static const struct {
        const char *name;
        enum nic_emu_fault fault;
    } counted[] = {
        { "fail-add", NIC_EMU_FAULT_FAIL_ADD },
        { "full", NIC_EMU_FAULT_FULL },
        { "fail-del", NIC_EMU_FAULT_FAIL_DEL },
    };
    const char *word = argv[2];
    unsigned int n = 1;

    struct nic_emu *nic = command_nic(conn, argv[1]);
    if (!nic) {
        return;
    }

    for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
        if (!strcmp(word, counted[i].name)) {
            if (argc > 3 && (strspn(argv[3], "0123456789") != strlen(argv[3])
                             || !str_to_uint(argv[3], 10, &n)
                             || n < 1 || n > 1000000)) {
                char *error = xasprintf("%s: N must be a whole number from 1 "
                                        "to 1000000", argv[3]);
                unixctl_command_reply_error(conn, error);
                free(error);
                return;
            }
            ovs_mutex_lock(&nic->mutex);
            nic_emu_hw_set_fault(nic->hw, counted[i].fault, n);
            ovs_mutex_unlock(&nic->mutex);
            unixctl_command_reply(conn, NULL);
            return;
        }
    }

    if (argc > 3) {
        unixctl_command_reply_error(conn, "only fail-add, full and fail-del "
                                    "take N");
        return;
    }

    ovs_mutex_lock(&nic->mutex);
    if (!strcmp(word, "hold") || !strcmp(word, "release")) {
        nic_emu_hw_set_fault(nic->hw, NIC_EMU_FAULT_HOLD,
                             !strcmp(word, "hold"));
        word = NULL;
    } else if (!strcmp(word, "none")) {
        for (int i = 0; i < NIC_EMU_N_FAULTS; i++) {
            nic_emu_hw_set_fault(nic->hw, i, 0);
        }
        word = NULL;
    }
    ovs_mutex_unlock(&nic->mutex);

    if (word) {
        char *error = xasprintf("%s: unknown fault, must be fail-add, full, "
                                "fail-del, hold, release or none", word);
        unixctl_command_reply_error(conn, error);
        free(error);
    } else {
        unixctl_command_reply(conn, NULL);
    }
}

void
nic_emu_reset(struct nic *nic_)
{
    struct nic_emu *nic = nic_emu_cast(nic_);

    ovs_mutex_lock(&nic->mutex);
    nic_emu_hw_reset(nic->hw);
    ovs_mutex_unlock(&nic->mutex);
    VLOG_INFO("%s: reset, all objects are lost", nic->up.name);
}

static void
command_reset(struct unixctl_conn *conn, int argc OVS_UNUSED,
              const char *argv[], void *aux OVS_UNUSED)
{
    struct nic_emu *nic = command_nic(conn, argv[1]);

    if (nic) {
        nic_emu_reset(&nic->up);
        unixctl_command_reply(conn, NULL);
    }
}

static void
command_set_carrier(struct unixctl_conn *conn, int argc OVS_UNUSED,
                    const char *argv[], void *aux OVS_UNUSED)
{
    struct nic_emu_port *port = nic_emu_port_by_name(argv[1]);
    bool up = !strcmp(argv[2], "up");
    char *error = NULL;

    if (!port) {
        error = xasprintf("%s: not a port of an emulated NIC "
                          "(see nic-emu/show)", argv[1]);
    } else if (!up && strcmp(argv[2], "down")) {
        error = xasprintf("%s: unknown carrier, must be up or down", argv[2]);
    }
    if (error) {
        unixctl_command_reply_error(conn, error);
        free(error);
        return;
    }

    if (nic_emu_port_get_carrier(port) != up) {
        nic_emu_port_set_carrier(port, up);
        seq_change(connectivity_seq_get());
    }
    unixctl_command_reply(conn, NULL);
}

static void
format_nic(struct nic_emu *nic, struct ds *ds)
{
    const struct nic_emu_port *port;
    struct nic_stats stats;

    nic_emu_get_stats(&nic->up, &stats);

    ovs_mutex_lock(&nic->mutex);
    ds_put_format(ds, "NIC %s\n  configuration: ", nic->up.name);
    nic_emu_config_format(nic_emu_hw_config(nic->hw), ds);
    ds_put_format(ds, "\n  objects: %"PRIu32" rules, %"PRIu32" connections, "
                  "%"PRIu32" egresses\n",
                  stats.n_rules, stats.n_conns, stats.n_egresses);
    ds_put_format(ds, "  operations: %"PRIu64" completed, %"PRIu64" failed, "
                  "%"PRIu32" pending\n",
                  stats.n_ops, stats.n_failed, stats.n_pending);
    ds_put_format(ds, "  packets: %"PRIu64" carried (%"PRIu64" bytes), "
                  "%"PRIu64" missed, %"PRIu64" dropped\n",
                  stats.carried_packets, stats.carried_bytes,
                  stats.missed_packets, stats.dropped_packets);
    ds_put_format(ds, "  found at start and removed: %"PRIu32"\n",
                  stats.n_stale);
    ds_put_cstr(ds, "  faults: ");
    nic_emu_hw_format_faults(nic->hw, ds);
    ds_put_char(ds, '\n');
    LIST_FOR_EACH (port, list_node, &nic->ports.list) {
        ds_put_format(ds, "  port %"PRIu32": %s, datapath port %"PRIu32", "
                      "%s %u, carrier %s\n", port->id, port->name,
                      odp_to_u32(port->odp_port),
                      nic_port_role_to_string(port->role), port->place,
                      nic_emu_port_get_carrier(port) ? "up" : "down");
    }
    ovs_mutex_unlock(&nic->mutex);
}

static void
command_show(struct unixctl_conn *conn, int argc, const char *argv[],
             void *aux OVS_UNUSED)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    if (argc > 1) {
        struct nic_emu *nic = command_nic(conn, argv[1]);

        if (!nic) {
            return;
        }
        format_nic(nic, &ds);
    } else {
        const struct shash_node **sorted = shash_sort(&nics);

        for (size_t i = 0; i < shash_count(&nics); i++) {
            format_nic(sorted[i]->data, &ds);
        }
        free(sorted);
    }
    unixctl_command_reply(conn, ds_cstr(&ds));
    ds_destroy(&ds);
}

void
nic_emu_init(void)
{
    unixctl_command_register("nic-emu/fault", "NIC {fail-add|full|fail-del} "
                             "[N] | NIC {hold|release|none}",
                             2, 3, command_fault, NULL);
    unixctl_command_register("nic-emu/reset", "NIC", 1, 1, command_reset,
                             NULL);
    unixctl_command_register("nic-emu/set-carrier", "PORT up|down", 2, 2,
                             command_set_carrier, NULL);
    unixctl_command_register("nic-emu/show", "[NIC]", 0, 1, command_show,
                             NULL);
}

const struct nic_class nic_emu_class = {
    .type = "emu",
    .open = nic_emu_open,
    .close = nic_emu_close,
    .reconfigure = nic_emu_reconfigure,
    .get_caps = nic_emu_get_caps,
    .get_stats = nic_emu_get_stats,
    .port_add = nic_emu_port_add_,
    .port_del = nic_emu_port_del_,
    .check_template = nic_emu_check_template_,
    .submit = nic_emu_submit,
    .poll = nic_emu_poll,
    .wake_ms = nic_emu_wake_ms,
    .egress_set = nic_emu_egress_set_,
    .rule_counters = nic_emu_rule_counters,
    .conn_counters = nic_emu_conn_counters_,
    .dump = nic_emu_dump,
};
