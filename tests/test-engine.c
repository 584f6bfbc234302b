/* SPDX-License-Identifier: Apache-2.0 */

/* Simulation of the engine: virtual time, the emulated NIC, connections and
 * megaflows that come and go, everything from one seed.
 *
 * With several zones, packets from the VM pass ct() first in ENGINE_TEST_ZONE,
 * which translates the source of some connections, then in the zones after it;
 * to the VM the other way round.  So the connections of the first and of the
 * last zone lead the paths of one direction each.  What follows depends on
 * ct_mark of the last of them.
 *
 * With 'tags', packets of one uplink come with a VLAN tag that is popped
 * before ct().
 *
 * Seeds: ENGINE_SEEDS of them for each kind of simulation instead of the usual
 * number, from ENGINE_SEED on, if these environment variables are set.
 *
 * After each step:
 *   - the invariants of engine-invariants.h hold;
 *   - when nothing is under way, a packet is carried if and only if the model
 *     says so, and to where it says;
 *   - what is carried is armed, in all of its zones;
 *   - a FIN is never carried;
 *   - nothing is added to the NIC before what it replaces is gone;
 *   - queues are bounded.
 * In the end:
 *   - everything settles when faults stop, and is offloaded;
 *   - a connection does not expire while its packets are carried, and does
 *     when there are none;
 *   - each packet that the NIC carried is accounted for once, with the size
 *     that it had at each megaflow, although two PMD threads have a copy of
 *     each megaflow;
 *   - nothing is left in the NIC when the connections are gone. */

#include <config.h>

#include "datapath-offload/engine-private.h"
#include "dpif.h"
#include "engine-invariants.h"
#include "engine-test.h"
#include "lib/nic-emu.h"
#include "random.h"

#define N_CONNS 24
#define TIMEOUT_MS 30000
#define MAX_ZONES 3
#define N_COPIES 2
#define TAGGED_PORT 3
#define TAG_LEN 4

/* Threads that have a copy of each megaflow. */
#define N_PMDS 2

/* Ports: 1 is the VM's, 2 and 3 are uplinks. */
static const char *const port_names[] = { NULL, "vf1", "p0", "p1" };

enum sim_state { SIM_NONE, SIM_EST, SIM_CLOSING };

/* What the engine believes to be a 'struct conn'. */
struct sim_conn {
    enum sim_state state;
    int index;                      /* Of its tuple. */
    uint16_t zone;
    uint32_t mark;
    uint64_t id;
    bool armed;
    bool forged;                    /* A FIN or RST that nobody sent. */
    bool announce_again;
    long long int expiration_ms;
};

/* What a copy of a megaflow was told that NICs have carried. */
struct sim_copy {
    uint64_t packets, bytes;
};

/* A copy of the megaflow after ct(), for one ingress port. */
enum sim_policy { SIM_NO_MEGAFLOW, SIM_OUTPUT, SIM_DROP, SIM_REFUSED };

struct sim {
    struct engine *engine;
    struct nic *nic;
    nic_port_id ports[4];
    bool attached[4];
    long long int now_ms;
    int n_zones;
    bool tags;
    bool quiet;                     /* The software sees no packets. */

    /* By tuple; one for each zone. */
    struct sim_conn *conns[MAX_ZONES][N_CONNS];
    struct {
        enum sim_policy policy;
        odp_port_t target;          /* Output of SIM_OUTPUT. */
    } policies[4][N_COPIES];        /* Of the megaflow after ct(), by ingress
                                     * port.  Another one than the first
                                     * matches the ToS, too. */
    bool entry[4];                  /* Megaflow with ct() exists. */
    bool enabled;
    uint64_t next_id;
    uint64_t n_carried, n_missed, n_checked;
    uint64_t credit_bytes;          /* That megaflows should have. */

    /* What copies of megaflows were told: in all, and by port and stage. */
    struct sim_copy claimed;
    struct sim_copy copies[4][MAX_ZONES + 1][N_PMDS];
    struct conntrack *ct;
};

/* The tag of packets of TAGGED_PORT. */
static const union flow_vlan_hdr tag = {
    .tpid = CONSTANT_HTONS(ETH_TYPE_VLAN_8021Q),
    .tci = CONSTANT_HTONS(VLAN_CFI | 100),
};

/* Where the packet that is being received was sent; 0 if nowhere.  What it
 * looks like. */
static odp_port_t sent_to;
static struct flow sent_flow;

static void
send_cb(void *aux OVS_UNUSED, odp_port_t odp_port,
        struct dp_packet_batch *batch)
{
    sent_to = odp_port;
    flow_extract(batch->packets[0], &sent_flow);
    dp_packet_delete_batch(batch, true);
}

static struct sim_conn *
sim_conn_cast(const struct conn *conn)
{
    return (struct sim_conn *) conn;
}

static bool
sim_arm(struct conn *conn_, struct conntrack *ct OVS_UNUSED)
{
    struct sim_conn *conn = sim_conn_cast(conn_);

    ck_assert(!conn->armed);
    if (conn->state != SIM_EST || conn->forged) {
        return false;
    }
    conn->armed = true;
    return true;
}

