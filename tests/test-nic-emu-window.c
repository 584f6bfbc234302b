/* SPDX-License-Identifier: Apache-2.0 */

/* Windows of the emulated NIC: what a connection sends is always in them, and
 * what it cannot have sent is not. */

#include <config.h>
#include "lib/nic-emu-window.h"

#include "tests/nic-emu-table-test.h"

/* One end of a connection. */
struct end {
    uint32_t una, nxt;              /* Sent, and acknowledged of that. */
    uint32_t rcv;                   /* Received. */
    uint32_t edge;                  /* The other side allows to send this. */
    uint16_t win;                   /* As in packets. */
    uint8_t scale;
};

static uint32_t
window_of(const struct end *e)
{
    return (uint32_t) e->win << e->scale;
}

static void
ends_init(struct end ends[2])
{
    for (int i = 0; i < 2; i++) {
        struct end *e = &ends[i];

        e->una = e->nxt = UINT32_MAX - rnd(1000000);
        e->scale = rnd(9);
        e->win = 1 + rnd(UINT16_MAX);
    }
    for (int i = 0; i < 2; i++) {
        ends[i].rcv = ends[!i].nxt;
        ends[i].edge = ends[i].nxt + window_of(&ends[!i]);
    }
}

/* What somebody knows who has seen all of it. */
static struct nic_emu_window_state
state_of(const struct end ends[2])
{
    struct nic_emu_window_state s = {
        .enabled = true,
        .state = NIC_EMU_TCP_ESTABLISHED,
        .max_ack_window = 9,
        .max_retransmissions = UINT8_MAX,
    };

    for (int i = 0; i < 2; i++) {
        s.dirs[i] = (struct nic_emu_window_dir) {
            .scale = ends[i].scale,
            .acked = true,
            .sent_end = ends[i].nxt,
            .reply_end = ends[i].edge,
            .max_win = window_of(&ends[i]),
            .max_ack = ends[i].rcv,
        };
    }
    return s;
}

/* Lets 'src' send new data, old data again or only an ACK. */
static struct nic_emu_segment
end_send(struct end *src)
{
    struct nic_emu_segment seg = {
        .flags = TCP_ACK, .win = src->win, .ack = src->rcv, .sack = src->rcv,
    };

    if (rnd(3)) {
        seg.seq = src->nxt;
        seg.len = rnd(MIN(src->edge - src->nxt, 60000) + 1);
        src->nxt += seg.len;
    } else {
        seg.seq = src->una;
        seg.len = rnd(MIN(src->nxt - src->una, 60000) + 1);
    }
    return seg;
}

static void
end_receive(struct end *dst, const struct nic_emu_segment *seg,
            uint8_t scale)
{
    uint32_t edge = seg->ack + ((uint32_t) seg->win << scale);

    if ((int32_t) (seg->seq - dst->rcv) <= 0
        && (int32_t) (seg->seq + seg->len - dst->rcv) > 0) {
        dst->rcv = seg->seq + seg->len;
    }
    dst->una = seg->ack;
    if ((int32_t) (edge - dst->edge) > 0) {
        dst->edge = edge;
    }
}

/* Checks that what no end of the connection has sent is not in its window. */
static void
check_invalid(struct nic_emu_window *w, const struct end ends[2], bool reply)
{
    struct nic_emu_window_state before, after;
    struct nic_emu_segment seg = {
        .flags = TCP_ACK, .win = 1, .seq = ends[reply].nxt,
        .ack = ends[reply].rcv, .sack = ends[reply].rcv,
    };

    nic_emu_window_get(w, &before);
    switch (rnd(3)) {
    case 0:
        seg.len = before.dirs[reply].reply_end + 1 - seg.seq + rnd(1000);
        break;
    case 1:
        seg.seq = (before.dirs[reply].sent_end - before.dirs[!reply].max_win
                   - 1 - rnd(1000));
        break;
    default:
        seg.ack = seg.sack = before.dirs[!reply].sent_end + 1
                             + rnd(1000);
        break;
    }
    ck_assert_uint_eq(nic_emu_window_check(w, reply, &seg),
                      NIC_EMU_WINDOW_INVALID);
    nic_emu_window_get(w, &after);
    ck_assert_mem_eq(&before, &after, sizeof before);
}

