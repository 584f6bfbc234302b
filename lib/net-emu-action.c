/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-spec.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_config.h>
#include <rte_flow.h>

#include "net-emu-private.h"
#include "net-emu-indirect.h"
#include "nic-emu-check.h"
#include "packets.h"
#include "util.h"

struct parser {
    struct net_emu *nic;
    struct net_emu_spec *spec;
    struct rte_flow_error *error;
    const struct rte_flow_action *action;
    bool has_fate;
};

static int
refuse(const struct parser *p, enum rte_flow_error_type type,
       const char *message)
{
    const void *cause = (type == RTE_FLOW_ERROR_TYPE_ACTION_CONF
                         ? p->action->conf : p->action);

    return rte_flow_error_set(p->error, ENOTSUP, type, cause, message);
}

/* Appends '*a' to the rule. */
static int
put(struct parser *p, const struct nic_action *a)
{
    struct net_emu_spec *spec = p->spec;

    if (p->has_fate) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION,
                      "the action comes after the one that decides where the "
                      "packet goes");
    }
    if (spec->n_actions >= NIC_MAX_ACTIONS) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_NUM, "too many actions");
    }
    spec->causes[spec->n_actions] = p->action;
    spec->actions[spec->n_actions++] = *a;
    return 0;
}

static int
put_fate(struct parser *p, const struct nic_action *a)
{
    int error = put(p, a);

    p->has_fate = true;
    return error;
}

/* Sets the 'len' bytes of 'field' to those of 'value' where 'mask', null for
 * everywhere, is 1. */
static int
put_set(struct parser *p, enum nic_field field, const void *value,
        const void *mask, size_t len)
{
    struct nic_action a = { .type = NIC_ACTION_SET };

    a.set.field = field;
    memcpy(a.set.value, value, len);
    if (mask) {
        memcpy(a.set.mask, mask, len);
    } else {
        memset(a.set.mask, 0xff, len);
    }
    return put(p, &a);
}

/* Returns 0 if the rule matches packets of 'dl_type' only. */
static int
need_type(struct parser *p, uint16_t dl_type)
{
    const struct match *match = &p->spec->match;

    return (match->wc.masks.dl_type == OVS_BE16_MAX
            && match->flow.dl_type == htons(dl_type) ? 0
            : refuse(p, RTE_FLOW_ERROR_TYPE_ACTION,
                     dl_type == ETH_TYPE_IP
                     ? "the pattern does not say that packets are IPv4"
                     : "the pattern does not say that packets are IPv6"));
}

static int
need_proto(struct parser *p, uint8_t proto)
{
    const struct match *match = &p->spec->match;

    return (match->wc.masks.nw_proto == UINT8_MAX
            && match->flow.nw_proto == proto ? 0
            : refuse(p, RTE_FLOW_ERROR_TYPE_ACTION,
                     proto == IPPROTO_TCP
                     ? "the pattern does not say that packets are TCP"
                     : "the pattern does not say that packets are UDP"));
}

static int
put_tos(struct parser *p, uint8_t value, uint8_t mask)
{
    return put_set(p, NIC_FIELD_IP_TOS, &value, &mask, sizeof value);
}

static int
put_tci(struct parser *p, uint16_t value, uint16_t mask)
{
    const ovs_be16 be_value = htons(value);
    const ovs_be16 be_mask = htons(mask);

    return put_set(p, NIC_FIELD_VLAN_TCI, &be_value, &be_mask,
                   sizeof be_value);
}

/* Fates. */

static int
put_port(struct parser *p, uint32_t port_id, bool to_software)
{
    const struct net_emu_port *port;
    struct nic_action a = { .type = NIC_ACTION_OUTPUT };

    port = (port_id < RTE_MAX_ETHPORTS ? net_emu_port_by_id(p->nic, port_id)
            : NULL);
    if (!port) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                      "the port is not one of this NIC");
    }
    if (p->spec->in && p->spec->in->domain_id != port->domain_id) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                      "the port is on another eSwitch");
    }
    a.port = to_software ? port->sw_id : port->wire_id;
    return put_fate(p, &a);
}

