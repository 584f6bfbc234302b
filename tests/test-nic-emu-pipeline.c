/* SPDX-License-Identifier: Apache-2.0 */

/* Pipelines of the emulated NIC at random, against a simple model, and with
 * damaged packets. */

#include <config.h>
#include "lib/nic-emu-pass.h"

#include <errno.h>

#include "lib/nic-emu-ct.h"
#include "tests/nic-emu-table-test.h"

/* The model.  A packet is a 'struct flow'; what leaves is composed from it
 * anew.  Rules and connections are in arrays that are searched from the start.
 */

#define N_TABLES 4
#define N_ZONES 3
#define N_FLOWS 12
#define MAX_RULES 300
#define MAX_CONNS 40

struct model_rule {
    uint32_t table;
    struct match match;
    struct nic_values values;
    size_t n_actions;
    struct nic_action actions[NIC_MAX_ACTIONS];
    uint64_t packets, bytes;
    struct nic_emu_rule *rule;
};

struct model_conn {
    struct nic_conn conn;
    uint64_t packets[2], bytes[2];
    struct nic_emu_conn *emu;
};

static struct model_rule rules[MAX_RULES];
static size_t n_rules;
static struct model_conn conns[MAX_CONNS];
static size_t n_conns;

/* What rules of a table match on. */
static struct flow_wildcards wcs[N_TABLES];

/* A packet on its way. */
struct model_packet {
    struct flow flow;
    struct model_conn *conn;        /* Null unless it passed ct. */
    int dir;
    bool natted, changed;

    struct flow out[NIC_EMU_MAX_OUTPUTS];
    nic_port_id ports[NIC_EMU_MAX_OUTPUTS];
    size_t n_out;

    struct model_rule *hit_rules[NIC_EMU_MAX_HITS];
    size_t rule_bytes[NIC_EMU_MAX_HITS];
    size_t n_hit_rules;
    struct model_conn *hit_conns[NIC_EMU_MAX_HITS];
    int hit_dirs[NIC_EMU_MAX_HITS];
    size_t conn_bytes[NIC_EMU_MAX_HITS];
    size_t n_hit_conns;
};

/* OVS composes no payload behind FIN, SYN and RST. */
static size_t
model_size(const struct flow *flow)
{
    bool l7 = !(flow->tcp_flags & htons(TCP_FIN | TCP_SYN | TCP_RST));

    return (ETH_HEADER_LEN
            + (flow->vlans[0].tci ? VLAN_HEADER_LEN : 0)
            + (flow->vlans[1].tci ? VLAN_HEADER_LEN : 0)
            + (flow->dl_type == htons(ETH_TYPE_IP) ? IP_HEADER_LEN
               : IPV6_HEADER_LEN)
            + (flow->nw_proto == IPPROTO_TCP ? TCP_HEADER_LEN
               : UDP_HEADER_LEN)
            + (l7 ? L7_LEN : 0));
}

static void
model_set_tuple(struct flow *flow, unsigned int parts,
                const struct nic_tuple *t)
{
    bool ipv4 = flow->dl_type == htons(ETH_TYPE_IP);

    if (parts & NIC_TUPLE_SRC) {
        if (ipv4) {
            flow->nw_src = t->src.ipv4;
        } else {
            flow->ipv6_src = t->src.ipv6;
        }
        flow->tp_src = t->tp_src;
    }
    if (parts & NIC_TUPLE_DST) {
        if (ipv4) {
            flow->nw_dst = t->dst.ipv4;
        } else {
            flow->ipv6_dst = t->dst.ipv6;
        }
        flow->tp_dst = t->tp_dst;
    }
}

static bool
tuple_equal(const struct nic_tuple *a, const struct nic_tuple *b)
{
    return !memcmp(a, b, sizeof *a);
}

static void
model_clear_ct(struct model_packet *p)
{
    struct flow *f = &p->flow;

    f->ct_state = f->ct_nw_proto = 0;
    f->ct_zone = 0;
    f->ct_mark = 0;
    f->ct_label = OVS_U128_ZERO;
    f->ct_nw_src = f->ct_nw_dst = 0;
    memset(&f->ct_ipv6_src, 0, sizeof f->ct_ipv6_src);
    memset(&f->ct_ipv6_dst, 0, sizeof f->ct_ipv6_dst);
    f->ct_tp_src = f->ct_tp_dst = 0;
    p->conn = NULL;
    p->natted = p->changed = false;
}

