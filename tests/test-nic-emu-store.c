/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "lib/nic-emu-store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "dirs.h"
#include "hash.h"
#include "lib/nic-emu-hw.h"
#include "lib/nic-emu-pass.h"
#include "lib/nic-emu-port.h"
#include "lib/nic-emu-table.h"
#include "lib/nic-emu-grace.h"
#include "openvswitch/dynamic-string.h"
#include "smap.h"
#include "tests/nic-test.h"
#include "tests/rnd.h"

/* Writes down what the store tells, one object per line. */

static void
visit_port(void *ds, nic_port_id id, const char *name)
{
    ds_put_format(ds, "port %"PRIu32" %s\n", id, name);
}

static void
visit_egress(void *ds, nic_handle handle, nic_port_id port)
{
    ds_put_format(ds, "egress %"PRIu64" %"PRIu32"\n", handle, port);
}

static void
visit_conn(void *ds, nic_handle handle, const struct nic_conn *conn)
{
    ds_put_format(ds, "conn %"PRIu64" %"PRIu16" ", handle, conn->zone);
    nic_tuple_format(&conn->tuple[0], conn->dl_type, ds);
    for (int i = 0; i < 2; i++) {
        if (conn->nat_parts[i]) {
            ds_put_format(ds, " nat%d=%u:%#x:", i, conn->nat_parts[i],
                          conn->nat_state[i]);
            nic_tuple_format(&conn->translated[i], conn->dl_type, ds);
        }
    }
    if (conn->mark) {
        ds_put_format(ds, " mark=%"PRIu32" label=%"PRIu64":%"PRIu64,
                      conn->mark, conn->label.u64.hi, conn->label.u64.lo);
    }
    ds_put_char(ds, '\n');
}

static void
visit_rule(void *ds, nic_handle handle, const struct nic_template *template,
           const struct nic_values *values)
{
    ds_put_format(ds, "rule %"PRIu64" ", handle);
    nic_rule_format(template, values, ds);
    ds_put_char(ds, '\n');
}

static const struct nic_emu_store_visitor visitor = {
    .port = visit_port,
    .egress = visit_egress,
    .conn = visit_conn,
    .rule = visit_rule,
};

/* Opens the store and checks that it holds 'expected'. */
static struct nic_emu_store *
open_store(const char *expected)
{
    struct ds ds = DS_EMPTY_INITIALIZER;
    struct nic_emu_store *store = nic_emu_store_open("s", &visitor, &ds);

    ck_assert(store != NULL);
    if (expected) {
        ck_assert_str_eq(ds_cstr(&ds), expected);
    }
    ds_destroy(&ds);
    return store;
}

static char *
store_path(const char *name)
{
    return xasprintf("%s/nic-emu-%s.rules", ovs_rundir(), name);
}

/* As if the program was killed: the file stays. */
static void
leave_store(struct nic_emu_store *store)
{
    char *path = store_path("s");
    char *saved = xasprintf("%s.saved", path);

    ck_assert(!link(path, saved));
    nic_emu_store_close(store);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert(!rename(saved, path));
    free(saved);
    free(path);
}

#define CONNS \
    "conn 2 7 10.0.0.1:1000->10.0.0.2:80\n" \
    "conn 5 9 10.0.0.1:1000->10.0.0.2:80 nat0=1:0x40:10.0.0.9:9->0.0.0.0:0 " \
    "nat1=2:0x80:0.0.0.0:0->10.0.0.1:1000 mark=17 label=1:2\n"

static const char everything[] =
    "port 1 p1\n"
    "port 2 p2\n"
    "egress 1 2\n"
    CONNS
    "rule 3 port=1,table=0,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_frag=no,"
    "tp_src=1000,tp_dst=80 actions=egress(0x1)\n"
    "rule 4 port=2,table=0x5, actions=ct(zone=9,table=0x6)\n"
    "rule 6 port=1,table=0x5,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,"
    "tp_dst=80 actions=set(eth_dst=00:01:02:03:04:05/ff:ff:ff:ff:ff:00),"
    "set_tuple(src),push_vlan(tpid=0x88a8,vid=5,pcp=1),pop_vlan,ct_clear,"
    "ct(zone=65535,nat,orig_only,mark=0x3/0x7,label=0x"
    "10000000000000002/0x30000000000000004),"
    "output(77),drop rewrite=10.0.0.7:7->10.0.0.8:8\n";