static int
put_jump(struct parser *p, uint32_t group)
{
    struct nic_action a = { .type = NIC_ACTION_JUMP, .table = group };

    if (group == NIC_TABLE_NONE) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                      "there is no such group");
    }
    if (group == p->spec->group) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                      "the jump leads to the rule's own group");
    }
    return put_fate(p, &a);
}

/* RTE_FLOW_ACTION_TYPE_MODIFY_FIELD. */

/* What MODIFY_FIELD can set: only as a whole. */
static const struct modifiable {
    enum rte_flow_field_id id;
    uint32_t width;                 /* Bits. */
    enum nic_field field;
    uint16_t dl_type;               /* 0: any. */
    uint8_t proto;                  /* 0: any. */
} modifiables[] = {
    { RTE_FLOW_FIELD_MAC_DST, 48, NIC_FIELD_ETH_DST, 0, 0 },
    { RTE_FLOW_FIELD_MAC_SRC, 48, NIC_FIELD_ETH_SRC, 0, 0 },
    { RTE_FLOW_FIELD_VLAN_ID, 12, NIC_FIELD_VLAN_TCI, 0, 0 },
    { RTE_FLOW_FIELD_IPV4_DSCP, 6, NIC_FIELD_IP_TOS, ETH_TYPE_IP, 0 },
    { RTE_FLOW_FIELD_IPV4_ECN, 2, NIC_FIELD_IP_TOS, ETH_TYPE_IP, 0 },
    { RTE_FLOW_FIELD_IPV4_TTL, 8, NIC_FIELD_IP_TTL, ETH_TYPE_IP, 0 },
    { RTE_FLOW_FIELD_IPV4_SRC, 32, NIC_FIELD_IP_SRC, ETH_TYPE_IP, 0 },
    { RTE_FLOW_FIELD_IPV4_DST, 32, NIC_FIELD_IP_DST, ETH_TYPE_IP, 0 },
    { RTE_FLOW_FIELD_IPV6_DSCP, 6, NIC_FIELD_IP_TOS, ETH_TYPE_IPV6, 0 },
    { RTE_FLOW_FIELD_IPV6_ECN, 2, NIC_FIELD_IP_TOS, ETH_TYPE_IPV6, 0 },
    { RTE_FLOW_FIELD_IPV6_HOPLIMIT, 8, NIC_FIELD_IP_TTL, ETH_TYPE_IPV6, 0 },
    { RTE_FLOW_FIELD_IPV6_SRC, 128, NIC_FIELD_IP_SRC, ETH_TYPE_IPV6, 0 },
    { RTE_FLOW_FIELD_IPV6_DST, 128, NIC_FIELD_IP_DST, ETH_TYPE_IPV6, 0 },
    { RTE_FLOW_FIELD_TCP_PORT_SRC, 16, NIC_FIELD_TP_SRC, 0, IPPROTO_TCP },
    { RTE_FLOW_FIELD_TCP_PORT_DST, 16, NIC_FIELD_TP_DST, 0, IPPROTO_TCP },
    { RTE_FLOW_FIELD_UDP_PORT_SRC, 16, NIC_FIELD_TP_SRC, 0, IPPROTO_UDP },
    { RTE_FLOW_FIELD_UDP_PORT_DST, 16, NIC_FIELD_TP_DST, 0, IPPROTO_UDP },
};

static const struct modifiable *
modifiable_find(enum rte_flow_field_id id)
{
    for (size_t i = 0; i < ARRAY_SIZE(modifiables); i++) {
        if (modifiables[i].id == id) {
            return &modifiables[i];
        }
    }
    return NULL;
}