static bool
model_ct(struct model_packet *p, const struct nic_action *a)
{
    struct model_conn *found = NULL;
    struct flow *f = &p->flow;
    int dir = 0;

    if (p->conn && p->conn->conn.zone == a->ct.zone) {
        if (p->changed) {
            return false;
        }
        found = p->conn;
        dir = p->dir;
    } else {
        struct nic_tuple tuple = nic_test_tuple(f, false);

        if (f->nw_proto == IPPROTO_TCP
            && (f->tcp_flags & htons(TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK))
               != htons(TCP_ACK)) {
            return false;
        }
        for (size_t i = 0; i < 2 * n_conns && !found; i++) {
            struct model_conn *c = &conns[i / 2];

            if (c->conn.zone == a->ct.zone && c->conn.dl_type == f->dl_type
                && c->conn.nw_proto == f->nw_proto
                && tuple_equal(&c->conn.tuple[i % 2], &tuple)) {
                found = c;
                dir = i % 2;
            }
        }
        p->natted = p->changed = false;
    }
    if (!found
        || (found->conn.mark & a->ct.mark_mask)
           != (a->ct.mark & a->ct.mark_mask)
        || (found->conn.label.u64.lo & a->ct.label_mask.u64.lo)
           != (a->ct.label.u64.lo & a->ct.label_mask.u64.lo)
        || (a->ct.orig_only && dir)) {
        return false;
    }

    bool counted = false;
    for (size_t i = 0; i < p->n_hit_conns; i++) {
        counted = counted || (p->hit_conns[i] == found
                              && p->hit_dirs[i] == dir);
    }
    if (!counted) {
        p->hit_conns[p->n_hit_conns] = found;
        p->hit_dirs[p->n_hit_conns] = dir;
        p->conn_bytes[p->n_hit_conns++] = model_size(f);
    }

    p->conn = found;
    p->dir = dir;
    if (a->ct.nat && !p->natted) {
        model_set_tuple(f, found->conn.nat_parts[dir],
                        &found->conn.translated[dir]);
        p->natted = true;
    }
    f->ct_state = CS_TRACKED | CS_ESTABLISHED | (dir ? CS_REPLY_DIR : 0);
    if (p->natted) {
        f->ct_state |= found->conn.nat_state[dir];
    }
    f->ct_zone = found->conn.zone;
    f->ct_mark = found->conn.mark;
    f->ct_label = found->conn.label;
    f->ct_nw_proto = f->nw_proto;
    if (f->dl_type == htons(ETH_TYPE_IP)) {
        f->ct_nw_src = found->conn.tuple[0].src.ipv4;
        f->ct_nw_dst = found->conn.tuple[0].dst.ipv4;
    } else {
        f->ct_ipv6_src = found->conn.tuple[0].src.ipv6;
        f->ct_ipv6_dst = found->conn.tuple[0].dst.ipv6;
    }
    f->ct_tp_src = found->conn.tuple[0].tp_src;
    f->ct_tp_dst = found->conn.tuple[0].tp_dst;
    return true;
}

static void
model_set(struct model_packet *p, const struct nic_action *a)
{
    enum nic_field field = a->set.field;
    size_t len = nic_field_len(field, p->flow.dl_type);
    uint8_t *bytes = flow_field(&p->flow, field);

    for (size_t i = 0; i < len; i++) {
        uint8_t m = a->set.mask[i];

        if (field == NIC_FIELD_VLAN_TCI && !i) {
            m &= 0xef;
        } else if (field == NIC_FIELD_IPV6_LABEL && i < 2) {
            m &= i ? 0x0f : 0;
        }
        bytes[i] = (bytes[i] & ~m) | (a->set.value[i] & m);
    }
    if (field == NIC_FIELD_IP_SRC || field == NIC_FIELD_IP_DST
        || field == NIC_FIELD_TP_SRC || field == NIC_FIELD_TP_DST) {
        p->changed = true;
    }
}

