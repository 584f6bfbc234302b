/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>

/* For transfer proxies and indirect actions. */
#define ALLOW_EXPERIMENTAL_API 1

#include "rte-flow-probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <string.h>

#include "openvswitch/shash.h"
#include "openvswitch/thread.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(rte_flow_probe);

/* Drivers have not many different messages. */
#define MAX_TEXTS 500

static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;
static struct {
    bool known;
    struct rte_flow_offer offer;
} cache[RTE_MAX_ETHPORTS] OVS_GUARDED_BY(mutex);

/* Errors. */

/* Returns text that stays what 's' is now. */
static const char *
intern(const char *s)
{
    static struct ovs_mutex texts_mutex = OVS_MUTEX_INITIALIZER;
    static struct shash texts = SHASH_INITIALIZER(&texts);
    const struct shash_node *node;

    ovs_mutex_lock(&texts_mutex);
    node = shash_find(&texts, s);
    if (!node && shash_count(&texts) < MAX_TEXTS) {
        node = shash_add(&texts, s, NULL);
    }
    ovs_mutex_unlock(&texts_mutex);
    return node ? node->name : "the driver refuses it";
}

int
rte_flow_explain(int error, const struct rte_flow_error *e,
                 const char **reasonp)
{
    *reasonp = (!error ? NULL
                : e && e->message ? intern(e->message)
                : intern(ovs_strerror(error)));
    switch (error) {
    case 0:
    case EEXIST:
    case ENODEV:
    case ENOENT:
    case ENOSPC:
        return error;
    case ENOMEM:
    case ENOBUFS:
        return ENOSPC;
    case EINVAL:
    case ENOTSUP:
    case ENOSYS:
    case ERANGE:
    case EPERM:
        return EOPNOTSUPP;
    default:
        return EIO;
    }
}

/* Templates that are tried. */

enum trial {
    TRIAL_PLAIN,                    /* TCP, nothing is changed. */
    TRIAL_IPV6,
    TRIAL_NAT,                      /* Addresses and ports. */
    TRIAL_TTL,
    TRIAL_VLAN,                     /* A tag is pushed. */
};

static void
set_field(struct nic_action *a, enum nic_field field, ovs_be16 dl_type)
{
    memset(a, 0, sizeof *a);
    a->type = NIC_ACTION_SET;
    a->set.field = field;
    memset(a->set.value, 1, nic_field_len(field, dl_type));
    memset(a->set.mask, 0xff, nic_field_len(field, dl_type));
}

static struct nic_template *
make_template(enum trial trial)
{
    ovs_be16 dl_type = htons(trial == TRIAL_IPV6 ? ETH_TYPE_IPV6
                             : ETH_TYPE_IP);
    struct nic_action actions[6];
    struct match match;
    size_t n = 0;

    match_init_catchall(&match);
    match_set_dl_src(&match, eth_addr_broadcast);
    match_set_dl_type(&match, dl_type);
    match_set_dl_tci(&match, 0);
    match_set_nw_proto(&match, IPPROTO_TCP);
    match_set_tcp_flags_masked(&match, htons(TCP_ACK),
                               htons(TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK));
    if (trial == TRIAL_NAT) {
        set_field(&actions[n++], NIC_FIELD_IP_SRC, dl_type);
        set_field(&actions[n++], NIC_FIELD_TP_SRC, dl_type);
        set_field(&actions[n++], NIC_FIELD_ETH_SRC, dl_type);
    } else if (trial == TRIAL_TTL) {
        match_set_nw_ttl(&match, 64);
        set_field(&actions[n++], NIC_FIELD_IP_TTL, dl_type);
    } else if (trial == TRIAL_VLAN) {
        memset(&actions[n], 0, sizeof actions[n]);
        actions[n].type = NIC_ACTION_PUSH_VLAN;
        actions[n].vlan.tpid = htons(ETH_TYPE_VLAN_8021Q);
        actions[n++].vlan.tci = htons(1);
    }
    memset(&actions[n], 0, sizeof actions[n]);
    actions[n].type = NIC_ACTION_OUTPUT;
    actions[n++].port = 1;
    return nic_template_create(1, NIC_TABLE_ROOT, &match, NIC_SLOT_TUPLE,
                               actions, n);
}

/* Asks whether 'c' can be a rule in 'group'.  Returns 0 or a positive errno
 * value, and stores the reason. */
