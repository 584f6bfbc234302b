/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-fault.h"

#include <errno.h>

#include <rte_config.h>
#include <ethdev_driver.h>
#include <rte_telemetry.h>

#include "net-emu-flow.h"
#include "net-emu-private.h"
#include "openvswitch/dynamic-string.h"
#include "ovs-thread.h"
#include "util.h"

#define MAX_WORDS 4

/* Parameters of a command, separated by commas. */
struct words {
    char *copy;
    const char *word[MAX_WORDS];    /* Empty where there is none. */
};

static void
words_init(struct words *words, const char *params)
{
    char *save = NULL;
    char *word;

    words->copy = xstrdup(params ? params : "");
    for (int i = 0; i < MAX_WORDS; i++) {
        word = strtok_r(i ? NULL : words->copy, ",", &save);
        words->word[i] = word ? word : "";
    }
}

static int
answer(struct rte_tel_data *data, const char *error)
{
    rte_tel_data_start_dict(data);
    if (error) {
        rte_tel_data_add_dict_string(data, "error", error);
    } else {
        rte_tel_data_add_dict_string(data, "result", "ok");
    }
    return 0;
}

static int
list(const char *cmd OVS_UNUSED, const char *params OVS_UNUSED,
     struct rte_tel_data *data)
{
    const struct net_emu *nic;

    rte_tel_data_start_array(data, RTE_TEL_STRING_VAL);
    net_emu_lock();
    LIST_FOR_EACH (nic, list_node, net_emu_all()) {
        rte_tel_data_add_array_string(data, nic->name);
    }
    net_emu_unlock();
    return 0;
}

static int
show(const char *cmd OVS_UNUSED, const char *params,
     struct rte_tel_data *data)
{
    const struct net_emu *nic;

    net_emu_lock();
    nic = net_emu_find(params ? params : "");
    if (nic) {
        struct ds faults = DS_EMPTY_INITIALIZER;
        struct nic_stats stats;

        nic_emu_hw_get_stats(nic->hw, &stats);
        nic_emu_hw_format_faults(nic->hw, &faults);
        rte_tel_data_start_dict(data);
        rte_tel_data_add_dict_u64(data, "rules", stats.n_rules);
        rte_tel_data_add_dict_u64(data, "ops", stats.n_ops);
        rte_tel_data_add_dict_u64(data, "failed", stats.n_failed);
        rte_tel_data_add_dict_u64(data, "pending", stats.n_pending);
        rte_tel_data_add_dict_u64(data, "resets", nic->n_resets);
        rte_tel_data_add_dict_string(data, "faults", ds_cstr(&faults));
        for (unsigned int i = 0; i < nic->n_ports; i++) {
            struct net_emu_stats *carried
                = CONST_CAST(struct net_emu_stats *, &nic->ports[i].carried);
            uint64_t packets;
            char key[32];

            atomic_read_relaxed(&carried->packets, &packets);
            snprintf(key, sizeof key, "carried_%s", nic->ports[i].name);
            rte_tel_data_add_dict_u64(data, key, packets);
        }
        ds_destroy(&faults);
    } else {
        answer(data, "there is no such NIC");
    }
    net_emu_unlock();
    return 0;
}

/* Applies 'fault' to 'nic'.  Returns null or what is wrong. */
static const char *
set_fault(struct net_emu *nic, const char *fault, const char *number)
{
    static const char *const names[NIC_EMU_N_FAULTS] = {
        [NIC_EMU_FAULT_FAIL_ADD] = "fail-add",
        [NIC_EMU_FAULT_FULL] = "full",
        [NIC_EMU_FAULT_FAIL_DEL] = "fail-del",
        [NIC_EMU_FAULT_HOLD] = "hold",
    };
    unsigned int n = 1;

    if (number[0] && !str_to_uint(number, 10, &n)) {
        return "the number is none";
    }
    if (!strcmp(fault, "none") || !strcmp(fault, "release")) {
        bool all = !strcmp(fault, "none");

        for (int i = 0; i < NIC_EMU_N_FAULTS; i++) {
            if (all || i == NIC_EMU_FAULT_HOLD) {
                nic_emu_hw_set_fault(nic->hw, i, 0);
            }
        }
        nic->held = false;
        return NULL;
    }
    for (int i = 0; i < NIC_EMU_N_FAULTS; i++) {
        if (!strcmp(fault, names[i])) {
            nic_emu_hw_set_fault(nic->hw, i, n);
            if (i == NIC_EMU_FAULT_HOLD) {
                nic->held = n != 0;
            }
            return NULL;
        }
    }
    return "faults are fail-add, full, fail-del, hold, release and none";
}

