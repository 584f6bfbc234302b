/* SPDX-License-Identifier: Apache-2.0 */

/* The watcher's thread with a make-believe datapath and source of carrier:
 * what it tells the datapath and NICs, life of ids, learning packets; and, for
 * ThreadSanitizer, translation, configuration and flapping links all at
 * once. */

#include <config.h>

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dp-packet.h"
#include "hash.h"
#include "lib/egress.h"
#include "nic-emu-test.h"
#include "odp-util.h"
#include "ofproto-ext/vport-bond-binding.h"
#include "ofproto-ext/vport-bond-macs.h"
#include "ofproto-ext/vport-bond-state.h"
#include "ofproto-ext/vport-bond-status.h"
#include "ofproto-ext/vport-bond-watcher.h"
#include "openvswitch/hmap.h"
#include "openvswitch/poll-loop.h"
#include "ovs-thread.h"
#include "random.h"
#include "seq.h"
#include "timeval.h"

#define TIMEOUT_MS 30000
#define N_UPLINKS 3
#define MAX_VPORTS 256
#define UPLINK_PORT 1000

/* The datapath.  'leads' and counters are read by tests while the watcher's
 * thread writes them. */

#define MAX_IDS 200000

static atomic_uint32_t leads[MAX_IDS];  /* Port + 1, 0 if not known. */
static atomic_count n_sets, n_dels, n_open;
static pthread_t dp_thread;             /* Who changes the datapath. */
static bool dp_thread_known;
static struct ovs_mutex sent_mutex = OVS_MUTEX_INITIALIZER;
static struct ds learning = DS_EMPTY_INITIALIZER;

static void *
fake_open(const char *type, const char *name)
{
    ck_assert_str_eq(type, "fake");
    ck_assert_str_eq(name, "dp");
    atomic_count_inc(&n_open);
    return &n_open;
}

static void
fake_close(void *dp OVS_UNUSED)
{
    atomic_count_dec(&n_open);
}

static void
check_thread(void)
{
    if (!dp_thread_known) {
        dp_thread = pthread_self();
        dp_thread_known = true;
    }
    if (!pthread_equal(dp_thread, pthread_self())) {
        abort();
    }
}

static atomic_bool refuse;

static int
fake_set(void *dp OVS_UNUSED, uint32_t id, odp_port_t port)
{
    bool refuse_;

    check_thread();
    atomic_read(&refuse, &refuse_);
    if (refuse_) {
        return EIO;
    }
    ovs_assert(id < MAX_IDS);
    atomic_count_inc(&n_sets);
    atomic_store(&leads[id], odp_to_u32(port) + 2);
    return 0;
}

static int
fake_del(void *dp OVS_UNUSED, uint32_t id)
{
    check_thread();
    atomic_count_inc(&n_dels);
    atomic_store(&leads[id], 0);
    return 0;
}

static atomic_bool hold_sends;          /* Nothing is sent for now. */

static int
fake_send(void *dp OVS_UNUSED, odp_port_t port, struct dp_packet *packet)
{
    const struct eth_header *eth = dp_packet_data(packet);
    long long int deadline = time_msec() + TIMEOUT_MS;

    for (;;) {
        bool hold;

        atomic_read(&hold_sends, &hold);
        if (!hold) {
            break;
        }
        if (time_msec() >= deadline) {
            abort();
        }
        poll_timer_wait(1);
        poll_block();
    }

    ovs_mutex_lock(&sent_mutex);
    ds_put_format(&learning, "%"PRIu32":"ETH_ADDR_FMT" ", odp_to_u32(port),
                  ETH_ADDR_ARGS(eth->eth_src));
    ovs_mutex_unlock(&sent_mutex);
    return 0;
}

static const struct vport_bond_dp_class fake_dp_class = {
    .open = fake_open,
    .close = fake_close,
    .set = fake_set,
    .del = fake_del,
    .send = fake_send,
};

/* Returns where 'id' leads, -1 for nowhere, -2 if the datapath does not know
 * it. */
static int
leads_to(uint32_t id)
{
    uint32_t value;

    atomic_read(&leads[id], &value);
    return (int) value - 2;
}

/* Ids. */

