/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "lib/flower.h"

#include <libmnl/libmnl.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>

#include "nic-match.h"
#include "tests/flower-test.h"
#include "tests/nic-test.h"

#define N_RULES 20000
#define N_MUTATIONS 200000

static const struct flower_test_ports ports = {
    .port = { 2, 3, 17, 70000 },
    .n = 4,
};

static const struct flower_info info = {
    .place = { .ifindex = 7, .chain = 3, .prio = 4097, .handle = 42 },
    .policy = FLOWER_SKIP_HW,
    .cookie = UINT64_C(0x123456789abcdef0),
};

static uint32_t buf[FLOWER_MAX_LEN / 4];

static void
check_equal(const struct flower_rule *expected,
            const struct flower_rule *actual)
{
    if (!flower_rule_equals(expected, actual)) {
        char *a = flower_test_to_string(expected);
        char *b = flower_test_to_string(actual);

        ck_abort_msg("expected %s, decoded %s", a, b);
    }
}

/* Encodes 'rule' and decodes it again. */
static void
check_round_trip(const struct flower_rule *rule)
{
    struct flower_info in = info, out;
    struct flower_rule decoded;
    struct nlmsghdr *nlh;
    const char *why;

    in.place.protocol = flower_protocol(&rule->match);
    nlh = flower_encode(buf, &in, rule, NLM_F_REQUEST, 1);
    ck_assert(mnl_nlmsg_ok(nlh, FLOWER_MAX_LEN));

    why = flower_decode_rule(nlh, &decoded);
    ck_assert_msg(!why, "%s: %s", why, flower_test_to_string(rule));
    check_equal(rule, &decoded);

    ck_assert_ptr_null(flower_decode_info(nlh, &out));
    ck_assert_mem_eq(&in.place, &out.place, sizeof in.place);
    ck_assert_int_eq(out.policy, in.policy);
    ck_assert(out.ours);
    ck_assert_uint_eq(out.cookie, in.cookie);
}

/* Stores in '*rule' a random rule that can be encoded. */
static void
random_rule(struct flower_rule *rule, size_t *n_refused)
{
    const char *why;

    do {
        struct nic_values values;
        struct nic_template *t = flower_test_template(&ports, 1 << 28,
                                                      &values);

        why = flower_rule_init(rule, t, &values);
        if (!why) {
            why = flower_rule_check(rule);
        }
        nic_template_unref(t);
        *n_refused += why != NULL;
    } while (why);
}

START_TEST(test_random)
{
    size_t n_refused = 0;

    random_set_seed(1);
    for (size_t i = 0; i < N_RULES; i++) {
        struct flower_rule rule;

        random_rule(&rule, &n_refused);
        check_round_trip(&rule);
    }
    /* Else it is not much of a test. */
    ck_assert_uint_lt(n_refused, N_RULES);
}
END_TEST

/* What comes from elsewhere is decoded as something that can be encoded, or
 * refused.  Sanitizers see more than this test. */
