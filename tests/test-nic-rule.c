/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "lib/nic-rule.h"

#include "openvswitch/dynamic-string.h"
#include "tests/nic-test.h"

START_TEST(test_slots)
{
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct nic_values values = nic_test_values(&flow);
    struct nic_template *t = nic_test_tuple_template(1, &flow,
                                                     nic_test_output(2));
    struct match match;

    /* What the slot covers is exact in the template. */
    ck_assert_uint_eq(t->match.wc.masks.nw_src, OVS_BE32_MAX);
    ck_assert_uint_eq(t->match.wc.masks.tp_dst, OVS_BE16_MAX);
    ck_assert_uint_eq(t->match.flow.nw_src, 0);
    ck_assert(!t->match.wc.masks.nw_ttl);

    nic_rule_to_match(t, &values, &match);
    ck_assert_uint_eq(match.flow.nw_src, htonl(0x0a000001));
    ck_assert_uint_eq(match.flow.nw_dst, htonl(0x0a000002));
    ck_assert_uint_eq(match.flow.tp_src, htons(1000));
    ck_assert_uint_eq(match.flow.tp_dst, htons(80));
    ck_assert_uint_eq(match.flow.nw_proto, IPPROTO_TCP);
    ck_assert(flow_wildcards_equal(&match.wc, &t->match.wc));
    nic_template_unref(t);
}
END_TEST

START_TEST(test_slots_ipv6)
{
    struct flow flow = nic_test_flow6(IPPROTO_UDP, 1, 2, 1000, 53);
    struct nic_values values = nic_test_values(&flow);
    struct nic_template *t = nic_test_tuple_template(1, &flow,
                                                     nic_test_output(2));
    struct match match;

    nic_rule_to_match(t, &values, &match);
    ck_assert(ipv6_addr_equals(&match.flow.ipv6_src, &flow.ipv6_src));
    ck_assert(ipv6_addr_equals(&match.flow.ipv6_dst, &flow.ipv6_dst));
    ck_assert(ipv6_mask_is_exact(&match.wc.masks.ipv6_dst));
    ck_assert_uint_eq(match.wc.masks.nw_src, 0);
    nic_template_unref(t);
}
END_TEST

START_TEST(test_references)
{
    struct nic_template *t = nic_test_catchall(1, 0, nic_test_output(2));
    struct nic_template *t2 = nic_template_ref(t);

    ck_assert_ptr_eq(t, t2);
    nic_template_unref(t);
    ck_assert_uint_eq(t2->in_port, 1);
    nic_template_unref(t2);
    nic_template_unref(NULL);
}
END_TEST

START_TEST(test_format)
{
    static const struct nic_action actions[] = {
        { .type = NIC_ACTION_OUTPUT, .port = 7 },
        { .type = NIC_ACTION_EGRESS, .egress = 0x10 },
        { .type = NIC_ACTION_DROP },
        { .type = NIC_ACTION_CT, .ct = { .zone = 5, .table = 0x20 } },
    };
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct nic_values values = nic_test_values(&flow);
    struct flow flow6 = nic_test_flow6(IPPROTO_TCP, 1, 2, 1000, 80);
    struct nic_values values6 = nic_test_values(&flow6);
    struct nic_template *t = nic_test_tuple_template(1, &flow, actions[0]);
    struct ds ds = DS_EMPTY_INITIALIZER;

    nic_actions_format(actions, ARRAY_SIZE(actions), &ds);
    ck_assert_str_eq(ds_cstr(&ds),
                     "output(7),egress(0x10),drop,ct(zone=5,table=0x20)");

    ds_clear(&ds);
    nic_tuple_format(&values.tuple, htons(ETH_TYPE_IP), &ds);
    ck_assert_str_eq(ds_cstr(&ds), "10.0.0.1:1000->10.0.0.2:80");

    ds_clear(&ds);
    nic_tuple_format(&values6.tuple, htons(ETH_TYPE_IPV6), &ds);
    ck_assert_str_eq(ds_cstr(&ds),
                     "[2001:db8::1]:1000->[2001:db8::2]:80");

    ds_clear(&ds);
    nic_rule_format(t, &values, &ds);
    ck_assert_str_eq(ds_cstr(&ds),
                     "port=1,table=0,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,"
                     "nw_frag=no,tp_src=1000,tp_dst=80 actions=output(7)");
    ds_destroy(&ds);
    nic_template_unref(t);
}
END_TEST

/* Returns what nic_actions_format() makes of 'a', in a static buffer. */
static const char *
format_action(struct nic_action a)
{
    static struct ds ds = DS_EMPTY_INITIALIZER;

    ds_clear(&ds);
    nic_actions_format(&a, 1, &ds);
    return ds_cstr(&ds);
}

static struct nic_action
set_action(enum nic_field field, const char *value, const char *mask,
           size_t len)
{
    struct nic_action a = { .type = NIC_ACTION_SET };

    a.set.field = field;
    memcpy(a.set.value, value, len);
    if (mask) {
        memcpy(a.set.mask, mask, len);
    } else {
        memset(a.set.mask, 0xff, len);
    }
    return a;
}