/* A connection and a rule with everything that they can have. */
static void
put_complex(struct nic_emu_store *store)
{
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct flow to = nic_test_flow4(IPPROTO_TCP, 7, 8, 7, 8);
    struct nic_action actions[] = {
        { .type = NIC_ACTION_SET,
          .set = { .field = NIC_FIELD_ETH_DST, .value = { 0, 1, 2, 3, 4, 5 },
                   .mask = { 0xff, 0xff, 0xff, 0xff, 0xff } } },
        { .type = NIC_ACTION_SET_TUPLE, .parts = NIC_TUPLE_SRC },
        { .type = NIC_ACTION_PUSH_VLAN,
          .vlan = { htons(ETH_TYPE_VLAN_8021AD), htons(0x2005) } },
        { .type = NIC_ACTION_POP_VLAN },
        { .type = NIC_ACTION_CT_CLEAR },
        { .type = NIC_ACTION_CT,
          .ct = { .zone = UINT16_MAX, .nat = true, .orig_only = true,
                  .table = NIC_TABLE_NONE, .mark = 3, .mark_mask = 7,
                  .label.u64 = { .lo = 2, .hi = 1 },
                  .label_mask.u64 = { .lo = 4, .hi = 3 } } },
        nic_test_output(77),
        { .type = NIC_ACTION_DROP },
    };
    struct nic_values values = nic_test_values(&flow);
    struct nic_conn conn = nic_test_conn(&flow, 9);
    struct nic_template *t;
    struct match match;

    conn.nat_parts[0] = NIC_TUPLE_SRC;
    conn.nat_state[0] = CS_SRC_NAT;
    conn.translated[0].src.ipv4 = htonl(0x0a000009);
    conn.translated[0].tp_src = htons(9);
    conn.nat_parts[1] = NIC_TUPLE_DST;
    conn.nat_state[1] = CS_DST_NAT;
    conn.translated[1].dst.ipv4 = htonl(0x0a000001);
    conn.translated[1].tp_dst = htons(1000);
    conn.mark = 17;
    conn.label.u64.hi = 1;
    conn.label.u64.lo = 2;
    nic_emu_store_put_conn(store, 5, &conn);

    match_init_catchall(&match);
    match_set_dl_type(&match, flow.dl_type);
    match_set_nw_proto(&match, flow.nw_proto);
    values.rewrite = nic_test_tuple(&to, false);
    t = nic_template_create(1, 5, &match, NIC_SLOT_TUPLE | NIC_SLOT_REWRITE,
                            actions, ARRAY_SIZE(actions));
    nic_emu_store_put_rule(store, 6, t, &values);
    nic_template_unref(t);
}

static void
put_everything(struct nic_emu_store *store)
{
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct nic_action egress = { .type = NIC_ACTION_EGRESS, .egress = 1 };
    struct nic_action ct = {
        .type = NIC_ACTION_CT, .ct = { .zone = 9, .table = 6 }
    };
    struct nic_template *t1 = nic_test_tuple_template(1, &flow, egress);
    struct nic_template *t2 = nic_test_catchall(2, 5, ct);
    struct nic_values values = nic_test_values(&flow);
    struct nic_conn conn = nic_test_conn(&flow, 7);

    nic_emu_store_put_rule(store, 3, t1, &values);
    nic_emu_store_put_port(store, 1, "p1");
    nic_emu_store_put_rule(store, 99, t1, &values);
    nic_emu_store_put_rule(store, 4, t2, NULL);
    nic_emu_store_put_egress(store, 1, 1);
    nic_emu_store_put_conn(store, 2, &conn);
    nic_emu_store_put_port(store, 3, "p3");
    nic_emu_store_del(store, 99);
    nic_emu_store_put_egress(store, 1, 2);
    nic_emu_store_put_port(store, 2, "p2");
    nic_emu_store_del_port(store, 3);
    put_complex(store);
    nic_template_unref(t1);
    nic_template_unref(t2);
}

