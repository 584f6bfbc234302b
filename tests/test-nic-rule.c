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
    tcase_add_test(tc, test_roles);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