static enum ct_close
sim_disarm(struct conn *conn_, struct conntrack *ct OVS_UNUSED,
           const struct nic_counter carried[2] OVS_UNUSED,
           long long int now_ms OVS_UNUSED)
{
    struct sim_conn *conn = sim_conn_cast(conn_);

    ck_assert(conn->armed);
    conn->armed = false;
    return (conn->state == SIM_CLOSING || conn->forged
            ? CT_CLOSE_PENDING : CT_CLOSE_NONE);
}

static enum ct_close
sim_judge(struct conn *conn_, struct conntrack *ct OVS_UNUSED,
          long long int now_ms OVS_UNUSED)
{
    struct sim_conn *conn = sim_conn_cast(conn_);

    ck_assert(!conn->armed);
    conn->forged = false;
    return conn->state == SIM_CLOSING ? CT_CLOSE_DONE : CT_CLOSE_NONE;
}

static void
sim_reannounce(struct conn *conn)
{
    sim_conn_cast(conn)->announce_again = true;
}

static long long int
sim_expiration(const struct conn *conn)
{
    return sim_conn_cast(conn)->expiration_ms;
}

static long long int
sim_timeout(const struct conn *conn OVS_UNUSED,
            struct conntrack *ct OVS_UNUSED)
{
    return TIMEOUT_MS;
}

static long long int
sim_extend(struct conn *conn_, struct conntrack *ct OVS_UNUSED,
           long long int used_ms, long long int now_ms)
{
    struct sim_conn *conn = sim_conn_cast(conn_);

    if (conn->expiration_ms > now_ms) {
        conn->expiration_ms = MAX(conn->expiration_ms, used_ms + TIMEOUT_MS);
    }
    return conn->expiration_ms;
}

static const struct engine_conn_ops sim_ops = {
    .arm = sim_arm,
    .disarm = sim_disarm,
    .judge = sim_judge,
    .reannounce = sim_reannounce,
    .expiration = sim_expiration,
    .timeout = sim_timeout,
    .extend = sim_extend,
};

/* The last byte of the VM's address in connection 'index', and of the one that
 * the network sees: with several zones some are translated. */
static uint8_t
vm_address(int index)
{
    return 1 + index;
}

static uint8_t
public_address(const struct sim *sim, int index)
{
    return sim->n_zones > 1 && !(index % 3) ? 101 + index
           : vm_address(index);
}

/* A packet of connection 'index', where the VM has the address 'vm'.  Every
 * other one is UDP. */
static struct flow
make_flow(int index, uint8_t vm, bool reply)
{
    uint8_t proto = index % 2 ? IPPROTO_UDP : IPPROTO_TCP;

    return (reply ? nic_test_flow4(proto, 200, vm, 80, 1000)
            : nic_test_flow4(proto, vm, 200, 1000, 80));
}

/* A packet as it is received. */
static struct flow
received_flow(const struct sim *sim, int index, bool reply)
{
    return make_flow(index, reply ? public_address(sim, index)
                            : vm_address(index), reply);
}

/* Ingress of the reply direction: half of them use each uplink. */
static int
reply_port(int index)
{
    return index % 4 < 2 ? 2 : 3;
}

static void
push_ready(struct sim *sim, struct sim_conn *conn)
{
    uint8_t vm = vm_address(conn->index);
    uint8_t public = public_address(sim, conn->index);
    bool first = conn->zone == ENGINE_TEST_ZONE;
    struct flow flows[2] = {
        make_flow(conn->index, first ? vm : public, false),
        make_flow(conn->index, public, true),
    };
    int ports[2] = { 1, reply_port(conn->index) };

    engine_test_push_ready(sim->engine, conn->id, conn, sim->ct, conn->zone,
                           conn->mark, flows, ports,
                           first && vm != public);
}

static void
new_conn(struct sim *sim, int z, int index)
{
    struct sim_conn *conn = xzalloc(sizeof *conn);

    conn->state = SIM_EST;
    conn->index = index;
    conn->zone = ENGINE_TEST_ZONE + z;
    conn->id = ++sim->next_id;
    conn->expiration_ms = sim->now_ms + TIMEOUT_MS;
    sim->conns[z][index] = conn;
    push_ready(sim, conn);
}

static void
remove_conn(struct sim *sim, int z, int index)
{
    struct sim_conn *conn = sim->conns[z][index];

    engine_test_push(sim->engine, conn->id, CT_EVENT_REMOVED);
    sim->conns[z][index] = NULL;
    /* As in OVS, memory outlives the event. */
    ovsrcu_postpone(free, conn);
}

/* Megaflows. */

/* Returns the ufid of the megaflow of 'port' after 'stage' ct()s. */
static ovs_u128
stage_ufid(int port, int stage)
{
    return (ovs_u128) { .u32 = { port, stage } };
}

/* Returns the recirculation id of packets of 'port' after 'stage' ct()s. */
static uint32_t
stage_recirc(int port, int stage)
{
    return stage ? 10 * stage + port : 0;
}

static bool
is_tagged(const struct sim *sim, int port)
{
    return sim->tags && port == TAGGED_PORT;
}

