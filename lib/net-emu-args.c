/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "net-emu-args.h"

#include <errno.h>
#include <string.h>

#include <rte_config.h>
#include <rte_kvargs.h>

#include "smap.h"
#include "util.h"

static int
parse_number(const char *key, const char *value, unsigned int min,
             unsigned int max, unsigned int *numberp, char **errorp)
{
    unsigned int number;

    if (!str_to_uint(value, 10, &number) || number < min || number > max) {
        *errorp = xasprintf("%s=%s: must be %u to %u", key, value, min, max);
        return EINVAL;
    }
    *numberp = number;
    return 0;
}

/* If 'key' is 'prefix' and a number less than 'n', stores the number. */
static bool
is_port(const char *key, const char *prefix, unsigned int n,
        unsigned int *indexp)
{
    size_t len = strlen(prefix);

    return (!strncmp(key, prefix, len) && str_to_uint(key + len, 10, indexp)
            && *indexp < n);
}

/* Parses what is not of the emulated NIC's own configuration.  Returns -1 if
 * 'key' is. */
static int
parse_pair(struct net_emu_args *args, const char *key, const char *value,
           char **errorp)
{
    unsigned int i;

    if (!strcmp(key, "uplinks")) {
        return parse_number(key, value, 1, NET_EMU_MAX_UPLINKS,
                            &args->n_uplinks, errorp);
    } else if (!strcmp(key, "vfs")) {
        return parse_number(key, value, 0, NET_EMU_MAX_VFS, &args->n_vfs,
                            errorp);
    } else if (!strcmp(key, "rings")) {
        args->rings = !strcmp(value, "true");
        if (!args->rings && strcmp(value, "false")) {
            *errorp = xasprintf("%s=%s: must be true or false", key, value);
            return EINVAL;
        }
    } else if (!strcmp(key, "mac")) {
        args->has_mac = true;
        if (rte_ether_unformat_addr(value, &args->mac)
            || !rte_is_valid_assigned_ether_addr(&args->mac)) {
            *errorp = xasprintf("%s=%s: must be the address of a device", key,
                                value);
            return EINVAL;
        }
    } else if (!strcmp(key, "restrict")) {
        if (!strcmp(value, "mlx5")) {
            args->restriction = NET_EMU_RESTRICT_MLX5;
        } else if (!strcmp(value, "none")) {
            args->restriction = NET_EMU_RESTRICT_NONE;
        } else {
            *errorp = xasprintf("%s=%s: must be none or mlx5", key, value);
            return EINVAL;
        }
    } else if (is_port(key, "p", NET_EMU_MAX_UPLINKS, &i)) {
        free(args->uplinks[i]);
        args->uplinks[i] = xstrdup(value);
    } else if (is_port(key, "vf", NET_EMU_MAX_VFS, &i)) {
        free(args->vfs[i]);
        args->vfs[i] = xstrdup(value);
    } else {
        return -1;
    }
    return 0;
}

/* Returns 0 if there are no devices for ports that do not exist. */
static int
check_devices(const struct net_emu_args *args, char **errorp)
{
    for (unsigned int i = args->n_uplinks; i < NET_EMU_MAX_UPLINKS; i++) {
        if (args->uplinks[i]) {
            *errorp = xasprintf("p%u=%s: there are only %u uplinks", i,
                                args->uplinks[i], args->n_uplinks);
            return EINVAL;
        }
    }
    for (unsigned int i = args->n_vfs; i < NET_EMU_MAX_VFS; i++) {
        if (args->vfs[i]) {
            *errorp = xasprintf("vf%u=%s: there are only %u VFs", i,
                                args->vfs[i], args->n_vfs);
            return EINVAL;
        }
    }
    return 0;
}

int
net_emu_args_parse(const char *text, struct net_emu_args *args, char **errorp)
{
    struct rte_kvargs *pairs = NULL;
    struct smap config = SMAP_INITIALIZER(&config);
    int error = 0;

    *args = (struct net_emu_args) { .n_uplinks = 2, .n_vfs = 2 };
    if (text && text[0]) {
        pairs = rte_kvargs_parse(text, NULL);
        if (!pairs) {
            *errorp = xasprintf("%s: must be KEY=VALUE,...", text);
            error = EINVAL;
        }
    }
    for (unsigned int i = 0; !error && pairs && i < pairs->count; i++) {
        const char *key = pairs->pairs[i].key;
        const char *value = pairs->pairs[i].value;

        if (!value) {
            *errorp = xasprintf("%s: has no value", key);
            error = EINVAL;
        } else {
            error = parse_pair(args, key, value, errorp);
            if (error < 0) {
                smap_replace(&config, key, value);
                error = 0;
            }
        }
    }
    if (!error) {
        error = check_devices(args, errorp);
    }
    if (!error) {
        error = nic_emu_config_parse(&config, &args->config, errorp);
    }
    rte_kvargs_free(pairs);
    smap_destroy(&config);
    return error;
}

void
net_emu_args_destroy(struct net_emu_args *args)
{
    for (unsigned int i = 0; i < NET_EMU_MAX_UPLINKS; i++) {
        free(args->uplinks[i]);
    }
    for (unsigned int i = 0; i < NET_EMU_MAX_VFS; i++) {
        free(args->vfs[i]);
    }
}