static uint32_t last_id;
static int n_ids;                       /* Allocated and not freed. */
static const int owner, other_owner;

static uint32_t
alloc_id(const void *owner_)
{
    ck_assert(owner_ == &owner || owner_ == &other_owner);
    n_ids++;
    return ++last_id;
}

static void
free_id(uint32_t id)
{
    /* The datapath has forgotten it. */
    ck_assert_int_eq(leads_to(id), -2);
    n_ids--;
}

static const struct vport_bond_ids fake_ids = { alloc_id, free_id, 500 };

/* Carrier. */

static atomic_bool carriers[N_UPLINKS];
static struct seq *carrier_seq;

/* If true, wait_for_p2() is called when the carrier of p1 is asked for. */
static atomic_bool hook_set;
static void wait_for_p2(void);

static bool
get_carrier(const char *name, bool *carrier)
{
    bool hooked;

    atomic_read(&hook_set, &hooked);
    if (hooked && !strcmp(name, "p1")) {
        wait_for_p2();
    }
    if (name[0] == 'p') {
        atomic_read(&carriers[name[1] - '0'], carrier);
        return true;
    }
    return false;
}

static void
set_carrier(int i, bool up)
{
    atomic_store(&carriers[i], up);
    seq_change(carrier_seq);
}

/* Configuration. */

static char uplink_names[N_UPLINKS][8], vport_names[MAX_VPORTS][8];
static struct vport_bond_uplink_config uplinks[N_UPLINKS];
static struct vport_bond_vport_config vports[MAX_VPORTS];

/* bond0 with 'n_uplinks' and 'n_vports', all unpinned. */
static struct vport_bond_config
make_config(size_t n_uplinks, size_t n_vports)
{
    for (int i = 0; i < N_UPLINKS; i++) {
        snprintf(uplink_names[i], sizeof uplink_names[i], "p%d", i);
        uplinks[i] = (struct vport_bond_uplink_config) {
            .name = uplink_names[i],
            .odp_port = u32_to_odp(UPLINK_PORT + i),
            .enabled = true,
        };
    }
    for (int i = 0; i < MAX_VPORTS; i++) {
        snprintf(vport_names[i], sizeof vport_names[i], "v%d", i);
        vports[i] = (struct vport_bond_vport_config) {
            .name = vport_names[i],
            .odp_port = u32_to_odp(i),
            .class = VPORT_VM,
        };
    }
    return (struct vport_bond_config) {
        .name = "bond0",
        .owner = &owner,
        .dp_type = "fake",
        .dp_name = "dp",
        .settings.revert = true,
        .uplinks = uplinks,
        .n_uplinks = n_uplinks,
        .vports = vports,
        .n_vports = n_vports,
    };
}

static uint32_t
id_of(odp_port_t entry)
{
    uint32_t id = 0;

    ck_assert(vport_bond_lookup_id("bond0", entry, &id));
    return id;
}

/* Waits until vport 'i' leads to uplink 'uplink', or nowhere if it is -1. */
static void
wait_for(int i, int uplink)
{
    long long int deadline = time_msec() + TIMEOUT_MS;
    int port = uplink < 0 ? -1 : UPLINK_PORT + uplink;
    uint32_t id = id_of(u32_to_odp(i));

    while (leads_to(id) != port) {
        if (time_msec() >= deadline) {
            ck_abort_msg("vport %d leads to %d, not %d", i, leads_to(id),
                         port);
        }
        poll_timer_wait(1);
        poll_block();
    }
}

/* Waits until the main thread has nothing left to do but to wait. */
static void
wait_ids(int n)
{
    long long int deadline = time_msec() + TIMEOUT_MS;

    for (;;) {
        vport_bond_watcher_run();
        if (n_ids == n) {
            return;
        }
        ck_assert_int_lt(time_msec(), deadline);
        vport_bond_watcher_wait();
        poll_timer_wait(10);
        poll_block();
    }
}

static void
setup(void)
{
    struct carrier_source source;

    carrier_seq = seq_create();
    source = (struct carrier_source) { get_carrier, carrier_seq };
    for (int i = 0; i < N_UPLINKS; i++) {
        atomic_store(&carriers[i], true);
    }
    dp_thread_known = false;
    atomic_count_set(&n_sets, 0);
    atomic_count_set(&n_dels, 0);
    vport_bond_watcher_start(&fake_dp_class, &fake_ids, &source, 1);
}