START_TEST(test_reload)
{
    struct nic_emu_store *store = open_store("");

    put_everything(store);
    nic_emu_store_flush(store);
    leave_store(store);

    /* Append, then reload again. */
    store = open_store(everything);
    nic_emu_store_del(store, 4);
    nic_emu_store_del(store, 3);
    nic_emu_store_del(store, 6);
    nic_emu_store_flush(store);
    leave_store(store);
    store = open_store("port 1 p1\nport 2 p2\negress 1 2\n"
                       CONNS);
    nic_emu_store_close(store);
    nic_emu_store_close(open_store(""));
}
END_TEST

/* A file of another version, or another layout, is empty, and is good again
 * afterwards. */
START_TEST(test_other_version)
{
    for (int i = 0; i < 2; i++) {
        struct nic_emu_store *store = open_store("");
        char *path = store_path("s");
        FILE *f;

        put_everything(store);
        nic_emu_store_flush(store);
        leave_store(store);

        f = fopen(path, "r+");
        ck_assert(f != NULL);
        ck_assert(!fseek(f, i ? 12 : 6, SEEK_SET));
        ck_assert_int_eq(fputc('1', f), '1');
        fclose(f);
        free(path);

        store = open_store("");
        put_everything(store);
        nic_emu_store_flush(store);
        leave_store(store);
        nic_emu_store_close(open_store(everything));
    }
}
END_TEST

START_TEST(test_not_flushed)
{
    struct nic_emu_store *store = open_store("");

    put_everything(store);
    leave_store(store);
    nic_emu_store_close(open_store(""));
}
END_TEST

START_TEST(test_rewrite)
{
    struct nic_emu_store *store = open_store("");
    char *path = store_path("s");
    struct stat st;

    for (nic_handle h = 100; h < 3000; h++) {
        ck_assert_int_eq(nic_emu_store_needs_rewrite(store, 10), h > 600);
        nic_emu_store_put_egress(store, h, 1);
        nic_emu_store_del(store, h);
    }
    ck_assert(!nic_emu_store_needs_rewrite(store, 3000));

    nic_emu_store_rewrite_start(store);
    put_everything(store);
    nic_emu_store_rewrite_finish(store);
    ck_assert(!nic_emu_store_needs_rewrite(store, 10));
    ck_assert(!stat(path, &st));
    ck_assert_int_lt(st.st_size, 4000);
    free(path);

    leave_store(store);
    nic_emu_store_close(open_store(everything));
}
END_TEST

START_TEST(test_no_file)
{
    /* A null store does nothing. */
    put_everything(NULL);
    nic_emu_store_flush(NULL);
    nic_emu_store_rewrite_start(NULL);
    nic_emu_store_rewrite_finish(NULL);
    ck_assert(!nic_emu_store_needs_rewrite(NULL, 0));
    nic_emu_store_close(NULL);

    /* A path that cannot be opened. */
    char *path = store_path("s");
    ck_assert(!mkdir(path, 0700));
    ck_assert(!nic_emu_store_open("s", &visitor, NULL));
    ck_assert(!rmdir(path));
    free(path);
}
END_TEST

/* Damaged files: nothing crashes, what is told is a part of what was there. */

static void
write_file(const char *name, const void *data, size_t size)
{
    char *path = store_path(name);
    FILE *f = fopen(path, "w");

    ck_assert(f != NULL);
    ck_assert_uint_eq(fwrite(data, 1, size, f), size);
    fclose(f);
    free(path);
}

static size_t
read_file(const char *name, uint8_t *data, size_t max)
{
    char *path = store_path(name);
    FILE *f = fopen(path, "r");
    size_t size;

    ck_assert(f != NULL);
    size = fread(data, 1, max, f);
    fclose(f);
    free(path);
    return size;
}

static uint8_t good[8192];