static int
validate(const struct rte_flow_offer *offer, uint32_t group,
         uint32_t priority, const struct rte_codec *c, const char **why)
{
    struct rte_flow_attr attr = {
        .group = group,
        .priority = priority,
        .transfer = 1,
    };
    struct rte_flow_error error = { .type = RTE_FLOW_ERROR_TYPE_NONE };
    int retval = rte_flow_validate(offer->proxy, &attr, c->items, c->actions,
                                   &error);

    return rte_flow_explain(retval < 0 ? -retval : retval, &error, why);
}

/* Makes 'c' a rule in 'group' and removes it again.  Drivers do not tell when
 * asked that a port, or its proxy, is not started. */
static int
create(const struct rte_flow_offer *offer, uint32_t group,
       const struct rte_codec *c, const char **why)
{
    struct rte_flow_attr attr = { .group = group, .transfer = 1 };
    struct rte_flow_error error = { .type = RTE_FLOW_ERROR_TYPE_NONE };
    struct rte_flow *flow;

    flow = rte_flow_create(offer->proxy, &attr, c->items, c->actions, &error);
    if (!flow) {
        return rte_flow_explain(rte_errno ? rte_errno : EIO, &error, why);
    }
    rte_flow_destroy(offer->proxy, flow, &error);
    return 0;
}

/* Asks whether 'trial' can be a rule.  With 'really', tries it as well, where
 * no packet hits it: in a group that none comes to or, without groups, for
 * packets from and to 0.0.0.0 whose source is the broadcast address, which is
 * none that a frame may have. */
static int
try(const struct rte_flow_offer *offer, enum trial trial,
    enum rte_codec_style style, struct rte_flow_action_handle *counter,
    bool really, const char **why)
{
    uint32_t group = (offer->groups ? RTE_FLOW_GROUP_RULES
                      : RTE_FLOW_GROUP_ENTRY);
    struct rte_codec_place place = {
        .style = style,
        .in_ethdev = offer->ethdev,
        .out_ethdev = offer->ethdev,
        .counter = counter,
    };
    struct nic_template *template = make_template(trial);
    struct rte_codec c;
    int error;

    *why = rte_codec_encode(&c, template, NULL, &place);
    ovs_assert(!*why);
    error = validate(offer, group, 0, &c, why);
    if (!error && really) {
        error = create(offer, offer->groups ? RTE_FLOW_GROUP_TRIAL : group,
                       &c, why);
    }
    nic_template_unref(template);
    return error;
}

/* The rule that leads packets of the port to other groups, and those there. */
static bool
can_jump(const struct rte_flow_offer *offer, uint32_t from, uint32_t to)
{
    struct rte_codec c;
    const char *why;

    rte_codec_begin(&c);
    rte_codec_put_port(&c, offer->ethdev);
    rte_codec_put_jump(&c, to);
    rte_codec_end(&c);
    return !validate(offer, from, 0, &c, &why);
}

static bool
can_have_egress(const struct rte_flow_offer *offer, uint32_t priority)
{
    struct rte_codec c;
    const char *why;

    rte_codec_begin(&c);
    rte_codec_put_any_port(&c);
    rte_codec_put_any_frame(&c);
    rte_codec_put_output(&c, offer->ethdev);
    rte_codec_end(&c);
    return !validate(offer, RTE_FLOW_GROUP_EGRESS, priority, &c, &why);
}

static bool
can_share_counter(const struct rte_flow_offer *offer)
{
    static const struct rte_flow_action_count conf;
    struct rte_flow_indir_action_conf indirect = { .transfer = 1 };
    struct rte_flow_action action = {
        .type = RTE_FLOW_ACTION_TYPE_COUNT,
        .conf = &conf,
    };
    struct rte_flow_action_handle *handle;
    struct rte_flow_error error;
    const char *why;
    bool ok;

    handle = rte_flow_action_handle_create(offer->proxy, &indirect, &action,
                                           &error);
    if (!handle) {
        return false;
    }
    ok = !try(offer, TRIAL_PLAIN, offer->style, handle, false, &why);
    rte_flow_action_handle_destroy(offer->proxy, handle, &error);
    return ok;
}

