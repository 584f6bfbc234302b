/* SPDX-License-Identifier: Apache-2.0 */

/* Path composition: a rule must carry a packet only where the megaflows that
 * it was made of would send it.  One case for each rule of path.h, above all
 * for what others got wrong; test-path-random.c has pipelines at random. */

#include <config.h>

#include <check.h>
#include <stdlib.h>

#include "datapath-offload/path.h"
#include "dpif.h"
#include "ovs-rcu.h"
#include "path-test.h"
#include "unit-test.h"
#include "util.h"

#define DP 1
#define IN_PORT 1
#define OUT_PORT 2
#define ZONE 7
#define EST (CS_TRACKED | CS_ESTABLISHED)

static struct mf_mirror mirror;
static unsigned int next_ufid;

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

static const struct path_resolver resolver = { .port = resolve };

/* Datapath actions of a megaflow. */
typedef void put_func(struct ofpbuf *);

static void
parse(put_func *put, struct megaflow_program *program)
{
    uint64_t stub[1024 / 8];
    struct ofpbuf buf;

    ofpbuf_use_stub(&buf, stub, sizeof stub);
    put(&buf);
    megaflow_program_parse(buf.data, buf.size, program);
    ofpbuf_uninit(&buf);
}

static struct megaflow *
add_megaflow(const struct match *match, put_func *put)
{
    ovs_u128 ufid = { .u32 = { ++next_ufid } };
    struct megaflow_program program;
    bool added;

    parse(put, &program);
    return mf_mirror_put(&mirror, DP, &ufid, NULL, match, &program, &added);
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

#define CT(BUF, ...) \
    put_ct(BUF, &(const struct ct_options) { .zone = ZONE, __VA_ARGS__ })
#define ACTIONS(NAME, ...)                                              \
    static void NAME(struct ofpbuf *b OVS_UNUSED) { __VA_ARGS__ }
ACTIONS(to_ct, CT(b); put_recirc(b, 5);)
ACTIONS(to_port, put_output(b, OUT_PORT);)
ACTIONS(to_nowhere, )

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

/* The connections that ct() finds: in ZONE, and in ZONE + 1 if
 * 'has_member'. */
static struct path_conn conn;
static bool has_member;
static struct path_conn member;
static struct nic_tuple member_tuple;

static enum offload_reason
find_conn(uint16_t zone, const struct nic_tuple *t, struct path_conn *found,
          void *aux OVS_UNUSED)
{
    if (zone == ZONE && !memcmp(t, &tuple, sizeof *t)) {
        *found = conn;
        return REASON_NONE;
    }
    if (has_member && zone == ZONE + 1
        && !memcmp(t, &member_tuple, sizeof *t)) {
        *found = member;
        return REASON_NONE;
    }
    return REASON_OTHER_ZONE;
}

static struct path_subject subject = {
    .dp = DP,
    .dl_type = CONSTANT_HTONS(ETH_TYPE_IP),
    .nw_proto = IPPROTO_TCP,
    .zone = ZONE,
    .conn = &conn,
    .tuple = &tuple,
    .ingress = &ingress,
    .find_conn = find_conn,
};

static void
setup(void)
{
    mf_mirror_init(&mirror);
    next_ufid = 0;
    memset(&conn, 0, sizeof conn);
    conn.conn = &conn;
    conn.orig = tuple;
    memset(&member, 0, sizeof member);
    member.conn = &member;
    member.orig = member_tuple = tuple;
    has_member = false;
    flow_limit_vlans(FLOW_MAX_VLAN_HEADERS);
}

static void
compose(struct path_set *set)
{
    path_compose(&mirror, &subject, set);
}

static struct nic_template *
try_compile(const struct path_chain *chain, enum offload_reason *reason)
{
    int byte_deltas[PATH_MAX_STAGES];
    const struct megaflow *culprit;

    return path_compile_flat(chain, subject.dl_type, subject.nw_proto,
                             &resolver, byte_deltas, reason, &culprit);
}

static struct nic_template *
compile(const struct path_chain *chain)
{
    struct nic_template *template;
    enum offload_reason reason;

    template = try_compile(chain, &reason);
    ck_assert_msg(template != NULL, "%s", offload_reason_name(reason));
    return template;
}

/* Composes the only path and compiles it.  Stores the chain in '*chain'. */
static struct nic_template *
compose_one(struct path_chain *chain)
{
    struct path_set set;

    compose(&set);
    ck_assert_msg(set.n_chains == 1, "%s", offload_reason_name(set.reason));
    *chain = set.chains[0];
    return compile(chain);
}

/* Composes and expects no path, for 'reason'. */
static void
compose_none(enum offload_reason reason)
{
    struct path_set set;

    compose(&set);
    ck_assert_int_eq(set.n_chains, 0);
    ck_assert_str_eq(offload_reason_name(set.reason),
                     offload_reason_name(reason));
}

START_TEST(test_simple)
{
    struct nic_template *template;
    struct path_set set;
    struct match match;

    basic_match(&match, 0);
    match.wc.masks.nw_frag = 0;
    add_megaflow(&match, to_ct);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 0);
    ck_assert_int_eq(set.reason, REASON_NO_MEGAFLOW);
    ck_assert_int_eq(set.n_waits, 1);
    ck_assert_int_eq(set.waits[0]->recirc_id, 5);

    basic_match(&match, 5);
    match.wc.masks.nw_frag = 0;
    match_set_ct_state_masked(&match, EST, EST);
    add_megaflow(&match, to_port);
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
    add_megaflow(&match, to_ct);
    basic_match(&match, 5);
    match_set_ct_state_masked(&match, EST, EST);
    match_set_nw_ttl(&match, 64);
    match_set_nw_ecn(&match, 0);
    match_set_tcp_flags_masked(&match, htons(0), htons(TCP_URG));
    add_megaflow(&match, to_port);
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
    add_megaflow(&match, to_ct);
    basic_match(&match, 5);
    match_set_ct_state_masked(&match, EST, EST);
    match_set_nw_ttl(&match, 63);
    add_megaflow(&match, to_port);
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
    add_megaflow(&match, to_ct);
    basic_match(&match, 5);
    match_set_ct_state_masked(&match, EST, EST);
    match_set_nw_ecn(&match, 0);
    add_megaflow(&match, to_port);
    basic_match(&match, 5);
    match_set_ct_state_masked(&match, EST, EST);
    match_set_nw_ecn(&match, 3);
    add_megaflow(&match, to_nowhere);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 2);
    ck_assert_int_eq(set.n_waits, 1);
}
END_TEST