/* What identifies copy 'c' of the megaflow after ct() of 'port'. */
static const void *
copy_id(const struct sim *sim, int port, int c)
{
    return &sim->policies[port][c];
}

static void
put_copy(struct sim *sim, int port, int c)
{
    ovs_u128 ufid = stage_ufid(port, sim->n_zones);
    uint64_t stub[64 / 8];
    struct ofpbuf actions;
    struct match match;

    ofpbuf_use_stub(&actions, stub, sizeof stub);
    switch (sim->policies[port][c].policy) {
    case SIM_OUTPUT:
        nl_msg_put_odp_port(&actions, OVS_ACTION_ATTR_OUTPUT,
                            sim->policies[port][c].target);
        break;
    case SIM_REFUSED:
        nl_msg_put_u32(&actions, OVS_ACTION_ATTR_METER, 1);
        break;
    case SIM_NO_MEGAFLOW:
    case SIM_DROP:
    default:
        break;
    }

    engine_test_match(port, stage_recirc(port, sim->n_zones), &match);
    match_set_ct_state_masked(&match, CS_TRACKED | CS_ESTABLISHED,
                              CS_TRACKED | CS_ESTABLISHED);
    if (sim->n_zones > 1) {
        match_set_ct_mark(&match, 0);
    }
    if (c) {
        match_set_nw_dscp(&match, 0);
    }
    engine_push_megaflow(sim->engine, ENGINE_TEST_DP, &ufid,
                         copy_id(sim, port, c), &match, actions.data,
                         actions.size);
    ofpbuf_uninit(&actions);
}

/* Asks for statistics of all copies of all megaflows, as revalidators do. */
static void
claim_stats(struct sim *sim)
{
    for (int port = 1; port <= 3; port++) {
        for (int stage = 0; stage <= sim->n_zones; stage++) {
            for (int pmd = 0; pmd < N_PMDS; pmd++) {
                struct sim_copy *copy = &sim->copies[port][stage][pmd];
                ovs_u128 ufid = stage_ufid(port, stage);
                struct dpif_flow_stats stats;
                bool offloaded;

                if (engine_flow_stats(sim->engine, ENGINE_TEST_DP, &ufid, pmd,
                                      copy, false, sim->now_ms, &stats,
                                      &offloaded)) {
                    ck_assert_uint_ge(stats.n_packets, copy->packets);
                    ck_assert_uint_ge(stats.n_bytes, copy->bytes);
                    sim->claimed.packets += stats.n_packets - copy->packets;
                    sim->claimed.bytes += stats.n_bytes - copy->bytes;
                    copy->packets = stats.n_packets;
                    copy->bytes = stats.n_bytes;
                }
            }
        }
    }
}

/* The megaflow of 'port' and 'stage' goes, with what its copies know. */
static void
forget_stats(struct sim *sim, int port, int stage)
{
    memset(sim->copies[port][stage], 0, sizeof sim->copies[port][stage]);
}

static void
set_policy(struct sim *sim, int port, int c, enum sim_policy policy,
           odp_port_t target)
{
    bool was_there = sim->policies[port][c].policy != SIM_NO_MEGAFLOW;

    sim->policies[port][c].policy = policy;
    sim->policies[port][c].target = target;
    if (policy != SIM_NO_MEGAFLOW) {
        put_copy(sim, port, c);
    } else if (was_there) {
        ovs_u128 ufid = stage_ufid(port, sim->n_zones);

        engine_push_megaflow_del(sim->engine, &ufid, copy_id(sim, port, c));
        for (int i = 0; i < N_COPIES; i++) {
            if (sim->policies[port][i].policy != SIM_NO_MEGAFLOW) {
                return;
            }
        }
        forget_stats(sim, port, sim->n_zones);
    }
}

/* Returns what the megaflow after ct() of 'port' does, and stores in '*target'
 * the output of SIM_OUTPUT.  If its copies do not do the same, the software
 * decides. */
static enum sim_policy
get_policy(const struct sim *sim, int port, odp_port_t *target)
{
    enum sim_policy policy = SIM_NO_MEGAFLOW;

    for (int c = 0; c < N_COPIES; c++) {
        enum sim_policy other = sim->policies[port][c].policy;

        if (other == SIM_NO_MEGAFLOW) {
            continue;
        }
        if (policy != SIM_NO_MEGAFLOW
            && (policy != other
                || (policy == SIM_OUTPUT
                    && *target != sim->policies[port][c].target))) {
            return SIM_REFUSED;
        }
        policy = other;
        *target = sim->policies[port][c].target;
    }
    return policy;
}