/* Executes 'a'.  Returns false on a miss. */
static bool
model_action(struct model_packet *p, const struct nic_action *a,
             const struct nic_values *values)
{
    switch (a->type) {
    case NIC_ACTION_OUTPUT:
        if (p->n_out >= NIC_EMU_MAX_OUTPUTS) {
            return false;
        }
        p->out[p->n_out] = p->flow;
        p->ports[p->n_out++] = a->port;
        return true;
    case NIC_ACTION_DROP:
        return true;
    case NIC_ACTION_CT:
        return model_ct(p, a);
    case NIC_ACTION_SET:
        model_set(p, a);
        return true;
    case NIC_ACTION_SET_TUPLE:
        model_set_tuple(&p->flow, a->parts, &values->rewrite);
        p->changed = true;
        return true;
    case NIC_ACTION_PUSH_VLAN:
        flow_push(&p->flow, ntohs(a->vlan.tpid), ntohs(a->vlan.tci));
        return true;
    case NIC_ACTION_POP_VLAN:
        flow_pop(&p->flow);
        return true;
    case NIC_ACTION_CT_CLEAR:
        model_clear_ct(p);
        return true;
    case NIC_ACTION_JUMP:
    case NIC_ACTION_DEC_TTL:
    case NIC_ACTION_WINDOW:
    case NIC_ACTION_EGRESS:
    default:
        OVS_NOT_REACHED();
    }
}

static struct model_rule *
model_lookup(uint32_t table_id, const struct flow *flow)
{
    for (size_t i = 0; i < n_rules; i++) {
        if (rules[i].table == table_id
            && flow_equal_except(flow, &rules[i].match.flow,
                                 &rules[i].match.wc)) {
            return &rules[i];
        }
    }
    return NULL;
}

/* Executes a packet like 'flow'.  Returns false if it is missed, and, if that
 * is for want of a rule, stores in '*table_id' where, else NIC_TABLE_NONE. */
static bool
model_execute(struct model_packet *p, const struct flow *flow,
              uint32_t *table_id)
{
    memset(p, 0, sizeof *p);
    p->flow = *flow;
    *table_id = NIC_TABLE_ROOT;
    for (int i = 0; i < NIC_EMU_MAX_TABLES; i++) {
        struct model_rule *rule = model_lookup(*table_id, &p->flow);
        bool next = false;

        if (!rule) {
            return false;
        }
        p->hit_rules[p->n_hit_rules] = rule;
        p->rule_bytes[p->n_hit_rules++] = model_size(&p->flow);
        for (size_t j = 0; j < rule->n_actions; j++) {
            const struct nic_action *a = &rule->actions[j];

            if (!model_action(p, a, &rule->values)) {
                *table_id = NIC_TABLE_NONE;
                return false;
            }
            if (a->type == NIC_ACTION_CT && a->ct.table != NIC_TABLE_NONE) {
                *table_id = a->ct.table;
                next = true;
            }
        }
        if (!next) {
            return true;
        }
    }
    *table_id = NIC_TABLE_NONE;
    return false;
}

/* Random rules and connections. */

static void
random_wc(struct flow_wildcards *wc)
{
    struct flow *m = &wc->masks;

    flow_wildcards_init_catchall(wc);

    /* What actions depend on. */
    m->dl_type = OVS_BE16_MAX;
    m->nw_proto = UINT8_MAX;
    m->vlans[0].tci = m->vlans[1].tci = htons(VLAN_CFI);

    for (int n = 1 + rnd(6); n; n--) {
        switch (rnd(16)) {
        case 0: m->nw_src = OVS_BE32_MAX; break;
        case 1: m->nw_dst = htonl(rnd(256)); break;
        case 2: m->tp_src = OVS_BE16_MAX; break;
        case 3: m->tp_dst = htons(rnd(65536)); break;
        case 4: m->ipv6_src = in6addr_exact; break;
        case 5: m->ipv6_dst = in6addr_exact; break;
        case 6: m->nw_tos = rnd(256); break;
        case 7: m->nw_ttl = UINT8_MAX; break;
        case 8: m->vlans[rnd(2)].tci = OVS_BE16_MAX; break;
        case 9: m->ct_state = UINT8_MAX; break;
        case 10: m->ct_zone = UINT16_MAX; break;
        case 11: m->ct_mark = random_state; break;
        case 12: m->ct_label.u64.lo = UINT64_MAX; break;
        case 13: m->ct_nw_src = OVS_BE32_MAX;
                 m->ct_ipv6_src = in6addr_exact; break;
        case 14: m->ct_tp_dst = OVS_BE16_MAX; break;
        case 15: m->dl_src.ea[rnd(6)] = rnd(256); break;
        }
    }
}

