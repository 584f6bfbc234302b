/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-replay.h"

#include "nic-emu-record.h"
#include "nic-emu-store.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_emu_replay);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(5, 5);

/* A port or object that the records read so far leave alive. */
struct live {
    struct hmap_node hmap_node;     /* In the map of its kind. */
    struct ovs_list list_node;      /* In the list of all. */
    const struct record *record;
};

struct replay {
    struct hmap ports;              /* Contains 'struct live's. */
    struct hmap objects;
    struct ovs_list all;            /* In the order of the file. */
};

static struct live *
live_find(const struct hmap *map, uint64_t key)
{
    struct live *live;

    HMAP_FOR_EACH_WITH_HASH (live, hmap_node, hash_uint64(key), map) {
        uint64_t k = (live->record->type == RECORD_PORT
                      ? live->record->port : live->record->handle);
        if (k == key) {
            return live;
        }
    }
    return NULL;
}

static void
live_remove(struct hmap *map, struct live *live)
{
    if (live) {
        hmap_remove(map, &live->hmap_node);
        ovs_list_remove(&live->list_node);
        free(live);
    }
}

static void
live_add(struct replay *replay, struct hmap *map, uint64_t key,
         const struct record *record)
{
    struct live *live = live_find(map, key);

    if (live && live->record->type == record->type) {
        /* Stay where the first one was. */
        live->record = record;
        return;
    }
    live_remove(map, live);

    live = xmalloc(sizeof *live);
    live->record = record;
    hmap_insert(map, &live->hmap_node, hash_uint64(key));
    ovs_list_push_back(&replay->all, &live->list_node);
}

/* Returns the number of bytes that follow 'record' itself. */
static size_t
body_size(const struct record *record)
{
    return record->length - sizeof *record;
}

static bool
rule_size_ok(const struct record *record)
{
    const struct rule_body *body = (const struct rule_body *) (record + 1);

    return (body_size(record) >= sizeof *body
            && body->n_actions >= 1 && body->n_actions <= NIC_MAX_ACTIONS
            && body->n_words <= FLOW_U64S
            && body_size(record) == (sizeof *body
                                     + (body->n_actions
                                        * sizeof(struct action_body))
                                     + (body->n_words
                                        * sizeof(struct word_body))));
}

/* Replays 'record', of which nothing but length and hash is known to be right.
 * Returns false if it makes no sense. */
static bool
replay_record(struct replay *replay, const struct record *record)
{
    size_t size = body_size(record);

    switch ((enum record_type) record->type) {
    case RECORD_PORT:
        if (!size || size > MAX_NAME || record->port == NIC_PORT_NONE
            || !memchr(record + 1, '\0', size)) {
            return false;
        }
        live_add(replay, &replay->ports, record->port, record);
        return true;

    case RECORD_PORT_DEL:
        live_remove(&replay->ports, live_find(&replay->ports, record->port));
        return true;

    case RECORD_EGRESS:
        break;

    case RECORD_CONN:
        if (size != ROUND_UP(sizeof(struct nic_conn), 8)) {
            return false;
        }
        break;

    case RECORD_RULE:
        if (!rule_size_ok(record)) {
            return false;
        }
        break;

    case RECORD_DEL:
        live_remove(&replay->objects,
                    live_find(&replay->objects, record->handle));
        return true;

    default:
        return false;
    }

    if (!record->handle) {
        return false;
    }
    live_add(replay, &replay->objects, record->handle, record);
    return true;
}

static bool
action_from_body(const struct action_body *body, struct nic_action *a)
{
    memset(a, 0, sizeof *a);
    switch (body->type) {
    case NIC_ACTION_OUTPUT:
        a->port = body->number;
        break;
    case NIC_ACTION_EGRESS:
        a->egress = body->egress;
        break;
    case NIC_ACTION_CT:
        a->ct.table = body->number;
        a->ct.zone = body->zone;
        a->ct.nat = body->nat != 0;
        a->ct.orig_only = body->orig_only != 0;
        a->ct.mark = body->mark;
        a->ct.mark_mask = body->mark_mask;
        a->ct.label = body->value;
        a->ct.label_mask = body->mask;
        break;
    case NIC_ACTION_SET:
        a->set.field = body->number;
        memcpy(a->set.value, &body->value, sizeof a->set.value);
        memcpy(a->set.mask, &body->mask, sizeof a->set.mask);
        break;
    case NIC_ACTION_SET_TUPLE:
        a->parts = body->number;
        break;
    case NIC_ACTION_PUSH_VLAN:
        a->vlan.tpid = body->tpid;
        a->vlan.tci = body->tci;
        break;
    case NIC_ACTION_JUMP:
        a->table = body->number;
        break;
    case NIC_ACTION_DROP:
    case NIC_ACTION_POP_VLAN:
    case NIC_ACTION_CT_CLEAR:
    case NIC_ACTION_DEC_TTL:
        break;
    default:
        return false;
    }
    a->type = body->type;
    return true;
}

