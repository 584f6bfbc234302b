/* SPDX-License-Identifier: Apache-2.0 */

/* Path composition: a rule must carry a packet only where the megaflows that
 * it was made of would send it.  Fixed cases for what others got wrong, then
 * random pipelines against a reference that looks up one packet at a time. */

#include <config.h>

#include <check.h>
#include <stdlib.h>

#include "datapath-offload/path.h"
#include "dpif.h"
#include "netlink.h"
#include "odp-netlink.h"
#include "openvswitch/ofpbuf.h"
#include "ovs-rcu.h"
#include "packets.h"
#include "random.h"
#include "util.h"

#define DP 1
#define IN_PORT 1
#define OUT_PORT 2
#define ZONE 7
#define EST (CS_TRACKED | CS_ESTABLISHED)

static struct mf_mirror mirror;
static unsigned int next_ufid;

static void
setup(void)
{
    mf_mirror_init(&mirror);
    next_ufid = 0;
}

static void
teardown(void)
{
    mf_mirror_destroy(&mirror);
}

/* NIC port numbers are datapath port numbers plus 100; port 9 is no NIC's. */
static nic_port_id
resolve(odp_port_t port, void *aux OVS_UNUSED)
{
    return odp_to_u32(port) == 9 ? NIC_PORT_NONE : odp_to_u32(port) + 100;
}

static struct megaflow *
add_megaflow(const struct match *match, const struct megaflow_program *program)
{
    ovs_u128 ufid = { .u32 = { ++next_ufid } };
    bool added;

    return mf_mirror_put(&mirror, DP, &ufid, match, program, &added);
}

/* A match that every megaflow of the userspace datapath has. */
static void
basic_match(struct match *match, uint32_t recirc_id)
{
    match_init_catchall(match);
    match->flow.in_port.odp_port = u32_to_odp(IN_PORT);
    memset(&match->wc.masks.in_port, 0xff, sizeof match->wc.masks.in_port);
    match_set_recirc_id(match, recirc_id);
    match_set_packet_type(match, htonl(PT_ETH));
    match_set_dl_type(match, htons(ETH_TYPE_IP));
    match_set_nw_frag(match, 0);
}

static const struct megaflow_program to_ct = {
    .end = MEGAFLOW_CT, .zone = ZONE, .recirc_id = 5,
};
static const struct megaflow_program to_port = {
    .end = MEGAFLOW_OUTPUT, .out_port = ODP_PORT_C(OUT_PORT),
};
static const struct megaflow_program to_nowhere = { .end = MEGAFLOW_DROP };

static const struct nic_tuple tuple = {
    .src.ipv4 = CONSTANT_HTONL(0x0a010101),
    .dst.ipv4 = CONSTANT_HTONL(0x0a010102),
    .tp_src = CONSTANT_HTONS(1000),
    .tp_dst = CONSTANT_HTONS(80),
};
static const struct ct_ingress ingress = {
    .in_port = ODP_PORT_C(IN_PORT),
    .dl_src = ETH_ADDR_C(50,54,00,00,00,01),
    .dl_dst = ETH_ADDR_C(50,54,00,00,00,02),
};
static const struct path_subject subject = {
    .dp = DP,
    .dl_type = CONSTANT_HTONS(ETH_TYPE_IP),
    .nw_proto = IPPROTO_TCP,
    .zone = ZONE,
    .tuple = &tuple,
    .ingress = &ingress,
};

static void
compose(struct path_set *set)
{
    path_compose(&mirror, &subject, set);
}

static struct nic_template *
compile(const struct path_chain *chain)
{
    const struct megaflow *culprit;
    enum offload_reason reason;
    struct nic_template *template;

    template = path_compile_flat(chain, subject.dl_type, subject.nw_proto,
                                 resolve, NULL, &reason, &culprit);
    ck_assert_msg(template != NULL, "%s", offload_reason_name(reason));
    return template;
}