ACTIONS(other_zone, put_ct(b, &(const struct ct_options) { .zone = ZONE + 1 });
        put_recirc(b, 5);)
ACTIONS(same_zone_6, CT(b); put_recirc(b, 6);)
ACTIONS(to_foreign, put_output(b, 9);)
ACTIONS(to_bond, nl_msg_put_u32(b, OVS_ACTION_ATTR_LB_OUTPUT, 1);)
ACTIONS(to_controller,
        nl_msg_end_nested(b, nl_msg_start_nested(b,
                                                 OVS_ACTION_ATTR_USERSPACE));)

START_TEST(test_refusals)
{
    struct nic_template *template;
    enum offload_reason reason;
    struct megaflow *flow;
    struct path_set set;
    struct match match;

    /* ct() in another zone first: there is nothing, or it is the leader. */
    basic_match(&match, 0);
    flow = add_megaflow(&match, other_zone);
    compose(&set);
    ck_assert_int_eq(set.reason, REASON_OTHER_ZONE);
    ck_assert_ptr_eq(set.culprit, flow);
    ck_assert(set.missing);
    ck_assert_int_eq(set.missing_zone, ZONE + 1);
    ck_assert_mem_eq(&set.missing_tuple, &tuple, sizeof tuple);
    has_member = true;
    compose_none(REASON_FOLLOWER);
    mf_mirror_remove(&mirror, flow, 0);

    /* No ct() at all. */
    flow = add_megaflow(&match, to_port);
    compose_none(REASON_NO_CT);
    mf_mirror_remove(&mirror, flow, 0);

    /* Actions. */
    flow = add_megaflow(&match, to_controller);
    compose_none(REASON_ACTION);
    mf_mirror_remove(&mirror, flow, 0);

    /* A field that no rule can match. */
    match_set_dp_hash(&match, 0);
    flow = add_megaflow(&match, to_ct);
    compose_none(REASON_MATCH);
    ck_assert_ptr_eq(path_compile_module(flow, &resolver, &reason), NULL);
    ck_assert_int_eq(reason, REASON_MATCH);
    mf_mirror_remove(&mirror, flow, 0);

    /* Output to a port that is not the NIC's, and to a bond. */
    basic_match(&match, 0);
    add_megaflow(&match, to_ct);
    basic_match(&match, 5);
    flow = add_megaflow(&match, to_foreign);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 1);
    ck_assert_ptr_eq(try_compile(&set.chains[0], &reason), NULL);
    ck_assert_int_eq(reason, REASON_OUTPUT_PORT);
    ck_assert_ptr_eq(path_compile_module(flow, &resolver, &reason), NULL);
    ck_assert_int_eq(reason, REASON_OUTPUT_PORT);
    mf_mirror_remove(&mirror, flow, 0);
    flow = add_megaflow(&match, to_bond);
    compose(&set);
    ck_assert_ptr_eq(try_compile(&set.chains[0], &reason), NULL);
    ck_assert_int_eq(reason, REASON_BOND);
    ck_assert_ptr_eq(path_compile_module(flow, &resolver, &reason), NULL);
    ck_assert_int_eq(reason, REASON_BOND);
    mf_mirror_remove(&mirror, flow, 0);

    /* The same zone again is fine; without end it is not. */
    flow = add_megaflow(&match, same_zone_6);
    basic_match(&match, 6);
    add_megaflow(&match, to_port);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 1);
    ck_assert_int_eq(set.chains[0].n_cts, 2);
    template = compile(&set.chains[0]);
    nic_template_unref(template);
    mf_mirror_remove(&mirror, flow, 0);
    basic_match(&match, 5);
    add_megaflow(&match, to_ct);
    compose_none(REASON_TOO_DEEP);
}
END_TEST

