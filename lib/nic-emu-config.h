/* SPDX-License-Identifier: Apache-2.0 */

#ifndef NIC_EMU_CONFIG_H
#define NIC_EMU_CONFIG_H 1

/* Configuration of an emulated NIC: the keys of nic-emu.h, parsed.
 *
 * Thread-safety: functions of their arguments only. */

#include <stdbool.h>
#include <stdint.h>

struct ds;
struct nic_caps;
struct smap;

enum nic_emu_profile {
    NIC_EMU_KIND,
    NIC_EMU_TYPICAL,
    NIC_EMU_HOSTILE
};

struct nic_emu_config {
    enum nic_emu_profile profile;
    bool ct_module;
    bool separate;              /* eswitch=separate. */
    bool ipv6;
    bool nat;
    bool vlan;
    bool ttl;
    bool multi_output;
    uint32_t label_bits;
    uint32_t rate;              /* Operations per second, 0 for no limit. */
    uint32_t max_rules;         /* UINT32_MAX for no limit. */
    uint32_t max_conns;
    uint32_t stale_ms;
    uint32_t delay_ms;
    uint32_t seed;
};

/* Stores in '*config' what 'smap' says and defaults for the rest.  Returns 0
 * if successful, otherwise EINVAL and stores in '*errorp' a malloc()'d
 * sentence that names the key, the value and what is allowed; then '*config'
 * is unchanged. */
int nic_emu_config_parse(const struct smap *smap,
                         struct nic_emu_config *config, char **errorp);

/* Stores in '*caps' what a NIC of 'config' can do. */
void nic_emu_config_caps(const struct nic_emu_config *config,
                         struct nic_caps *caps);

/* Returns the key of what 'a' and 'b' differ in and that cannot be changed
 * while the NIC holds objects, and stores in '*value' the value that 'a' has,
 * to be freed by the caller.  Returns null if there is nothing. */
const char *nic_emu_config_fixed(const struct nic_emu_config *a,
                                 const struct nic_emu_config *b,
                                 char **value);

/* Appends 'config' to 'ds' in the form that users write. */
void nic_emu_config_format(const struct nic_emu_config *config,
                           struct ds *ds);

#endif /* nic-emu-config.h */
