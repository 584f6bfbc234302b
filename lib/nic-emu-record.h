/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_RECORD_H
#define NIC_EMU_RECORD_H 1

/* Format of the file of an emulated NIC (nic-emu-store.h): a header, then
 * records.  Everything is in host byte order and aligned to 8 bytes.  For the
 * code that writes it and the code that reads it. */

#include <stdint.h>
#include "flow.h"
#include "hash.h"
#include "nic.h"
#include "util.h"

/* A file starts with one. */
struct file_header {
    char magic[8];
    uint32_t flow_size;             /* sizeof(struct flow). */
    uint32_t conn_size;             /* sizeof(struct nic_conn). */
};

/* Returns the only header that is good. */
static inline struct file_header
file_header_expected(void)
{
    return (struct file_header) {
        .magic = "NICEMU2",
        .flow_size = sizeof(struct flow),
        .conn_size = sizeof(struct nic_conn),
    };
}

enum record_type {
    RECORD_PORT,                    /* 'port', name. */
    RECORD_PORT_DEL,                /* 'port'. */
    RECORD_EGRESS,                  /* 'handle', 'port'. */
    RECORD_CONN,                    /* 'handle', struct nic_conn. */
    RECORD_RULE,                    /* 'handle', struct rule_body. */
    RECORD_DEL,                     /* 'handle'. */
};

/* A record starts with one. */
struct record {
    uint32_t length;                /* Of the record, this included. */
    uint32_t hash;                  /* Of the bytes that follow. */
    uint32_t type;                  /* One of RECORD_*. */
    uint32_t port;
    uint64_t handle;
};

/* Follows 'struct record' in a RECORD_RULE.  'n_actions' actions and 'n_words'
 * words of the match follow it. */
struct rule_body {
    struct nic_tuple rewrite;       /* Zeros unless an action needs it. */
    uint32_t in_port;
    uint32_t table;
    uint32_t n_actions;
    uint32_t n_words;
    uint32_t priority;
};

struct action_body {
    uint32_t type;                  /* One of NIC_ACTION_*. */
    uint32_t number;                /* Port, table, field or parts. */
    uint64_t egress;
    uint32_t mark, mark_mask;
    uint16_t zone;
    uint8_t nat, orig_only;         /* 0 or 1. */
    ovs_be16 tpid, tci;
    ovs_u128 value, mask;           /* Of a field, as it is on the wire, or of
                                     * ct_label. */
};
BUILD_ASSERT_DECL(sizeof(struct action_body) % 8 == 0);
BUILD_ASSERT_DECL(sizeof(struct rule_body) % 8 == 0);
BUILD_ASSERT_DECL(sizeof(ovs_u128) == NIC_FIELD_MAX_LEN);

/* A 64-bit word of 'struct flow' that is not wildcarded. */
struct word_body {
    uint64_t index;
    uint64_t value;
    uint64_t mask;
};

/* Bytes of a name, with the null byte. */
#define MAX_NAME 256

/* Bytes of a record. */
#define MAX_RECORD (sizeof(struct record) + sizeof(struct rule_body)    \
                    + NIC_MAX_ACTIONS * sizeof(struct action_body)      \
                    + FLOW_U64S * sizeof(struct word_body))

/* Returns what 'hash' of 'record' must be. */
static inline uint32_t
record_hash(const struct record *record)
{
    size_t skip = offsetof(struct record, type);

    return hash_bytes((const char *) record + skip, record->length - skip,
                      record->length);
}

#endif /* nic-emu-record.h */