START_TEST(test_format_every_action)
{
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct flow to = nic_test_flow4(IPPROTO_TCP, 3, 4, 2000, 81);
    struct nic_action actions[] = {
        { .type = NIC_ACTION_SET_TUPLE, .parts = NIC_TUPLE_DST },
        nic_test_output(2),
    };
    struct nic_values values = nic_test_values(&flow);
    struct ds ds = DS_EMPTY_INITIALIZER;
    struct nic_template *t;
    struct match match;

    ck_assert_str_eq(format_action(set_action(NIC_FIELD_ETH_SRC,
                                              "\1\2\3\4\5\6", NULL, 6)),
                     "set(eth_src=01:02:03:04:05:06)");
    ck_assert_str_eq(format_action(set_action(NIC_FIELD_ETH_DST,
                                              "\1\2\3\4\5\6",
                                              "\377\0\0\0\0\0", 6)),
                     "set(eth_dst=01:02:03:04:05:06/ff:00:00:00:00:00)");
    ck_assert_str_eq(format_action(set_action(NIC_FIELD_VLAN_TCI, "\0\7",
                                              "\17\377", 2)),
                     "set(vlan_tci=0x7/0xfff)");
    ck_assert_str_eq(format_action(set_action(NIC_FIELD_IP_SRC, "\12\0\0\1",
                                              NULL, 4)),
                     "set(ip_src=10.0.0.1)");
    ck_assert_str_eq(format_action(set_action(NIC_FIELD_IP_DST,
                                              "\40\1\15\270\0\0\0\0\0\0"
                                              "\0\0\0\0\0\1", NULL, 16)),
                     "set(ip_dst=2001:db8::1)");
    ck_assert_str_eq(format_action(set_action(NIC_FIELD_IP_TOS, "\4", "\374",
                                              1)), "set(ip_tos=0x4/0xfc)");
    ck_assert_str_eq(format_action(set_action(NIC_FIELD_IP_TTL, "\77", NULL,
                                              1)), "set(ip_ttl=63)");
    ck_assert_str_eq(format_action(set_action(NIC_FIELD_IPV6_LABEL,
                                              "\0\0\1\0", NULL, 4)),
                     "set(ipv6_label=0x100)");
    ck_assert_str_eq(format_action(set_action(NIC_FIELD_TP_SRC, "\0\120",
                                              NULL, 2)), "set(tp_src=80)");
    ck_assert_str_eq(format_action(set_action(NIC_FIELD_TP_DST, "\0\120",
                                              "\0\377", 2)),
                     "set(tp_dst=80/0xff)");
    ck_assert_str_eq(
        format_action((struct nic_action) {
                .type = NIC_ACTION_PUSH_VLAN,
                .vlan = { htons(ETH_TYPE_VLAN_8021AD), htons(0x6007) } }),
        "push_vlan(tpid=0x88a8,vid=7,pcp=3)");
    ck_assert_str_eq(format_action((struct nic_action) {
                .type = NIC_ACTION_POP_VLAN }), "pop_vlan");
    ck_assert_str_eq(format_action((struct nic_action) {
                .type = NIC_ACTION_CT_CLEAR }), "ct_clear");
    ck_assert_str_eq(
        format_action((struct nic_action) {
                .type = NIC_ACTION_CT,
                .ct = { .zone = 5, .nat = true, .orig_only = true,
                        .table = NIC_TABLE_NONE, .mark = 1, .mark_mask = 3,
                        .label.u64.lo = 16, .label_mask.u64.lo = 255 } }),
        "ct(zone=5,nat,orig_only,mark=0x1/0x3,label=0x10/0xff)");

    match_init_catchall(&match);
    match_set_dl_type(&match, flow.dl_type);
    match_set_nw_proto(&match, flow.nw_proto);
    t = nic_template_create(1, 0, &match, NIC_SLOT_TUPLE | NIC_SLOT_REWRITE,
                            actions, 2);
    values.rewrite = nic_test_tuple(&to, false);
    nic_rule_format(t, &values, &ds);
    ck_assert_str_eq(ds_cstr(&ds),
                     "port=1,table=0,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,"
                     "tp_src=1000,tp_dst=80 "
                     "actions=set_tuple(dst),output(2) "
                     "rewrite=10.0.0.3:2000->10.0.0.4:81");
    nic_template_unref(t);
    ds_destroy(&ds);
}
END_TEST