static void
probe(uint16_t ethdev, struct rte_flow_offer *offer)
{
    struct rte_eth_dev_info info;
    struct rte_flow_error ignored;
    const char *why;
    int error;

    memset(offer, 0, sizeof *offer);
    offer->ethdev = ethdev;
    offer->domain = RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID;
    if (rte_eth_dev_info_get(ethdev, &info)) {
        offer->refusal = "DPDK has no such port";
        return;
    }
    offer->domain = info.switch_info.domain_id;
    offer->representor = (info.dev_flags
                          && *info.dev_flags & RTE_ETH_DEV_REPRESENTOR);
    if (rte_flow_pick_transfer_proxy(ethdev, &offer->proxy, &ignored)) {
        offer->proxy = ethdev;
    }

    offer->groups = can_jump(offer, RTE_FLOW_GROUP_ENTRY,
                             RTE_FLOW_GROUP_RULES);
    error = try(offer, TRIAL_PLAIN, RTE_CODEC_SET, NULL, true,
                &offer->refusal);
    if (error && offer->groups) {
        offer->groups = false;
        error = try(offer, TRIAL_PLAIN, RTE_CODEC_SET, NULL, true,
                    &offer->refusal);
    }
    if (error) {
        char *text;

        offer->waiting = error == ENODEV;
        text = xasprintf("its driver takes no flow rules%s: %s",
                         offer->waiting ? " yet" : "", offer->refusal);
        offer->refusal = intern(text);
        free(text);
        return;
    }
    if (offer->domain == RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID) {
        offer->refusal = "the port belongs to no embedded switch";
        return;
    }
    offer->style = (try(offer, TRIAL_NAT, RTE_CODEC_MODIFY_FIELD, NULL, false,
                         &why)
                    ? RTE_CODEC_SET : RTE_CODEC_MODIFY_FIELD);
    offer->nat = !try(offer, TRIAL_NAT, offer->style, NULL, false, &why);
    offer->ttl = !try(offer, TRIAL_TTL, offer->style, NULL, false, &why);
    offer->ipv6 = !try(offer, TRIAL_IPV6, offer->style, NULL, false, &why);
    offer->vlan = !try(offer, TRIAL_VLAN, offer->style, NULL, false, &why);
    offer->egress = (offer->groups
                     && can_jump(offer, RTE_FLOW_GROUP_RULES,
                                 RTE_FLOW_GROUP_EGRESS)
                     && can_have_egress(offer, 0)
                     && can_have_egress(offer, 1));
    offer->indirect_count = can_share_counter(offer);
}

void
rte_flow_probe(uint16_t ethdev, struct rte_flow_offer *offer)
{
    ovs_assert(ethdev < RTE_MAX_ETHPORTS);
    ovs_mutex_lock(&mutex);
    if (!cache[ethdev].known) {
        struct rte_flow_offer *o = &cache[ethdev].offer;

        probe(ethdev, o);
        cache[ethdev].known = true;
        VLOG_INFO("DPDK port %"PRIu16": %s%s%s%s%s%s%s%s%s", ethdev,
                  o->refusal ? "" : "takes flow rules",
                  o->refusal ? o->refusal : "",
                  o->groups ? ", groups" : "",
                  o->egress ? ", egress objects" : "",
                  o->indirect_count ? ", indirect counters" : "",
                  !o->refusal && o->style == RTE_CODEC_MODIFY_FIELD
                  ? ", MODIFY_FIELD" : "",
                  o->ipv6 ? ", IPv6" : "", o->nat ? ", NAT" : "",
                  o->vlan ? ", VLAN" : "");
    }
    *offer = cache[ethdev].offer;
    ovs_mutex_unlock(&mutex);
}

bool
rte_flow_probe_domain(uint16_t domain, struct rte_flow_offer *offer)
{
    bool found = false;

    ovs_mutex_lock(&mutex);
    for (size_t i = 0; !found && i < RTE_MAX_ETHPORTS; i++) {
        if (cache[i].known && !cache[i].offer.refusal
            && cache[i].offer.domain == domain) {
            *offer = cache[i].offer;
            found = true;
        }
    }
    ovs_mutex_unlock(&mutex);
    return found;
}

void
rte_flow_probe_forget(uint16_t ethdev)
{
    ovs_mutex_lock(&mutex);
    for (size_t i = 0; i < RTE_MAX_ETHPORTS; i++) {
        const struct rte_flow_offer *offer = &cache[i].offer;

        /* A port may have been refused for another one's sake. */
        if (i == ethdev || offer->proxy == ethdev || offer->refusal) {
            cache[i].known = false;
        }
    }
    ovs_mutex_unlock(&mutex);
}
