/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dirs.h"
#include "nic-emu-record.h"
#include "nic-emu-replay.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_emu_store);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(5, 5);

/* Records are written at the latest when this many bytes are collected. */
#define MAX_BUFFER (256 * 1024)

struct nic_emu_store {
    char *path;
    char *new_path;                 /* Of the file being rewritten. */
    int fd;
    struct ofpbuf buffer;           /* Not yet written. */
    size_t n_records;               /* In the file and 'buffer'. */
    bool rewriting;
    bool broken;                    /* Writing failed. */
};

/* Writing. */

static int
write_all(int fd, const void *data_, size_t size)
{
    const char *data = data_;

    while (size) {
        ssize_t n = write(fd, data, size);

        if (n < 0 && errno != EINTR) {
            return errno;
        } else if (n > 0) {
            data += n;
            size -= n;
        }
    }
    return 0;
}

/* Appends a record with room for 'body_size' bytes to 'store' and returns it.
 * The caller fills the body and calls record_finish(). */
static struct record *
record_start(struct nic_emu_store *store, enum record_type type,
             size_t body_size)
{
    struct record *record = ofpbuf_put_zeros(&store->buffer,
                                             sizeof *record + body_size);

    record->length = sizeof *record + body_size;
    record->type = type;
    return record;
}

static void
record_finish(struct nic_emu_store *store, struct record *record)
{
    record->hash = record_hash(record);
    store->n_records++;
    if (store->buffer.size > MAX_BUFFER) {
        nic_emu_store_flush(store);
    }
}

void
nic_emu_store_put_port(struct nic_emu_store *store, nic_port_id id,
                       const char *name)
{
    size_t len = strlen(name);

    /* Record lengths are multiples of 8, so that records are aligned. */
    if (store && len < MAX_NAME) {
        struct record *record = record_start(store, RECORD_PORT,
                                             ROUND_UP(len + 1, 8));

        record->port = id;
        memcpy(record + 1, name, len);
        record_finish(store, record);
    }
}

void
nic_emu_store_del_port(struct nic_emu_store *store, nic_port_id id)
{
    if (store) {
        struct record *record = record_start(store, RECORD_PORT_DEL, 0);

        record->port = id;
        record_finish(store, record);
    }
}

void
nic_emu_store_put_egress(struct nic_emu_store *store, nic_handle handle,
                         nic_port_id port)
{
    if (store) {
        struct record *record = record_start(store, RECORD_EGRESS, 0);

        record->port = port;
        record->handle = handle;
        record_finish(store, record);
    }
}

void
nic_emu_store_put_conn(struct nic_emu_store *store, nic_handle handle,
                       const struct nic_conn *conn)
{
    if (store) {
        struct record *record = record_start(store, RECORD_CONN,
                                             ROUND_UP(sizeof *conn, 8));

        record->handle = handle;
        memcpy(record + 1, conn, sizeof *conn);
        record_finish(store, record);
    }
}

static void
action_to_body(const struct nic_action *a, struct action_body *body)
{
    body->type = a->type;
    switch (a->type) {
    case NIC_ACTION_OUTPUT:
        body->number = a->port;
        break;
    case NIC_ACTION_EGRESS:
        body->egress = a->egress;
        break;
    case NIC_ACTION_CT:
        body->number = a->ct.table;
        body->zone = a->ct.zone;
        body->nat = a->ct.nat;
        body->orig_only = a->ct.orig_only;
        body->mark = a->ct.mark;
        body->mark_mask = a->ct.mark_mask;
        body->value = a->ct.label;
        body->mask = a->ct.label_mask;
        break;
    case NIC_ACTION_SET:
        body->number = a->set.field;
        memcpy(&body->value, a->set.value, sizeof body->value);
        memcpy(&body->mask, a->set.mask, sizeof body->mask);
        break;
    case NIC_ACTION_SET_TUPLE:
        body->number = a->parts;
        break;
    case NIC_ACTION_PUSH_VLAN:
        body->tpid = a->vlan.tpid;
        body->tci = a->vlan.tci;
        break;
    case NIC_ACTION_JUMP:
        body->number = a->table;
        break;
    case NIC_ACTION_DROP:
    case NIC_ACTION_POP_VLAN:
    case NIC_ACTION_CT_CLEAR:
    case NIC_ACTION_DEC_TTL:
    case NIC_ACTION_WINDOW:
        break;
    default:
        OVS_NOT_REACHED();
    }
}

void
nic_emu_store_put_rule(struct nic_emu_store *store, nic_handle handle,
                       const struct nic_template *template,
                       const struct nic_values *values)
{
    struct word_body words[FLOW_U64S];
    size_t n_words = 0;
    struct match match;

    if (!store) {
        return;
    }

    nic_rule_to_match(template, values, &match);
    for (size_t i = 0; i < FLOW_U64S; i++) {
        uint64_t mask = flow_u64_value(&match.wc.masks, i);

        if (mask) {
            words[n_words++] = (struct word_body) {
                .index = i,
                .value = flow_u64_value(&match.flow, i) & mask,
                .mask = mask,
            };
        }
    }

    struct record *record
        = record_start(store, RECORD_RULE,
                       (sizeof(struct rule_body)
                        + template->n_actions * sizeof(struct action_body)
                        + n_words * sizeof *words));
    struct rule_body *body = (struct rule_body *) (record + 1);
    struct action_body *actions = ALIGNED_CAST(struct action_body *,
                                               body + 1);

    record->handle = handle;
    body->in_port = template->in_port;
    body->table = template->table;
    body->priority = template->priority;
    body->n_actions = template->n_actions;
    body->n_words = n_words;
    if (template->slots & NIC_SLOT_REWRITE) {
        body->rewrite = values->rewrite;
    }
    for (size_t i = 0; i < template->n_actions; i++) {
        action_to_body(&template->actions[i], &actions[i]);
    }
    memcpy(actions + template->n_actions, words, n_words * sizeof *words);
    record_finish(store, record);
}