/* Puts the megaflow of 'port' with the ct() after 'stage' others. */
static void
put_ct(struct sim *sim, int port, int stage)
{
    int z = port == 1 ? stage : sim->n_zones - 1 - stage;
    ovs_u128 ufid = stage_ufid(port, stage);
    uint64_t stub[128 / 8];
    struct ofpbuf actions;
    struct match match;
    size_t ofs;

    engine_test_match(port, stage_recirc(port, stage), &match);
    ofpbuf_use_stub(&actions, stub, sizeof stub);
    if (!stage) {
        match.wc.masks.vlans[0].qtag = OVS_BE32_MAX;
    }
    if (!stage && is_tagged(sim, port)) {
        match.flow.vlans[0] = tag;
        nl_msg_put_flag(&actions, OVS_ACTION_ATTR_POP_VLAN);
    }
    ofs = nl_msg_start_nested(&actions, OVS_ACTION_ATTR_CT);
    nl_msg_put_u16(&actions, OVS_CT_ATTR_ZONE, ENGINE_TEST_ZONE + z);
    if (!z && sim->n_zones > 1) {
        nl_msg_end_nested(&actions,
                          nl_msg_start_nested(&actions, OVS_CT_ATTR_NAT));
    }
    nl_msg_end_nested(&actions, ofs);
    nl_msg_put_u32(&actions, OVS_ACTION_ATTR_RECIRC,
                   stage_recirc(port, stage + 1));
    engine_push_megaflow(sim->engine, ENGINE_TEST_DP, &ufid, NULL, &match,
                         actions.data, actions.size);
    ofpbuf_uninit(&actions);
}

static void
set_entry(struct sim *sim, int port, bool entry)
{
    if (entry && !sim->entry[port]) {
        for (int i = 0; i < sim->n_zones; i++) {
            put_ct(sim, port, i);
        }
    } else if (!entry && sim->entry[port]) {
        int n = 1 + random_range(sim->n_zones);

        /* Those behind it stay sometimes. */
        for (int i = 0; i < n; i++) {
            ovs_u128 ufid = stage_ufid(port, i);

            engine_push_megaflow_del(sim->engine, &ufid, NULL);
            forget_stats(sim, port, i);
        }
    }
    sim->entry[port] = entry;
}

static void
set_attached(struct sim *sim, int port, bool attached)
{
    if (attached && !sim->attached[port]) {
        ck_assert_int_eq(sim->nic->class->port_add(
                             sim->nic, port_names[port], u32_to_odp(port),
                             port == 1 ? NIC_PORT_VF : NIC_PORT_UPLINK,
                             &sim->ports[port]), 0);
        engine_set_port(sim->engine, 1, u32_to_odp(port), port_names[port],
                        sim->nic, sim->ports[port], true, sim->now_ms);
    } else if (!attached && sim->attached[port]) {
        sim->nic->class->port_del(sim->nic, sim->ports[port]);
        engine_clear_port(sim->engine, 1, u32_to_odp(port), sim->now_ms);
    }
    sim->attached[port] = attached;
}

/* Where the NIC should send a packet of tuple 'index': 0 if it should miss,
 * ODPP_NONE if it should be dropped. */
static odp_port_t
expected(const struct sim *sim, int index, bool reply)
{
    int port = reply ? reply_port(index) : 1;
    odp_port_t target;

    if (!sim->enabled || !sim->attached[port] || !sim->entry[port]) {
        return 0;
    }
    for (int z = 0; z < sim->n_zones; z++) {
        const struct sim_conn *conn = sim->conns[z][index];

        if (!conn || conn->state != SIM_EST) {
            return 0;
        }
    }
    if (sim->n_zones > 1
        && sim->conns[reply ? 0 : sim->n_zones - 1][index]->mark) {
        return 0;
    }
    switch (get_policy(sim, port, &target)) {
    case SIM_OUTPUT:
        return sim->attached[odp_to_u32(target)] ? target : 0;
    case SIM_DROP:
        return ODPP_NONE;
    case SIM_NO_MEGAFLOW:
    case SIM_REFUSED:
    default:
        return 0;
    }
}

/* Checks that the packet that was sent is translated as it should be. */
static void
check_sent(const struct sim *sim, int index, bool reply)
{
    struct flow want = make_flow(index, reply ? vm_address(index)
                                        : public_address(sim, index), reply);

    engine_assert_eq(ntohl(sent_flow.nw_src), ntohl(want.nw_src));
    engine_assert_eq(ntohl(sent_flow.nw_dst), ntohl(want.nw_dst));
    engine_assert_eq(ntohs(sent_flow.tp_src), ntohs(want.tp_src));
    engine_assert_eq(ntohs(sent_flow.tp_dst), ntohs(want.tp_dst));
    engine_assert_eq(sent_flow.vlans[0].qtag, 0);
}

/* Receives a packet of connection 'index'.  Returns where the NIC sent it, 0
 * if it missed it, ODPP_NONE if it dropped it. */
static odp_port_t
receive(struct sim *sim, int index, bool reply, uint16_t tcp_flags)
{
    int port = reply ? reply_port(index) : 1;
    struct flow flow = received_flow(sim, index, reply);
    struct dp_packet_batch batch;
    uint64_t size;

    if (flow.nw_proto == IPPROTO_TCP) {
        flow.tcp_flags = htons(tcp_flags);
    }
    if (is_tagged(sim, port)) {
        flow.vlans[0] = tag;
    }
    dp_packet_batch_init_packet(&batch, nic_test_packet(&flow, 40));
    size = dp_packet_size(batch.packets[0]);
    sent_to = 0;
    nic_emu_receive(port_names[port], &batch, sim->now_ms, send_cb, NULL);
    if (dp_packet_batch_is_empty(&batch)) {
        sim->n_carried++;
        sim->credit_bytes += size;
        size -= is_tagged(sim, port) ? TAG_LEN : 0;
        sim->credit_bytes += sim->n_zones * size;
        if (sent_to) {
            check_sent(sim, index, reply);
        }
        return sent_to ? sent_to : ODPP_NONE;
    }
    sim->n_missed++;
    dp_packet_delete_batch(&batch, true);
    return 0;
}