static void
teardown(void)
{
    vport_bond_watcher_configure(NULL, 0);
    vport_bond_watcher_stop();
    vport_bond_status_destroy();
    ck_assert_int_eq(n_ids, 0);
    ck_assert_int_eq(atomic_count_get(&n_open), 0);
    ck_assert(!vport_bond_any_active());
    seq_destroy(carrier_seq);
    ds_destroy(&learning);
    ds_init(&learning);
    nic_test_quiesce();
}

START_TEST(test_ids)
{
    struct vport_bond_config config = make_config(2, 3);
    uint32_t id, none;

    ck_assert(!vport_bond_lookup_id("bond0", u32_to_odp(0), &id));
    ck_assert(vport_bond_watcher_configure(&config, 1));
    ck_assert(!vport_bond_watcher_configure(&config, 1));

    /* When it returns the datapath knows all of them. */
    ck_assert(vport_bond_is_active("bond0"));
    ck_assert(!vport_bond_is_active("bond1"));
    ck_assert_int_eq(leads_to(id_of(u32_to_odp(0))), UPLINK_PORT);
    ck_assert_int_eq(leads_to(id_of(u32_to_odp(1))), UPLINK_PORT + 1);
    ck_assert_int_eq(leads_to(id_of(u32_to_odp(2))), UPLINK_PORT);

    /* Ports that it does not know are like no port. */
    none = id_of(ODPP_NONE);
    ck_assert_int_ge(leads_to(none), UPLINK_PORT);
    ck_assert_uint_eq(id_of(u32_to_odp(77)), none);
    ck_assert_int_eq(n_ids, 4);

    /* One goes: translation does not find it any more, the datapath still
     * knows it, and it ends after a while. */
    id = id_of(u32_to_odp(2));
    config.n_vports = 2;
    ck_assert(vport_bond_watcher_configure(&config, 1));
    ck_assert_uint_eq(id_of(u32_to_odp(2)), none);
    ck_assert_int_eq(leads_to(id), UPLINK_PORT);
    vport_bond_watcher_run();
    ck_assert_int_eq(n_ids, 4);
    wait_ids(3);
    ck_assert_int_eq(leads_to(id), -2);
}
END_TEST

START_TEST(test_release)
{
    struct vport_bond_config config = make_config(2, 3);

    vport_bond_watcher_configure(&config, 1);
    ck_assert_int_eq(atomic_count_get(&n_open), 1);
    vport_bond_watcher_release(&other_owner);
    ck_assert_int_eq(n_ids, 4);
    config.n_vports = 1;
    vport_bond_watcher_configure(&config, 1);

    /* At once, with what lingers, and the datapath is closed. */
    vport_bond_watcher_release(&owner);
    ck_assert_int_eq(n_ids, 0);
    ck_assert_int_eq(atomic_count_get(&n_open), 0);
    ck_assert_int_eq(atomic_count_get(&n_dels), 4);
    ck_assert(!vport_bond_is_active("bond0"));

    /* The same bond of another bridge. */
    config.owner = &other_owner;
    ck_assert(vport_bond_watcher_configure(&config, 1));
    config.owner = &owner;
    ck_assert(vport_bond_watcher_configure(&config, 1));
    vport_bond_watcher_release(&other_owner);
    ck_assert_int_eq(n_ids, 2);
}
END_TEST