/* Returns the template of RECORD_RULE 'record', or null if it makes no
 * sense. */
static struct nic_template *
template_from_record(const struct record *record)
{
    const struct rule_body *body = (const struct rule_body *) (record + 1);
    const struct action_body *abody
        = ALIGNED_CAST(const struct action_body *, body + 1);
    const struct word_body *words;
    struct nic_action actions[NIC_MAX_ACTIONS];
    enum nic_slots slots = NIC_SLOT_NONE;
    struct nic_template *template;
    struct match match;

    words = (const struct word_body *) (abody + body->n_actions);
    for (size_t i = 0; i < body->n_actions; i++) {
        if (!action_from_body(&abody[i], &actions[i])) {
            return NULL;
        }
        if (actions[i].type == NIC_ACTION_SET_TUPLE) {
            slots = NIC_SLOT_REWRITE;
        }
    }

    match_init_catchall(&match);
    for (size_t i = 0; i < body->n_words; i++) {
        const struct word_body *w = &words[i];

        /* 'struct flow' begins with tunnel metadata, which contain a pointer,
         * and no rule matches on. */
        if (w->index < sizeof(struct flow_tnl) / sizeof(uint64_t)
            || w->index >= FLOW_U64S || w->value & ~w->mask) {
            return NULL;
        }
        *flow_u64_lvalue(&match.flow, w->index) = w->value;
        *flow_u64_lvalue(&match.wc.masks, w->index) = w->mask;
    }
    if (nic_template_check(body->in_port, body->table, &match, slots, actions,
                           body->n_actions)) {
        return NULL;
    }
    template = nic_template_create(body->in_port, body->table, &match, slots,
                                   actions, body->n_actions);
    nic_template_set_priority(template, body->priority);
    return template;
}

static void
visit(const char *path, const struct record *record,
      const struct nic_emu_store_visitor *visitor, void *aux)
{
    struct nic_template *template;
    struct nic_values values;
    struct nic_conn conn;

    switch ((enum record_type) record->type) {
    case RECORD_PORT:
        visitor->port(aux, record->port, (const char *) (record + 1));
        break;
    case RECORD_EGRESS:
        visitor->egress(aux, record->handle, record->port);
        break;
    case RECORD_CONN:
        memcpy(&conn, record + 1, sizeof conn);
        visitor->conn(aux, record->handle, &conn);
        break;
    case RECORD_RULE:
        template = template_from_record(record);
        if (template) {
            const struct rule_body *body
                = (const struct rule_body *) (record + 1);

            memset(&values, 0, sizeof values);
            values.rewrite = body->rewrite;
            visitor->rule(aux, record->handle, template, &values);
            nic_template_unref(template);
        } else {
            VLOG_WARN_RL(&rl, "%s: ignoring a rule that makes no sense",
                         path);
        }
        break;
    case RECORD_PORT_DEL:
    case RECORD_DEL:
    default:
        OVS_NOT_REACHED();
    }
}

/* Passes what 'replay' left alive to 'visitor', and empties it. */
static void
replay_finish(const char *path, struct replay *replay,
              const struct nic_emu_store_visitor *visitor, void *aux)
{
    static const enum record_type order[] = {
        RECORD_PORT, RECORD_EGRESS, RECORD_CONN, RECORD_RULE
    };
    struct live *live;

    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        LIST_FOR_EACH (live, list_node, &replay->all) {
            if (live->record->type == order[i]) {
                visit(path, live->record, visitor, aux);
            }
        }
    }

    LIST_FOR_EACH_POP (live, list_node, &replay->all) {
        free(live);
    }
    hmap_destroy(&replay->ports);
    hmap_destroy(&replay->objects);
}

size_t
nic_emu_replay(const char *path, const char *data, size_t size,
               const struct nic_emu_store_visitor *visitor, void *aux,
               size_t *n_recordsp)
{
    const struct file_header header = file_header_expected();
    struct replay replay;
    size_t ofs;

    *n_recordsp = 0;
    if (size < sizeof header || memcmp(data, &header, sizeof header)) {
        return 0;
    }

    hmap_init(&replay.ports);
    hmap_init(&replay.objects);
    ovs_list_init(&replay.all);
    for (ofs = sizeof header; size - ofs >= sizeof(struct record); ) {
        const struct record *record
            = ALIGNED_CAST(const struct record *, data + ofs);

        if (record->length < sizeof *record || record->length > MAX_RECORD
            || record->length % 8 || record->length > size - ofs
            || record->hash != record_hash(record)
            || !replay_record(&replay, record)) {
            break;
        }
        ofs += record->length;
        ++*n_recordsp;
    }
    replay_finish(path, &replay, visitor, aux);
    return ofs;
}