START_TEST(test_mutated)
{
    uint32_t copy[ARRAY_SIZE(buf)];
    size_t n_decoded = 0, n_refused = 0;

    random_set_seed(2);
    for (size_t i = 0; i < N_MUTATIONS; i++) {
        uint8_t *bytes = (uint8_t *) copy;
        struct flower_info in = info;
        struct flower_rule rule;
        struct nlmsghdr *nlh;
        char *heap;

        if (!(i % 50)) {
            random_rule(&rule, &n_refused);
            in.place.protocol = flower_protocol(&rule.match);
            flower_encode(buf, &in, &rule, NLM_F_REQUEST, 1);
        }
        nlh = (struct nlmsghdr *) buf;
        size_t len = nlh->nlmsg_len;
        memcpy(copy, buf, len);
        for (int n = 1 + random_range(3); n > 0; n--) {
            size_t ofs = sizeof *nlh + random_range(len - sizeof *nlh);

            switch (random_range(3)) {
            case 0:
                bytes[ofs] ^= 1 << random_range(8);
                break;
            case 1:
                bytes[ofs] = random_range(256);
                break;
            default:
                bytes[ofs] = bytes[ofs] + (random_range(2) ? 4 : -4);
                break;
            }
        }
        nlh = (struct nlmsghdr *) copy;
        if (!random_range(8)) {
            nlh->nlmsg_len = sizeof *nlh + random_range(len - sizeof *nlh);
        }
        /* Of exactly this size, so that ASan sees what is read beyond. */
        heap = xmemdup(nlh, nlh->nlmsg_len);
        nlh = ALIGNED_CAST(struct nlmsghdr *, heap);
        if (mnl_nlmsg_ok(nlh, nlh->nlmsg_len)) {
            struct flower_info out;

            flower_decode_info(nlh, &out);
            if (!flower_decode_rule(nlh, &rule)) {
                const char *why = flower_rule_check(&rule);

                n_decoded++;
                ck_assert_msg(!why, "%s: %s", why,
                              flower_test_to_string(&rule));
                memcpy(copy, buf, len);
                check_round_trip(&rule);
                memcpy(buf, copy, len);
            }
        }
        free(heap);
    }
    ck_assert_uint_gt(n_decoded, N_MUTATIONS / 100);
    ck_assert_uint_lt(n_decoded, N_MUTATIONS);
}
END_TEST

/* Refusals. */

static struct match
tcp_match(void)
{
    struct match match;

    match_init_catchall(&match);
    match.wc.masks.vlans[0].tci = OVS_BE16_MAX;
    match_set_dl_type(&match, htons(ETH_TYPE_IP));
    match_set_nw_proto(&match, IPPROTO_TCP);
    match_set_nw_frag(&match, 0);
    return match;
}

static const struct nic_action output = { .type = NIC_ACTION_OUTPUT,
                                          .port = 3 };

/* Returns why 'match' and 'actions' cannot be encoded, "" if they can. */
static const char *
refusal(const struct match *match, const struct nic_action actions[],
        size_t n)
{
    struct nic_template *t = nic_template_create(1, NIC_TABLE_ROOT, match,
                                                 NIC_SLOT_NONE, actions, n);
    struct flower_rule rule;
    const char *why;

    why = flower_rule_init(&rule, t, NULL);
    if (!why) {
        why = flower_rule_check(&rule);
    }
    nic_template_unref(t);
    return why ? why : "";
}

#define CHECK_REFUSED(MATCH, WHY)                                       \
    ck_assert_str_eq(refusal(MATCH, &output, 1), WHY)

START_TEST(test_refuse_match)
{
    struct match match = tcp_match();

    CHECK_REFUSED(&match, "");

    match = tcp_match();
    match.wc.masks.vlans[0].qtag = 0;
    CHECK_REFUSED(&match, "tc-flower cannot leave open how many VLAN tags "
                  "there are");

    match = tcp_match();
    match_set_vlan_vid(&match, htons(5));
    match.wc.masks.vlans[0].tci = htons(VLAN_CFI | VLAN_VID_MASK);
    match.flow.vlans[0].tci = htons(VLAN_CFI | 5);
    CHECK_REFUSED(&match, "tc-flower cannot leave open what type a VLAN tag "
                  "is of");
    nic_match_narrow(&match, false);
    CHECK_REFUSED(&match, "");
    ck_assert_uint_eq(match.flow.vlans[0].tpid, htons(ETH_TYPE_VLAN_8021Q));
    ck_assert_uint_eq(match.wc.masks.vlans[1].qtag, OVS_BE32_MAX);
    match.wc.masks.vlans[0].tci = htons(VLAN_CFI | 0xff);
    CHECK_REFUSED(&match, "tc-flower cannot match part of a VLAN id");

    match = tcp_match();
    match_set_dl_type(&match, htons(ETH_TYPE_IPV6));
    match_set_ipv6_label(&match, htonl(7));
    CHECK_REFUSED(&match, "tc-flower cannot match the IPv6 flow label");

    match = tcp_match();
    match_set_pkt_mark(&match, 1);
    CHECK_REFUSED(&match, "tc-flower lacks a field that is matched");
    match = tcp_match();
    match_set_ct_state(&match, 1);
    CHECK_REFUSED(&match, "connection tracking is matched, which stays with "
                  "the software");

    match = tcp_match();
    match_set_nw_frag_masked(&match, 0, FLOW_NW_FRAG_LATER);
    CHECK_REFUSED(&match, "tc-flower cannot tell packets that are not later "
                  "fragments");

    match_init_catchall(&match);
    CHECK_REFUSED(&match, "");
    match_set_nw_proto(&match, 6);
    CHECK_REFUSED(&match, "fields of IP are matched in packets that may not "
                  "be IP");
}
END_TEST

