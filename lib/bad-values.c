/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "bad-values.h"

#include <stdarg.h>

#include "openvswitch/vlog.h"
#include "util.h"

void
bad_values_destroy(struct bad_values *bad)
{
    sset_destroy(&bad->reported);
    sset_destroy(&bad->seen);
}

void
bad_values_report(struct bad_values *bad, struct vlog_module *module,
                  const char *key, const char *value, const char *format, ...)
{
    char *what = xasprintf("%s=%s", key, value);

    sset_add(&bad->seen, what);
    if (sset_add(&bad->reported, what)) {
        va_list args;
        char *text;

        va_start(args, format);
        text = xvasprintf(format, args);
        va_end(args);
        vlog(module, VLL_WARN,
             "%s: bad value \"%s\": %s; the previous setting stays", key,
             value, text);
        free(text);
    }
    free(what);
}

void
bad_values_end_round(struct bad_values *bad)
{
    sset_swap(&bad->reported, &bad->seen);
    sset_clear(&bad->seen);
}
