/* SPDX-License-Identifier: Apache-2.0 */

#include <config.h>
#include "test-switch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands-conn.h"
#include "commands.h"
#include "ct-conn.h"
#include "dirs.h"
#include "offload.h"
#include "openvswitch/json.h"
#include "openvswitch/vlog.h"
#include "smap.h"
#include "socket-util.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(test_switch);

#define TEST_NIC "test"

static const char *nic_config;          /* Null if the switch is off. */
static const char *min_packets;         /* Null if not to be changed. */
static const char *report_file;         /* Null if there is no report. */

void
test_switch_init(void)
{
    nic_config = getenv("OVS_HANDOFF_TEST_NIC");
    min_packets = getenv("OVS_HANDOFF_TEST_MIN_PACKETS");
    report_file = getenv("OVS_HANDOFF_TEST_REPORT");
    if (nic_config) {
        /* OVS's suites look at what ovs-vswitchd prints until it detaches. */
        vlog_set_levels_from_string_assert("offload_config:console:warn");
    }
    ct_set_count_ready(report_file != NULL);
}

const struct smap *
test_switch_ovs_config(const struct smap *other_config)
{
    static struct smap config = SMAP_INITIALIZER(&config);

    if (!nic_config) {
        return other_config;
    }

    smap_destroy(&config);
    smap_clone(&config, other_config);
    smap_add_once(&config, "hw-offload", "true");
    if (min_packets) {
        smap_add_once(&config, "ct-offload-min-packets", min_packets);
    }
    smap_add_once(&config, "nic-emu-" TEST_NIC, nic_config);
    return &config;
}

const struct smap *
test_switch_iface_config(const struct smap *other_config)
{
    static struct smap config = SMAP_INITIALIZER(&config);

    if (!nic_config || smap_get(other_config, "nic")) {
        return other_config;
    }
    smap_add_once(&config, "nic", TEST_NIC);
    return &config;
}

/* Appends 'line' to the file called 'name', in one piece: other processes may
 * do the same.  Returns 0 or a positive errno value. */
static int
append(const char *name, const char *line)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    size_t bytes_written;
    int error;

    if (fd < 0) {
        return errno;
    }
    error = write_fully(fd, line, strlen(line), &bytes_written);
    close(fd);
    return error;
}

void
test_switch_report(void)
{
    struct json *top;
    char *json;
    char *line;
    int error;

    if (!report_file || !offload_engine()) {
        return;
    }
    top = json_object_create();
    json_object_put_string(top, "rundir", ovs_rundir());
    json_object_put(top, "ready", offload_json_uint(ct_get_n_ready_packets()));
    json_object_put(top, "show", offload_commands_show_json());
    json_object_put(top, "nic", offload_commands_nic_json());
    json = json_to_string(top, JSSF_SORT);
    json_destroy(top);
    line = xasprintf("%s\n", json);
    free(json);

    error = append(report_file, line);
    if (error) {
        VLOG_WARN("%s: cannot be written (%s)", report_file,
                  ovs_strerror(error));
    }
    free(line);
}