/* ct() shows mark, label and original tuple: all bits, zeros too. */
START_TEST(test_ct_fields)
{
    ovs_u128 label = { .u64 = { .lo = 5, .hi = 1ULL << 63 } };
    ovs_u128 mask = { .u64 = { .lo = 4, .hi = 1ULL << 63 } };
    struct nic_template *template;
    enum offload_reason reason;
    struct path_chain chain;
    struct megaflow *flow;
    struct match match;

    conn.mark = 0x12;
    conn.label = label;
    basic_match(&match, 0);
    add_megaflow(&match, to_ct);

    basic_match(&match, 5);
    match_set_ct_mark_masked(&match, 0x10, 0x11);
    match_set_ct_label_masked(&match, label, mask);
    match_set_ct_nw_src(&match, tuple.src.ipv4);
    match_set_ct_tp_dst(&match, tuple.tp_dst);
    match_set_ct_nw_proto(&match, IPPROTO_TCP);
    flow = add_megaflow(&match, to_port);
    nic_template_unref(compose_one(&chain));
    ck_assert_ptr_eq(chain.cts[0].conn, &conn);

    /* A CT module matches all of it. */
    template = path_compile_module(flow, &resolver, &reason);
    ck_assert_int_eq(template->table, 5);
    ck_assert_int_eq(template->match.flow.ct_mark, 0x10);
    ck_assert_int_eq(template->match.wc.masks.ct_mark, 0x11);
    ck_assert(ovs_u128_equals(template->match.wc.masks.ct_label, mask));
    ck_assert_int_eq(template->match.flow.ct_nw_src, tuple.src.ipv4);
    ck_assert_int_eq(template->match.flow.ct_tp_dst, tuple.tp_dst);
    ck_assert_int_eq(template->match.flow.ct_nw_proto, IPPROTO_TCP);
    nic_template_unref(template);
    mf_mirror_remove(&mirror, flow, 0);

    basic_match(&match, 5);
    match_set_ct_mark_masked(&match, 0, 0x10);
    flow = add_megaflow(&match, to_port);
    compose_none(REASON_NO_MEGAFLOW);
    mf_mirror_remove(&mirror, flow, 0);

    label.u64.lo = 1;
    basic_match(&match, 5);
    match_set_ct_label_masked(&match, label, mask);
    flow = add_megaflow(&match, to_port);
    compose_none(REASON_NO_MEGAFLOW);
    mf_mirror_remove(&mirror, flow, 0);

    /* Zero is a value. */
    conn.mark = 0;
    conn.label = OVS_U128_ZERO;
    basic_match(&match, 5);
    match_set_ct_mark(&match, 0);
    match_set_ct_label(&match, OVS_U128_ZERO);
    match_set_ct_state_masked(&match, EST, UINT8_MAX);
    add_megaflow(&match, to_port);
    nic_template_unref(compose_one(&chain));
    conn.mark = 1;
    compose_none(REASON_NO_MEGAFLOW);
    conn.mark = 0;
    conn.reply = true;
    compose_none(REASON_NO_MEGAFLOW);
}
END_TEST

ACTIONS(ct_mark_1, CT(b, .commit = true, .mark = 1, .mark_mask = 3);
        put_output(b, OUT_PORT);)
ACTIONS(ct_label_hi,
        CT(b, .commit = true, .label.u64.hi = 1, .label_mask.u64.hi = 1);
        put_output(b, OUT_PORT);)
ACTIONS(ct_mark_0, CT(b, .commit = true, .mark = 0, .mark_mask = 2);
        put_output(b, OUT_PORT);)
ACTIONS(ct_force, CT(b, .force = true); put_output(b, OUT_PORT);)

/* ct() that would change its connection is refused. */
START_TEST(test_ct_change)
{
    struct nic_template *template;
    enum offload_reason reason;
    struct path_chain chain;
    struct megaflow *flow;
    struct match match;

    basic_match(&match, 0);
    flow = add_megaflow(&match, ct_mark_1);
    compose_none(REASON_CT_CHANGE);
    conn.mark = 0xfd;
    nic_template_unref(compose_one(&chain));
    mf_mirror_remove(&mirror, flow, 0);

    flow = add_megaflow(&match, ct_mark_0);
    nic_template_unref(compose_one(&chain));
    conn.mark = 2;
    compose_none(REASON_CT_CHANGE);
    template = path_compile_module(flow, &resolver, &reason);
    ck_assert_int_eq(template->actions[0].type, NIC_ACTION_CT);
    ck_assert_int_eq(template->actions[0].ct.mark_mask, 2);
    ck_assert_int_eq(template->actions[0].ct.table, NIC_TABLE_NONE);
    ck_assert(!template->actions[0].ct.orig_only);
    nic_template_unref(template);
    mf_mirror_remove(&mirror, flow, 0);

    flow = add_megaflow(&match, ct_label_hi);
    compose_none(REASON_CT_CHANGE);
    conn.label.u64.hi = 3;
    nic_template_unref(compose_one(&chain));
    mf_mirror_remove(&mirror, flow, 0);

    /* 'force' throws away the connection of a reply. */
    flow = add_megaflow(&match, ct_force);
    nic_template_unref(compose_one(&chain));
    conn.reply = true;
    compose_none(REASON_CT_FORCE);
    template = path_compile_module(flow, &resolver, &reason);
    ck_assert(template->actions[0].ct.orig_only);
    nic_template_unref(template);
}
END_TEST

ACTIONS(nat_twice, CT(b, .nat = true); CT(b, .nat = true); put_recirc(b, 5);)
ACTIONS(nat_other_zone,
        put_ct(b, &(const struct ct_options) { .zone = ZONE + 1,
                                               .nat = true });
        put_recirc(b, 6);)

