/* SPDX-License-Identifier: Apache-2.0 */

/* Random filters through the kernel and back.
 *
 * usage: tc-filters [--ipv6-prefixes] SEED N DEVICE PORT...
 *
 * Adds N random rules to the ingress of DEVICE, which has a qdisc "clsact" and
 * no filters; reads them back and compares.  Rules output to PORTs.  The rule
 * of priority I + 1 is printed as one line of JSON, which tests/tc-json.py
 * compares with what tc(8) prints. */

#include <config.h>

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/flower.h"
#include "tests/flower-test.h"
#include "util.h"

static uint32_t buf[FLOWER_MAX_LEN / 4];
static struct mnl_socket *sock;
static uint32_t seq;

static struct flower_rule *rules;
static bool *seen;
static size_t n_rules;
static int ifindex;

static void
add(size_t i)
{
    struct flower_info info = {
        .place = { .ifindex = ifindex, .prio = i + 1, .handle = 7 },
        .policy = FLOWER_SKIP_HW,
        .cookie = i,
    };
    struct nlmsghdr *nlh;
    ssize_t n;

    info.place.protocol = flower_protocol(&rules[i].match);
    nlh = flower_encode(buf, &info, &rules[i], NLM_F_REQUEST | NLM_F_CREATE
                        | NLM_F_EXCL | NLM_F_ACK, ++seq);
    if (mnl_socket_sendto(sock, nlh, nlh->nlmsg_len) < 0) {
        ovs_fatal(errno, "sendto");
    }
    n = mnl_socket_recvfrom(sock, buf, sizeof buf);
    if (n < 0) {
        ovs_fatal(errno, "recvfrom");
    }
    nlh = (struct nlmsghdr *) buf;
    ovs_assert(mnl_nlmsg_ok(nlh, n) && nlh->nlmsg_seq == seq);
    if (nlh->nlmsg_type != NLMSG_ERROR) {
        ovs_fatal(0, "no acknowledgement");
    }
    const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);
    if (err->error) {
        ovs_fatal(-err->error, "the kernel refuses rule %"PRIuSIZE": %s", i,
                  flower_test_to_string(&rules[i]));
    }
}

static int
check(const struct nlmsghdr *nlh, void *aux OVS_UNUSED)
{
    struct flower_rule rule;
    struct flower_info info;
    const char *why;
    size_t i;

    why = flower_decode_info(nlh, &info);
    if (why) {
        return MNL_CB_OK;
    }
    if (!info.ours || info.cookie >= n_rules
        || info.place.prio != info.cookie + 1 || info.place.handle != 7) {
        ovs_fatal(0, "a filter of priority %u has lost its mark",
                  info.place.prio);
    }
    i = info.cookie;
    why = flower_decode_rule(nlh, &rule);
    if (why || !flower_rule_equals(&rule, &rules[i])) {
        ovs_fatal(0, "rule %"PRIuSIZE": %s\ncame back as: %s", i,
                  flower_test_to_string(&rules[i]),
                  why ? why : flower_test_to_string(&rule));
    }
    seen[i] = true;
    return MNL_CB_OK;
}

static void
dump(void)
{
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    struct tcmsg *tcm;
    ssize_t n;

    nlh->nlmsg_type = RTM_GETTFILTER;
    nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    nlh->nlmsg_seq = ++seq;
    tcm = mnl_nlmsg_put_extra_header(nlh, sizeof *tcm);
    tcm->tcm_ifindex = ifindex;
    tcm->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
    if (mnl_socket_sendto(sock, nlh, nlh->nlmsg_len) < 0) {
        ovs_fatal(errno, "sendto");
    }
    do {
        n = mnl_socket_recvfrom(sock, buf, sizeof buf);
        if (n < 0) {
            ovs_fatal(errno, "recvfrom");
        }
        n = mnl_cb_run(buf, n, seq, mnl_socket_get_portid(sock), check, NULL);
    } while (n > 0);
    if (n < 0) {
        ovs_fatal(errno, "dump");
    }
}

/* JSON. */

static void
print_bytes(const char *name, const void *value_, const void *mask_,
            size_t len)
{
    const uint8_t *value = value_;
    const uint8_t *mask = mask_;

    if (!is_all_zeros(mask, len)) {
        printf(", \"%s\": \"", name);
        for (size_t i = 0; i < len; i++) {
            printf("%02x", value[i]);
        }
        printf("/");
        for (size_t i = 0; i < len; i++) {
            printf("%02x", mask[i]);
        }
        printf("\"");
    }
}

