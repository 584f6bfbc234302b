/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-config.h"

#include <errno.h>
#include <string.h>

#include "nic.h"
#include "openvswitch/dynamic-string.h"
#include "smap.h"
#include "util.h"

#define MAX_RATE 10000000
#define MAX_OBJECTS 10000000
#define MAX_MS 60000

/* Profiles in the order of 'enum nic_emu_profile'. */
static const char *const profiles[] = { "kind", "typical", "hostile", NULL };
static const char *const booleans[] = { "false", "true", NULL };
static const char *const eswitches[] = { "merged", "separate", NULL };

/* A choice of two words with its key.  None of them can be changed while the
 * NIC holds objects. */
struct choice {
    const char *key;
    size_t offset;              /* In 'struct nic_emu_config', a bool. */
    const char *const *words;   /* For false and true. */
};

static const struct choice choices[] = {
    { "ct-module", offsetof(struct nic_emu_config, ct_module), booleans },
    { "eswitch", offsetof(struct nic_emu_config, separate), eswitches },
    { "ipv6", offsetof(struct nic_emu_config, ipv6), booleans },
    { "nat", offsetof(struct nic_emu_config, nat), booleans },
    { "vlan", offsetof(struct nic_emu_config, vlan), booleans },
    { "ttl", offsetof(struct nic_emu_config, ttl), booleans },
    { "multi-output", offsetof(struct nic_emu_config, multi_output),
      booleans },
};

/* A number with its key and its range. */
struct number {
    const char *key;
    size_t offset;              /* In 'struct nic_emu_config', a uint32_t. */
    uint32_t min, max;
};

static const struct number numbers[] = {
    { "rate", offsetof(struct nic_emu_config, rate), 0, MAX_RATE },
    { "max-rules", offsetof(struct nic_emu_config, max_rules),
      1, MAX_OBJECTS },
    { "max-conns", offsetof(struct nic_emu_config, max_conns),
      1, MAX_OBJECTS },
    { "stale-ms", offsetof(struct nic_emu_config, stale_ms), 0, MAX_MS },
    { "delay-ms", offsetof(struct nic_emu_config, delay_ms), 0, MAX_MS },
    { "seed", offsetof(struct nic_emu_config, seed), 0, UINT32_MAX },
    { "label-bits", offsetof(struct nic_emu_config, label_bits), 0, 128 },
};

static uint32_t *
number_value(struct nic_emu_config *config, const struct number *number)
{
    return ALIGNED_CAST(uint32_t *, (char *) config + number->offset);
}

static bool *
choice_value(struct nic_emu_config *config, const struct choice *choice)
{
    return (bool *) config + choice->offset / sizeof(bool);
}

static void
set_defaults(struct nic_emu_config *config, enum nic_emu_profile profile)
{
    *config = (struct nic_emu_config) {
        .profile = profile,
        .ipv6 = true,
        .nat = true,
        .vlan = true,
        .ttl = true,
        .multi_output = true,
        .label_bits = 128,
        .rate = 50000,
        .max_rules = 1000000,
        .max_conns = 1000000,
        .stale_ms = 1000,
        .delay_ms = 1,
        .seed = 1,
    };

    switch (profile) {
    case NIC_EMU_KIND:
        config->rate = 0;
        config->max_rules = UINT32_MAX;
        config->max_conns = UINT32_MAX;
        config->stale_ms = 0;
        config->delay_ms = 0;
        break;
    case NIC_EMU_TYPICAL:
        break;
    case NIC_EMU_HOSTILE:
        config->delay_ms = 200;
        break;
    }
}

/* Stores in '*indexp' which of 'words' the value of 'key' is and returns 0.
 * Leaves it alone if there is no such key. */
static int
parse_word(const struct smap *smap, const char *key, const char *const words[],
           int *indexp, char **errorp)
{
    const char *value = smap_get(smap, key);
    struct ds ds = DS_EMPTY_INITIALIZER;

    if (!value) {
        return 0;
    }
    for (int i = 0; words[i]; i++) {
        if (!strcmp(value, words[i])) {
            *indexp = i;
            return 0;
        }
    }

    ds_put_format(&ds, "%s=%s: must be", key, value);
    for (int i = 0; words[i]; i++) {
        ds_put_format(&ds, "%s%s", !i ? " " : words[i + 1] ? ", " : " or ",
                      words[i]);
    }
    *errorp = ds_steal_cstr(&ds);
    return EINVAL;
}