START_TEST(test_failover)
{
    struct vport_bond_config config = make_config(2, 4);
    struct vport_bond_state *state;
    uint64_t v0_seq, v1_seq;

    vport_bond_watcher_configure(&config, 1);
    atomic_count_set(&n_sets, 0);
    set_carrier(0, false);
    wait_for(0, 1);
    wait_for(2, 1);
    ck_assert_str_eq(vport_bond_status_get("v0"), "p1");
    ck_assert_str_eq(vport_bond_status_get("v1"), "p1");
    v0_seq = vport_bond_status_seq("v0");
    v1_seq = vport_bond_status_seq("v1");
    set_carrier(0, true);
    wait_for(0, 0);
    wait_for(2, 0);
    vport_bond_watcher_configure(&config, 1);
    ck_assert_uint_ne(vport_bond_status_seq("v0"), v0_seq);
    ck_assert_uint_eq(vport_bond_status_seq("v1"), v1_seq);

    /* One call for each vport that moved, (none) included. */
    ck_assert_int_eq(atomic_count_get(&n_sets), 6);

    vport_bond_watcher_set_enabled("bond0", "p1", false, false);
    wait_for(1, 0);
    wait_for(3, 0);
    set_carrier(0, false);
    wait_for(0, -1);
    wait_for(3, -1);
    uplinks[1].enabled = false;
    vport_bond_watcher_configure(&config, 1);
    ck_assert_str_eq(vport_bond_status_get("v0"), "none");
    ck_assert_ptr_null(vport_bond_status_get("nobody"));
    ck_assert_uint_eq(vport_bond_status_seq("nobody"), 0);

    ck_assert_uint_eq(vport_bond_watcher_get_state("bond9", &state), 0);
    vport_bond_states_free(state, 0);
    ck_assert_uint_eq(vport_bond_watcher_get_state(NULL, &state), 1);
    ck_assert_uint_eq(state->n_uplinks, 2);
    ck_assert_uint_eq(state->n_vports, 5);
    ck_assert_str_eq(state->vports[1].name, "v0");
    ck_assert_ptr_null(state->vports[1].current);
    ck_assert_uint_eq(state->vports[1].n_moves, 3);
    ck_assert_uint_eq(state->uplinks[0].n_losses, 2);
    vport_bond_states_free(state, 1);
}
END_TEST

/* A port is deleted after its vports have moved, and may come back. */
START_TEST(test_port_deleted)
{
    struct vport_bond_config config = make_config(2, 2);

    config.settings.downdelay_ms = TIMEOUT_MS;
    vport_bond_watcher_configure(&config, 1);
    ck_assert(!vport_bond_watcher_uplink_gone("v0"));
    ck_assert(vport_bond_watcher_uplink_gone("p0"));
    ck_assert_int_eq(leads_to(id_of(u32_to_odp(0))), UPLINK_PORT + 1);
    uplinks[0].odp_port = u32_to_odp(UPLINK_PORT + 7);
    vport_bond_watcher_configure(&config, 1);
    ck_assert_int_eq(leads_to(id_of(u32_to_odp(0))), UPLINK_PORT + 7);
}
END_TEST

/* An uplink without carrier that is added while the watcher's thread asks for
 * that of another. */

static atomic_bool hook_runs;

static size_t
n_uplinks_now(void)
{
    struct vport_bond_state *states;
    size_t n = vport_bond_watcher_get_state("bond0", &states);
    size_t n_uplinks = n ? states->n_uplinks : 0;

    vport_bond_states_free(states, n);
    return n_uplinks;
}

static void
wait_for_p2(void)
{
    atomic_store(&hook_runs, true);
    while (n_uplinks_now() < 3) {
        poll_timer_wait(1);
        poll_block();
    }
    atomic_store(&hook_set, false);
}

static void *
add_p2(void *config_)
{
    struct vport_bond_config *config = config_;
    bool runs;

    do {
        poll_timer_wait(1);
        poll_block();
        atomic_read(&hook_runs, &runs);
    } while (!runs);
    config->n_uplinks = 3;
    vport_bond_watcher_configure(config, 1);
    return NULL;
}

START_TEST(test_down_from_the_start)
{
    struct vport_bond_config config = make_config(1, 3);
    struct vport_bond_config late;
    struct vport_bond_state *state;
    pthread_t thread;

    config.settings.downdelay_ms = TIMEOUT_MS;
    late = config;
    vport_bond_watcher_configure(&config, 1);
    set_carrier(2, false);
    atomic_store(&hook_runs, false);
    atomic_store(&hook_set, true);
    thread = ovs_thread_create("late", add_p2, &late);
    config.n_uplinks = 2;
    vport_bond_watcher_configure(&config, 1);
    xpthread_join(thread, NULL);

    ck_assert_uint_eq(vport_bond_watcher_get_state("bond0", &state), 1);
    ck_assert_uint_eq(state->n_uplinks, 3);
    ck_assert(!state->uplinks[2].eligible);
    ck_assert_uint_eq(state->uplinks[2].n_losses, 0);
    vport_bond_states_free(state, 1);
}
END_TEST

