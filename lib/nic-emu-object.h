/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_OBJECT_H
#define NIC_EMU_OBJECT_H 1

/* Objects of an emulated NIC
 * ==========================
 *
 * The rules, connections and egresses that a NIC holds, by handle.  Decides
 * whether an object can be added, and keeps the table engine and the file
 * (nic-emu-store.h) in step.
 *
 * Each object has, beside the live counters in the table engine, *published*
 * ones, as they were at the last nic_emu_objects_publish().
 *
 * Handles are counted up and never used again.
 *
 * Thread-safety
 * -------------
 *
 * One thread at a time, except that packets may be executed in the table
 * engine all the while. */

#include <stdbool.h>
#include "nic.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"

struct nic_emu_config;
struct nic_emu_ports;
struct nic_emu_store;
struct nic_emu_table;

enum nic_emu_kind {
    NIC_EMU_RULE,
    NIC_EMU_CONN,
    NIC_EMU_EGRESS,
    NIC_EMU_N_KINDS
};

struct nic_emu_object {
    struct hmap_node hmap_node;     /* In 'by_handle'. */
    struct ovs_list list_node;      /* In 'list'. */
    nic_handle handle;
    enum nic_emu_kind kind;
    union {
        struct nic_emu_rule *rule;
        struct nic_emu_conn *conn;
        struct {
            struct nic_emu_egress *egress;

            /* Number of rules by input port: 'struct egress_user's. */
            struct hmap users;
        };
    };
    struct nic_counter published[2];    /* A rule uses [0]. */
};

struct nic_emu_objects {
    struct hmap by_handle;          /* Contains 'struct nic_emu_object's. */
    struct ovs_list list;           /* The same, in the order of addition. */
    uint32_t n[NIC_EMU_N_KINDS];
    nic_handle last_handle;

    /* Owned. */
    struct nic_emu_table *table;
    struct nic_emu_store *store;    /* Null if there is no file. */

    /* Not owned. */
    const struct nic_emu_config *config;
    const struct nic_emu_ports *ports;
};

/* Initializes 'objects' of the NIC called 'name' with what its file holds; if
 * 'name' is null there is no file.  Ports of that time are remembered in
 * 'ports'.  'config' and 'ports' must outlive 'objects' and may change. */
void nic_emu_objects_init(struct nic_emu_objects *objects, const char *name,
                          const struct nic_emu_config *config,
                          struct nic_emu_ports *ports);

/* Removes all objects, the file as well, and destroys 'objects'. */
void nic_emu_objects_destroy(struct nic_emu_objects *objects);

/* Removes all objects. */
void nic_emu_objects_clear(struct nic_emu_objects *objects);

/* Writes the file as far as it is not written yet. */
void nic_emu_objects_flush(struct nic_emu_objects *objects);

/* Returns the object of 'kind' that has 'handle', or null. */
struct nic_emu_object *nic_emu_object_find(const struct nic_emu_objects *,
                                           nic_handle handle,
                                           enum nic_emu_kind kind);

/* Returns 0 if rules made of 'template' could be added, as far as can be told,
 * otherwise a positive errno value, and stores a static text in '*reasonp'. */
int nic_emu_objects_check(const struct nic_emu_objects *,
                          const struct nic_template *template,
                          const char **reasonp);

/* Adds what 'op', one of NIC_OP_*_ADD, describes.  Returns 0 and stores the
 * object in '*objectp', or a positive errno value and stores a static text in
 * '*reasonp'. */
int nic_emu_object_add(struct nic_emu_objects *, const struct nic_op *op,
                       struct nic_emu_object **objectp,
                       const char **reasonp);

/* Takes the object that 'op', one of NIC_OP_*_DEL, names out.  Returns 0 and
 * stores it in '*objectp', owned by the caller, or a positive errno value and
 * stores a static text in '*reasonp'.  Packets may count on the object until a
 * grace period (nic-emu-grace.h) has passed. */
int nic_emu_object_remove(struct nic_emu_objects *, const struct nic_op *op,
                          struct nic_emu_object **objectp,
                          const char **reasonp);

/* Executes 'op', a NIC_OP_EGRESS_SET.  Returns as the functions above. */
int nic_emu_object_set(struct nic_emu_objects *, const struct nic_op *op,
                       const char **reasonp);

/* Frees 'object', which was taken out, as soon as RCU allows. */
void nic_emu_object_free(struct nic_emu_object *object);

/* Stores the live counters of 'object' in 'counters'; zeros in those that its
 * kind does not have. */
void nic_emu_object_counters(const struct nic_emu_object *object,
                             struct nic_counter counters[2]);

/* Copies the live counters of all objects to the published ones. */
void nic_emu_objects_publish(struct nic_emu_objects *);

/* Appends a one-line description of 'object' to 'ds'. */
void nic_emu_object_format(const struct nic_emu_object *object,
                           struct ds *ds);

#endif /* nic-emu-object.h */
