/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_TEST_H
#define NIC_EMU_TEST_H 1

/* What the unit tests of the emulated NIC's driver share: one NIC with two vfs
 * and two uplinks, virtual time, packets and operations.  Included by one .c
 * file per program. */

#include "lib/nic-emu.h"
#include "openvswitch/dynamic-string.h"
#include "smap.h"
#include "tests/nic-test.h"

static const struct nic_class *const class = &nic_emu_class;
static struct nic *nic;
static nic_port_id vf0, vf1, up0, up1;
static long long int now = 1000;

/* Stores the "KEY=VALUE ..." of 's' in 'smap'. */
static inline void
parse_config(const char *s, struct smap *smap)
{
    char *copy = xstrdup(s);
    char *save = NULL;

    smap_init(smap);
    for (char *word = strtok_r(copy, " ", &save); word;
         word = strtok_r(NULL, " ", &save)) {
        char *value = strchr(word, '=');

        *value++ = '\0';
        smap_add(smap, word, value);
    }
    free(copy);
}

static inline void
open_nic(const char *config)
{
    struct smap smap;
    char *error = NULL;

    parse_config(config, &smap);
    ck_assert_msg(!class->open("n", &smap, &nic, &error), "%s", error);
    smap_destroy(&smap);
    ck_assert(!class->port_add(nic, "vf0", 10, NIC_PORT_VF, &vf0));
    ck_assert(!class->port_add(nic, "vf1", 11, NIC_PORT_VF, &vf1));
    ck_assert(!class->port_add(nic, "up0", 20, NIC_PORT_UPLINK, &up0));
    ck_assert(!class->port_add(nic, "up1", 21, NIC_PORT_UPLINK, &up1));
}

static inline void
close_nic(void)
{
    class->port_del(nic, vf0);
    class->port_del(nic, vf1);
    class->port_del(nic, up0);
    class->port_del(nic, up1);
    class->close(nic);
    ck_assert(!nic_emu_is_active());
    nic_test_quiesce();
}

/* What was sent: "PORT:SIZE" words. */
static struct ds sent = DS_EMPTY_INITIALIZER;
static size_t n_sends;

static inline void
send_cb(void *aux, odp_port_t odp_port, struct dp_packet_batch *batch)
{
    struct dp_packet *packet;

    ck_assert_ptr_eq(aux, &sent);
    n_sends++;
    DP_PACKET_BATCH_FOR_EACH (i, packet, batch) {
        ds_put_format(&sent, "%"PRIu32":%"PRIu32" ", odp_port,
                      dp_packet_size(packet));
    }
    dp_packet_delete_batch(batch, true);
}

/* Receives packets like 'flow' on 'port' and returns how many were missed. */
static inline size_t
receive_n(const char *port, const struct flow *flow, int n)
{
    struct dp_packet_batch batch;
    size_t n_missed;

    ds_clear(&sent);
    n_sends = 0;
    dp_packet_batch_init(&batch);
    for (int i = 0; i < n; i++) {
        dp_packet_batch_add(&batch, nic_test_packet(flow, 100 + i));
    }
    nic_emu_receive(port, &batch, now, send_cb, &sent);
    n_missed = dp_packet_batch_size(&batch);
    dp_packet_delete_batch(&batch, true);
    return n_missed;
}

static inline bool
hits(const char *port, const struct flow *flow)
{
    return !receive_n(port, flow, 1);
}

/* Submits 'op', polls until it completes and returns the completion. */
static inline struct nic_completion
run(struct nic_op op)
{
    struct nic_completion c;

    class->submit(nic, &op, 1, now);
    for (int i = 0; i < 1000; i++) {
        if (class->poll(nic, &c, 1, now)) {
            ck_assert_int_eq(c.type, op.type);
            ck_assert_uint_eq(c.cookie, op.cookie);
            ck_assert(!c.error == !c.reason);
            return c;
        }
        now = class->wake_ms(nic, now);
    }
    ck_abort_msg("no completion");
}

static inline struct nic_op
rule_op(nic_port_id in_port, const struct flow *flow,
        struct nic_action action)
{
    static struct nic_template *last;

    nic_template_unref(last);
    last = nic_test_tuple_template(in_port, flow, action);
    return (struct nic_op) {
        .type = NIC_OP_RULE_ADD,
        .cookie = 1234,
        .rule = { .template = last, .values = nic_test_values(flow) },
    };
}

static inline struct nic_op
del_op(enum nic_op_type type, nic_handle handle)
{
    return (struct nic_op) { .type = type, .handle = handle };
}

static inline struct nic_op
egress_op(enum nic_op_type type, nic_handle handle, nic_port_id port)
{
    return (struct nic_op) {
        .type = type, .handle = handle, .egress_port = port
    };
}

static inline nic_handle
add(struct nic_op op)
{
    struct nic_completion c = run(op);

    ck_assert_msg(!c.error, "%s", c.reason);
    ck_assert_uint_ne(c.handle, 0);
    return c.handle;
}

static inline int
fails(struct nic_op op)
{
    return run(op).error;
}

static inline void
del(nic_handle handle)
{
    ck_assert_int_eq(fails(del_op(NIC_OP_RULE_DEL, handle)), 0);
}

static inline struct nic_action
to_egress(nic_handle egress)
{
    return (struct nic_action) { .type = NIC_ACTION_EGRESS,
                                 .egress = egress };
}

static inline struct nic_stats
get_stats(void)
{
    struct nic_stats stats;

    class->get_stats(nic, &stats);
    return stats;
}

static inline struct flow
udp(int i)
{
    return nic_test_flow4(IPPROTO_UDP, 1, 2, i, 53);
}

#endif /* nic-emu-test.h */