/* Translation must not give out what the datapath does not know. */
START_TEST(test_refused)
{
    struct vport_bond_config config = make_config(2, 2);
    long long int deadline = time_msec() + TIMEOUT_MS;

    atomic_store(&refuse, true);
    vport_bond_watcher_configure(&config, 1);
    ck_assert(!vport_bond_is_active("bond0"));
    ck_assert(!vport_bond_watcher_run());
    atomic_store(&refuse, false);
    while (!vport_bond_watcher_run()) {
        ck_assert_int_lt(time_msec(), deadline);
        poll_timer_wait(10);
        poll_block();
    }
    ck_assert(vport_bond_is_active("bond0"));
    wait_for(0, 0);
    wait_for(1, 1);
}
END_TEST

/* Waits until learning packets like 'expected' were sent. */
static void
wait_learning(const char *expected)
{
    long long int deadline = time_msec() + TIMEOUT_MS;
    bool done = false;

    while (!done) {
        ck_assert_int_lt(time_msec(), deadline);
        ovs_mutex_lock(&sent_mutex);
        done = !strcmp(ds_cstr(&learning), expected);
        ovs_mutex_unlock(&sent_mutex);
        poll_timer_wait(1);
        poll_block();
    }
}

START_TEST(test_announcements)
{
    struct vport_bond_config config = make_config(2, 4);
    const struct eth_addr a = ETH_ADDR_C(50,54,00,00,00,01);
    const struct eth_addr b = ETH_ADDR_C(50,54,00,00,00,02);

    /* v0 has 'a', v1 would have 'b' but does not move, v2 is known by its
     * configuration. */
    vports[2].attached_mac = (struct eth_addr) ETH_ADDR_C(50,54,00,00,00,03);
    vport_bond_watcher_configure(&config, 1);
    vport_bond_macs_seen("bond0", id_of(u32_to_odp(1)), a, 0, 0,
                         time_msec());
    vport_bond_macs_seen("bond0", id_of(u32_to_odp(0)), a, 0, 0,
                         time_msec());
    vport_bond_macs_seen("bond0", id_of(u32_to_odp(1)), b, 0, 0,
                         time_msec());
    set_carrier(0, false);
    wait_learning("1001:50:54:00:00:00:01 1001:50:54:00:00:00:03 ");
}
END_TEST

/* The main thread waits neither for announcements nor, when a bridge without
 * such bonds goes, for anything. */
START_TEST(test_nobody_waits)
{
    struct vport_bond_config config = make_config(2, 1);

    vports[0].attached_mac = (struct eth_addr) ETH_ADDR_C(50,54,00,00,00,03);
    vport_bond_watcher_configure(&config, 1);
    atomic_store(&hold_sends, true);
    ck_assert_ptr_null(vport_bond_watcher_move("v0", "p1"));
    ck_assert_int_eq(leads_to(id_of(u32_to_odp(0))), UPLINK_PORT + 1);
    ck_assert(!vport_bond_watcher_release(&other_owner));
    atomic_store(&hold_sends, false);
    wait_learning("1001:50:54:00:00:00:03 ");
    ck_assert(vport_bond_watcher_release(&owner));
}
END_TEST

static size_t
n_macs(uint32_t id, long long int ms)
{
    struct vport_bond_mac macs[VPORT_BOND_MACS_MAX];

    return vport_bond_macs_get(id, false, ms, macs);
}

