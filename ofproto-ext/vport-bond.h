/* SPDX-License-Identifier: Apache-2.0 */

#ifndef VPORT_BOND_H
#define VPORT_BOND_H 1

/* Which uplink each vport of a bond uses
 * ======================================
 *
 * A 'struct vport_bond' decides, for one bond, through which of its uplinks
 * the packets of each vport leave.  It is a pure state machine: what happens
 * to uplinks goes in, with the time; which vports moved comes out.  It knows
 * no devices, threads or datapaths.
 *
 * Uplinks
 * -------
 *
 * An uplink is *eligible* if it has carrier and OVS has enabled it (LACP, BFD,
 * CFM, miimon, by hand).  Carrier counts with delays:
 *
 *   - A loss counts when it has lasted for 'downdelay_ms'.
 *
 *   - A return counts when it has lasted for 'updelay_ms' and, if the link is
 *     flapping, until it has been quiet for a while (*damping*): from the
 *     second loss on within VPORT_BOND_FLAP_WINDOW_MS of the one before, it
 *     must last for VPORT_BOND_FLAP_HOLD_MS, doubled with each further loss up
 *     to VPORT_BOND_FLAP_HOLD_MAX_MS.
 *
 * OVS's word counts at once, as it honours the delays itself.  So does that an
 * uplink is gone, its device or its port: no delay brings that back.
 *
 * If no uplink is eligible, those that have carrier and are enabled, or that
 * OVS is about to enable, are used without waiting: the first one up takes
 * all.
 *
 * Vports
 * ------
 *
 * Each vport has a *home*: the uplink that it is pinned to, otherwise the one
 * that was home to the fewest vports of its class when it was added.  It keeps
 * its home until the home leaves the bond, it is pinned elsewhere, or it is
 * moved by hand.
 *
 * It uses its home if that is usable.  Otherwise it goes to the usable uplink
 * that carries the fewest vports, and stays there for as long as that is
 * usable or until its home is back ('revert'; without it, until it has to
 * move again).  If none is usable it uses no uplink: its packets are dropped.
 *
 * Vports of different classes are spread separately, so that ports that are
 * not virtual machines' do not disturb the balance of those that are.
 *
 * Thread-safety: none. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/types.h"

/* Why an uplink of the bond is not there, bits. */
#define VPORT_BOND_NO_DEVICE (1u << 0)
#define VPORT_BOND_NO_PORT_IN_DATAPATH (1u << 1)

#define VPORT_BOND_FLAP_WINDOW_MS 10000
#define VPORT_BOND_FLAP_HOLD_MS 500
#define VPORT_BOND_FLAP_HOLD_MAX_MS 10000

enum vport_class {
    VPORT_VM,                       /* What vport-bond is for. */
    VPORT_OTHER,                    /* LOCAL ports, tunnels, no port at all. */
    N_VPORT_CLASSES
};

struct vport_bond_settings {
    int updelay_ms;                 /* bond_updelay. */
    int downdelay_ms;               /* bond_downdelay. */
    bool revert;                    /* vport-bond-revert. */
};

/* Read-only for others. */
struct vport_bond_uplink {
    struct ovs_list node;           /* In 'uplinks', by name. */
    char *name;
    odp_port_t odp_port;

    /* The caller's, false at first. */
    bool in_kernel;                 /* See lib/carrier.h. */
    bool carrier_told;              /* vport_bond_set_carrier() was called. */

    /* What was told. */
    bool carrier;
    bool enabled;                   /* By OVS. */
    bool enabling;                  /* OVS will enable it after its delay. */
    unsigned int gone;              /* VPORT_BOND_NO_*. */

    /* What follows. */
    bool fresh;                     /* Added since the last decision. */
    bool carrier_counts;            /* 'carrier', with delays. */
    long long int due_ms;           /* When 'carrier_counts' is to change,
                                     * LLONG_MAX if it is not. */
    bool eligible;
    bool usable;                    /* Eligible, or nothing better is. */
    long long int since_ms;         /* Since when 'eligible' is as it is. */
    unsigned int n_flaps;           /* Losses, each near to the one before. */
    long long int last_loss_ms;     /* LLONG_MIN if it never lost carrier. */
    uint64_t n_losses;

    unsigned int n_homes[N_VPORT_CLASSES];
    unsigned int n_vports[N_VPORT_CLASSES]; /* That use it now. */
};

/* Read-only for others. */
struct vport_bond_vport {
    struct hmap_node hmap_node;     /* In 'vports', by 'odp_port'. */
    struct ovs_list list_node;      /* In 'vport_list', in order of adding. */
    char *name;
    odp_port_t odp_port;            /* ODPP_NONE: packets of no port. */
    uint32_t id;                    /* The caller's. */
    void *aux;                      /* The caller's, null at first. */
    enum vport_class class;