START_TEST(test_simple)
{
    struct nic_template *template;
    struct path_set set;
    struct match match;

    basic_match(&match, 0);
    add_megaflow(&match, &to_ct);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 0);
    ck_assert_int_eq(set.reason, REASON_NO_MEGAFLOW);
    ck_assert_int_eq(set.n_waits, 1);
    ck_assert_int_eq(set.waits[0]->recirc_id, 5);

    basic_match(&match, 5);
    match_set_ct_state_masked(&match, EST, EST);
    add_megaflow(&match, &to_port);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 1);
    ck_assert_int_eq(set.chains[0].n, 2);
    ck_assert_int_eq(set.n_waits, 0);

    template = compile(&set.chains[0]);
    ck_assert_int_eq(template->in_port, IN_PORT + 100);
    ck_assert_int_eq(template->actions[0].type, NIC_ACTION_OUTPUT);
    ck_assert_int_eq(template->actions[0].port, OUT_PORT + 100);
    /* FIN, SYN and RST go to software, and so do fragments. */
    ck_assert_int_eq(ntohs(template->match.wc.masks.tcp_flags)
                     & (TCP_FIN | TCP_SYN | TCP_RST),
                     TCP_FIN | TCP_SYN | TCP_RST);
    ck_assert_int_eq(ntohs(template->match.flow.tcp_flags)
                     & (TCP_FIN | TCP_SYN | TCP_RST), 0);
    ck_assert_int_ne(template->match.wc.masks.nw_frag, 0);
    ck_assert_int_eq(template->match.wc.masks.tp_src, OVS_BE16_MAX);
    nic_template_unref(template);
}
END_TEST

/* The rule has the union of the masks, and zero values count. */
START_TEST(test_union_of_masks)
{
    struct nic_template *template;
    struct path_set set;
    struct match match;

    basic_match(&match, 0);
    match_set_nw_src_masked(&match, htonl(0x0a010100), htonl(0xffffff00));
    match_set_nw_dscp(&match, 0);
    add_megaflow(&match, &to_ct);
    basic_match(&match, 5);
    match_set_ct_state_masked(&match, EST, EST);
    match_set_nw_ttl(&match, 64);
    match_set_nw_ecn(&match, 0);
    match_set_tcp_flags_masked(&match, htons(0), htons(TCP_URG));
    add_megaflow(&match, &to_port);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 1);
    template = compile(&set.chains[0]);
    ck_assert_int_eq(template->match.wc.masks.nw_tos, 0xff);
    ck_assert_int_eq(template->match.flow.nw_tos, 0);
    ck_assert_int_eq(template->match.wc.masks.nw_ttl, 0xff);
    ck_assert_int_eq(template->match.flow.nw_ttl, 64);
    ck_assert(template->match.wc.masks.tcp_flags & htons(TCP_URG));
    ck_assert_int_eq(template->match.wc.masks.nw_src, OVS_BE32_MAX);
    nic_template_unref(template);
}
END_TEST

/* Megaflows that contradict each other are no path. */
START_TEST(test_contradiction)
{
    struct path_set set;
    struct match match;

    basic_match(&match, 0);
    match_set_nw_ttl(&match, 64);
    add_megaflow(&match, &to_ct);
    basic_match(&match, 5);
    match_set_ct_state_masked(&match, EST, EST);
    match_set_nw_ttl(&match, 63);
    add_megaflow(&match, &to_port);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 0);
    ck_assert_int_eq(set.reason, REASON_NO_MEGAFLOW);
    ck_assert_int_eq(set.n_waits, 2);
}
END_TEST

/* Every megaflow that some packets of the connection may hit has its path. */
START_TEST(test_two_paths)
{
    struct path_set set;
    struct match match;

    basic_match(&match, 0);
    add_megaflow(&match, &to_ct);
    basic_match(&match, 5);
    match_set_ct_state_masked(&match, EST, EST);
    match_set_nw_ecn(&match, 0);
    add_megaflow(&match, &to_port);
    basic_match(&match, 5);
    match_set_ct_state_masked(&match, EST, EST);
    match_set_nw_ecn(&match, 3);
    add_megaflow(&match, &to_nowhere);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 2);
    ck_assert_int_eq(set.n_waits, 1);
}
END_TEST