START_TEST(test_macs)
{
    struct vport_bond_mac macs[VPORT_BOND_MACS_MAX];
    struct eth_addr mac = ETH_ADDR_C(50,54,00,00,00,00);
    const struct eth_addr first = mac;
    long long int ms = 1000000;

    /* The last ones are kept. */
    for (int i = 0; i < VPORT_BOND_MACS_MAX + 10; i++) {
        mac.ea[5] = i;
        vport_bond_macs_seen("b", 1, mac, 7, 7, ms);
        ms++;
        vport_bond_macs_used(first, 7, ms);
    }
    ck_assert_uint_eq(vport_bond_macs_get(1, false, ms, macs),
                      VPORT_BOND_MACS_MAX);
    ck_assert_uint_eq(macs[0].mac.ea[5], 0);
    ck_assert_uint_eq(macs[1].mac.ea[5], 11);
    ck_assert_uint_eq(macs[1].vlan, 7);
    ck_assert_uint_eq(n_macs(2, ms), 0);

    /* In another VLAN, at another port, gone: in the VLAN in which it was
     * learned. */
    vport_bond_macs_seen("b", 2, mac, 0, 8, ms);
    vport_bond_macs_seen("b", 2, mac, 7, 7, ms);
    ck_assert_uint_eq(n_macs(2, ms), 2);
    ck_assert_uint_eq(n_macs(1, ms), VPORT_BOND_MACS_MAX - 1);
    vport_bond_macs_moved_away(mac, 0);
    ck_assert_uint_eq(n_macs(2, ms), 2);
    vport_bond_macs_moved_away(mac, 8);
    ck_assert_uint_eq(vport_bond_macs_get(2, false, ms, macs), 1);
    ck_assert_uint_eq(macs[0].vlan, 7);
    vport_bond_macs_moved_away(mac, 7);
    ck_assert_uint_eq(n_macs(2, ms), 0);

    /* Another bond has its own. */
    vport_bond_macs_seen("c", 3, first, 7, 7, ms);
    ck_assert_uint_eq(n_macs(3, ms), 1);
    ck_assert_uint_eq(n_macs(1, ms), VPORT_BOND_MACS_MAX - 1);

    /* Not used for a while. */
    ms += VPORT_BOND_MAC_AGE_MS;
    ck_assert_uint_eq(n_macs(1, ms), 0);
    ck_assert_uint_eq(vport_bond_macs_get(1, true, ms, macs),
                      VPORT_BOND_MACS_MAX - 1);
    vport_bond_macs_used(first, 7, ms);
    ck_assert_uint_eq(n_macs(1, ms), 1);
    vport_bond_macs_forget(1);
    vport_bond_macs_forget(3);
    ck_assert_uint_eq(vport_bond_macs_get(1, true, ms, macs), 0);

    /* Not those that no machine has. */
    vport_bond_macs_seen("b", 1, eth_addr_broadcast, 0, 0, ms);
    vport_bond_macs_seen("b", 1, eth_addr_zero, 0, 0, ms);
    ck_assert_uint_eq(n_macs(1, ms), 0);
}
END_TEST

/* In the emulated NIC: egress objects of 256 vports, and 100,000 rules. */

#define N_RULES_PER_VPORT 391

static uint64_t
n_nic_ops(void)
{
    struct nic_stats stats;

    class->get_stats(nic, &stats);
    return stats.n_ops + stats.n_failed;
}

static struct flow
rule_flow(int vport, int i)
{
    return nic_test_flow4(IPPROTO_UDP, 1, 2, 1 + i, 1 + vport);
}

START_TEST(test_nic)
{
    struct vport_bond_config config = make_config(2, MAX_VPORTS);
    int n_rules = getenv("CK_FORK") ? 20 : N_RULES_PER_VPORT;
    struct egress_stats before, after;
    struct egress_nic_port ports[2];
    uint64_t n_ops;

    open_nic("profile=kind");
    ports[0] = (struct egress_nic_port) { u32_to_odp(UPLINK_PORT), up0 };
    ports[1] = (struct egress_nic_port) { u32_to_odp(UPLINK_PORT + 1), up1 };
    vport_bond_watcher_configure(&config, 1);
    for (int i = 0; i < MAX_VPORTS; i++) {
        uint32_t id = id_of(u32_to_odp(i));
        nic_port_id port = leads_to(id) == UPLINK_PORT ? up0 : up1;
        nic_handle egress = add(egress_op(NIC_OP_EGRESS_ADD, 0, port));

        for (int j = 0; j < n_rules; j++) {
            struct flow flow = rule_flow(i, j);

            add(rule_op(vf0, &flow, to_egress(egress)));
        }
        egress_attach(id, nic, egress, port, ports, 2);
    }

    /* One operation for each vport that moves, none for its rules. */
    egress_get_stats(&before);
    n_ops = n_nic_ops();
    set_carrier(0, false);
    wait_for(MAX_VPORTS - 2, 1);
    vport_bond_watcher_configure(&config, 1);
    egress_get_stats(&after);
    ck_assert_uint_eq(after.n_updates - before.n_updates, MAX_VPORTS / 2);
    ck_assert_uint_eq(n_nic_ops() - n_ops, MAX_VPORTS / 2);
    for (int i = 0; i < MAX_VPORTS; i++) {
        struct flow flow = rule_flow(i, 0);

        ck_assert(hits("vf0", &flow));
        ck_assert_str_eq(ds_cstr(&sent), "21:142 ");
    }
    egress_detach_nic(nic);
    close_nic();
}
END_TEST