static struct nic_action
set_action(enum nic_field field)
{
    struct nic_action a = { .type = NIC_ACTION_SET };

    a.set.field = field;
    memset(a.set.value, 0x11, NIC_FIELD_MAX_LEN);
    memset(a.set.mask, 0xff, NIC_FIELD_MAX_LEN);
    return a;
}

/* Returns why a rule that sets 'field' in packets of 'match' cannot be
 * encoded. */
static const char *
set_refusal(const struct match *match, enum nic_field field)
{
    const struct nic_action actions[] = { set_action(field), output };

    return refusal(match, actions, ARRAY_SIZE(actions));
}

START_TEST(test_refuse_action)
{
    struct nic_action actions[NIC_MAX_ACTIONS];
    struct match match = tcp_match();

    ck_assert_str_eq(set_refusal(&match, NIC_FIELD_IP_SRC), "");
    ck_assert_str_eq(set_refusal(&match, NIC_FIELD_TP_DST), "");
    ck_assert_str_eq(set_refusal(&match, NIC_FIELD_VLAN_TCI),
                     "changes the VLAN tag of packets that have none");
    ck_assert_str_eq(set_refusal(&match, NIC_FIELD_IPV6_LABEL),
                     "sets the flow label of packets that are not IPv6");

    match.wc.masks.nw_frag = 0;
    ck_assert_str_eq(set_refusal(&match, NIC_FIELD_IP_SRC),
                     "sets addresses or ports of packets that may be "
                     "fragments");
    ck_assert_str_eq(set_refusal(&match, NIC_FIELD_IP_TTL), "");

    match = tcp_match();
    match_set_nw_proto_masked(&match, 0, 0);
    ck_assert_str_eq(set_refusal(&match, NIC_FIELD_IP_SRC),
                     "sets addresses of packets that may be of any protocol");
    ck_assert_str_eq(set_refusal(&match, NIC_FIELD_TP_SRC),
                     "sets ports of packets that may be neither TCP nor UDP");

    match = tcp_match();
    for (size_t i = 0; i < 2; i++) {
        match.flow.vlans[i].tpid = htons(ETH_TYPE_VLAN_8021Q);
        match.flow.vlans[i].tci = htons(VLAN_CFI | 5);
        match.wc.masks.vlans[i].qtag = OVS_BE32_MAX;
    }
    ck_assert_str_eq(set_refusal(&match, NIC_FIELD_ETH_SRC), "");
    ck_assert_str_eq(set_refusal(&match, NIC_FIELD_IP_TTL),
                     "the kernel does not find the IP header below more than "
                     "one VLAN tag");

    /* Two tc actions for each: more than the kernel takes. */
    match = tcp_match();
    for (size_t i = 0; i < 22; i++) {
        actions[i] = i % 2 ? output : set_action(NIC_FIELD_IP_TTL);
    }
    ck_assert_str_eq(refusal(&match, actions, 20), "");
    ck_assert_str_eq(refusal(&match, actions, 22),
                     "the kernel does not execute so many actions");

    actions[0] = (struct nic_action) { .type = NIC_ACTION_CT };
    actions[0].ct.table = NIC_TABLE_NONE;
    actions[1] = output;
    ck_assert_str_eq(refusal(&match, actions, 2),
                     "connection tracking stays with the software");
}
END_TEST