static int
put_modify(struct parser *p)
{
    const struct rte_flow_action_modify_field *conf = p->action->conf;
    const struct modifiable *m = modifiable_find(conf->dst.field);
    const uint8_t *value;
    int error = 0;

    if (conf->operation != RTE_FLOW_MODIFY_SET) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                      "fields can only be set, not added to");
    }
    if (!m) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                      "the field cannot be changed");
    }
    if (conf->dst.level > 1 || conf->dst.offset || conf->width != m->width) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                      "the outermost field can only be set as a whole");
    }
    if (conf->src.field == RTE_FLOW_FIELD_VALUE) {
        value = conf->src.value;
    } else if (conf->src.field == RTE_FLOW_FIELD_POINTER
               && conf->src.pvalue) {
        value = conf->src.pvalue;
    } else {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                      "fields can only be set to values");
    }
    if (m->dl_type) {
        error = need_type(p, m->dl_type);
    }
    if (!error && m->proto) {
        error = need_proto(p, m->proto);
    }
    if (error) {
        return error;
    }
    switch (m->width) {
    case 2:
        return put_tos(p, value[0] & IP_ECN_MASK, IP_ECN_MASK);
    case 6:
        return put_tos(p, value[0] << 2, IP_DSCP_MASK);
    case 12:
        return put_tci(p, value[0] << 8 | value[1], VLAN_VID_MASK);
    default:
        return put_set(p, m->field, value, NULL, m->width / 8);
    }
}

/* Shared objects. */

static int
put_counter(struct parser *p, struct rte_flow_action_handle *handle)
{
    if (p->spec->counts) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION,
                      "a rule has one counter");
    }
    p->spec->counts = true;
    p->spec->shared = handle;
    return 0;
}

static int
put_conn(struct parser *p, struct rte_flow_action_handle *handle)
{
    const struct nic_action a = {
        .type = NIC_ACTION_WINDOW,
        .window = { .window = handle->window, .reply = !handle->original },
    };
    int error;

    if (p->spec->conn) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION,
                      "a rule has one connection");
    }
    if (handle->lost) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                      "a reset of the NIC lost the connection");
    }
    error = need_proto(p, IPPROTO_TCP);
    if (!error) {
        p->spec->conn = handle;
        error = put(p, &a);
    }
    return error;
}

static int
put_indirect(struct parser *p)
{
    struct rte_flow_action_handle *handle
        = CONST_CAST(struct rte_flow_action_handle *, p->action->conf);

    if (!net_emu_indirect_is_valid(p->nic, handle)) {
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                      "there is no such indirect action");
    }
    return (handle->type == RTE_FLOW_ACTION_TYPE_CONNTRACK
            ? put_conn(p, handle) : put_counter(p, handle));
}

/* All actions. */

static bool
needs_conf(enum rte_flow_action_type type)
{
    return (type != RTE_FLOW_ACTION_TYPE_VOID
            && type != RTE_FLOW_ACTION_TYPE_COUNT
            && type != RTE_FLOW_ACTION_TYPE_DROP
            && type != RTE_FLOW_ACTION_TYPE_DEC_TTL
            && type != RTE_FLOW_ACTION_TYPE_OF_POP_VLAN);
}