static const struct flow *
same_family(const struct flow flows[], const struct flow *flow)
{
    const struct flow *f;

    do {
        f = &flows[rnd(N_FLOWS)];
    } while (f->dl_type != flow->dl_type);
    return f;
}

/* Makes a connection of 'flow' in 'zone' that is translated to other flows'
 * addresses. */
static void
random_conn(const struct flow flows[], const struct flow *flow, uint16_t zone)
{
    struct model_conn *c = &conns[n_conns];
    struct nic_conn *conn = &c->conn;
    struct flow natted = *flow;
    unsigned int parts = rnd(2) ? rnd(4) : 0;

    if (n_conns >= MAX_CONNS) {
        return;
    }
    memset(c, 0, sizeof *c);
    if (parts) {
        const struct flow *other = same_family(flows, flow);
        struct nic_tuple to = nic_test_tuple(other, false);

        to.tp_src = htons(rnd(65536));
        to.tp_dst = htons(rnd(65536));
        model_set_tuple(&natted, parts, &to);
    }
    *conn = nic_test_conn(flow, zone);
    conn->tuple[1] = nic_test_tuple(&natted, true);
    conn->nat_parts[0] = parts;
    conn->nat_parts[1] = ((parts & NIC_TUPLE_SRC ? NIC_TUPLE_DST : 0)
                          | (parts & NIC_TUPLE_DST ? NIC_TUPLE_SRC : 0));
    if (parts) {
        /* Both parts still set one bit only. */
        bool src = (parts == NIC_TUPLE_SRC
                    || (parts != NIC_TUPLE_DST && rnd(2)));

        conn->nat_state[0] = src ? CS_SRC_NAT : CS_DST_NAT;
        conn->nat_state[1] = src ? CS_DST_NAT : CS_SRC_NAT;
        conn->translated[0] = nic_test_tuple(&natted, false);
        conn->translated[1] = nic_test_tuple(flow, true);
    }
    conn->mark = rnd(4);
    conn->label.u64.lo = rnd(4);
    if (!nic_emu_check_conn(conn, NULL)
        && !nic_emu_conn_add(nic_emu_table_ct(table), conn, &c->emu)) {
        n_conns++;
    }
}

/* Adds a rule that 'p' hits in 'table_id'. */
static void
random_rule(const struct flow flows[], const struct model_packet *p,
            uint32_t table_id)
{
    struct model_rule *r = &rules[n_rules];
    struct model_packet now = *p;
    enum nic_slots slots = NIC_SLOT_NONE;
    struct nic_template *t;
    size_t n = 0, want = rnd(6);
    bool set_tuple = false;

    if (n_rules >= MAX_RULES) {
        return;
    }
    memset(r, 0, sizeof *r);
    r->table = table_id;
    match_init(&r->match, &now.flow, &wcs[table_id]);
    r->values.rewrite = nic_test_tuple(same_family(flows, &now.flow), false);

    while (n < want) {
        struct nic_action *a = &r->actions[n];
        enum nic_field field;

        memset(a, 0, sizeof *a);
        switch (rnd(9)) {
        case 0:
            *a = nic_test_output(100 + rnd(5));
            break;
        case 1:
        case 2:
            field = rnd(NIC_FIELD_TP_DST + 1);
            if (!has_field(&now.flow, field)) {
                continue;
            }
            *a = random_set(&now.flow, field);
            break;
        case 3:
            if (set_tuple) {
                continue;
            }
            a->type = NIC_ACTION_SET_TUPLE;
            a->parts = 1 + rnd(3);
            slots = NIC_SLOT_REWRITE;
            set_tuple = true;
            break;
        case 4:
            if (now.flow.vlans[1].tci) {
                continue;
            }
            *a = push_vlan(rnd(2) ? ETH_TYPE_VLAN_8021Q
                           : ETH_TYPE_VLAN_8021AD, rnd(65536));
            flow_push(&now.flow, ETH_TYPE_VLAN_8021Q, 0);
            break;
        case 5:
            if (!now.flow.vlans[0].tci) {
                continue;
            }
            *a = pop_vlan;
            flow_pop(&now.flow);
            break;
        case 6:
            if (!rnd(3)) {
                *a = ct_clear;
                break;
            }
            /* Fall through. */
        case 7:
        case 8:
            *a = ct_action(rnd(N_ZONES), rnd(2),
                           rnd(2) ? NIC_TABLE_NONE : rnd(N_TABLES));
            if (!rnd(4)) {
                a->ct.mark_mask = rnd(4);
                a->ct.mark = rnd(4);
            }
            if (!rnd(4)) {
                a->ct.label_mask.u64.lo = rnd(4);
                a->ct.label.u64.lo = rnd(4);
            }
            a->ct.orig_only = !rnd(8);
            break;
        }
        n++;
        if (a->type == NIC_ACTION_CT && a->ct.table != NIC_TABLE_NONE) {
            break;
        }
    }
    if (!n || r->actions[n - 1].type != NIC_ACTION_CT
        || r->actions[n - 1].ct.table == NIC_TABLE_NONE) {
        r->actions[n++] = (rnd(8) ? nic_test_output(100 + rnd(5))
                           : (struct nic_action) { .type = NIC_ACTION_DROP });
    }
    r->n_actions = n;

    t = nic_template_create(IN, table_id, &r->match, slots, r->actions, n);
    r->rule = add(t, &r->values);
    n_rules++;
}