static void
print_rule(size_t i)
{
    const struct flower_rule *rule = &rules[i];
    const struct flow *masks = &rule->match.wc.masks;
    const struct flow *flow = &rule->match.flow;

    printf("{\"prio\": %"PRIuSIZE", \"protocol\": %u", i + 1,
           flower_protocol(&rule->match));
#define PRINT(FIELD) \
    print_bytes(#FIELD, &flow->FIELD, &masks->FIELD, sizeof flow->FIELD)
    PRINT(dl_src);
    PRINT(dl_dst);
    PRINT(dl_type);
    for (int j = 0; j < 2; j++) {
        if (flow->vlans[j].tci & htons(VLAN_CFI)) {
            printf(", \"vlan%d\": [%d, %d, %d]", j,
                   ntohs(flow->vlans[j].tpid),
                   masks->vlans[j].tci & htons(VLAN_VID_MASK)
                   ? vlan_tci_to_vid(flow->vlans[j].tci) : -1,
                   masks->vlans[j].tci & htons(VLAN_PCP_MASK)
                   ? vlan_tci_to_pcp(flow->vlans[j].tci) : -1);
        }
    }
    PRINT(nw_proto);
    PRINT(nw_frag);
    PRINT(nw_tos);
    PRINT(nw_ttl);
    PRINT(nw_src);
    PRINT(nw_dst);
    PRINT(ipv6_src);
    PRINT(ipv6_dst);
    PRINT(tp_src);
    PRINT(tp_dst);
    PRINT(tcp_flags);
    printf(", \"actions\": [");
    for (size_t j = 0; j < rule->n_actions; j++) {
        const struct nic_action *a = &rule->actions[j];
        printf("%s{", j ? ", " : "");
        switch (a->type) {
        case NIC_ACTION_OUTPUT:
            printf("\"output\": %u", a->port);
            break;
        case NIC_ACTION_EGRESS:
            printf("\"chain\": %"PRIu64, a->egress);
            break;
        case NIC_ACTION_DROP:
            printf("\"drop\": 1");
            break;
        case NIC_ACTION_PUSH_VLAN:
            printf("\"push\": [%d, %d, %d]", ntohs(a->vlan.tpid),
                   vlan_tci_to_vid(a->vlan.tci), vlan_tci_to_pcp(a->vlan.tci));
            break;
        case NIC_ACTION_POP_VLAN:
            printf("\"pop\": 1");
            break;
        case NIC_ACTION_SET:
            printf("\"set\": \"%s\"", nic_field_name(a->set.field));
            print_bytes("value", a->set.value, a->set.mask,
                        nic_field_len(a->set.field, flow->dl_type));
            break;
        case NIC_ACTION_CT:
        case NIC_ACTION_SET_TUPLE:
        case NIC_ACTION_CT_CLEAR:
        case NIC_ACTION_JUMP:
        case NIC_ACTION_DEC_TTL:
        case NIC_ACTION_WINDOW:
        default:
            OVS_NOT_REACHED();
        }
        printf("}");
    }
    printf("]}\n");
}

int
main(int argc, char *argv[])
{
    struct flower_test_ports ports = { .n = 0 };

    set_program_name(argv[0]);
    if (argc > 1 && !strcmp(argv[1], "--ipv6-prefixes")) {
        flower_test_ipv6_prefixes = true;
        argc--;
        argv++;
    }
    if (argc < 5 || argc - 4 > FLOWER_TEST_MAX_PORTS) {
        ovs_fatal(0, "usage: %s SEED N DEVICE PORT...", program_name);
    }
    random_set_seed(atoi(argv[1]));
    n_rules = atoi(argv[2]);
    for (int i = 4; i < argc; i++) {
        ports.port[ports.n] = if_nametoindex(argv[i]);
        if (!ports.port[ports.n++]) {
            ovs_fatal(errno, "%s", argv[i]);
        }
    }
    ifindex = if_nametoindex(argv[3]);
    sock = mnl_socket_open(NETLINK_ROUTE);
    if (!ifindex || !sock || mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID)) {
        ovs_fatal(errno, "%s", argv[3]);
    }

    rules = xcalloc(n_rules, sizeof *rules);
    seen = xcalloc(n_rules, sizeof *seen);
    for (size_t i = 0; i < n_rules; i++) {
        const char *why;

        do {
            struct nic_values values;
            struct nic_template *t = flower_test_template(&ports, 1000,
                                                          &values);

            why = flower_rule_init(&rules[i], t, &values);
            why = why ? why : flower_rule_check(&rules[i]);
            nic_template_unref(t);
        } while (why);
        add(i);
        print_rule(i);
    }
    dump();
    for (size_t i = 0; i < n_rules; i++) {
        if (!seen[i]) {
            ovs_fatal(0, "rule %"PRIuSIZE" is missing: %s", i,
                      flower_test_to_string(&rules[i]));
        }
    }
    mnl_socket_close(sock);
    free(rules);
    free(seen);
    return 0;
}