/* The words of a rule that sets an address, as the kernel reads them. */
START_TEST(test_wire)
{
    struct match match = tcp_match();
    struct nic_action actions[] = { set_action(NIC_FIELD_IP_DST), output };
    struct flower_info in = info, out;
    struct flower_rule rule;
    struct nlmsghdr *nlh;
    struct nic_template *t;

    t = nic_template_create(1, NIC_TABLE_ROOT, &match, NIC_SLOT_NONE, actions,
                            2);
    ck_assert_ptr_null(flower_rule_init(&rule, t, NULL));
    nic_template_unref(t);
    ck_assert_ptr_null(flower_rule_check(&rule));
    in.place.protocol = flower_protocol(&rule.match);
    ck_assert_uint_eq(in.place.protocol, ETH_TYPE_IP);
    nlh = flower_encode(buf, &in, &rule, NLM_F_REQUEST | NLM_F_CREATE, 9);
    ck_assert_uint_eq(nlh->nlmsg_type, RTM_NEWTFILTER);
    ck_assert_uint_eq(nlh->nlmsg_seq, 9);
    ck_assert_uint_eq(nlh->nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE);

    const struct tcmsg *tcm = mnl_nlmsg_get_payload(nlh);
    ck_assert_int_eq(tcm->tcm_ifindex, 7);
    ck_assert_uint_eq(tcm->tcm_parent, 0xfffffff2);
    ck_assert_uint_eq(tcm->tcm_info, 4097u << 16 | htons(ETH_TYPE_IP));
    ck_assert_uint_eq(tcm->tcm_handle, 42);

    nlh = flower_encode_place(buf, &in.place, RTM_DELTFILTER, NLM_F_REQUEST,
                              10);
    ck_assert_uint_lt(nlh->nlmsg_len, 128);
    ck_assert_str_eq(flower_decode_info(nlh, &out),
                     "not a filter but the place for some");
    ck_assert_uint_eq(out.place.prio, 4097);
    ck_assert_uint_eq(out.place.chain, 3);
}
END_TEST

/* The order in which fields are set does not matter, the last value counts. */
START_TEST(test_canonical)
{
    struct nic_action a[4] = {
        set_action(NIC_FIELD_TP_DST), set_action(NIC_FIELD_IP_TTL),
        set_action(NIC_FIELD_TP_DST), output,
    };
    struct match match = tcp_match();
    struct flower_rule rule;
    struct nic_template *t;

    memset(a[2].set.value, 0x22, sizeof a[2].set.value);
    memset(a[2].set.mask, 0, sizeof a[2].set.mask);
    a[2].set.mask[1] = 0xff;
    t = nic_template_create(1, NIC_TABLE_ROOT, &match, NIC_SLOT_NONE, a, 4);
    ck_assert_ptr_null(flower_rule_init(&rule, t, NULL));
    nic_template_unref(t);
    ck_assert_uint_eq(rule.n_actions, 3);
    ck_assert_int_eq(rule.actions[0].set.field, NIC_FIELD_IP_TTL);
    ck_assert_int_eq(rule.actions[1].set.field, NIC_FIELD_TP_DST);
    ck_assert_uint_eq(rule.actions[1].set.value[0], 0x11);
    ck_assert_uint_eq(rule.actions[1].set.value[1], 0x22);
    check_round_trip(&rule);
}
END_TEST

START_TEST(test_policy)
{
    enum flower_policy policy;

    for (policy = FLOWER_BOTH; policy <= FLOWER_SKIP_HW; policy++) {
        enum flower_policy again;

        ck_assert(flower_policy_from_string(flower_policy_to_string(policy),
                                            &again));
        ck_assert_int_eq(policy, again);
    }
    ck_assert(!flower_policy_from_string("skip", &policy));
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("flower");
    TCase *tc = tcase_create("flower");

    tcase_add_test(tc, test_random);
    tcase_add_test(tc, test_mutated);
    tcase_add_test(tc, test_refuse_match);
    tcase_add_test(tc, test_refuse_action);
    tcase_add_test(tc, test_wire);
    tcase_add_test(tc, test_canonical);
    tcase_add_test(tc, test_policy);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
