/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-tc-private.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(nic_tc_kernel);

/* A dump of which a part was lost is tried so often. */
#define MAX_DUMPS 5

static struct nlmsghdr *
put_request(void *buf, uint16_t type, uint16_t flags, int ifindex,
            uint32_t parent)
{
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    struct tcmsg *tcm;

    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = NLM_F_REQUEST | flags;
    tcm = mnl_nlmsg_put_extra_header(nlh, sizeof *tcm);
    tcm->tcm_ifindex = ifindex;
    tcm->tcm_parent = parent;
    return nlh;
}

static int
dump_block(struct tc_socket *sock, int ifindex, uint32_t minor,
           tc_reply_cb *cb, void *aux)
{
    uint32_t buf[64];

    return tc_socket_dump(sock, put_request(buf, RTM_GETTFILTER, NLM_F_DUMP,
                                            ifindex,
                                            TC_H_MAKE(TC_H_CLSACT, minor)),
                          cb, aux);
}

int
tc_kernel_dump(struct tc_socket *sock, int ifindex, tc_reply_cb *cb,
               void *aux)
{
    return dump_block(sock, ifindex, TC_H_MIN_INGRESS, cb, aux);
}

/* Sends one request. */
static int
request_qdisc(struct tc_socket *sock, uint16_t type, uint16_t flags,
              int ifindex)
{
    struct tc_batch batch;
    struct nlmsghdr *nlh;
    struct tcmsg *tcm;
    int error;

    tc_batch_init(&batch);
    nlh = put_request(tc_batch_reserve(&batch), type, NLM_F_ACK | flags,
                      ifindex, TC_H_CLSACT);
    tcm = mnl_nlmsg_get_payload(nlh);
    tcm->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
    mnl_attr_put_strz(nlh, TCA_KIND, "clsact");
    tc_batch_commit(&batch);
    tc_socket_transact(sock, &batch, NULL, NULL);
    error = batch.results[0].error;
    tc_batch_destroy(&batch);
    return error;
}

int
tc_kernel_add_qdisc(struct tc_socket *sock, int ifindex, bool *madep)
{
    int error = request_qdisc(sock, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
                              ifindex);

    /* An "ingress" qdisc of somebody else's will do, too. */
    *madep = !error;
    return error == EEXIST ? 0 : error;
}

static void
count_cb(size_t i OVS_UNUSED, const struct nlmsghdr *nlh OVS_UNUSED,
         void *n_)
{
    size_t *n = n_;

    ++*n;
}

void
tc_kernel_del_qdisc(struct tc_socket *sock, int ifindex)
{
    size_t n = 0;

    if (!dump_block(sock, ifindex, TC_H_MIN_INGRESS, count_cb, &n)
        && !dump_block(sock, ifindex, TC_H_MIN_EGRESS, count_cb, &n) && !n) {
        request_qdisc(sock, RTM_DELQDISC, 0, ifindex);
    }
}

/* What an earlier life has left. */

struct places {
    struct flower_place *list;
    size_t n, allocated;
};

static void
note_stale(size_t i OVS_UNUSED, const struct nlmsghdr *nlh, void *places_)
{
    struct places *places = places_;
    struct flower_info info;

    if (!flower_decode_info(nlh, &info) && info.ours) {
        if (places->n == places->allocated) {
            places->list = x2nrealloc(places->list, &places->allocated,
                                      sizeof *places->list);
        }
        places->list[places->n++] = info.place;
    }
}

struct devices {
    int *ifindexes;
    size_t n, allocated;
};

/* Notes devices of which the ingress may have filters. */
static void
note_qdisc(size_t i OVS_UNUSED, const struct nlmsghdr *nlh, void *devices_)
{
    struct devices *devices = devices_;
    struct tcmsg tcm;

    if (nlh->nlmsg_type == RTM_NEWQDISC
        && mnl_nlmsg_get_payload_len(nlh) >= sizeof tcm) {
        memcpy(&tcm, mnl_nlmsg_get_payload(nlh), sizeof tcm);
        if (tcm.tcm_parent == TC_H_CLSACT) {
            if (devices->n == devices->allocated) {
                devices->ifindexes = x2nrealloc(devices->ifindexes,
                                                &devices->allocated,
                                                sizeof *devices->ifindexes);
            }
            devices->ifindexes[devices->n++] = tcm.tcm_ifindex;
        }
    }
}

/* Notes what we have left on device 'ifindex'. */
static void
find_stale(struct tc_socket *sock, int ifindex, struct places *places)
{
    int error;

    /* A filter that is noted twice does no harm, one that is missed does. */
    for (int i = 0; i < MAX_DUMPS; i++) {
        error = tc_kernel_dump(sock, ifindex, note_stale, places);
        if (!error || error == ENODEV) {
            return;
        }
    }
    VLOG_WARN("cannot ask the kernel for the filters of device %d (%s)",
              ifindex, ovs_strerror(error));
}

/* Removes the filters at 'places' of which the chain is 0, or those of which
 * it is not.  Returns the number of those removed. */
static uint32_t
remove_places(struct tc_socket *sock, const struct places *places,
              bool chain_0)
{
    struct tc_batch batch;
    uint32_t n = 0;

    tc_batch_init(&batch);
    for (size_t i = 0; i < places->n; i++) {
        if ((places->list[i].chain == 0) == chain_0) {
            flower_encode_place(tc_batch_reserve(&batch), &places->list[i],
                                RTM_DELTFILTER, NLM_F_REQUEST | NLM_F_ACK,
                                tc_batch_seq(&batch));
            tc_batch_commit(&batch);
        }
    }
    tc_socket_transact(sock, &batch, NULL, NULL);
    for (size_t i = 0; i < batch.n; i++) {
        n += !batch.results[i].error;
    }
    tc_batch_destroy(&batch);
    return n;
}

uint32_t
tc_kernel_remove_stale(struct tc_socket *sock)
{
    struct devices devices = { .n = 0 };
    struct places places = { .n = 0 };
    uint32_t buf[64];
    uint32_t n;
    int error;

    error = tc_socket_dump(sock, put_request(buf, RTM_GETQDISC, NLM_F_DUMP, 0,
                                             0),
                           note_qdisc, &devices);
    if (error) {
        VLOG_WARN("cannot ask the kernel for qdiscs (%s)",
                  ovs_strerror(error));
    }
    for (size_t i = 0; i < devices.n; i++) {
        find_stale(sock, devices.ifindexes[i], &places);
    }

    /* Nothing must lead to a chain that is not there any more. */
    n = remove_places(sock, &places, true);
    n += remove_places(sock, &places, false);
    free(devices.ifindexes);
    free(places.list);
    return n;
}