/* Checks that all connections of tuple 'index' are armed, as one that is
 * carried must be. */
static void
check_armed(const struct sim *sim, int index)
{
    for (int z = 0; z < sim->n_zones; z++) {
        const struct sim_conn *conn = sim->conns[z][index];

        if (!conn || !conn->armed) {
            ck_abort_msg("conn %d, zone %d: carried but not armed", index, z);
        }
    }
}

/* Sends packets of all connections and compares with the model. */
static void
check_packets(struct sim *sim)
{
    bool settled = engine_is_settled(sim->engine);

    for (int i = 0; i < N_CONNS; i++) {
        for (int reply = 0; reply < 2; reply++) {
            odp_port_t to = receive(sim, i, reply, TCP_ACK);

            if (settled) {
                odp_port_t want = expected(sim, i, reply);

                /* A failed operation is retried later: software is right. */
                if (to && to != want) {
                    ck_abort_msg("conn %d %s: to %"PRIu32", expected %"PRIu32,
                                 i, reply ? "reply" : "orig", odp_to_u32(to),
                                 odp_to_u32(want));
                }
                if (to) {
                    check_armed(sim, i);
                }
                sim->n_checked++;
            }
            if (i % 2 == 0) {
                engine_assert(!receive(sim, i, reply, TCP_ACK | TCP_FIN));
                engine_assert(!receive(sim, i, reply, TCP_SYN));
            }
        }
    }
}

/* Checks that nothing was to be added before what is in its place was gone:
 * the emulated NIC refuses that with one of these texts. */
static void
check_places(const struct sim *sim)
{
    const struct tracked_conn *tc;

    HMAP_FOR_EACH (tc, id_node, &sim->engine->conns_by_id) {
        for (int dir = 0; dir < 2; dir++) {
            const char *why = tc->blocked_why[dir];

            if (why && !strncmp(why, "another ", 8)) {
                ck_abort_msg("%s", why);
            }
        }
    }
}

static void
step(struct sim *sim, int ms)
{
    long long int end_ms = sim->now_ms + ms;

    for (;;) {
        long long int wake_ms = engine_step(sim->engine, sim->now_ms);

        ovsrcu_quiesce();
        check_places(sim);
        engine_assert(engine_find_nic(sim->engine, sim->nic)->n_adding
                      <= OFFLOAD_NIC_MAX_PENDING);
        if (!sim->engine->n_dirty) {
            engine_check_invariants(sim->engine,
                                    engine_find_nic(sim->engine, sim->nic));
        }
        if (wake_ms > end_ms) {
            break;
        }
        sim->now_ms = MAX(wake_ms, sim->now_ms + 1);
    }
    sim->now_ms = end_ms;
}

/* Removes what expired, as OVS's sweep does, and announces what asked for
 * it, as a packet in software would.  That finds nothing that expired, and
 * announces nothing that must be judged. */
static void
housekeeping(struct sim *sim)
{
    for (int i = 0; i < sim->n_zones * N_CONNS; i++) {
        int z = i % sim->n_zones;
        int index = i / sim->n_zones;
        struct sim_conn *conn = sim->conns[z][index];

        if (conn && conn->announce_again && conn->state == SIM_EST
            && !conn->forged && conn->expiration_ms > sim->now_ms
            && !sim->quiet) {
            conn->announce_again = false;
            conn->expiration_ms = sim->now_ms + TIMEOUT_MS;
            push_ready(sim, conn);
        }
        if (conn && conn->expiration_ms + 5000 < sim->now_ms) {
            remove_conn(sim, z, index);
        }
    }
}

/* A packet of tuple 'index' that the NIC missed: conntrack sees it. */
static void
software_packet(struct sim *sim, int index)
{
    for (int z = 0; z < sim->n_zones; z++) {
        struct sim_conn *conn = sim->conns[z][index];

        if (conn->expiration_ms > sim->now_ms) {
            conn->expiration_ms = sim->now_ms + TIMEOUT_MS;
        }
    }
}

static void
set_config(struct sim *sim, bool enabled, unsigned int max_conns)
{
    struct engine_config config = {
        .enabled = enabled, .max_conns = max_conns,
    };

    sim->enabled = enabled;
    engine_set_config(sim->engine, &config, sim->now_ms);
}