START_TEST(test_refusals)
{
    static const struct megaflow_program other_zone = {
        .end = MEGAFLOW_CT, .zone = ZONE + 1, .recirc_id = 5,
    };
    static const struct megaflow_program foreign = {
        .end = MEGAFLOW_OUTPUT, .out_port = ODP_PORT_C(9),
    };
    static const struct megaflow_program refused = {
        .end = MEGAFLOW_REFUSED, .reason = REASON_NAT,
    };
    const struct megaflow *culprit;
    enum offload_reason reason;
    struct megaflow *flow;
    struct path_set set;
    struct match match;

    /* ct() in another zone. */
    basic_match(&match, 0);
    flow = add_megaflow(&match, &other_zone);
    compose(&set);
    ck_assert_int_eq(set.reason, REASON_OTHER_ZONE);
    ck_assert_ptr_eq(set.culprit, flow);
    mf_mirror_remove(&mirror, flow, 0);

    /* No ct() at all. */
    flow = add_megaflow(&match, &to_port);
    compose(&set);
    ck_assert_int_eq(set.reason, REASON_NO_CT);
    mf_mirror_remove(&mirror, flow, 0);

    /* Actions. */
    flow = add_megaflow(&match, &refused);
    compose(&set);
    ck_assert_int_eq(set.reason, REASON_NAT);
    mf_mirror_remove(&mirror, flow, 0);

    /* A field that no rule can match. */
    match_set_dp_hash(&match, 0);
    flow = add_megaflow(&match, &to_ct);
    compose(&set);
    ck_assert_int_eq(set.reason, REASON_MATCH);
    mf_mirror_remove(&mirror, flow, 0);

    /* ct_mark, although it is zero. */
    basic_match(&match, 0);
    add_megaflow(&match, &to_ct);
    basic_match(&match, 5);
    match_set_ct_mark(&match, 0);
    flow = add_megaflow(&match, &to_port);
    compose(&set);
    ck_assert_int_eq(set.reason, REASON_CT_MARK);
    mf_mirror_remove(&mirror, flow, 0);

    /* Output to a port that is not the NIC's. */
    basic_match(&match, 5);
    flow = add_megaflow(&match, &foreign);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 1);
    ck_assert_ptr_eq(path_compile_flat(&set.chains[0], subject.dl_type,
                                       subject.nw_proto, resolve, NULL,
                                       &reason, &culprit), NULL);
    ck_assert_int_eq(reason, REASON_OUTPUT_PORT);
    ck_assert_ptr_eq(path_compile_module(flow, resolve, NULL, &reason), NULL);
    ck_assert_int_eq(reason, REASON_OUTPUT_PORT);
    mf_mirror_remove(&mirror, flow, 0);

    /* Recirculation without end. */
    basic_match(&match, 5);
    flow = add_megaflow(&match, &to_ct);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 0);
    ck_assert_int_eq(set.reason, REASON_OTHER_ZONE);
}
END_TEST

static void
parse(void (*put)(struct ofpbuf *), struct megaflow_program *program)
{
    uint64_t stub[512 / 8];
    struct ofpbuf buf;

    ofpbuf_use_stub(&buf, stub, sizeof stub);
    put(&buf);
    megaflow_program_parse(buf.data, buf.size, program);
    ofpbuf_uninit(&buf);
}

static void
put_ct(struct ofpbuf *buf, int attr)
{
    size_t ofs = nl_msg_start_nested(buf, OVS_ACTION_ATTR_CT);

    nl_msg_put_u16(buf, OVS_CT_ATTR_ZONE, 3);
    if (attr == OVS_CT_ATTR_NAT) {
        nl_msg_end_nested(buf, nl_msg_start_nested(buf, attr));
    } else if (attr) {
        nl_msg_put_flag(buf, attr);
    }
    nl_msg_end_nested(buf, ofs);
}

#define PROGRAM(NAME, ...)                                              \
    static void NAME(struct ofpbuf *buf) { __VA_ARGS__ }
PROGRAM(put_nothing, (void) buf;)
PROGRAM(put_output, nl_msg_put_u32(buf, OVS_ACTION_ATTR_OUTPUT, 4);)
PROGRAM(put_two_outputs, put_output(buf); put_output(buf);)
PROGRAM(put_ct_recirc, put_ct(buf, OVS_CT_ATTR_COMMIT);
        nl_msg_put_u32(buf, OVS_ACTION_ATTR_RECIRC, 8);)
