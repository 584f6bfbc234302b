/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "nic-emu-config.h"

#include <errno.h>
#include <string.h>

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
};

static uint32_t *
number_value(struct nic_emu_config *config, const struct number *number)
{
    return ALIGNED_CAST(uint32_t *, (char *) config + number->offset);
}

static void
set_defaults(struct nic_emu_config *config, enum nic_emu_profile profile)
{
    *config = (struct nic_emu_config) {
        .profile = profile,
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
    static const char *const words[] = { "profile", "ct-module", "eswitch" };
    const struct smap_node *node;

    SMAP_FOR_EACH (node, smap) {
        bool known = false;

        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
            known = known || !strcmp(node->key, words[i]);
        }
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
            known = known || !strcmp(node->key, numbers[i].key);
        }
        if (!known) {
            *errorp = xasprintf("%s=%s: unknown key, must be profile, "
                                "ct-module, eswitch, rate, max-rules, "
                                "max-conns, stale-ms, delay-ms or seed",
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
    int ct_module = false;
    int separate = false;
    struct nic_emu_config config;
    int error;

    error = check_keys(smap, errorp);
    if (!error) {
        error = parse_word(smap, "profile", profiles, &profile, errorp);
    }
    if (!error) {
        error = parse_word(smap, "ct-module", booleans, &ct_module, errorp);
    }
    if (!error) {
        error = parse_word(smap, "eswitch", eswitches, &separate, errorp);
    }

    set_defaults(&config, profile);
    config.ct_module = ct_module;
    config.separate = separate;
    for (size_t i = 0; !error && i < ARRAY_SIZE(numbers); i++) {
        error = parse_number(smap, &numbers[i], &config, errorp);
    }

    if (!error) {
        *configp = config;
    }
    return error;
}

void
nic_emu_config_format(const struct nic_emu_config *config_, struct ds *ds)
{
    struct nic_emu_config config = *config_;

    ds_put_format(ds, "profile=%s ct-module=%s eswitch=%s",
                  profiles[config.profile], booleans[config.ct_module],
                  eswitches[config.separate]);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uint32_t value = *number_value(&config, &numbers[i]);

        /* Only a default can be larger: no limit. */
        if (value <= numbers[i].max) {
            ds_put_format(ds, " %s=%"PRIu32, numbers[i].key, value);
        }
    }
}