static void
random_event(struct sim *sim)
{
    int i = random_range(N_CONNS);
    int port = 1 + random_range(3);
    int z = random_range(sim->n_zones);
    struct sim_conn *conn = sim->conns[z][i];

    switch (random_range(sim->n_zones > 1 ? 16 : 14)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        if (!conn) {
            new_conn(sim, z, i);
        } else if (!random_range(3)) {
            /* Gone, and at once another one with the same tuple. */
            remove_conn(sim, z, i);
            new_conn(sim, z, i);
        }
        break;
    case 5:
        if (conn && conn->state == SIM_EST && !conn->forged) {
            conn->forged = !random_range(2);
            conn->state = conn->forged ? SIM_EST : SIM_CLOSING;
            engine_test_push(sim->engine, conn->id, CT_EVENT_CLOSING);
        }
        break;
    case 6:
        if (conn) {
            remove_conn(sim, z, i);
        }
        break;
    case 7:
        if (conn) {
            conn->expiration_ms = 0;
            conn->state = SIM_CLOSING;
            engine_test_push(sim->engine, conn->id, CT_EVENT_EXPIRED);
        }
        break;
    case 8:
    case 9:
        set_policy(sim, port, random_range(N_COPIES), random_range(4),
                   u32_to_odp(random_range(3) + 1));
        break;
    case 10:
        set_entry(sim, port, random_range(3));
        break;
    case 11:
        if (!random_range(4)) {
            set_attached(sim, port, !sim->attached[port]);
        }
        break;
    case 12:
        if (!random_range(4)) {
            set_config(sim, !sim->enabled,
                       random_range(2) ? UINT_MAX : random_range(N_CONNS));
        }
        break;
    case 13:
        if (!random_range(4)) {
            engine_flush(sim->engine, sim->now_ms);
        }
        break;
    case 14:
    case 15:
        if (conn) {
            conn->mark = !conn->mark;
            engine_test_push_changed(sim->engine, conn->id, conn->mark);
        }
        break;
    }
}

/* Everything as it should be in the end. */
static void
restore(struct sim *sim)
{
    set_config(sim, true, UINT_MAX);
    for (int port = 1; port <= 3; port++) {
        set_attached(sim, port, true);
        set_entry(sim, port, true);
        for (int c = 0; c < N_COPIES; c++) {
            set_policy(sim, port, c, SIM_OUTPUT,
                       u32_to_odp(port == 1 ? 2 : 1));
        }
    }
    for (int z = 0; z < sim->n_zones; z++) {
        for (int i = 0; i < N_CONNS; i++) {
            if (sim->conns[z][i]) {
                remove_conn(sim, z, i);
            }
            new_conn(sim, z, i);
        }
    }
}

/* Returns the packets that megaflows were credited with, those that their
 * copies were told of included, and stores the bytes in '*bytes'. */
static uint64_t
credited_packets(struct sim *sim, uint64_t *bytes)
{
    struct mf_mirror *mirror = &sim->engine->mirror;
    uint64_t n = mirror->unattributed_packets + sim->claimed.packets;
    struct mf_slot *slot;

    *bytes = mirror->unattributed_bytes + sim->claimed.bytes;
    HMAP_FOR_EACH (slot, node, &mirror->slots) {
        struct mf_subtable *table;
        struct megaflow *flow;

        LIST_FOR_EACH (table, node, &slot->subtables) {
            HMAP_FOR_EACH (flow, table_node, &table->flows) {
                n += flow->packets - flow->claimed_packets;
                *bytes += flow->bytes - flow->claimed_bytes;
            }
        }
        LIST_FOR_EACH (flow, dead_node, &slot->dead) {
            n += flow->packets - flow->claimed_packets;
            *bytes += flow->bytes - flow->claimed_bytes;
        }
    }
    return n;
}

/* Returns true if there are 'n' connections and all are carried. */
static bool
all_carried(const struct sim *sim, size_t n)
{
    const struct tracked_conn *tc;

    HMAP_FOR_EACH (tc, id_node, &sim->engine->conns_by_id) {
        if (!tracked_conn_is_carried(tc, 0)
            || !tracked_conn_is_carried(tc, 1)) {
            return false;
        }
    }
    return hmap_count(&sim->engine->conns_by_id) == n;
}

/* Returns true if the NIC carries everything that it should. */
static bool
is_calm(struct sim *sim)
{
    bool calm = true;

    for (int i = 0; i < N_CONNS; i++) {
        for (int reply = 0; reply < 2; reply++) {
            if (receive(sim, i, reply, TCP_ACK) != expected(sim, i, reply)) {
                calm = false;
            }
        }
    }
    return calm;
}

/* Lets everything settle without anything new happening but packets, which
 * keep connections alive: what is not carried must not wait for events. */
static void
calm_down(struct sim *sim)
{
    set_config(sim, sim->enabled, UINT_MAX);
    for (int i = 0; i < 5 || !is_calm(sim); i++) {
        ck_assert_int_lt(i, 200);
        for (int j = 0; j < sim->n_zones * N_CONNS; j++) {
            struct sim_conn *conn = sim->conns[j % sim->n_zones]
                                              [j / sim->n_zones];

            if (conn && conn->expiration_ms > sim->now_ms) {
                conn->expiration_ms = sim->now_ms + TIMEOUT_MS;
            }
        }
        step(sim, 1000);
        housekeeping(sim);
    }
}