static void
compare(const struct flow *flow, struct model_packet *p, bool carried)
{
    struct dp_packet *packet = nic_test_packet(flow, L7_LEN);
    struct nic_emu_outputs outputs;
    enum nic_emu_verdict verdict = execute_to(packet, &outputs);

    ck_assert_int_eq(verdict, (!carried ? NIC_EMU_MISS
                               : p->n_out ? NIC_EMU_OUTPUT : NIC_EMU_DROP));
    if (carried) {
        ck_assert_uint_eq(outputs.n, p->n_out);
        for (size_t i = 0; i < p->n_out; i++) {
            struct dp_packet *expected = nic_test_packet(&p->out[i], L7_LEN);

            ck_assert_uint_eq(outputs.list[i].port, p->ports[i]);
            ck_assert_uint_eq(dp_packet_size(outputs.list[i].packet),
                              dp_packet_size(expected));
            ck_assert_mem_eq(dp_packet_data(outputs.list[i].packet),
                             dp_packet_data(expected),
                             dp_packet_size(expected));
            dp_packet_delete(expected);
        }
        free_outputs(packet, &outputs);

        for (size_t i = 0; i < p->n_hit_rules; i++) {
            p->hit_rules[i]->packets++;
            p->hit_rules[i]->bytes += p->rule_bytes[i];
        }
        for (size_t i = 0; i < p->n_hit_conns; i++) {
            p->hit_conns[i]->packets[p->hit_dirs[i]]++;
            p->hit_conns[i]->bytes[p->hit_dirs[i]] += p->conn_bytes[i];
        }
    }
    dp_packet_delete(packet);
}

/* What happened, to be sure that it does. */
static struct {
    size_t carried, multi, natted, tables, zones, vlan, ipv6, dropped, missed;
} seen;

static void
note(const struct flow *flow, const struct model_packet *p)
{
    seen.carried++;
    seen.multi += p->n_out > 1;
    seen.natted += p->natted && p->conn
                   && p->conn->conn.nat_parts[p->dir] != 0;
    seen.tables += p->n_hit_rules > 1;
    for (size_t i = 1; i < p->n_hit_conns; i++) {
        if (p->hit_conns[i]->conn.zone != p->hit_conns[0]->conn.zone) {
            seen.zones++;
            break;
        }
    }
    seen.vlan += p->n_out && flow->vlans[0].tci != p->out[0].vlans[0].tci;
    seen.ipv6 += flow->dl_type == htons(ETH_TYPE_IPV6);
    seen.dropped += !p->n_out;
}