static int
parse_number(const struct smap *smap, const struct number *number,
             struct nic_emu_config *config, char **errorp)
{
    const char *value = smap_get(smap, number->key);
    unsigned long long int n;

    if (!value) {
        return 0;
    }

    /* More than 10 digits are out of every range.  Only digits: strtoull()
     * accepts white space and signs. */
    size_t len = strlen(value);
    if (!len || len > 10 || strspn(value, "0123456789") != len
        || (n = strtoull(value, NULL, 10)) < number->min || n > number->max) {
        *errorp = xasprintf("%s=%s: must be a whole number from %"PRIu32
                            " to %"PRIu32, number->key, value, number->min,
                            number->max);
        return EINVAL;
    }
    *number_value(config, number) = n;
    return 0;
}

static int
check_keys(const struct smap *smap, char **errorp)
{
    const struct smap_node *node;

    SMAP_FOR_EACH (node, smap) {
        bool known = !strcmp(node->key, "profile");

        for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
            known = known || !strcmp(node->key, choices[i].key);
        }
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
            known = known || !strcmp(node->key, numbers[i].key);
        }
        if (!known) {
            *errorp = xasprintf("%s=%s: unknown key, must be profile, "
                                "ct-module, eswitch, ipv6, nat, vlan, ttl, "
                                "multi-output, rate, max-rules, max-conns, "
                                "stale-ms, delay-ms, seed or label-bits",
                                node->key, node->value);
            return EINVAL;
        }
    }
    return 0;
}

int
nic_emu_config_parse(const struct smap *smap, struct nic_emu_config *configp,
                     char **errorp)
{
    int profile = NIC_EMU_TYPICAL;
    struct nic_emu_config config;
    int error;

    error = check_keys(smap, errorp);
    if (!error) {
        error = parse_word(smap, "profile", profiles, &profile, errorp);
    }
    set_defaults(&config, profile);
    for (size_t i = 0; !error && i < ARRAY_SIZE(choices); i++) {
        bool *value = choice_value(&config, &choices[i]);
        int index = *value;

        error = parse_word(smap, choices[i].key, choices[i].words, &index,
                           errorp);
        *value = index;
    }
    for (size_t i = 0; !error && i < ARRAY_SIZE(numbers); i++) {
        error = parse_number(smap, &numbers[i], &config, errorp);
    }

    if (!error) {
        *configp = config;
    }
    return error;
}

void
nic_emu_config_caps(const struct nic_emu_config *config,
                    struct nic_caps *caps)
{
    bool kind = config->profile == NIC_EMU_KIND;

    *caps = (struct nic_caps) {
        .ct_module = config->ct_module,
        .egress_object = true,
        .cross_uplink = !config->separate,
        .last_hit_time = kind,
        .l4_csum_check = kind,
        .ipv6 = config->ipv6,
        .nat = config->nat,
        .vlan = config->vlan,
        .ttl = config->ttl,
        .multi_output = config->multi_output,
        .label_bits = config->ct_module ? config->label_bits : 0,
        .max_rules = config->max_rules,
        .max_conns = config->ct_module ? config->max_conns : 0,
        .rate = config->rate,
        .stale_ms = config->stale_ms,
    };
}

const char *
nic_emu_config_fixed(const struct nic_emu_config *a_,
                     const struct nic_emu_config *b_, char **value)
{
    struct nic_emu_config a = *a_;
    struct nic_emu_config b = *b_;

    for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
        bool was = *choice_value(&a, &choices[i]);

        if (was != *choice_value(&b, &choices[i])) {
            *value = xstrdup(choices[i].words[was]);
            return choices[i].key;
        }
    }
    if (a.label_bits != b.label_bits) {
        *value = xasprintf("%"PRIu32, a.label_bits);
        return "label-bits";
    }
    return NULL;
}

void
nic_emu_config_format(const struct nic_emu_config *config_, struct ds *ds)
{
    struct nic_emu_config config = *config_;

    ds_put_format(ds, "profile=%s", profiles[config.profile]);
    for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
        bool value = *choice_value(&config, &choices[i]);

        ds_put_format(ds, " %s=%s", choices[i].key, choices[i].words[value]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uint32_t value = *number_value(&config, &numbers[i]);

        /* Only a default can be larger: no limit. */
        if (value <= numbers[i].max) {
            ds_put_format(ds, " %s=%"PRIu32, numbers[i].key, value);
        }
    }
}