/* NAT: once in a zone, with its bit of ct_state, again in the next. */
START_TEST(test_nat)
{
    struct nic_template *template;
    struct path_chain chain;
    struct match match;

    conn.nat_parts = NIC_TUPLE_SRC;
    conn.nat_state = CS_SRC_NAT;
    conn.translated = tuple;
    conn.translated.src.ipv4 = htonl(0x0a020202);
    conn.translated.tp_src = htons(5000);
    has_member = true;
    member_tuple = member.translated = conn.translated;
    member.nat_parts = NIC_TUPLE_DST;
    member.nat_state = CS_DST_NAT;
    member.reply = true;
    member.translated.dst.ipv4 = htonl(0x0a030303);

    basic_match(&match, 0);
    add_megaflow(&match, nat_twice);
    basic_match(&match, 5);
    match_set_ct_state_masked(&match, EST | CS_SRC_NAT, UINT8_MAX);
    match_set_nw_src(&match, conn.translated.src.ipv4);
    match_set_ct_nw_src(&match, tuple.src.ipv4);
    add_megaflow(&match, nat_other_zone);
    basic_match(&match, 6);
    match_set_ct_state_masked(&match, EST | CS_REPLY_DIR | CS_DST_NAT,
                              UINT8_MAX);
    match_set_ct_zone(&match, ZONE + 1);
    match_set_nw_dst(&match, member.translated.dst.ipv4);
    add_megaflow(&match, to_port);

    template = compose_one(&chain);
    ck_assert_int_eq(chain.n_cts, 3);
    ck_assert_int_eq(chain.cts[0].parts, NIC_TUPLE_SRC);
    ck_assert_int_eq(chain.cts[1].parts, 0);
    ck_assert_int_eq(chain.cts[2].parts, NIC_TUPLE_DST);
    ck_assert_ptr_eq(chain.cts[2].conn, &member);
    ck_assert(chain.cts[2].reply);
    ck_assert_mem_eq(&chain.tuple, &tuple, sizeof tuple);
    ck_assert_int_eq(chain.rewrite.src.ipv4, conn.translated.src.ipv4);
    ck_assert_int_eq(chain.rewrite.tp_src, htons(5000));
    ck_assert_int_eq(chain.rewrite.dst.ipv4, member.translated.dst.ipv4);

    /* No address of this connection is in the template. */
    ck_assert_int_eq(template->slots, NIC_SLOT_TUPLE | NIC_SLOT_REWRITE);
    ck_assert_int_eq(template->match.flow.nw_src, 0);
    ck_assert_int_eq(template->n_actions, 2);
    ck_assert_int_eq(template->actions[0].type, NIC_ACTION_SET_TUPLE);
    ck_assert_int_eq(template->actions[0].parts,
                     NIC_TUPLE_SRC | NIC_TUPLE_DST);
    nic_template_unref(template);

    /* The member goes: the path waits for it. */
    has_member = false;
    compose_none(REASON_OTHER_ZONE);
}
END_TEST

static const struct eth_addr router = ETH_ADDR_C(50,54,00,00,00,99);

static void
put_route(struct ofpbuf *b)
{
    struct ovs_key_ethernet eth = { ingress.dl_src, ingress.dl_dst }, eth_mask;
    struct ovs_key_ipv4 ip = { .ipv4_ttl = 63, .ipv4_tos = 4 };
    struct ovs_key_ipv4 ip_mask = { .ipv4_ttl = 0xff, .ipv4_tos = 0xfc };

    memset(&eth_mask, 0xff, sizeof eth_mask);
    put_set_masked(b, OVS_KEY_ATTR_ETHERNET, &eth, &eth_mask, sizeof eth);
    put_set_masked(b, OVS_KEY_ATTR_IPV4, &ip, &ip_mask, sizeof ip);
}

ACTIONS(route_ct, put_route(b); CT(b); put_recirc(b, 5);)
ACTIONS(route_out, put_route(b); put_output(b, OUT_PORT); put_route(b);)
ACTIONS(vlan_out, put_output(b, 3); put_push_vlan(b, 5);
        put_output(b, OUT_PORT); put_pop_vlan(b);)

/* What an action has set is not matched on the wire; what it has not, is. */
START_TEST(test_set)
{
    struct nic_template *template;
    struct path_chain chain;
    struct path_set set;
    struct match match;
    struct flow *mask;

    basic_match(&match, 0);
    match_set_dl_dst(&match, router);
    match_set_nw_ttl(&match, 64);
    add_megaflow(&match, route_ct);
    basic_match(&match, 5);
    match_set_dl_dst(&match, ingress.dl_dst);
    match_set_nw_ttl(&match, 63);
    match_set_nw_dscp(&match, 4);
    match_set_nw_ecn(&match, 1);
    add_megaflow(&match, vlan_out);

    template = compose_one(&chain);
    mask = &template->match.wc.masks;
    ck_assert(eth_addr_equals(template->match.flow.dl_dst, router));
    ck_assert(eth_addr_is_zero(mask->dl_src));
    ck_assert_int_eq(template->match.flow.nw_ttl, 64);
    ck_assert_int_eq(mask->nw_tos, IP_ECN_MASK);
    ck_assert_int_eq(template->match.flow.nw_tos, 1);

    /* Four changes, output, push, output; the pop is seen by nobody. */
    ck_assert_int_eq(template->n_actions, 7);
    ck_assert_int_eq(template->actions[4].type, NIC_ACTION_OUTPUT);
    ck_assert_int_eq(template->actions[4].port, 103);
    ck_assert_int_eq(template->actions[5].type, NIC_ACTION_PUSH_VLAN);
    ck_assert_int_eq(template->actions[6].type, NIC_ACTION_OUTPUT);
    nic_template_unref(template);

    /* What was set is known, although it was not matched. */
    mf_mirror_remove(&mirror, chain.flows[0], 0);
    basic_match(&match, 0);
    add_megaflow(&match, route_ct);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 1);
    basic_match(&match, 5);
    match_set_dl_dst(&match, ingress.dl_dst);
    match_set_nw_ttl(&match, 62);
    add_megaflow(&match, to_port);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 1);
}
END_TEST