PROGRAM(put_nat, put_ct(buf, OVS_CT_ATTR_NAT);
        nl_msg_put_u32(buf, OVS_ACTION_ATTR_RECIRC, 8);)
PROGRAM(put_force, put_ct(buf, OVS_CT_ATTR_FORCE_COMMIT);
        nl_msg_put_u32(buf, OVS_ACTION_ATTR_RECIRC, 8);)
PROGRAM(put_ct_output, put_ct(buf, 0); put_output(buf);)
PROGRAM(put_ct_alone, put_ct(buf, 0);)
PROGRAM(put_recirc, nl_msg_put_u32(buf, OVS_ACTION_ATTR_RECIRC, 8);)
PROGRAM(put_output_ct, put_output(buf); put_ct_recirc(buf);)
PROGRAM(put_drop, nl_msg_put_u32(buf, OVS_ACTION_ATTR_DROP, 0);)
PROGRAM(put_output_drop, put_output(buf); put_drop(buf);)
PROGRAM(put_lb_output, nl_msg_put_u32(buf, OVS_ACTION_ATTR_LB_OUTPUT, 1);)

START_TEST(test_programs)
{
    static const struct {
        void (*put)(struct ofpbuf *);
        enum megaflow_end end;
        enum offload_reason reason;
    } cases[] = {
        { put_nothing, MEGAFLOW_DROP, REASON_NONE },
        { put_output, MEGAFLOW_OUTPUT, REASON_NONE },
        { put_two_outputs, MEGAFLOW_REFUSED, REASON_MULTIPLE_OUTPUTS },
        { put_ct_recirc, MEGAFLOW_CT, REASON_NONE },
        { put_nat, MEGAFLOW_REFUSED, REASON_NAT },
        { put_force, MEGAFLOW_REFUSED, REASON_CT_OPTION },
        { put_ct_output, MEGAFLOW_REFUSED, REASON_ACTION },
        { put_ct_alone, MEGAFLOW_REFUSED, REASON_CT_OPTION },
        { put_recirc, MEGAFLOW_REFUSED, REASON_ACTION },
        { put_output_ct, MEGAFLOW_REFUSED, REASON_ACTION },
        { put_drop, MEGAFLOW_DROP, REASON_NONE },
        { put_output_drop, MEGAFLOW_REFUSED, REASON_ACTION },
        { put_lb_output, MEGAFLOW_REFUSED, REASON_BOND },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct megaflow_program program;

        parse(cases[i].put, &program);
        ck_assert_int_eq(program.end, cases[i].end);
        ck_assert_int_eq(program.reason, cases[i].reason);
        if (program.end == MEGAFLOW_CT) {
            ck_assert_int_eq(program.zone, 3);
            ck_assert_int_eq(program.recirc_id, 8);
        } else if (program.end == MEGAFLOW_OUTPUT) {
            ck_assert_int_eq(odp_to_u32(program.out_port), 4);
        }
    }
}
END_TEST