static void
run_world(void)
{
    struct flow flows[N_FLOWS];

    n_rules = n_conns = 0;
    for (int i = 0; i < N_TABLES; i++) {
        random_wc(&wcs[i]);
    }
    for (int i = 0; i < N_FLOWS; i++) {
        flows[i] = random_flow();
    }
    flows[0] = nic_test_flow4(IPPROTO_TCP, 1, 2, 3, 4);
    flows[1] = nic_test_flow6(IPPROTO_TCP, 1, 2, 3, 4);

    for (int step = 0; step < 600; step++) {
        struct flow flow = flows[rnd(N_FLOWS)];
        struct model_packet p;
        uint32_t table_id;
        bool carried;

        if (!rnd(4) && n_conns) {
            /* A reply. */
            const struct model_conn *c = &conns[rnd(n_conns)];

            flow = *same_family(flows, &(struct flow) {
                                           .dl_type = c->conn.dl_type });
            flow.nw_proto = c->conn.nw_proto;
            flow.tcp_flags = (flow.nw_proto == IPPROTO_TCP ? htons(TCP_ACK)
                              : 0);
            model_set_tuple(&flow, NIC_TUPLE_SRC | NIC_TUPLE_DST,
                            &c->conn.tuple[1]);
        }
        if (flow.nw_proto == IPPROTO_TCP && !rnd(10)) {
            flow.tcp_flags = htons(rnd(64));
        }

        carried = model_execute(&p, &flow, &table_id);
        compare(&flow, &p, carried);
        if (carried) {
            note(&flow, &p);
        } else {
            seen.missed++;
            if (table_id != NIC_TABLE_NONE) {
                random_rule(flows, &p, table_id);
            } else {
                random_conn(flows, &p.flow, rnd(N_ZONES));
            }
        }
    }

    for (size_t i = 0; i < n_rules; i++) {
        struct nic_counter c;

        nic_emu_rule_counter(rules[i].rule, &c);
        ck_assert_uint_eq(c.packets, rules[i].packets);
        ck_assert_uint_eq(c.bytes, rules[i].bytes);
        del(rules[i].rule);
    }
    for (size_t i = 0; i < n_conns; i++) {
        struct nic_counter c[2];

        nic_emu_conn_counters(conns[i].emu, c);
        for (int dir = 0; dir < 2; dir++) {
            ck_assert_uint_eq(c[dir].packets, conns[i].packets[dir]);
            ck_assert_uint_eq(c[dir].bytes, conns[i].bytes[dir]);
        }
        nic_emu_conn_remove(nic_emu_table_ct(table), conns[i].emu);
        nic_emu_conn_free(conns[i].emu);
    }
    nic_test_quiesce();
}

START_TEST(test_pipelines)
{
    random_state = 1000 + _i;
    memset(&seen, 0, sizeof seen);
    for (int i = 0; i < 40; i++) {
        run_world();
    }

    /* It was not vacuous. */
    ck_assert_uint_gt(seen.carried, 1000);
    ck_assert_uint_gt(seen.multi, 200);
    ck_assert_uint_gt(seen.natted, 50);
    ck_assert_uint_gt(seen.tables, 200);
    ck_assert_uint_gt(seen.zones, 50);
    ck_assert_uint_gt(seen.vlan, 200);
    ck_assert_uint_gt(seen.ipv6, 200);
    ck_assert_uint_gt(seen.dropped, 50);
    ck_assert_uint_gt(seen.missed, 500);
}
END_TEST

/* Damaged packets, in memory of exactly their size, for the address sanitizer,
 * through rules that change whatever can be changed. */

static struct dp_packet *
damaged_packet(void)
{
    struct flow flow = random_flow();
    struct dp_packet *p;

    if (!rnd(8)) {
        flow.nw_proto = rnd(2) ? IPPROTO_ICMP : IPPROTO_SCTP;
    }
    if (!rnd(8)) {
        flow.nw_frag = rnd(2) ? FLOW_NW_FRAG_ANY : FLOW_NW_FRAG_MASK;
    }
    p = nic_test_packet(&flow, rnd(60));
    if (rnd(2)) {
        dp_packet_set_size(p, rnd(dp_packet_size(p) + 1));
    }
    for (int n = rnd(4); n && dp_packet_size(p); n--) {
        /* Mostly in headers. */
        size_t ofs = rnd(MIN(dp_packet_size(p), rnd(2) ? 24 : 200));

        ((uint8_t *) dp_packet_data(p))[ofs] ^= 1 << rnd(8);
    }
    return p;
}