static int
put_action(struct parser *p)
{
    const void *conf = p->action->conf;
    struct nic_action a;
    int error;

    switch ((int) p->action->type) {
    case RTE_FLOW_ACTION_TYPE_VOID:
        return 0;

    case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
    case RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR:
        return put_port(p, ((const struct rte_flow_action_ethdev *)
                            conf)->port_id,
                        (p->action->type
                         == RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR));

    case RTE_FLOW_ACTION_TYPE_PORT_ID: {
        const struct rte_flow_action_port_id *id = conf;

        return (id->original
                ? refuse(p, RTE_FLOW_ERROR_TYPE_ACTION_CONF,
                         "the port must be named")
                : put_port(p, id->id, false));
    }

    case RTE_FLOW_ACTION_TYPE_JUMP:
        return put_jump(p, ((const struct rte_flow_action_jump *)
                            conf)->group);

    case RTE_FLOW_ACTION_TYPE_DROP:
        a = (struct nic_action) { .type = NIC_ACTION_DROP };
        return put_fate(p, &a);

    case RTE_FLOW_ACTION_TYPE_COUNT:
        return put_counter(p, NULL);

    case RTE_FLOW_ACTION_TYPE_INDIRECT:
        return put_indirect(p);

    case RTE_FLOW_ACTION_TYPE_CONNTRACK:
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION,
                      "a connection must be an indirect action");

    case RTE_FLOW_ACTION_TYPE_SET_MAC_SRC:
        return put_set(p, NIC_FIELD_ETH_SRC, conf, NULL, ETH_ADDR_LEN);
    case RTE_FLOW_ACTION_TYPE_SET_MAC_DST:
        return put_set(p, NIC_FIELD_ETH_DST, conf, NULL, ETH_ADDR_LEN);

    case RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC:
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_DST:
        error = need_type(p, ETH_TYPE_IP);
        return (error ? error
                : put_set(p, (p->action->type
                              == RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC
                              ? NIC_FIELD_IP_SRC : NIC_FIELD_IP_DST),
                          conf, NULL, sizeof(ovs_be32)));

    case RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC:
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_DST:
        error = need_type(p, ETH_TYPE_IPV6);
        return (error ? error
                : put_set(p, (p->action->type
                              == RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC
                              ? NIC_FIELD_IP_SRC : NIC_FIELD_IP_DST),
                          conf, NULL, sizeof(struct in6_addr)));

    case RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP:
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_DSCP:
        error = need_type(p, (p->action->type
                              == RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP
                              ? ETH_TYPE_IP : ETH_TYPE_IPV6));
        return (error ? error
                : put_tos(p, ((const struct rte_flow_action_set_dscp *)
                              conf)->dscp << 2, IP_DSCP_MASK));

    case RTE_FLOW_ACTION_TYPE_SET_TP_SRC:
        return put_set(p, NIC_FIELD_TP_SRC, conf, NULL, sizeof(ovs_be16));
    case RTE_FLOW_ACTION_TYPE_SET_TP_DST:
        return put_set(p, NIC_FIELD_TP_DST, conf, NULL, sizeof(ovs_be16));

    case RTE_FLOW_ACTION_TYPE_SET_TTL:
        return put_set(p, NIC_FIELD_IP_TTL, conf, NULL, sizeof(uint8_t));
    case RTE_FLOW_ACTION_TYPE_DEC_TTL:
        a = (struct nic_action) { .type = NIC_ACTION_DEC_TTL };
        return put(p, &a);

    case RTE_FLOW_ACTION_TYPE_MODIFY_FIELD:
        return put_modify(p);

    case RTE_FLOW_ACTION_TYPE_OF_POP_VLAN:
        a = (struct nic_action) { .type = NIC_ACTION_POP_VLAN };
        return put(p, &a);
    case RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN:
        a = (struct nic_action) { .type = NIC_ACTION_PUSH_VLAN };
        a.vlan.tpid = ((const struct rte_flow_action_of_push_vlan *)
                       conf)->ethertype;
        return put(p, &a);
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID:
        return put_tci(p, ntohs(((const struct rte_flow_action_of_set_vlan_vid
                                  *) conf)->vlan_vid), VLAN_VID_MASK);
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP:
        return put_tci(p, ((const struct rte_flow_action_of_set_vlan_pcp *)
                           conf)->vlan_pcp << VLAN_PCP_SHIFT, VLAN_PCP_MASK);

    default:
        return refuse(p, RTE_FLOW_ERROR_TYPE_ACTION,
                      "the action is not known to the NIC");
    }
}

/* Finds the action that is the reason why the emulated NIC says no to the
 * rule: the last one of the shortest list that it does not accept. */