static void
put_dnat(struct ofpbuf *b)
{
    struct ovs_key_ipv4 ip = { .ipv4_dst = tuple.dst.ipv4 };
    struct ovs_key_ipv4 mask = { .ipv4_dst = OVS_BE32_MAX };

    put_set_masked(b, OVS_KEY_ATTR_IPV4, &ip, &mask, sizeof ip);
}
ACTIONS(dnat_ct, put_dnat(b); CT(b); put_recirc(b, 5);)
ACTIONS(ct_dnat_ct, CT(b); put_dnat(b); CT(b); put_recirc(b, 5);)
ACTIONS(two_tuples, put_dnat(b); put_output(b, 3); put_dnat(b);
        put_output(b, OUT_PORT);)

/* Packets whose tuple was set before ct(). */
START_TEST(test_rewriter)
{
    struct nic_template *template;
    enum offload_reason reason;
    struct path_chain chain;
    struct megaflow *flow;
    struct path_set set;
    struct match match;

    basic_match(&match, 5);
    add_megaflow(&match, to_port);
    basic_match(&match, 0);
    match_set_nw_dst(&match, htonl(0x0a0a0a0a));
    flow = add_megaflow(&match, dnat_ct);
    template = compose_one(&chain);
    ck_assert_int_eq(chain.tuple.dst.ipv4, htonl(0x0a0a0a0a));
    ck_assert_int_eq(chain.tuple.src.ipv4, tuple.src.ipv4);
    ck_assert_int_eq(chain.tuple.tp_dst, tuple.tp_dst);
    ck_assert_mem_eq(&chain.rewrite, &tuple, sizeof tuple);
    ck_assert_int_eq(template->actions[0].type, NIC_ACTION_SET_TUPLE);
    ck_assert_int_eq(template->actions[0].parts, NIC_TUPLE_DST);
    nic_template_unref(template);
    mf_mirror_remove(&mirror, flow, 0);

    /* What was received cannot be told. */
    basic_match(&match, 0);
    match_set_nw_dst_masked(&match, htonl(0x0a0a0a00), htonl(0xffffff00));
    flow = add_megaflow(&match, dnat_ct);
    compose_none(REASON_REWRITE);

    /* Of another connection. */
    mf_mirror_remove(&mirror, flow, 0);
    match_set_nw_src(&match, htonl(0x0b0b0b0b));
    flow = add_megaflow(&match, dnat_ct);
    compose_none(REASON_NO_MEGAFLOW);
    mf_mirror_remove(&mirror, flow, 0);

    /* Between ct()s of one zone. */
    basic_match(&match, 0);
    flow = add_megaflow(&match, ct_dnat_ct);
    compose_none(REASON_REWRITE);
    ck_assert_ptr_eq(path_compile_module(flow, &resolver, &reason), NULL);
    ck_assert_int_eq(reason, REASON_REWRITE);
    mf_mirror_remove(&mirror, flow, 0);

    /* Two outputs that see different tuples. */
    add_megaflow(&match, to_ct);
    basic_match(&match, 5);
    match_set_nw_proto(&match, IPPROTO_TCP);
    compose(&set);
    mf_mirror_remove(&mirror, set.chains[0].flows[1], 0);
    add_megaflow(&match, two_tuples);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 1);
    ck_assert_ptr_eq(try_compile(&set.chains[0], &reason), NULL);
    ck_assert_int_eq(reason, REASON_REWRITE);
}
END_TEST

ACTIONS(pop_ct, put_pop_vlan(b); CT(b); put_recirc(b, 5);)
ACTIONS(push_ct, CT(b); put_push_vlan(b, 7); put_recirc(b, 5);)
ACTIONS(pop_out, put_pop_vlan(b); put_output(b, OUT_PORT);)