/* Fills 'actions' with random ones that packets of 'flow' may have, and
 * returns their number. */
static size_t
random_changes(const struct flow *flow_, bool ip, bool ports,
               struct nic_action actions[])
{
    struct flow flow = *flow_;
    size_t n = 0, want = 1 + rnd(6);

    while (n < want) {
        enum nic_field field = rnd(NIC_FIELD_TP_DST + 1);

        switch (rnd(6)) {
        case 0:
            actions[n++] = push_vlan(ETH_TYPE_VLAN_8021Q, rnd(65536));
            flow_push(&flow, ETH_TYPE_VLAN_8021Q, 0);
            break;
        case 1:
            if (flow.vlans[0].tci) {
                actions[n++] = pop_vlan;
                flow_pop(&flow);
            }
            break;
        case 2:
            actions[n++] = nic_test_output(3);
            break;
        default:
            if (has_field(&flow, field) && (ip || field < NIC_FIELD_IP_SRC)
                && (ports || field < NIC_FIELD_TP_SRC)) {
                actions[n++] = random_set(&flow, field);
            }
            break;
        }
    }
    if (ports && rnd(2)) {
        actions[n++] = (struct nic_action) {
            .type = NIC_ACTION_SET_TUPLE,
            .parts = NIC_TUPLE_SRC | NIC_TUPLE_DST,
        };
    }
    actions[n++] = nic_test_output(OUT);
    return n;
}

START_TEST(test_fuzz)
{
    uint64_t n_carried = 0, n_missed = 0;

    random_state = 31 + _i;
    for (int world = 0; world < 100; world++) {
        struct nic_emu_rule *emu_rules[6];
        size_t n = 0;

        for (int i = 0; i < 6; i++) {
            struct nic_action actions[NIC_MAX_ACTIONS];
            struct flow flow = random_flow();
            bool ip = rnd(4), ports = ip && rnd(2);
            struct nic_values values;
            struct nic_template *t;
            struct match match;

            memset(&values, 0, sizeof values);
            values.rewrite = nic_test_tuple(&flow, true);
            match_init_catchall(&match);
            if (ip) {
                match_set_dl_type(&match, flow.dl_type);
            }
            if (ports) {
                match_set_nw_proto(&match, flow.nw_proto);
            }
            for (int j = 0; j < FLOW_MAX_VLAN_HEADERS; j++) {
                match.wc.masks.vlans[j].tci = htons(VLAN_CFI);
                match.flow.vlans[j].tci = (flow.vlans[j].tci
                                           & htons(VLAN_CFI));
            }
            t = nic_template_create(IN, 0, &match,
                                    ports ? NIC_SLOT_REWRITE : NIC_SLOT_NONE,
                                    actions,
                                    random_changes(&flow, ip, ports,
                                                   actions));
            ck_assert(!nic_emu_check_template(t, NULL));
            n += !nic_emu_rule_add(table, t, &values, NULL, &emu_rules[n]);
            nic_template_unref(t);
        }

        for (int i = 0; i < 300; i++) {
            struct dp_packet *p = damaged_packet();

            if (dp_packet_size(p)) {
                size_t size = dp_packet_size(p);
                void *exact = xmemdup(dp_packet_data(p), size);
                struct nic_emu_outputs outputs;
                struct dp_packet q;

                dp_packet_use_const(&q, exact, size);
                if (execute_to(&q, &outputs) == NIC_EMU_OUTPUT) {
                    n_carried++;
                    free_outputs(&q, &outputs);
                } else {
                    n_missed++;
                }
                free(exact);
            }
            execute(p, NULL);
            dp_packet_delete(p);
        }
        while (n) {
            del(emu_rules[--n]);
        }
        nic_test_quiesce();
    }
    ck_assert_uint_gt(n_carried, 1000);
    ck_assert_uint_gt(n_missed, 1000);
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("nic-emu-pipeline");
    TCase *tc = tcase_create("nic-emu-pipeline");

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_pipelines, 0, 6);
    tcase_add_loop_test(tc, test_fuzz, 0, 4);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