static int
check(const struct parser *p)
{
    struct net_emu_spec *spec = p->spec;
    const struct nic_action end = { .type = NIC_ACTION_DROP };
    struct nic_caps caps;

    nic_emu_config_caps(nic_emu_hw_config(p->nic->hw), &caps);
    for (size_t n = 0; n <= spec->n_actions; n++) {
        struct net_emu_spec part = *spec;
        struct nic_template *template;
        const char *reason;

        part.n_actions = n;
        if (n < spec->n_actions) {
            part.actions[part.n_actions++] = end;
        }
        template = net_emu_spec_template(&part);
        reason = nic_emu_check_template(template, &caps);
        nic_template_unref(template);
        if (reason) {
            return (n ? rte_flow_error_set(p->error, ENOTSUP,
                                           RTE_FLOW_ERROR_TYPE_ACTION,
                                           spec->causes[n - 1], reason)
                    : rte_flow_error_set(p->error, ENOTSUP,
                                         RTE_FLOW_ERROR_TYPE_ITEM, NULL,
                                         reason));
        }
    }
    return 0;
}

int
net_emu_spec_actions(struct net_emu *nic, struct net_emu_spec *spec,
                     const struct rte_flow_action actions[],
                     struct rte_flow_error *error)
{
    struct parser p = { .nic = nic, .spec = spec, .error = error };

    spec->n_actions = 0;
    spec->counts = false;
    spec->shared = NULL;
    spec->conn = NULL;
    if (!actions) {
        return rte_flow_error_set(error, EINVAL,
                                  RTE_FLOW_ERROR_TYPE_ACTION_NUM, NULL,
                                  "there are no actions");
    }
    for (p.action = actions; p.action->type != RTE_FLOW_ACTION_TYPE_END;
         p.action++) {
        int retval = (needs_conf(p.action->type) && !p.action->conf
                      ? refuse(&p, RTE_FLOW_ERROR_TYPE_ACTION,
                               "the action has no configuration")
                      : put_action(&p));

        if (retval) {
            return retval;
        }
    }
    if (!p.has_fate) {
        return rte_flow_error_set(error, EINVAL,
                                  RTE_FLOW_ERROR_TYPE_ACTION, p.action,
                                  "no action decides where the packet goes");
    }
    return check(&p);
}

int
net_emu_spec_attr(struct net_emu *nic OVS_UNUSED, struct net_emu_spec *spec,
                  const struct rte_flow_attr *attr,
                  struct rte_flow_error *error)
{
    if (!attr) {
        return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR,
                                  NULL, "there are no attributes");
    }
    if (!attr->transfer) {
        return rte_flow_error_set(error, ENOTSUP,
                                  RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER, attr,
                                  "only rules with 'transfer'");
    }
    if (attr->ingress || attr->egress) {
        return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR,
                                  attr, "ingress and egress have no meaning "
                                  "with 'transfer'");
    }
    if (attr->group == NIC_TABLE_NONE) {
        return rte_flow_error_set(error, ENOTSUP,
                                  RTE_FLOW_ERROR_TYPE_ATTR_GROUP, attr,
                                  "there is no such group");
    }
    spec->group = attr->group;
    spec->priority = attr->priority;
    return 0;
}

int
net_emu_spec_init(struct net_emu *nic, struct net_emu_spec *spec,
                  const struct rte_flow_attr *attr,
                  const struct rte_flow_item pattern[],
                  const struct rte_flow_action actions[],
                  struct rte_flow_error *error)
{
    int retval = net_emu_spec_attr(nic, spec, attr, error);

    retval = retval ? retval : net_emu_spec_pattern(nic, spec, pattern, error);
    return retval ? retval : net_emu_spec_actions(nic, spec, actions, error);
}

struct nic_template *
net_emu_spec_template(const struct net_emu_spec *spec)
{
    struct nic_template *template;

    template = nic_template_create(spec->in_port, spec->group, &spec->match,
                                   NIC_SLOT_NONE, spec->actions,
                                   spec->n_actions);
    nic_template_set_priority(template, spec->priority);
    return template;
}