START_TEST(test_random)
{
    struct nic_emu_window_state s;
    struct nic_emu_window *w;
    struct end ends[2];

    random_state = _i + 1;
    ends_init(ends);
    s = state_of(ends);
    w = nic_emu_window_create(&s, false);
    for (int i = 0; i < 20000; i++) {
        bool reply = rnd(2);
        struct nic_emu_segment seg = end_send(&ends[reply]);

        /* Lost before the NIC, or behind it. */
        if (!rnd(5)) {
            continue;
        }
        ck_assert_uint_eq(nic_emu_window_check(w, reply, &seg),
                          NIC_EMU_WINDOW_VALID);
        if (rnd(5)) {
            end_receive(&ends[!reply], &seg, ends[reply].scale);
        }
        if (!rnd(10)) {
            check_invalid(w, ends, rnd(2));
        }

        /* It goes to another NIC. */
        if (!rnd(100)) {
            nic_emu_window_get(w, &s);
            nic_emu_window_free(w);
            w = nic_emu_window_create(&s, false);
        }
    }
    nic_emu_window_free(w);
    nic_test_quiesce();
}
END_TEST

START_TEST(test_fragile)
{
    struct nic_emu_segment seg = { .flags = TCP_ACK };
    struct nic_emu_window_state s;
    struct nic_emu_window *w;
    struct end ends[2];

    ends_init(ends);
    s = state_of(ends);
    w = nic_emu_window_create(&s, true);
    seg.seq = ends[0].nxt;
    seg.ack = seg.sack = ends[0].rcv;
    ck_assert_uint_eq(nic_emu_window_check(w, false, &seg),
                      NIC_EMU_WINDOW_VALID);
    seg.ack = ++seg.sack;
    ck_assert_uint_eq(nic_emu_window_check(w, false, &seg),
                      NIC_EMU_WINDOW_INVALID);
    seg.ack = --seg.sack;
    ck_assert_uint_eq(nic_emu_window_check(w, false, &seg),
                      NIC_EMU_WINDOW_DISABLED);
    nic_emu_window_set(w, &s);
    ck_assert_uint_eq(nic_emu_window_check(w, false, &seg),
                      NIC_EMU_WINDOW_VALID);
    nic_emu_window_free(w);
    nic_test_quiesce();
}
END_TEST

/* Checks of rules: TCP, and a module. */
START_TEST(test_refused)
{
    const struct nic_action actions[] = {
        { .type = NIC_ACTION_WINDOW },
        { .type = NIC_ACTION_DROP },
    };
    const struct nic_caps no_module = { .ipv6 = true };
    struct nic_template *t;
    struct match match;

    match_init_catchall(&match);
    match_set_dl_type(&match, htons(ETH_TYPE_IP));
    for (int i = 0; i < 2; i++) {
        match_set_nw_proto(&match, i ? IPPROTO_TCP : IPPROTO_UDP);
        t = nic_template_create(IN, NIC_TABLE_ROOT, &match, NIC_SLOT_NONE,
                                actions, ARRAY_SIZE(actions));
        ck_assert_int_eq(nic_emu_check_template(t, NULL) == NULL, i);
        ck_assert_ptr_nonnull(nic_emu_check_template(t, &no_module));
        nic_template_unref(t);
    }
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("nic-emu-window");
    TCase *tc = tcase_create("nic-emu-window");

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, test_random, 0, 10);
    tcase_add_test(tc, test_fragile);
    tcase_add_test(tc, test_refused);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