/* Statistics of copies, and counts that come late. */
START_TEST(test_statistics)
{
    struct dpif_flow_stats stats;
    struct megaflow *a, *b;
    struct match match;
    int copy1, copy2, copy3;

    basic_match(&match, 0);
    match_set_nw_ttl(&match, 64);
    a = add_megaflow(&match, &to_ct);
    megaflow_credit(a, 10, 1000, 5);

    /* Two copies: each packet is told to one of them. */
    megaflow_claim(a, 0, &copy1, true, 1000, &stats);
    ck_assert_int_eq(stats.n_packets, 10);
    ck_assert_int_eq(stats.used, 5);
    megaflow_claim(a, 1, &copy2, true, 1000, &stats);
    ck_assert_int_eq(stats.n_packets, 0);
    megaflow_credit(a, 5, 500, 7);
    megaflow_claim(a, 1, &copy2, false, 2000, &stats);
    ck_assert_int_eq(stats.n_packets, 5);
    megaflow_claim(a, 0, &copy1, false, 2000, &stats);
    ck_assert_int_eq(stats.n_packets, 10);
    ck_assert_int_eq(stats.n_bytes, 1000);

    /* Another copy of the same PMD takes nothing back. */
    megaflow_claim(a, 0, &copy3, true, 2000, &stats);
    ck_assert_int_eq(stats.n_packets, 0);
    megaflow_claim(a, 0, &copy1, false, 2500, &stats);
    ck_assert_int_eq(stats.n_packets, 10);

    /* The PMD's copy was deleted and made again. */
    megaflow_credit(a, 1, 100, 8);
    megaflow_claim(a, 0, &copy1, true, 3000, &stats);
    ck_assert_int_eq(stats.n_packets, 1);

    /* Removed: what is left, and what comes late, goes to the successor. */
    megaflow_credit(a, 2, 200, 9);
    mf_mirror_remove(&mirror, a, 4000);
    megaflow_credit(a, 3, 300, 10);
    match_set_nw_ttl(&match, 63);
    add_megaflow(&match, &to_ct);
    basic_match(&match, 0);
    match_set_nw_proto(&match, IPPROTO_TCP);
    b = add_megaflow(&match, &to_ct);
    megaflow_claim(b, 0, &copy1, true, 5000, &stats);
    ck_assert_int_eq(stats.n_packets, 5);
    megaflow_credit(a, 4, 400, 11);
    megaflow_claim(b, 0, &copy1, false, 5000, &stats);
    ck_assert_int_eq(stats.n_packets, 9);
    ck_assert_int_eq(stats.n_bytes, 900);

    /* Without a successor they become visible as unattributed. */
    mf_mirror_remove(&mirror, b, 5000);
    megaflow_credit(a, 1, 100, 12);
    mf_mirror_expire(&mirror, 5000 + MEGAFLOW_GRACE_MS - 1);
    ck_assert_int_eq(mirror.unattributed_packets, 0);
    mf_mirror_expire(&mirror, 5000 + MEGAFLOW_GRACE_MS);
    mf_mirror_expire(&mirror, 5000 + MEGAFLOW_GRACE_MS);
    ck_assert_int_eq(mirror.unattributed_packets, 1);
    ck_assert_int_eq(mirror.unattributed_bytes, 100);
}
END_TEST

/* A change with another mask, which OVS's ufid does not cover: the narrower one
 * holds, and what was counted stays. */
START_TEST(test_change)
{
    ovs_u128 ufid = { .u32 = { 77 } };
    struct dpif_flow_stats stats;
    struct megaflow *flow;
    struct match match;
    bool added;
    int copy;

    basic_match(&match, 0);
    match.wc.masks.vlans[0].tci = htons(VLAN_VID_MASK | VLAN_CFI);
    flow = mf_mirror_put(&mirror, DP, &ufid, &match, &to_ct, &added);
    ck_assert(added);
    megaflow_credit(flow, 3, 300, 1);
    megaflow_claim(flow, 0, &copy, true, 1000, &stats);

    match.wc.masks.vlans[0].tci = OVS_BE16_MAX;
    ck_assert_ptr_eq(mf_mirror_put(&mirror, DP, &ufid, &match, &to_port,
                                   &added), flow);
    ck_assert(!added);
    ck_assert_int_eq(flow->program.end, MEGAFLOW_OUTPUT);
    minimatch_expand(&flow->match, &match);
    ck_assert_int_eq(match.wc.masks.vlans[0].tci, OVS_BE16_MAX);
    ck_assert_ptr_eq(mf_mirror_find(&mirror, DP, &ufid), flow);

    megaflow_credit(flow, 1, 100, 1);
    megaflow_claim(flow, 0, &copy, false, 2000, &stats);
    ck_assert_int_eq(stats.n_packets, 4);

    /* A wider one changes nothing. */
    match.wc.masks.vlans[0].tci = 0;
    mf_mirror_put(&mirror, DP, &ufid, &match, &to_ct, &added);
    minimatch_expand(&flow->match, &match);
    ck_assert_int_eq(match.wc.masks.vlans[0].tci, OVS_BE16_MAX);
}
END_TEST

/* Random pipelines. */

/* Adds to 'match' conditions at random, such that some packet of the
 * connection may meet them, mostly. */
