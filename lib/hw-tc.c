/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "hw-tc.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "util.h"

static const char feature[] = "hw-tc-offload";

/* An answer with the names of all features has some kilobytes. */
#define MAX_ANSWER 32768

/* Sends 'request' and has 'cb' look at the answer.  Returns true if there was
 * one and no error. */
static bool
transact(struct mnl_socket *sock, const struct nlmsghdr *request, mnl_cb_t cb,
         void *aux)
{
    uint32_t buf[MAX_ANSWER / sizeof(uint32_t)];
    ssize_t n;

    do {
        n = mnl_socket_sendto(sock, request, request->nlmsg_len);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return false;
    }

    /* The answer, then an acknowledgement, which is where it ends. */
    for (;;) {
        int retval;

        do {
            n = mnl_socket_recvfrom(sock, buf, sizeof buf);
        } while (n < 0 && errno == EINTR);
        if (n < 0) {
            return false;
        }
        retval = mnl_cb_run(buf, n, request->nlmsg_seq,
                            mnl_socket_get_portid(sock), cb, aux);
        if (retval <= MNL_CB_STOP) {
            return retval == MNL_CB_STOP;
        }
    }
}

static struct nlmsghdr *
put_request(void *buf, uint16_t type, uint8_t cmd, uint32_t seq)
{
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    struct genlmsghdr *genl;

    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    nlh->nlmsg_seq = seq;
    genl = mnl_nlmsg_put_extra_header(nlh, sizeof *genl);
    genl->cmd = cmd;
    genl->version = 1;
    return nlh;
}

static int
note_family(const struct nlmsghdr *nlh, void *family_)
{
    uint16_t *family = family_;
    const struct nlattr *attr;

    mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
        if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID
            && !mnl_attr_validate(attr, MNL_TYPE_U16)) {
            *family = mnl_attr_get_u16(attr);
        }
    }
    return MNL_CB_OK;
}

static int
note_answer(const struct nlmsghdr *nlh, void *state_)
{
    enum hw_tc *state = state_;

    *state = hw_tc_parse(nlh);
    return MNL_CB_OK;
}

enum hw_tc
hw_tc_query(int ifindex)
{
    struct mnl_socket *sock = mnl_socket_open2(NETLINK_GENERIC,
                                               SOCK_CLOEXEC | SOCK_NONBLOCK);
    enum hw_tc state = HW_TC_UNKNOWN;
    struct nlmsghdr *nlh;
    uint16_t family = 0;
    struct nlattr *nest;
    uint32_t buf[64];

    if (!sock) {
        return HW_TC_UNKNOWN;
    }
    if (!mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID)) {
        nlh = put_request(buf, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
        mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, ETHTOOL_GENL_NAME);
        if (transact(sock, nlh, note_family, &family) && family) {
            nlh = put_request(buf, family, ETHTOOL_MSG_FEATURES_GET, 2);
            nest = mnl_attr_nest_start(nlh, ETHTOOL_A_FEATURES_HEADER);
            mnl_attr_put_u32(nlh, ETHTOOL_A_HEADER_DEV_INDEX, ifindex);
            mnl_attr_nest_end(nlh, nest);
            if (!transact(sock, nlh, note_answer, &state)) {
                state = HW_TC_UNKNOWN;
            }
        }
    }
    mnl_socket_close(sock);
    return state;
}

const char *
hw_tc_problem(enum hw_tc state)
{
    switch (state) {
    case HW_TC_NONE:
        return "the device does not offload (hw-tc-offload is off, fixed)";
    case HW_TC_OFF:
        return ("the device does not offload (hw-tc-offload is off, see "
                "ethtool -K)");
    case HW_TC_UNKNOWN:
    case HW_TC_ON:
        return NULL;
    default:
        OVS_NOT_REACHED();
    }
}

/* Answers. */

/* Returns the attribute of 'type' in 'nest', null if there is none or it is
 * not of 'data_type'. */
static const struct nlattr *
find_attr(const struct nlattr *nest, uint16_t type,
          enum mnl_attr_data_type data_type)
{
    const struct nlattr *attr;

    mnl_attr_for_each_nested(attr, nest) {
        if (mnl_attr_get_type(attr) == type) {
            return mnl_attr_validate(attr, data_type) ? NULL : attr;
        }
    }
    return NULL;
}

/* Stores in '*on' whether the feature is on in 'set'.  Returns false if 'set'
 * is malformed. */
static bool
parse_set(const struct nlattr *set, bool *on)
{
    const struct nlattr *bits = find_attr(set, ETHTOOL_A_BITSET_BITS,
                                          MNL_TYPE_NESTED);
    const struct nlattr *bit;

    *on = false;
    if (!bits) {
        return false;
    }
    mnl_attr_for_each_nested(bit, bits) {
        const struct nlattr *name;

        if (mnl_attr_get_type(bit) != ETHTOOL_A_BITSET_BITS_BIT
            || mnl_attr_validate(bit, MNL_TYPE_NESTED)) {
            return false;
        }
        name = find_attr(bit, ETHTOOL_A_BITSET_BIT_NAME, MNL_TYPE_NUL_STRING);
        if (name && !strcmp(mnl_attr_get_str(name), feature)) {
            /* A set without a mask is a list of what is on. */
            *on = (find_attr(set, ETHTOOL_A_BITSET_NOMASK, MNL_TYPE_FLAG)
                   || find_attr(bit, ETHTOOL_A_BITSET_BIT_VALUE,
                                MNL_TYPE_FLAG));
        }
    }
    return true;
}

enum hw_tc
hw_tc_parse(const struct nlmsghdr *nlh)
{
    bool there[ETHTOOL_A_FEATURES_MAX + 1] = { false };
    bool on[ETHTOOL_A_FEATURES_MAX + 1] = { false };
    const struct nlattr *attr;

    if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct genlmsghdr)) {
        return HW_TC_UNKNOWN;
    }
    mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
        uint16_t type = mnl_attr_get_type(attr);

        if (type == ETHTOOL_A_FEATURES_HW
            || type == ETHTOOL_A_FEATURES_ACTIVE) {
            if (mnl_attr_validate(attr, MNL_TYPE_NESTED)
                || !parse_set(attr, &on[type])) {
                return HW_TC_UNKNOWN;
            }
            there[type] = true;
        }
    }
    return (!there[ETHTOOL_A_FEATURES_HW]
            || !there[ETHTOOL_A_FEATURES_ACTIVE] ? HW_TC_UNKNOWN
            : on[ETHTOOL_A_FEATURES_ACTIVE] ? HW_TC_ON
            : on[ETHTOOL_A_FEATURES_HW] ? HW_TC_OFF
            : HW_TC_NONE);
}