static int
fault(const char *cmd OVS_UNUSED, const char *params,
      struct rte_tel_data *data)
{
    struct words words;
    const char *error;
    struct net_emu *nic;

    words_init(&words, params);
    net_emu_lock();
    nic = net_emu_find(words.word[0]);
    error = (nic ? set_fault(nic, words.word[1], words.word[2])
             : "there is no such NIC");
    net_emu_unlock();
    free(words.copy);
    return answer(data, error);
}

static int
carrier(const char *cmd OVS_UNUSED, const char *params,
        struct rte_tel_data *data)
{
    struct net_emu_port *port = NULL;
    const char *error = NULL;
    struct words words;
    struct net_emu *nic;
    const char *state;

    words_init(&words, params);
    state = words.word[2];
    net_emu_lock();
    nic = net_emu_find(words.word[0]);
    for (unsigned int i = 0; nic && i < nic->n_ports; i++) {
        if (!strcmp(nic->ports[i].name, words.word[1])) {
            port = &nic->ports[i];
        }
    }
    net_emu_unlock();

    if (!port) {
        error = "there is no such port";
    } else if (!strcmp(state, "up")) {
        atomic_store(&port->forced_carrier, 1);
    } else if (!strcmp(state, "down")) {
        atomic_store(&port->forced_carrier, 0);
    } else if (!strcmp(state, "auto")) {
        atomic_store(&port->forced_carrier, -1);
    } else {
        error = "states are up, down and auto";
    }
    free(words.copy);
    if (!error) {
        net_emu_port_update_link(port);
    }
    return answer(data, error);
}

static int
reset(const char *cmd OVS_UNUSED, const char *params,
      struct rte_tel_data *data)
{
    struct net_emu *nic;

    net_emu_lock();
    nic = net_emu_find(params ? params : "");
    if (nic) {
        nic_emu_hw_reset(nic->hw);
        net_emu_advance(nic, net_emu_now_ms());
        nic->n_resets++;
    }
    net_emu_unlock();

    /* Without the lock: the application may do anything. */
    for (unsigned int i = 0; nic && i < nic->n_ports; i++) {
        if (nic->ports[i].port_id < RTE_MAX_ETHPORTS) {
            rte_eth_dev_callback_process(
                &rte_eth_devices[nic->ports[i].port_id],
                RTE_ETH_EVENT_INTR_RESET, NULL);
        }
    }
    return answer(data, nic ? NULL : "there is no such NIC");
}

void
net_emu_fault_init(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;

    if (ovsthread_once_start(&once)) {
        rte_telemetry_register_cmd("/net_emu/list", list,
                                   "Names of emulated NICs");
        rte_telemetry_register_cmd("/net_emu/show", show,
                                   "Counters and faults. Parameter: NIC");
        rte_telemetry_register_cmd("/net_emu/fault", fault,
                                   "Injects a fault. Parameters: "
                                   "NIC,FAULT[,N]");
        rte_telemetry_register_cmd("/net_emu/carrier", carrier,
                                   "Sets the carrier. Parameters: "
                                   "NIC,PORT,up|down|auto");
        rte_telemetry_register_cmd("/net_emu/reset", reset,
                                   "Resets the NIC. Parameter: NIC");
        ovsthread_once_done(&once);
    }
}