static void
random_conditions(struct match *match)
{
    if (!random_range(4)) {
        match_set_nw_ttl(match, 62 + random_range(3));
    }
    if (!random_range(3)) {
        match_set_nw_dscp(match, random_range(2) << 2);
    }
    if (!random_range(3)) {
        match_set_nw_ecn(match, random_range(4));
    }
    if (!random_range(4)) {
        match_set_dl_src(match, (random_range(4) ? ingress.dl_src
                                 : ingress.dl_dst));
    }
    if (!random_range(4)) {
        match_set_dl_dst(match, ingress.dl_dst);
    }
    if (!random_range(4)) {
        ovs_be32 mask = be32_prefix_mask(random_range(33));

        match_set_nw_src_masked(match, tuple.src.ipv4 & mask, mask);
    }
    if (!random_range(4)) {
        match_set_nw_proto(match, IPPROTO_TCP);
        if (random_range(2)) {
            match_set_tp_dst(match, htons(80 + !random_range(5)));
        }
        if (!random_range(3)) {
            uint16_t mask = 1 << random_range(9);

            match_set_tcp_flags_masked(match, htons(random_uint16() & mask),
                                       htons(mask));
        }
    }
    if (!random_range(3)) {
        match->flow.vlans[0].tci = htons(random_range(2) ? 0 : 0x1005);
        match->wc.masks.vlans[0].tci = htons(0x1fff);
    }
}

static bool
overlaps_any(const struct megaflow *flow)
{
    const struct mf_subtable *table;

    LIST_FOR_EACH (table, node, &flow->slot->subtables) {
        struct megaflow *other;

        HMAP_FOR_EACH (other, table_node, &table->flows) {
            struct match a, b;
            bool differ = false;

            if (other == flow) {
                continue;
            }
            minimatch_expand(&flow->match, &a);
            minimatch_expand(&other->match, &b);
            for (size_t i = 0; i < FLOW_U64S; i++) {
                differ |= ((flow_u64_value(&a.flow, i)
                            ^ flow_u64_value(&b.flow, i))
                           & flow_u64_value(&a.wc.masks, i)
                           & flow_u64_value(&b.wc.masks, i)) != 0;
            }
            if (!differ) {
                return true;
            }
        }
    }
    return false;
}

/* Adds 'n' megaflows that do not overlap. */
static void
random_slot(uint32_t recirc_id, int n)
{
    for (int i = 0; i < n; i++) {
        struct megaflow_program program;
        struct megaflow *flow;
        struct match match;

        basic_match(&match, recirc_id);
        random_conditions(&match);
        if (recirc_id) {
            match_set_ct_state_masked(&match, EST, EST);
            program = random_range(4) ? to_port : to_nowhere;
        } else {
            program = random_range(8) ? to_ct : to_port;
        }
        flow = add_megaflow(&match, &program);
        if (overlaps_any(flow)) {
            mf_mirror_remove(&mirror, flow, 0);
        }
    }
}

/* A packet of the connection, fields that may vary at random. */
static void
random_packet(struct flow *flow)
{
    memset(flow, 0, sizeof *flow);
    flow->in_port.odp_port = u32_to_odp(IN_PORT);
    flow->packet_type = htonl(PT_ETH);
    flow->dl_src = ingress.dl_src;
    flow->dl_dst = ingress.dl_dst;
    flow->dl_type = htons(ETH_TYPE_IP);
    flow->nw_src = tuple.src.ipv4;
    flow->nw_dst = tuple.dst.ipv4;
    flow->nw_proto = IPPROTO_TCP;
    flow->tp_src = tuple.tp_src;
    flow->tp_dst = tuple.tp_dst;
    flow->nw_tos = random_range(8);
    flow->nw_ttl = 62 + random_range(3);
    flow->tcp_flags = htons(random_range(512));
    flow->vlans[0].tci = htons(random_range(3) ? 0 : 0x1005);
    flow->nw_frag = random_range(8) ? 0 : FLOW_NW_FRAG_ANY;

    /* Sometimes not of this connection at all. */
    switch (random_range(12)) {
    case 0:
        flow->nw_src = htonl(random_uint32());
        break;
    case 1:
        flow->tp_src = htons(random_uint16());
        break;
    case 2:
        flow->dl_src = ingress.dl_dst;
        break;
    case 3:
        flow->nw_proto = IPPROTO_UDP;
        flow->tcp_flags = 0;
        break;
    }
}

struct hit {
    const struct flow *flow;
    struct megaflow *megaflow;
};