static size_t
make_good(void)
{
    struct nic_emu_store *store = open_store("");

    put_everything(store);
    nic_emu_store_flush(store);
    leave_store(store);
    return read_file("s", good, sizeof good);
}

START_TEST(test_truncated)
{
    size_t size = make_good();

    for (size_t n = 0; n <= size; n++) {
        struct nic_emu_store *store;

        write_file("s", good, n);
        store = open_store(n == size ? everything : NULL);

        /* What is appended after the damage is found. */
        nic_emu_store_put_egress(store, 1234, 1);
        nic_emu_store_flush(store);
        leave_store(store);

        struct ds ds = DS_EMPTY_INITIALIZER;
        store = nic_emu_store_open("s", &visitor, &ds);
        ck_assert(strstr(ds_cstr(&ds), "egress 1234 1\n") != NULL);
        ds_destroy(&ds);
        nic_emu_store_close(store);
    }
}
END_TEST

/* Loads a damaged file into a whole NIC. */
static void
load_nic(void)
{
    struct nic_emu_config config;
    struct nic_emu_ports *ports = xmalloc(sizeof *ports);
    struct nic_emu_hw *hw;
    struct smap smap = SMAP_INITIALIZER(&smap);
    char *error;

    ck_assert(!nic_emu_config_parse(&smap, &config, &error));
    nic_emu_ports_init(ports);
    hw = nic_emu_hw_create("s", &config, ports);
    nic_emu_hw_flush(hw);
    nic_emu_hw_destroy(hw);
    nic_emu_ports_destroy(ports);
    free(ports);
    nic_test_quiesce();
}

START_TEST(test_flipped)
{
    size_t size = make_good();

    random_state = _i;
    for (int i = 0; i < 1500; i++) {
        uint8_t bad[sizeof good];
        size_t bad_size = size;

        memcpy(bad, good, size);
        for (int n = 1 + rnd(4); n; n--) {
            bad[rnd(size)] ^= 1 << rnd(8);
        }
        if (!rnd(3)) {
            bad_size = rnd(size);
        }
        write_file("s", bad, bad_size);
        if (i % 2) {
            nic_emu_store_close(open_store(NULL));
        } else {
            load_nic();
        }
    }
}
END_TEST

/* Damage that the checksum does not find: records with the right hash. */
START_TEST(test_flipped_with_right_hash)
{
    size_t size = make_good();

    random_state = 77 + _i;
    for (int i = 0; i < 2500; i++) {
        uint8_t bad[sizeof good];

        memcpy(bad, good, size);
        for (size_t ofs = 16; ofs < size; ) {
            uint32_t length, hash;

            memcpy(&length, &bad[ofs], sizeof length);
            if (!rnd(3)) {
                for (int n = 1 + rnd(3); n; n--) {
                    bad[ofs + 8 + rnd(length - 8)] ^= 1 << rnd(8);
                }
                hash = hash_bytes(&bad[ofs + 8], length - 8, length);
                memcpy(&bad[ofs + 4], &hash, sizeof hash);
            }
            ofs += length;
        }
        write_file("s", bad, size);
        load_nic();
    }
}
END_TEST

/* A child that is killed leaves rules behind that hit again until they are
 * flushed. */