/* Tags: matched where they were on the wire. */
START_TEST(test_vlan)
{
    int byte_deltas[PATH_MAX_STAGES];
    struct nic_template *template;
    const struct megaflow *culprit;
    enum offload_reason reason;
    struct path_chain chain;
    struct megaflow *flow;
    struct path_set set;
    struct match match;

    /* Popped before ct(), which sees no tag.  There was only that one, because
     * OVS does not look at more here: a NIC may. */
    flow_limit_vlans(1);
    basic_match(&match, 5);
    match.wc.masks.vlans[0].tci = OVS_BE16_MAX;
    flow = add_megaflow(&match, to_port);
    basic_match(&match, 0);
    match_set_dl_vlan(&match, htons(9), 0);
    add_megaflow(&match, pop_ct);
    compose(&set);
    ck_assert_int_eq(set.n_chains, 1);
    chain = set.chains[0];
    template = path_compile_flat(&chain, subject.dl_type, subject.nw_proto,
                                 &resolver, byte_deltas, &reason,
                                 &culprit);
    ck_assert_int_eq(byte_deltas[0], 0);
    ck_assert_int_eq(byte_deltas[1], -4);
    ck_assert_int_eq(ntohs(template->match.flow.vlans[0].tci),
                     9 | VLAN_CFI);
    ck_assert_int_eq(template->match.wc.masks.vlans[1].tci, OVS_BE16_MAX);
    ck_assert_int_eq(template->match.flow.vlans[1].tci, 0);
    ck_assert_int_eq(template->actions[0].type, NIC_ACTION_POP_VLAN);
    nic_template_unref(template);
    template = path_compile_module(chain.flows[0], &resolver, &reason);
    ck_assert_int_eq(template->match.wc.masks.vlans[1].tci, OVS_BE16_MAX);
    ck_assert_int_eq(template->match.flow.vlans[1].tci, 0);
    nic_template_unref(template);
    mf_mirror_remove(&mirror, flow, 0);
    mf_mirror_remove(&mirror, chain.flows[0], 0);

    /* Pushed, matched as pushed, popped: nobody saw it. */
    flow_limit_vlans(2);
    basic_match(&match, 0);
    match.wc.masks.vlans[0].tci = OVS_BE16_MAX;
    add_megaflow(&match, push_ct);
    basic_match(&match, 5);
    match_set_dl_vlan(&match, htons(8), 0);
    flow = add_megaflow(&match, to_port);
    compose_none(REASON_NO_MEGAFLOW);
    match_set_dl_vlan(&match, htons(7), 0);
    add_megaflow(&match, pop_out);
    template = compose_one(&chain);
    ck_assert_int_eq(template->match.flow.vlans[0].tci, 0);
    ck_assert_int_eq(template->match.wc.masks.vlans[0].tci, OVS_BE16_MAX);
    ck_assert_int_eq(template->n_actions, 1);
    nic_template_unref(template);
}
END_TEST

ACTIONS(ct_clear_6, nl_msg_put_flag(b, OVS_ACTION_ATTR_CT_CLEAR);
        put_recirc(b, 6);)

START_TEST(test_ct_clear)
{
    struct path_chain chain;
    enum offload_reason reason;
    struct megaflow *flow;
    struct match match;

    conn.mark = 3;
    basic_match(&match, 0);
    add_megaflow(&match, to_ct);
    basic_match(&match, 5);
    flow = add_megaflow(&match, ct_clear_6);
    basic_match(&match, 6);
    match_set_ct_mark(&match, 0);
    match_set_ct_state_masked(&match, 0, UINT8_MAX);
    add_megaflow(&match, to_port);
    nic_template_unref(compose_one(&chain));

    /* A NIC goes on in another table only from ct(). */
    ck_assert_ptr_eq(path_compile_module(flow, &resolver, &reason), NULL);
    ck_assert_int_eq(reason, REASON_ACTION);
}
END_TEST

ACTIONS(parse_nothing, )
ACTIONS(parse_outputs, put_output(b, 4); put_output(b, 5);)
ACTIONS(parse_ct, CT(b, .commit = true, .nat = true, .timeout = "4");
        put_recirc(b, 8);)
ACTIONS(parse_nat_range,
        size_t ofs = nl_msg_start_nested(b, OVS_ACTION_ATTR_CT);
        size_t nat;

        nl_msg_put_u32(b, OVS_CT_ATTR_EVENTMASK, 1);
        nat = nl_msg_start_nested(b, OVS_CT_ATTR_NAT);
        nl_msg_put_flag(b, OVS_NAT_ATTR_SRC);
        nl_msg_put_u32(b, OVS_NAT_ATTR_IP_MIN, 1);
        nl_msg_end_nested(b, nat);
        nl_msg_end_nested(b, ofs);)
ACTIONS(parse_helper, CT(b, .commit = true, .helper = "ftp");)
ACTIONS(parse_recirc_first, put_recirc(b, 8); put_output(b, 1);)
ACTIONS(parse_drop, nl_msg_put_u32(b, OVS_ACTION_ATTR_DROP, 0);)
ACTIONS(parse_drop_first, parse_drop(b); put_output(b, 1);)
ACTIONS(parse_eth, struct ovs_key_ethernet eth;

        memset(&eth, 1, sizeof eth);
        put_set(b, OVS_KEY_ATTR_ETHERNET, &eth, sizeof eth);)
ACTIONS(parse_frag, struct ovs_key_ipv4 ip = { .ipv4_frag = 0 };
        struct ovs_key_ipv4 mask = { .ipv4_frag = 0xff };

        put_set_masked(b, OVS_KEY_ATTR_IPV4, &ip, &mask, sizeof ip);)
ACTIONS(parse_proto, struct ovs_key_ipv6 ip = { .ipv6_proto = 6 };
        struct ovs_key_ipv6 mask = { .ipv6_proto = 1 };

        put_set_masked(b, OVS_KEY_ATTR_IPV6, &ip, &mask, sizeof ip);)
ACTIONS(parse_sctp, struct ovs_key_sctp key = { 1, 2 };
        put_set(b, OVS_KEY_ATTR_SCTP, &key, sizeof key);)
ACTIONS(parse_mark, uint32_t key = 1;
        put_set(b, OVS_KEY_ATTR_SKB_MARK, &key, sizeof key);)
ACTIONS(parse_vlan, put_pop_vlan(b); put_push_vlan(b, 3);)
ACTIONS(parse_trunc, uint32_t len = 100;
        nl_msg_put_unspec(b, OVS_ACTION_ATTR_TRUNC, &len, sizeof len);)