static bool
check_hit(struct megaflow *megaflow, void *hit_)
{
    struct hit *hit = hit_;

    ck_assert_ptr_eq(hit->megaflow, NULL);
    hit->megaflow = megaflow;
    return true;
}

/* The megaflow that a packet hits: everything of it is known. */
static struct megaflow *
lookup(const struct flow *flow, uint32_t recirc_id)
{
    struct flow_probe probe;
    struct hit hit = { .megaflow = NULL };

    probe.flow = *flow;
    probe.flow.recirc_id = recirc_id;
    memset(&probe.known, 0xff, sizeof probe.known);
    mf_mirror_lookup(mf_mirror_get_slot(&mirror, DP, u32_to_odp(IN_PORT),
                                        recirc_id),
                     &probe, check_hit, &hit);
    return hit.megaflow;
}

/* Follows a packet of the established connection.  Returns the last megaflow,
 * null if it needs the software. */
static struct megaflow *
follow(const struct flow *packet)
{
    struct flow flow = *packet;
    struct megaflow *megaflow = lookup(&flow, 0);

    if (!megaflow || megaflow->program.end != MEGAFLOW_CT) {
        return NULL;
    }
    flow.ct_state = EST;
    flow.ct_zone = ZONE;
    return lookup(&flow, megaflow->program.recirc_id);
}

static bool
is_of_connection(const struct flow *flow)
{
    return (flow->nw_src == tuple.src.ipv4 && flow->nw_dst == tuple.dst.ipv4
            && flow->nw_proto == IPPROTO_TCP && flow->tp_src == tuple.tp_src
            && flow->tp_dst == tuple.tp_dst && !flow->nw_frag
            && (ntohs(flow->tcp_flags) & PATH_TCP_FLAGS_MASK)
            == PATH_TCP_FLAGS);
}

START_TEST(test_random)
{
    int n_carried = 0;

    random_set_seed(_i + 1);
    for (int round = 0; round < 60; round++) {
        static const struct nic_values *values;
        struct nic_values v = { .tuple = tuple };
        struct match rules[PATH_MAX_CHAINS];
        const struct megaflow *last[PATH_MAX_CHAINS];
        struct path_set set;

        values = &v;
        setup();
        random_slot(0, 6);
        random_slot(5, 8);
        compose(&set);
        for (size_t i = 0; i < set.n_chains; i++) {
            struct nic_template *template = compile(&set.chains[i]);

            nic_rule_to_match(template, values, &rules[i]);
            last[i] = set.chains[i].flows[set.chains[i].n - 1];
            nic_template_unref(template);
        }

        for (int j = 0; j < 400; j++) {
            const struct megaflow *hit = NULL;
            struct flow packet;

            random_packet(&packet);
            for (size_t i = 0; i < set.n_chains; i++) {
                if (flow_equal_except(&packet, &rules[i].flow,
                                      &rules[i].wc)) {
                    /* Paths exclude each other. */
                    ck_assert_ptr_eq(hit, NULL);
                    hit = last[i];
                }
            }
            if (hit) {
                /* What a rule carries goes where the software sends it. */
                ck_assert(is_of_connection(&packet));
                ck_assert_ptr_eq(hit, follow(&packet));
                n_carried++;
            } else if (is_of_connection(&packet)
                       && eth_addr_equals(packet.dl_src, ingress.dl_src)
                       && set.n_chains < PATH_MAX_CHAINS
                       && set.reason != REASON_TOO_DEEP) {
                /* What could be carried is. */
                ck_assert_ptr_eq(follow(&packet), NULL);
            }
        }
        teardown();
    }
    ck_assert_int_gt(n_carried, 100);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("path");
    TCase *tcase = tcase_create("fixed");
    TCase *random = tcase_create("random");
    SRunner *runner;
    int n_failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_simple);
    tcase_add_test(tcase, test_union_of_masks);
    tcase_add_test(tcase, test_contradiction);
    tcase_add_test(tcase, test_two_paths);
    tcase_add_test(tcase, test_refusals);
    tcase_add_test(tcase, test_programs);
    tcase_add_test(tcase, test_statistics);
    tcase_add_test(tcase, test_change);
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(random, test_random, 0, 20);
    suite_add_tcase(suite, random);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