    char *primary;                  /* Pinned to it, or null. */
    bool by_hand;                   /* 'home' was chosen by hand. */
    struct vport_bond_uplink *home; /* Null only if there are no uplinks. */
    struct vport_bond_uplink *current; /* Null: packets are dropped. */
    bool placed;                    /* A first decision was made. */
    bool changed;                   /* Not taken by vport_bond_take_changes()
                                     * yet. */

    uint64_t n_moves;               /* From one uplink, or none, to another. */
    long long int last_move_ms;     /* Time of the last, LLONG_MIN if none. */
};

struct vport_bond {
    char *name;
    struct vport_bond_settings settings;
    struct ovs_list uplinks;        /* Contains 'struct vport_bond_uplink's. */
    struct hmap vports;             /* Contains 'struct vport_bond_vport's. */
    struct ovs_list vport_list;     /* The same. */
};

struct vport_bond *vport_bond_create(const char *name,
                                     const struct vport_bond_settings *);
void vport_bond_destroy(struct vport_bond *);

void vport_bond_set_settings(struct vport_bond *,
                             const struct vport_bond_settings *);

/* Uplinks.  A new one has carrier and is enabled until told otherwise; what is
 * told before the next vport_bond_run() counts at once. */
struct vport_bond_uplink *vport_bond_add_uplink(struct vport_bond *,
                                                const char *name,
                                                odp_port_t,
                                                long long int now_ms);
void vport_bond_remove_uplink(struct vport_bond *,
                              struct vport_bond_uplink *);
struct vport_bond_uplink *vport_bond_find_uplink(const struct vport_bond *,
                                                 const char *name);

/* The uplink's number in the datapath changed. */
void vport_bond_set_uplink_port(struct vport_bond *,
                                struct vport_bond_uplink *, odp_port_t);

/* Tells of the uplink's carrier.  It may be told again what it was told. */
void vport_bond_set_carrier(struct vport_bond *, struct vport_bond_uplink *,
                            bool carrier, long long int now_ms);

/* Tells what OVS thinks of the uplink. */
void vport_bond_set_enabled(struct vport_bond *, struct vport_bond_uplink *,
                            bool enabled, bool enabling);

/* Tells that 'reason', one of VPORT_BOND_NO_*, for not being there holds for
 * the uplink or does not any more. */
void vport_bond_set_gone(struct vport_bond *, struct vport_bond_uplink *,
                         unsigned int reason, bool gone);

/* Vports.  'primary' names an uplink that is in the bond, or is null. */
struct vport_bond_vport *vport_bond_add_vport(struct vport_bond *,
                                              const char *name, odp_port_t,
                                              enum vport_class,
                                              const char *primary,
                                              uint32_t id);
void vport_bond_remove_vport(struct vport_bond *, struct vport_bond_vport *);
struct vport_bond_vport *vport_bond_find_vport(const struct vport_bond *,
                                               odp_port_t);
struct vport_bond_vport *vport_bond_find_vport_by_name(
    const struct vport_bond *, const char *name);

/* Pins 'vport' to 'primary', an uplink of the bond, or unpins it if 'primary'
 * is null; then it keeps the home that it has. */
void vport_bond_set_primary(struct vport_bond *, struct vport_bond_vport *,
                            const char *primary);

/* Makes 'uplink' the home of 'vport', by hand, and moves it there.  Returns
 * null, or a malloc()'d sentence that says why not. */
char *vport_bond_move(struct vport_bond *, struct vport_bond_vport *,
                      struct vport_bond_uplink *uplink,
                      long long int now_ms);

/* Decides.  Returns when it should be called again although nothing was told,
 * LLONG_MAX if never. */
long long int vport_bond_run(struct vport_bond *, long long int now_ms);

/* Calls 'cb' for each vport whose 'current', or whose current uplink's port,
 * changed since it was taken last.  A new vport counts as changed.  'cb' must
 * not change the bond. */
typedef void vport_bond_change_cb(struct vport_bond_vport *, void *aux);
void vport_bond_take_changes(struct vport_bond *, vport_bond_change_cb *,
                             void *aux);

/* Returns how long 'uplink' has still to wait until its carrier counts as it
 * is, in milliseconds, or -1 if it does. */
long long int vport_bond_uplink_due_in(const struct vport_bond_uplink *uplink,
                                       long long int now_ms);

/* Returns true if 'uplink' has carrier that does not count yet for longer than
 * 'updelay_ms' asks for, as the link flaps. */
bool vport_bond_uplink_is_damped(const struct vport_bond_uplink *uplink);

#endif /* vport-bond.h */
