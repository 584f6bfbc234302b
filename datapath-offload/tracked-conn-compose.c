/* SPDX-License-Identifier: Apache-2.0 */

/* Which paths a direction of a connection takes. */

#include <config.h>
#include "tracked-conn-private.h"

#include <string.h>

#include "lib/mutant.h"
#include "util.h"

/* Composition of the paths of one direction of a connection. */
struct composition {
    struct tracked_conn *conn;
    int dir;

    /* Other connections that were looked for. */
    struct {
        uint16_t zone;
        struct nic_tuple tuple;
    } asked[PATH_MAX_CTS];
    size_t n_asked;
};

void
tracked_conn_get_subject(struct tracked_conn *tc, int dir,
                         struct path_subject *subject)
{
    *subject = (struct path_subject) {
        .dp = tc->dp,
        .dl_type = tc->dl_type,
        .nw_proto = tc->nw_proto,
        .zone = tc->zone,
        .conn = tc,
        .tuple = &tc->tuple[dir],
        .ingress = &tc->ingress[dir],
    };
}

static enum offload_reason
find_conn(uint16_t zone, const struct nic_tuple *tuple,
          struct path_conn *found, void *c_)
{
    struct composition *c = c_;
    struct tracked_conn *tc = c->conn;
    int dir = c->dir;

    if ((zone != tc->zone || memcmp(tuple, &tc->tuple[dir], sizeof *tuple))
        && !MUTANT(second_zone_ignored)) {
        if (c->n_asked < ARRAY_SIZE(c->asked)) {
            c->asked[c->n_asked].zone = zone;
            c->asked[c->n_asked++].tuple = *tuple;
        }
        tc = conn_index_find(tc, zone, tuple, &dir);
        if (!tc || tracked_conn_check(tc) != REASON_NONE) {
            return REASON_OTHER_ZONE;
        }
    }

    memset(found, 0, sizeof *found);
    found->conn = tc;
    found->reply = dir == 1;
    found->mark = tc->mark;
    found->label = tc->label;
    found->orig = tc->tuple[0];
    found->nat_parts = tc->nat_parts[dir];
    found->nat_state = tc->nat_state[dir];
    tracked_conn_get_translated(tc, dir, &found->translated);
    return REASON_NONE;
}

/* Stores in '*onicp' the NIC where packets of direction 'dir' come in.
 * Returns REASON_NONE or why not. */
static enum offload_reason
find_nic(const struct tracked_conn *tc, int dir, struct offload_nic **onicp)
{
    const struct engine *engine = tc->engine;
    const struct offload_port *port = engine_find_port(
        engine, tc->dp, tc->ingress[dir].in_port);

    *onicp = NULL;
    if (!port) {
        return REASON_NO_PORT;
    }
    if (!port->ct_offload && !MUTANT(port_setting_ignored)) {
        return REASON_PORT_DISABLED;
    }
    if (engine->config.mode == ENGINE_MODE_MODULE
        && !port->onic->caps.ct_module) {
        return REASON_MODE;
    }
    *onicp = port->onic;
    return REASON_NONE;
}

void
tracked_conn_compose(struct tracked_conn *tc, int dir)
{
    struct composition c = { .conn = tc, .dir = dir };
    struct engine *engine = tc->engine;
    enum offload_reason reason;
    struct path_subject subject;
    struct offload_nic *onic;
    struct path_set set;

    reason = find_nic(tc, dir, &onic);
    if (reason == REASON_NONE && tc->blocked_ms[dir] > engine->now_ms) {
        reason = tc->blocked_reason[dir];
    }
    if (reason != REASON_NONE) {
        tc->reason[dir] = reason;
        return;
    }

    tracked_conn_get_subject(tc, dir, &subject);
    subject.find_conn = find_conn;
    subject.aux = &c;
    path_compose(&engine->mirror, &subject, &set);
    for (size_t i = 0; i < set.n_waits; i++) {
        tracked_conn_add_wait(tc, dir, set.waits[i]);
    }
    tc->reason[dir] = set.n_chains ? REASON_NONE : set.reason;

    for (size_t i = 0; i < set.n_chains; i++) {
        const char *nic_says;
        struct path *path;

        path = path_get(engine, onic, &set.chains[i], tc->dl_type,
                        tc->nw_proto, &reason, &nic_says);
        if (path) {
            reason = conn_path_use(tc, dir, path, &set.chains[i]);
            if (reason != REASON_NONE) {
                path_release(engine, path);
            }
        }
        if (reason != REASON_NONE) {
            tc->reason[dir] = reason;
        }
        if (reason == REASON_MAX_CONNS
            && ovs_list_is_empty(&tc->room_node)) {
            ovs_list_push_back(&onic->room_waiters, &tc->room_node);
        }
        if (nic_says) {
            tc->blocked_reason[dir] = reason;
            tc->blocked_why[dir] = nic_says;
        }
    }
    if (tc->reason[dir] != REASON_NONE || set.reason != REASON_NONE) {
        /* What is in the way of all of its packets, or of some, may change. */
        for (size_t i = 0; i < set.n_visited; i++) {
            tracked_conn_add_wait(tc, dir, set.visited[i]);
        }
        for (size_t i = 0; i < c.n_asked; i++) {
            conn_index_wait(tc, c.asked[i].zone, &c.asked[i].tuple);
        }
    }
}