/* Sends packets, not often, for much longer than TIMEOUT_MS: connections must
 * not expire. */
static void
keep_alive(struct sim *sim)
{
    for (int i = 0; i < 3 * TIMEOUT_MS / 5000; i++) {
        for (int j = 0; j < N_CONNS; j++) {
            for (int reply = 0; reply < 2; reply++) {
                if (!receive(sim, j, reply, TCP_ACK)) {
                    software_packet(sim, j);
                }
            }
        }
        step(sim, 5000);
        housekeeping(sim);
        for (int z = 0; z < sim->n_zones; z++) {
            for (int j = 0; j < N_CONNS; j++) {
                const struct sim_conn *conn = sim->conns[z][j];

                ck_assert_msg(conn && conn->expiration_ms > sim->now_ms,
                              "conn %d, zone %d: expired", j, z);
            }
        }
    }
}

/* Sends no packets: connections must expire. */
static void
let_expire(struct sim *sim)
{
    sim->quiet = true;
    for (int i = 0; i < 3 * TIMEOUT_MS / 5000; i++) {
        step(sim, 5000);
        housekeeping(sim);
    }
    for (int z = 0; z < sim->n_zones; z++) {
        for (int i = 0; i < N_CONNS; i++) {
            ck_assert_msg(!sim->conns[z][i], "conn %d, zone %d: still there",
                          i, z);
        }
    }
}

static unsigned int
first_seed(void)
{
    const char *s = getenv("ENGINE_SEED");

    return s ? atoi(s) : 0;
}

/* Starts a simulation with an emulated NIC, without anything else. */
static void
sim_init(struct sim *sim, unsigned int seed, bool module, const char *profile,
         int n_zones)
{
    struct smap config = SMAP_INITIALIZER(&config);
    char *error = NULL;
    char buf[16];

    random_set_seed(seed + 1);
    memset(sim, 0, sizeof *sim);
    sim->now_ms = 100000;
    sim->n_zones = n_zones;
    sim->tags = seed % 4 >= 2;
    sim->ct = (struct conntrack *) sim;
    dp_registry_add(sim->ct, "sim");
    ck_assert_int_eq(dp_registry_find(sim->ct), 1);
    sim->engine = engine_create(&sim_ops, sim->now_ms);

    snprintf(buf, sizeof buf, "%u", seed + 1);
    smap_add(&config, "profile", profile);
    if (!strcmp(profile, "hostile")) {
        smap_add(&config, "seed", buf);
    }
    smap_add(&config, "ct-module", module ? "true" : "false");
    ck_assert_msg(!nic_emu_class.open("sim", &config, &sim->nic, &error),
                  "%s", error);
    smap_destroy(&config);
    engine_add_nic(sim->engine, sim->nic, sim->now_ms);
}

/* Removes all connections and waits until nothing is left of them. */
static void
sim_remove_conns(struct sim *sim)
{
    for (int z = 0; z < sim->n_zones; z++) {
        for (int i = 0; i < N_CONNS; i++) {
            if (sim->conns[z][i]) {
                remove_conn(sim, z, i);
            }
        }
    }
    for (int i = 0; i < 20; i++) {
        step(sim, 1000);
    }
    ck_assert(engine_is_settled(sim->engine));
    ck_assert(hmap_is_empty(&sim->engine->conns_by_id));
    ck_assert(hmap_is_empty(&sim->engine->paths));
    ck_assert_int_eq(engine_find_nic(sim->engine, sim->nic)->n_present, 0);
    ck_assert_int_eq(engine_find_nic(sim->engine, sim->nic)->n_conns, 0);
}

/* Ends a simulation that has no connections any more. */
static void
sim_destroy(struct sim *sim)
{
    set_config(sim, false, UINT_MAX);
    for (int port = 1; port <= 3; port++) {
        set_attached(sim, port, false);
    }
    engine_begin_remove_nic(sim->engine, sim->nic, sim->now_ms);
    step(sim, 1000);
    ck_assert(engine_finish_remove_nic(sim->engine, sim->nic, false,
                                       sim->now_ms));
    sim->nic->class->close(sim->nic);
    engine_destroy(sim->engine);
    dp_registry_remove(sim->ct);
    ovsrcu_quiesce();
}