START_TEST(test_unreachable)
{
    struct vport_bond_config config = make_config(2, 1);
    struct egress_nic_port ports[1];
    struct flow flow = udp(1);
    nic_handle e;
    uint32_t id;

    /* Only one of the uplinks is a port of the NIC. */
    open_nic("profile=kind");
    ports[0] = (struct egress_nic_port) { u32_to_odp(UPLINK_PORT), up0 };
    vport_bond_watcher_configure(&config, 1);
    id = id_of(u32_to_odp(0));
    e = add(egress_op(NIC_OP_EGRESS_ADD, 0, up0));
    add(rule_op(vf0, &flow, to_egress(e)));
    egress_attach(id, nic, e, up0, ports, 1);
    ck_assert_ptr_null(egress_unreachable(id, nic));
    set_carrier(0, false);
    wait_for(0, 1);
    vport_bond_watcher_configure(&config, 1);
    ck_assert_str_eq(egress_unreachable(id, nic),
                     "the uplink is not a port of the NIC");

    /* Dropped rather than sent to a dead uplink. */
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "");
    set_carrier(0, true);
    wait_for(0, 0);
    vport_bond_watcher_configure(&config, 1);
    ck_assert_ptr_null(egress_unreachable(id, nic));
    ck_assert(hits("vf0", &flow));
    ck_assert_str_eq(ds_cstr(&sent), "20:142 ");
    ck_assert_str_eq(egress_unreachable(4711, nic), "the egress is gone");

    ck_assert(egress_share_inbound("fake", u32_to_odp(UPLINK_PORT),
                                   u32_to_odp(UPLINK_PORT + 1)));
    ck_assert(!egress_share_inbound("fake", u32_to_odp(UPLINK_PORT),
                                    u32_to_odp(UPLINK_PORT + 2)));
    ck_assert(!egress_share_inbound("other", u32_to_odp(UPLINK_PORT),
                                    u32_to_odp(UPLINK_PORT + 1)));
    egress_detach_nic(nic);
    ck_assert(!egress_is_attached(id));
    close_nic();
}
END_TEST

/* Adds an object to a NIC that fails now and then. */
static nic_handle
add_at_last(struct nic_op op)
{
    for (int i = 0; i < 1000; i++) {
        struct nic_completion c = run(op);

        if (!c.error) {
            return c.handle;
        }
    }
    ck_abort_msg("no luck");
}

/* Attached late, or with another port than is right now: the watcher's thread
 * corrects it. */
START_TEST(test_attached_late)
{
    struct vport_bond_config config = make_config(2, 1);
    long long int deadline = time_msec() + TIMEOUT_MS;
    struct egress_nic_port ports[2];
    struct flow flow = udp(1);
    nic_handle e;
    uint32_t id;

    open_nic("profile=hostile rate=0");
    ports[0] = (struct egress_nic_port) { u32_to_odp(UPLINK_PORT), up0 };
    ports[1] = (struct egress_nic_port) { u32_to_odp(UPLINK_PORT + 1), up1 };
    vport_bond_watcher_configure(&config, 1);
    id = id_of(u32_to_odp(0));
    e = add_at_last(egress_op(NIC_OP_EGRESS_ADD, 0, up1));
    add_at_last(rule_op(vf0, &flow, to_egress(e)));
    egress_attach(id, nic, e, up1, ports, 2);
    do {
        ck_assert_int_lt(time_msec(), deadline);
        ck_assert(hits("vf0", &flow));
        poll_timer_wait(1);
        poll_block();
    } while (strcmp(ds_cstr(&sent), "20:142 "));
    egress_detach(id, nic);
    close_nic();
}
END_TEST

