/* SPDX-License-Identifier: Apache-2.0 */

/* Answers of the kernel about a device's features, made here, and those of the
 * kernel of this machine. */

#include <config.h>

#include "lib/hw-tc.h"

#include <libmnl/libmnl.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <stdlib.h>
#include <string.h>

#include "tests/nic-test.h"

/* A message in the making. */
static uint32_t buf[1024];
static struct nlmsghdr *nlh;

static void
begin(void)
{
    nlh = mnl_nlmsg_put_header(buf);
    mnl_nlmsg_put_extra_header(nlh, sizeof(struct genlmsghdr));
}

static void
put_bit(uint32_t index, const char *name, bool value)
{
    struct nlattr *nest = mnl_attr_nest_start(nlh, ETHTOOL_A_BITSET_BITS_BIT);

    mnl_attr_put_u32(nlh, ETHTOOL_A_BITSET_BIT_INDEX, index);
    mnl_attr_put_strz(nlh, ETHTOOL_A_BITSET_BIT_NAME, name);
    if (value) {
        mnl_attr_put(nlh, ETHTOOL_A_BITSET_BIT_VALUE, 0, NULL);
    }
    mnl_attr_nest_end(nlh, nest);
}

/* Puts the set of features 'type' as the kernel does: what can be changed says
 * so for each, what is active is a list. */
static void
put_set(uint16_t type, bool hw_tc)
{
    struct nlattr *nest = mnl_attr_nest_start(nlh, type);
    bool list = type == ETHTOOL_A_FEATURES_ACTIVE;
    struct nlattr *bits;

    if (list) {
        mnl_attr_put(nlh, ETHTOOL_A_BITSET_NOMASK, 0, NULL);
    }
    mnl_attr_put_u32(nlh, ETHTOOL_A_BITSET_SIZE, 3);
    bits = mnl_attr_nest_start(nlh, ETHTOOL_A_BITSET_BITS);
    put_bit(0, "tx-scatter-gather", !list);
    if (!list || hw_tc) {
        put_bit(1, "hw-tc-offload", hw_tc && !list);
    }
    put_bit(2, "rx-all", !list);
    mnl_attr_nest_end(nlh, bits);
    mnl_attr_nest_end(nlh, nest);
}

static enum hw_tc
parse(bool hw, bool active)
{
    begin();
    put_set(ETHTOOL_A_FEATURES_HW, hw);
    put_set(ETHTOOL_A_FEATURES_WANTED, !active);
    put_set(ETHTOOL_A_FEATURES_ACTIVE, active);
    put_set(ETHTOOL_A_FEATURES_NOCHANGE, true);
    return hw_tc_parse(nlh);
}

START_TEST(test_states)
{
    ck_assert_int_eq(parse(false, false), HW_TC_NONE);
    ck_assert_int_eq(parse(true, false), HW_TC_OFF);
    ck_assert_int_eq(parse(true, true), HW_TC_ON);
    ck_assert_int_eq(parse(false, true), HW_TC_ON);

    ck_assert_ptr_null(hw_tc_problem(HW_TC_ON));
    ck_assert_ptr_null(hw_tc_problem(HW_TC_UNKNOWN));
    ck_assert_ptr_nonnull(hw_tc_problem(HW_TC_OFF));
    ck_assert_ptr_nonnull(hw_tc_problem(HW_TC_NONE));
}
END_TEST

START_TEST(test_incomplete)
{
    begin();
    ck_assert_int_eq(hw_tc_parse(nlh), HW_TC_UNKNOWN);
    put_set(ETHTOOL_A_FEATURES_ACTIVE, false);
    ck_assert_int_eq(hw_tc_parse(nlh), HW_TC_UNKNOWN);

    /* Sets of bits without names. */
    begin();
    for (int i = 0; i < 2; i++) {
        struct nlattr *nest;

        nest = mnl_attr_nest_start(nlh, i ? ETHTOOL_A_FEATURES_ACTIVE
                                          : ETHTOOL_A_FEATURES_HW);
        mnl_attr_put_u32(nlh, ETHTOOL_A_BITSET_SIZE, 3);
        mnl_attr_put_u32(nlh, ETHTOOL_A_BITSET_VALUE, 2);
        mnl_attr_nest_end(nlh, nest);
    }
    ck_assert_int_eq(hw_tc_parse(nlh), HW_TC_UNKNOWN);
}
END_TEST

/* Nothing outside a message is read, whatever is in it: for sanitizers. */
START_TEST(test_malformed)
{
    srand(1);
    for (int i = 0; i < 20000; i++) {
        struct nlmsghdr *copy;
        size_t len;

        parse(true, true);
        len = nlh->nlmsg_len;
        if (i % 2) {
            len -= rand() % (len - sizeof *nlh);
        }
        copy = xmemdup(nlh, len);
        copy->nlmsg_len = len;
        for (int n = rand() % 4; n > 0; n--) {
            size_t ofs = rand() % len;

            if (ofs >= sizeof *copy) {
                ((uint8_t *) copy)[ofs] = rand();
            }
        }
        ck_assert_int_le(hw_tc_parse(copy), HW_TC_ON);
        free(copy);
    }
}
END_TEST

START_TEST(test_kernel)
{
    enum hw_tc loopback = hw_tc_query(1);

    /* An old kernel does not know. */
    ck_assert(loopback == HW_TC_NONE || loopback == HW_TC_UNKNOWN);
    ck_assert_int_eq(hw_tc_query(0x7ffffff0), HW_TC_UNKNOWN);
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("hw-tc");
    TCase *tc = tcase_create("hw-tc");

    tcase_add_test(tc, test_states);
    tcase_add_test(tc, test_incomplete);
    tcase_add_test(tc, test_malformed);
    tcase_add_test(tc, test_kernel);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