START_TEST(test_field_len)
{
    const ovs_be16 ip = htons(ETH_TYPE_IP), ip6 = htons(ETH_TYPE_IPV6);

    ck_assert_uint_eq(nic_field_len(NIC_FIELD_ETH_SRC, ip), 6);
    ck_assert_uint_eq(nic_field_len(NIC_FIELD_ETH_DST, 0), 6);
    ck_assert_uint_eq(nic_field_len(NIC_FIELD_VLAN_TCI, 0), 2);
    ck_assert_uint_eq(nic_field_len(NIC_FIELD_IP_SRC, ip), 4);
    ck_assert_uint_eq(nic_field_len(NIC_FIELD_IP_DST, ip6), 16);
    ck_assert_uint_eq(nic_field_len(NIC_FIELD_IP_TOS, ip6), 1);
    ck_assert_uint_eq(nic_field_len(NIC_FIELD_IP_TTL, ip), 1);
    ck_assert_uint_eq(nic_field_len(NIC_FIELD_IPV6_LABEL, ip6), 4);
    ck_assert_uint_eq(nic_field_len(NIC_FIELD_TP_SRC, ip), 2);
    ck_assert_uint_eq(nic_field_len(NIC_FIELD_TP_DST, ip6), 2);
}
END_TEST

START_TEST(test_check)
{
    const struct nic_action out = nic_test_output(2);
    const struct nic_action drop = { .type = NIC_ACTION_DROP };
    const struct nic_action egress = { .type = NIC_ACTION_EGRESS };
    const struct nic_action set = set_action(NIC_FIELD_IP_TTL, "\1", NULL, 1);
    const struct nic_action bad_set = set_action(99, "\1", NULL, 1);
    const struct nic_action tuple = {
        .type = NIC_ACTION_SET_TUPLE, .parts = NIC_TUPLE_SRC
    };
    const struct nic_action no_parts = { .type = NIC_ACTION_SET_TUPLE };
    const struct nic_action ct = {
        .type = NIC_ACTION_CT, .ct.table = 5
    };
    const struct nic_action ct_none = {
        .type = NIC_ACTION_CT, .ct.table = NIC_TABLE_NONE
    };
    const struct nic_action bad = { .type = 99 };
    const struct {
        struct nic_action actions[3];
        size_t n;
        enum nic_slots slots;
        bool ok;
    } lists[] = {
        { { out }, 1, 0, true },
        { { egress }, 1, 0, true },
        { { drop }, 1, 0, true },
        { { ct }, 1, 0, true },
        { { out, out, drop }, 3, 0, true },
        { { set, ct_none, out }, 3, 0, true },
        { { tuple, out }, 2, NIC_SLOT_REWRITE, true },
        { { ct_none, set, ct }, 3, 0, true },
        { { out }, 0, 0, false },
        { { set }, 1, 0, false },
        { { ct_none }, 1, 0, false },
        { { drop, out }, 2, 0, false },
        { { ct, out }, 2, 0, false },
        { { bad, out }, 2, 0, false },
        { { bad_set, out }, 2, 0, false },
        { { tuple, out }, 2, 0, false },
        { { tuple, out }, 2, NIC_SLOT_TUPLE, false },
        { { no_parts, out }, 2, NIC_SLOT_REWRITE, false },
        { { tuple, tuple, out }, 3, NIC_SLOT_REWRITE, false },
        { { out }, 1, 8, false },
    };
    struct match match, any;

    match_init_catchall(&any);
    match = any;
    match_set_dl_type(&match, htons(ETH_TYPE_IP));
    match_set_nw_proto(&match, IPPROTO_UDP);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        ck_assert_msg(!nic_template_check(1, 0, &match, lists[i].slots,
                                          lists[i].actions, lists[i].n)
                      == lists[i].ok, "%"PRIuSIZE, i);
    }
    ck_assert(nic_template_check(NIC_PORT_NONE, 0, &match, 0, &out, 1));
    ck_assert(nic_template_check(1, NIC_TABLE_NONE, &match, 0, &out, 1));
    ck_assert(nic_template_check(1, 0, &any, NIC_SLOT_TUPLE, &out, 1));
    ck_assert(nic_template_check(1, 0, &any, NIC_SLOT_REWRITE, &out, 1));
}
END_TEST

START_TEST(test_roles)
{
    enum nic_port_role role;

    ck_assert(nic_port_role_from_string("vf", &role));
    ck_assert_int_eq(role, NIC_PORT_VF);
    ck_assert(nic_port_role_from_string("uplink", &role));
    ck_assert_int_eq(role, NIC_PORT_UPLINK);
    ck_assert(!nic_port_role_from_string("pf", &role));
    ck_assert_int_eq(role, NIC_PORT_UPLINK);
    ck_assert_str_eq(nic_port_role_to_string(NIC_PORT_VF), "vf");
    ck_assert_str_eq(nic_op_type_to_string(NIC_OP_RULE_ADD), "add rule");
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("nic-rule");
    TCase *tc = tcase_create("nic-rule");

    tcase_add_test(tc, test_slots);
    tcase_add_test(tc, test_slots_ipv6);
    tcase_add_test(tc, test_references);
    tcase_add_test(tc, test_format);
    tcase_add_test(tc, test_format_every_action);
    tcase_add_test(tc, test_field_len);
    tcase_add_test(tc, test_check);
    tcase_add_test(tc, test_roles);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