/* Everything at once. */

static atomic_bool stop;

static void *
translate_main(void *aux OVS_UNUSED)
{
    struct eth_addr mac = ETH_ADDR_C(50,54,00,00,00,00);
    uint64_t n = 0;
    bool stopping;

    do {
        odp_port_t entry = u32_to_odp(random_range(16));
        uint32_t id;

        if (vport_bond_lookup_id("bond0", entry, &id)) {
            /* Whatever translation finds the datapath knows, until the
             * thread is quiescent and longer. */
            if (leads_to(id) == -2) {
                abort();
            }
            n++;
        }
        mac.ea[5] = random_range(32);
        if (!random_range(4)) {
            vport_bond_macs_moved_away(mac, random_range(2));
        } else if (!random_range(3)) {
            vport_bond_macs_used(mac, random_range(2), time_msec());
        } else if (vport_bond_lookup_id("bond0", entry, &id)) {
            uint16_t vlan = random_range(2);

            vport_bond_macs_seen("bond0", id, mac, vlan, vlan, time_msec());
        }
        if (!random_range(16)) {
            ovsrcu_quiesce();
        }
        atomic_read(&stop, &stopping);
    } while (!stopping);
    return NULL;
}

static void *
flap_main(void *aux OVS_UNUSED)
{
    bool stopping;

    do {
        set_carrier(random_range(N_UPLINKS), random_range(2));
        poll_timer_wait(1);
        poll_block();
        atomic_read(&stop, &stopping);
    } while (!stopping);
    return NULL;
}

START_TEST(test_threads)
{
    struct vport_bond_config config = make_config(N_UPLINKS, 16);
    struct egress_nic_port ports[1];
    pthread_t threads[3];

    open_nic("profile=typical rate=0");
    ports[0] = (struct egress_nic_port) { u32_to_odp(UPLINK_PORT), up0 };
    atomic_store(&stop, false);
    vport_bond_watcher_configure(&config, 1);
    threads[0] = ovs_thread_create("translate", translate_main, NULL);
    threads[1] = ovs_thread_create("translate", translate_main, NULL);
    threads[2] = ovs_thread_create("flap", flap_main, NULL);
    for (int i = 0; i < 500; i++) {
        uint32_t id;

        config.n_uplinks = 2 + random_range(2);
        config.n_vports = random_range(17);
        vport_bond_watcher_configure(&config, 1);
        vport_bond_watcher_set_enabled("bond0", "p1", random_range(2),
                                       random_range(2));
        vport_bond_watcher_set_delays("bond0", random_range(2),
                                      random_range(2));
        if (vport_bond_lookup_id("bond0", u32_to_odp(0), &id)) {
            nic_handle e = add(egress_op(NIC_OP_EGRESS_ADD, 0, up0));

            egress_attach(id, nic, e, up0, ports, 1);
            egress_unreachable(id, nic);
            egress_detach(id, nic);
            ck_assert_int_eq(fails(del_op(NIC_OP_EGRESS_DEL, e)), 0);
        }
        free(vport_bond_watcher_move("v1", "p0"));
        vport_bond_status_get("v1");
        if (i % 100 == 99) {
            struct vport_bond_state *state;
            size_t n = vport_bond_watcher_get_state(NULL, &state);

            vport_bond_states_free(state, n);
        }
        vport_bond_watcher_run();
        ovsrcu_quiesce();
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) {
        xpthread_join(threads[i], NULL);
    }
    close_nic();
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("vport-bond-watcher");
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_ids);
    tcase_add_test(tc, test_release);
    tcase_add_test(tc, test_failover);
    tcase_add_test(tc, test_port_deleted);
    tcase_add_test(tc, test_down_from_the_start);
    tcase_add_test(tc, test_refused);
    tcase_add_test(tc, test_announcements);
    tcase_add_test(tc, test_nobody_waits);
    tcase_add_test(tc, test_macs);
    tcase_add_test(tc, test_nic);
    tcase_add_test(tc, test_unreachable);
    tcase_add_test(tc, test_attached_late);
    tcase_add_test(tc, test_threads);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