ACTIONS(parse_short, uint8_t tci = 0;
        nl_msg_put_unspec(b, OVS_ACTION_ATTR_PUSH_VLAN, &tci, sizeof tci);)

START_TEST(test_programs)
{
    static const struct {
        put_func *put;
        enum offload_reason reason;
        size_t n_ops;
        enum megaflow_op_type first;
    } cases[] = {
        { parse_nothing, REASON_NONE, 0, 0 },
        { parse_outputs, REASON_NONE, 2, MEGAFLOW_OP_OUTPUT },
        { parse_ct, REASON_NONE, 2, MEGAFLOW_OP_CT },
        { parse_nat_range, REASON_NONE, 1, MEGAFLOW_OP_CT },
        { parse_helper, REASON_ALG, 0, 0 },
        { parse_recirc_first, REASON_ACTION, 0, 0 },
        { parse_drop, REASON_NONE, 0, 0 },
        { parse_drop_first, REASON_ACTION, 0, 0 },
        { parse_eth, REASON_NONE, 2, MEGAFLOW_OP_SET },
        { parse_frag, REASON_ACTION, 0, 0 },
        { parse_proto, REASON_ACTION, 0, 0 },
        { parse_sctp, REASON_ACTION, 0, 0 },
        { parse_mark, REASON_ACTION, 0, 0 },
        { parse_vlan, REASON_NONE, 2, MEGAFLOW_OP_POP_VLAN },
        { parse_trunc, REASON_ACTION, 0, 0 },
        { parse_short, REASON_ACTION, 0, 0 },
        { to_bond, REASON_NONE, 1, MEGAFLOW_OP_LB_OUTPUT },
        { ct_mark_1, REASON_NONE, 2, MEGAFLOW_OP_CT },
        { ct_force, REASON_NONE, 2, MEGAFLOW_OP_CT },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct megaflow_program program, again;

        parse(cases[i].put, &program);
        parse(cases[i].put, &again);
        ck_assert_int_eq(program.reason, cases[i].reason);
        ck_assert_int_eq(program.n_ops, cases[i].n_ops);
        if (program.n_ops) {
            ck_assert_int_eq(program.ops[0].type, cases[i].first);
        }
        if (cases[i].put == parse_ct) {
            ck_assert(program.ops[0].ct.nat);
            ck_assert_int_eq(megaflow_program_first_zone(&program), ZONE);
            ck_assert_int_eq(program.ops[1].id, 8);
        } else if (cases[i].put == parse_nat_range) {
            ck_assert(program.ops[0].ct.nat);
            ck_assert_int_eq(megaflow_program_first_zone(&program), 0);
        } else if (cases[i].put == parse_outputs) {
            ck_assert_int_eq(odp_to_u32(program.ops[1].port), 5);
            ck_assert_int_eq(megaflow_program_first_zone(&program), -1);
        }
        ck_assert(megaflow_program_equal(&program, &again));
        megaflow_program_destroy(&again);
        parse(route_out, &again);
        ck_assert(!megaflow_program_equal(&program, &again));
        megaflow_program_destroy(&again);
        megaflow_program_destroy(&program);
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
    a = add_megaflow(&match, to_ct);
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
    add_megaflow(&match, to_ct);
    basic_match(&match, 0);
    match_set_nw_proto(&match, IPPROTO_TCP);
    b = add_megaflow(&match, to_ct);
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

/* Makes 'flow' what follows from its copies, if it is not. */
static void
update(struct megaflow *flow)
{
    const struct megaflow_program *next = megaflow_next_program(flow);

    if (next) {
        bool refused = next->reason != REASON_NONE;

        megaflow_update(flow);
        ck_assert_int_eq(flow->program->reason != REASON_NONE, refused);
        ck_assert_ptr_eq(megaflow_next_program(flow), NULL);
    }
}

/* Puts 'copy' of megaflow 77, which matches 'tci_mask' of the first VLAN tag,
 * and does 'put'. */
static struct megaflow *
put_copy(const void *copy, uint16_t tci_mask, put_func *put,
         bool expect_added)
{
    ovs_u128 ufid = { .u32 = { 77 } };
    struct megaflow_program program;
    struct megaflow *flow;
    struct match match;
    bool added;

    basic_match(&match, 0);
    match.wc.masks.vlans[0].tci = htons(tci_mask);
    parse(put, &program);
    flow = mf_mirror_put(&mirror, DP, &ufid, copy, &match, &program, &added);
    ck_assert_ptr_eq(program.ops, NULL);
    ck_assert_int_eq(added, expect_added);
    update(flow);
    ck_assert_ptr_eq(mf_mirror_find(&mirror, DP, &ufid), flow);
    return flow;
}

static void
drop_copy(struct megaflow *flow, const void *copy)
{
    ck_assert_ptr_eq(mf_mirror_drop_copy(&mirror, &flow->ufid, copy), flow);
    if (!ovs_list_is_empty(&flow->copies)) {
        update(flow);
    }
}

static void
check_variant(const struct megaflow *flow, uint16_t tci_mask,
              enum megaflow_op_type op)
{
    struct match match;

    minimatch_expand(flow->match, &match);
    ck_assert_int_eq(ntohs(match.wc.masks.vlans[0].tci), tci_mask);
    ck_assert_int_eq(flow->program->reason, REASON_NONE);
    ck_assert_int_eq(flow->program->ops[0].type, op);
}

/* What was counted for a megaflow that changes stays. */
START_TEST(test_change)
{
    struct dpif_flow_stats stats;
    struct megaflow *flow;
    static const char copy;

    flow = put_copy(&copy, VLAN_VID_MASK | VLAN_CFI, to_ct, true);
    megaflow_credit(flow, 3, 300, 1);
    megaflow_claim(flow, 0, &copy, true, 1000, &stats);

    put_copy(&copy, 0xffff, to_port, false);
    check_variant(flow, 0xffff, MEGAFLOW_OP_OUTPUT);
    megaflow_credit(flow, 1, 100, 1);
    megaflow_claim(flow, 0, &copy, false, 2000, &stats);
    ck_assert_int_eq(stats.n_packets, 4);

    put_copy(&copy, 0, to_ct, false);
    check_variant(flow, 0, MEGAFLOW_OP_CT);
}
END_TEST

/* Copies of a megaflow that do not do the same: the software knows which of
 * them each packet hits.  When all but one are gone, or have been changed, the
 * megaflow is what they are, whichever came first. */
START_TEST(test_copies_do_not_agree)
{
    struct megaflow *flow;
    static const char a, b, c;

    /* The first one goes. */
    flow = put_copy(&a, 0xffff, to_port, true);
    put_copy(&b, 0xffff, to_ct, false);
    ck_assert_int_eq(flow->program->reason, REASON_COPIES);
    put_copy(&c, 0xffff, to_ct, false);
    ck_assert_int_eq(flow->program->reason, REASON_COPIES);
    drop_copy(flow, &a);
    check_variant(flow, 0xffff, MEGAFLOW_OP_CT);

    /* The last one goes. */
    put_copy(&a, 0xffff, to_port, false);
    ck_assert_int_eq(flow->program->reason, REASON_COPIES);
    drop_copy(flow, &a);
    check_variant(flow, 0xffff, MEGAFLOW_OP_CT);

    /* They are changed one after the other. */
    put_copy(&b, 0xffff, to_port, false);
    ck_assert_int_eq(flow->program->reason, REASON_COPIES);
    put_copy(&c, 0xffff, to_port, false);
    check_variant(flow, 0xffff, MEGAFLOW_OP_OUTPUT);

    /* With other masks. */
    put_copy(&b, 0xffff, to_port, false);
    put_copy(&c, 0, to_ct, false);
    ck_assert_int_eq(flow->program->reason, REASON_COPIES);
    drop_copy(flow, &b);
    check_variant(flow, 0, MEGAFLOW_OP_CT);

    /* The first one of one program is not compared with itself only. */
    put_copy(&a, 0xffff, to_ct, false);
    put_copy(&b, 0xfff, to_port, false);
    ck_assert_int_eq(flow->program->reason, REASON_COPIES);
    drop_copy(flow, &c);
    ck_assert_int_eq(flow->program->reason, REASON_COPIES);
    drop_copy(flow, &a);
    check_variant(flow, 0xfff, MEGAFLOW_OP_OUTPUT);

    drop_copy(flow, &b);
    ck_assert(ovs_list_is_empty(&flow->copies));
    ck_assert_ptr_eq(mf_mirror_drop_copy(&mirror, &flow->ufid, &b), NULL);
    mf_mirror_remove(&mirror, flow, 0);
}
END_TEST

/* Copies of a megaflow that match different fields and do the same: what is
 * not matched by any copy any more is not carried. */
START_TEST(test_copies_with_other_masks)
{
    struct megaflow *flow;
    static const char a, b, c;

    flow = put_copy(&a, 0xfff, to_ct, true);
    put_copy(&b, 0xffff, to_ct, false);
    check_variant(flow, 0xfff, MEGAFLOW_OP_CT);
    put_copy(&c, 0, to_ct, false);
    check_variant(flow, 0, MEGAFLOW_OP_CT);
    drop_copy(flow, &c);
    drop_copy(flow, &a);
    check_variant(flow, 0xffff, MEGAFLOW_OP_CT);

    /* Neither covers the other: the one that was there stays. */
    put_copy(&c, 0, to_ct, false);
    put_copy(&c, 0xf000, to_ct, false);
    put_copy(&b, 0x0fff, to_ct, false);
    check_variant(flow, 0xf000, MEGAFLOW_OP_CT);
    put_copy(&a, 0x000f, to_ct, false);
    check_variant(flow, 0xf000, MEGAFLOW_OP_CT);
    drop_copy(flow, &c);
    check_variant(flow, 0x000f, MEGAFLOW_OP_CT);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("path");
    TCase *tcase = tcase_create("fixed");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_simple);
    tcase_add_test(tcase, test_union_of_masks);
    tcase_add_test(tcase, test_contradiction);
    tcase_add_test(tcase, test_two_paths);
    tcase_add_test(tcase, test_refusals);
    tcase_add_test(tcase, test_ct_fields);
    tcase_add_test(tcase, test_ct_change);
    tcase_add_test(tcase, test_nat);
    tcase_add_test(tcase, test_set);
    tcase_add_test(tcase, test_rewriter);
    tcase_add_test(tcase, test_vlan);
    tcase_add_test(tcase, test_ct_clear);
    tcase_add_test(tcase, test_programs);
    tcase_add_test(tcase, test_statistics);
    tcase_add_test(tcase, test_change);
    tcase_add_test(tcase, test_copies_do_not_agree);
    tcase_add_test(tcase, test_copies_with_other_masks);
    suite_add_tcase(suite, tcase);
    return unit_test_run(suite);
}