void
nic_emu_store_del(struct nic_emu_store *store, nic_handle handle)
{
    if (store) {
        struct record *record = record_start(store, RECORD_DEL, 0);

        record->handle = handle;
        record_finish(store, record);
    }
}

void
nic_emu_store_flush(struct nic_emu_store *store)
{
    if (!store || !store->buffer.size) {
        return;
    }

    if (!store->broken) {
        int error = write_all(store->fd, store->buffer.data,
                              store->buffer.size);

        if (error) {
            VLOG_WARN_RL(&rl, "%s: cannot be written (%s), rules will be "
                         "forgotten if this program is killed", store->path,
                         ovs_strerror(error));
            store->broken = true;
        }
    }
    ofpbuf_clear(&store->buffer);
}

bool
nic_emu_store_needs_rewrite(const struct nic_emu_store *store, size_t n_live)
{
    return store && store->n_records > 1000 && store->n_records / 4 > n_live;
}

void
nic_emu_store_rewrite_start(struct nic_emu_store *store)
{
    const struct file_header header = file_header_expected();
    int fd;

    if (!store) {
        return;
    }

    nic_emu_store_flush(store);
    fd = open(store->new_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        VLOG_WARN_RL(&rl, "%s: cannot be created (%s)", store->new_path,
                     ovs_strerror(errno));
        store->broken = true;
    } else {
        close(store->fd);
        store->fd = fd;
        store->rewriting = true;
        store->broken = false;
    }
    store->n_records = 0;
    ofpbuf_put(&store->buffer, &header, sizeof header);
}

void
nic_emu_store_rewrite_finish(struct nic_emu_store *store)
{
    if (!store) {
        return;
    }

    nic_emu_store_flush(store);
    if (!store->rewriting) {
        return;
    }
    store->rewriting = false;
    if (!store->broken && rename(store->new_path, store->path)) {
        VLOG_WARN_RL(&rl, "%s: cannot be replaced (%s)", store->path,
                     ovs_strerror(errno));
        store->broken = true;
    }
    if (store->broken) {
        unlink(store->new_path);
    }
}

/* Opening and closing. */

/* Reads the whole file 'fd' into '*datap', to be freed by the caller. */
static int
read_all(int fd, char **datap, size_t *sizep)
{
    struct stat st;
    size_t size;
    char *data;

    if (fstat(fd, &st)) {
        return errno;
    }
    if (st.st_size > 1024 * 1024 * 1024) {
        return EFBIG;
    }

    data = xmalloc(MAX(st.st_size, 1));
    for (size = 0; size < st.st_size; ) {
        ssize_t n = read(fd, data + size, st.st_size - size);

        if (n > 0) {
            size += n;
        } else if (!n) {
            break;
        } else if (errno != EINTR) {
            free(data);
            return errno;
        }
    }
    *datap = data;
    *sizep = size;
    return 0;
}

/* Replays the file of 'store' and makes it ready to be appended to.  Returns 0
 * or a positive errno value. */
static int
store_load(struct nic_emu_store *store,
           const struct nic_emu_store_visitor *visitor, void *aux)
{
    const struct file_header header = file_header_expected();
    size_t size = 0;
    char *data = NULL;
    size_t good;
    int error;

    error = read_all(store->fd, &data, &size);
    if (error) {
        return error;
    }
    good = nic_emu_replay(store->path, data, size, visitor, aux,
                          &store->n_records);
    free(data);

    if (good < size) {
        VLOG_WARN("%s: ignoring the last %"PRIuSIZE" of %"PRIuSIZE" bytes, "
                  "which are damaged", store->path, size - good, size);
    }
    if (ftruncate(store->fd, good) || lseek(store->fd, good, SEEK_SET) < 0) {
        return errno;
    }
    return good ? 0 : write_all(store->fd, &header, sizeof header);
}

struct nic_emu_store *
nic_emu_store_open(const char *nic_name,
                   const struct nic_emu_store_visitor *visitor, void *aux)
{
    struct nic_emu_store *store = xzalloc(sizeof *store);
    int error;

    store->path = xasprintf("%s/nic-emu-%s.rules", ovs_rundir(), nic_name);
    store->new_path = xasprintf("%s.new", store->path);
    ofpbuf_init(&store->buffer, 0);
    store->fd = open(store->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    error = store->fd < 0 ? errno : store_load(store, visitor, aux);
    if (error) {
        VLOG_WARN("%s: cannot be used (%s), rules will be forgotten if this "
                  "program is killed", store->path, ovs_strerror(error));
        if (store->fd >= 0) {
            nic_emu_store_close(store);
        } else {
            ofpbuf_uninit(&store->buffer);
            free(store->path);
            free(store->new_path);
            free(store);
        }
        return NULL;
    }
    return store;
}

void
nic_emu_store_close(struct nic_emu_store *store)
{
    if (store) {
        unlink(store->path);
        close(store->fd);
        ofpbuf_uninit(&store->buffer);
        free(store->path);
        free(store->new_path);
        free(store);
    }
}