START_TEST(test_kill)
{
    struct flow flow = nic_test_flow4(IPPROTO_TCP, 1, 2, 1000, 80);
    struct dp_packet *packet = nic_test_packet(&flow, 10);
    struct nic_emu_ports *ports = xmalloc(sizeof *ports);
    struct nic_emu_port *in, *out, *other;
    struct smap smap = SMAP_INITIALIZER(&smap);
    struct nic_emu_config config;
    struct nic_emu_outputs outputs;
    struct nic_emu_hw *hw;
    char *error;
    int status;
    pid_t pid;

    smap_add(&smap, "profile", "kind");
    smap_add(&smap, "ct-module", "true");
    ck_assert(!nic_emu_config_parse(&smap, &config, &error));
    smap_destroy(&smap);
    nic_emu_ports_init(ports);

    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (!pid) {
        struct nic_values values = nic_test_values(&flow);
        struct nic_op ops[3];
        struct nic_completion c[3];

        hw = nic_emu_hw_create("s", &config, ports);
        nic_emu_port_add(ports, "p1", 11, NIC_PORT_VF, &in);
        nic_emu_hw_port_added(hw, in->id, "p1");
        nic_emu_port_add(ports, "p2", 12, NIC_PORT_UPLINK, &out);
        nic_emu_hw_port_added(hw, out->id, "p2");

        memset(ops, 0, sizeof ops);
        ops[0].type = NIC_OP_EGRESS_ADD;
        ops[0].egress_port = out->id;
        ops[1].type = NIC_OP_CONN_ADD;
        ops[1].conn = nic_test_conn(&flow, 1);
        nic_emu_hw_submit(hw, ops, 2, 0);
        if (nic_emu_hw_poll(hw, c, 3, 0) != 2) {
            _exit(1);
        }
        ops[2].type = NIC_OP_RULE_ADD;
        ops[2].rule.values = values;
        ops[2].rule.template = nic_test_tuple_template(
            in->id, &flow, (struct nic_action) {
                .type = NIC_ACTION_EGRESS, .egress = c[0].handle });
        nic_emu_hw_submit(hw, &ops[2], 1, 0);
        if (nic_emu_hw_poll(hw, c, 3, 0) != 1 || c[0].error) {
            _exit(1);
        }
        if (_i) {
            raise(SIGKILL);
        }
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(_i ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
              : WIFEXITED(status) && !WEXITSTATUS(status));

    /* Loaded and not flushed: the rule hits, though ports come in another
     * order. */
    hw = nic_emu_hw_create("s", &config, ports);
    ck_assert_int_eq(nic_emu_port_add(ports, "new", 10, NIC_PORT_VF, &other),
                     0);
    ck_assert_int_eq(nic_emu_port_add(ports, "p2", 12, NIC_PORT_UPLINK, &out),
                     0);
    ck_assert_int_eq(nic_emu_port_add(ports, "p1", 11, NIC_PORT_VF, &in), 0);
    nic_emu_section_enter();
    ck_assert_int_eq(nic_emu_table_execute(nic_emu_hw_table(hw), other->id,
                                           packet, 0, &outputs), NIC_EMU_MISS);
    ck_assert_int_eq(nic_emu_table_execute(nic_emu_hw_table(hw), in->id,
                                           packet, 0, &outputs),
                     NIC_EMU_OUTPUT);
    nic_emu_section_leave();
    ck_assert_uint_eq(outputs.n, 1);
    ck_assert_ptr_eq(outputs.list[0].packet, packet);
    ck_assert_uint_eq(outputs.list[0].port, out->id);

    ck_assert_uint_eq(nic_emu_hw_flush(hw), 2);
    nic_emu_section_enter();
    ck_assert_int_eq(nic_emu_table_execute(nic_emu_hw_table(hw), in->id,
                                           packet, 0, &outputs), NIC_EMU_MISS);
    nic_emu_section_leave();
    ck_assert_uint_eq(nic_emu_hw_flush(hw), 0);

    nic_emu_hw_destroy(hw);
    nic_emu_port_del(ports, in);
    nic_emu_port_del(ports, out);
    nic_emu_port_del(ports, other);
    nic_emu_ports_destroy(ports);
    nic_test_quiesce();
    free(ports);
    dp_packet_delete(packet);
}
END_TEST

int
main(int argc, char *argv[])
{
    Suite *suite = suite_create("nic-emu-store");
    TCase *tc = tcase_create("nic-emu-store");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_reload);
    tcase_add_test(tc, test_other_version);
    tcase_add_test(tc, test_not_flushed);
    tcase_add_test(tc, test_rewrite);
    tcase_add_test(tc, test_no_file);
    tcase_add_test(tc, test_truncated);
    tcase_add_loop_test(tc, test_flipped, 0, 2);
    tcase_add_loop_test(tc, test_flipped_with_right_hash, 0, 2);
    tcase_add_loop_test(tc, test_kill, 0, 2);
    suite_add_tcase(suite, tc);
    return nic_test_main(argc, argv, suite);
}