static void
simulate(unsigned int seed, bool module, const char *profile, bool resets,
         int n_zones)
{
    uint64_t packets, bytes;
    struct sim sim;

    sim_init(&sim, seed + first_seed(), module, profile, n_zones);
    restore(&sim);

    for (int i = 0; i < 400; i++) {
        for (int n = random_range(4); n > 0; n--) {
            random_event(&sim);
        }
        if (resets && !random_range(50)) {
            nic_emu_reset(sim.nic);
        }
        step(&sim, random_range(10) ? random_range(300)
             : random_range(20000));
        housekeeping(&sim);
        if (!random_range(2)) {
            step(&sim, 1000);
        }
        check_packets(&sim);
        if (!random_range(5)) {
            step(&sim, 0);
            claim_stats(&sim);
        }
        if (i % 100 == 99) {
            restore(&sim);
            calm_down(&sim);
        } else if (!random_range(80)) {
            calm_down(&sim);
        }
    }

    /* Convergence.  A hostile NIC goes on to fail now and then. */
    restore(&sim);
    for (int i = 0; i < 20 || !all_carried(&sim, n_zones * N_CONNS); i++) {
        ck_assert_int_lt(i, 200);
        step(&sim, 1000);
        housekeeping(&sim);
    }
    ck_assert(engine_is_settled(sim.engine));
    for (int i = 0; i < N_CONNS; i++) {
        ck_assert_int_eq(odp_to_u32(receive(&sim, i, false, TCP_ACK)), 2);
        ck_assert_int_eq(odp_to_u32(receive(&sim, i, true, TCP_ACK)), 1);
    }
    ck_assert_int_gt(sim.n_checked, 500);
    ck_assert_int_gt(sim.n_carried, 100);
    keep_alive(&sim);
    if (random_range(2)) {
        let_expire(&sim);
    }

    sim_remove_conns(&sim);
    packets = credited_packets(&sim, &bytes);
    if (!resets) {
        ck_assert_uint_eq(packets, (1 + n_zones) * sim.n_carried);
        ck_assert_uint_eq(bytes, sim.credit_bytes);
    } else {
        ck_assert_uint_le(packets, (1 + n_zones) * sim.n_carried);
        ck_assert_uint_le(bytes, sim.credit_bytes);
    }

    sim_destroy(&sim);
}

START_TEST(test_flat_typical)
{
    simulate(_i, false, "typical", false, 1);
}
END_TEST

START_TEST(test_module_typical)
{
    simulate(_i, true, "typical", false, 1);
}
END_TEST

START_TEST(test_flat_hostile)
{
    simulate(_i, false, "hostile", false, 1);
}
END_TEST

START_TEST(test_module_hostile)
{
    simulate(_i, true, "hostile", false, 1);
}
END_TEST

START_TEST(test_resets)
{
    simulate(_i, _i % 2, "hostile", true, 1);
}
END_TEST

START_TEST(test_zones)
{
    simulate(_i, _i % 2, _i % 4 < 2 ? "typical" : "hostile", _i % 3 == 2,
             2 + _i % 5 / 3);
}
END_TEST

/* A path through two zones occupies room for two connections: where there is
 * only one, none is armed. */
START_TEST(test_no_room)
{
    struct sim sim;

    sim_init(&sim, 0, _i, "typical", 2);
    restore(&sim);
    sim_remove_conns(&sim);

    set_config(&sim, true, 1);
    sim.engine->n_armed = 0;
    new_conn(&sim, 0, 0);
    new_conn(&sim, 1, 0);
    for (int i = 0; i < 10; i++) {
        step(&sim, 1000);
    }
    ck_assert_uint_eq(sim.engine->n_armed, 0);

    set_config(&sim, true, 2);
    step(&sim, 1000);
    ck_assert_uint_eq(sim.engine->n_armed, 2);
    ck_assert(all_carried(&sim, 2));
    sim_remove_conns(&sim);
    sim_destroy(&sim);
}
END_TEST

/* A connection that cannot be armed because of a FIN or RST, about which the
 * event comes late, does not keep the engine busy with the others of the
 * path. */
START_TEST(test_unarmable)
{
    struct sim_conn *conn;
    struct sim sim;

    sim_init(&sim, 0, _i / 4 % 2, "typical", 3);
    restore(&sim);
    sim_remove_conns(&sim);

    sim.engine->n_armed = 0;
    for (int z = 0; z < 3; z++) {
        new_conn(&sim, z, 0);
    }
    conn = sim.conns[_i % 3][0];
    conn->forged = true;
    for (int i = 0; i < 10; i++) {
        step(&sim, 1000);
    }
    ck_assert_uint_le(sim.engine->n_armed, 4);
    ck_assert_uint_eq(engine_find_nic(sim.engine, sim.nic)->n_conns, 0);

    engine_test_push(sim.engine, conn->id, CT_EVENT_CLOSING);
    for (int i = 0; i < 3; i++) {
        step(&sim, CT_JUDGE_MS);
    }
    ck_assert(all_carried(&sim, 3));
    sim_remove_conns(&sim);
    sim_destroy(&sim);
}
END_TEST

/* Adds 'test' with 'n' seeds. */
static void
add_tests(Suite *suite, const char *name, const TTest *test, int n)
{
    TCase *tcase = tcase_create(name);
    const char *s = getenv("ENGINE_SEEDS");

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test, 0, s ? atoi(s) : n);
    suite_add_tcase(suite, tcase);
}

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("engine");

    add_tests(suite, "flat-typical", test_flat_typical, 40);
    add_tests(suite, "module-typical", test_module_typical, 40);
    add_tests(suite, "flat-hostile", test_flat_hostile, 80);
    add_tests(suite, "module-hostile", test_module_hostile, 80);
    add_tests(suite, "resets", test_resets, 80);
    add_tests(suite, "zones", test_zones, 120);
    add_tests(suite, "no-room", test_no_room, 2);
    add_tests(suite, "unarmable", test_unarmable, 8);
    return nic_test_main(argc, argv, suite);
}
