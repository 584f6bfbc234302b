/* SPDX-License-Identifier: Apache-2.0 */

#ifndef REASON_H
#define REASON_H 1

/* Why something is not offloaded
 * ==============================
 *
 * Each connection, direction or megaflow that the NIC does not carry has one
 * of these reasons.  The names are shown by commands and are stable; doc/
 * reference.md lists them.
 */

#define OFFLOAD_REASONS                                                       \
    REASON(NONE, "none", "it is offloaded")                                   \
    /* Settings. */                                                           \
    REASON(DISABLED, "disabled",                                              \
           "connection offload is off (hw-offload or ct-offload)")            \
    REASON(PORT_DISABLED, "port-disabled",                                    \
           "ct-offload is off for the port that it comes from")               \
    REASON(MODE, "mode",                                                      \
           "ct-offload-mode asks for a CT module, which the NIC has not")     \
    /* Connection. */                                                         \
    REASON(NEW, "new",                                                        \
           "the connection is not established, or shows too few packets yet") \
    REASON(ALG, "alg", "the connection belongs to a helper (FTP, TFTP)")      \
    REASON(PROTO, "proto", "the protocol is neither TCP nor UDP")             \
    REASON(CLOSING, "closing", "the connection is closing")                   \
    REASON(EXPIRED, "expired", "the connection was expired by force")         \
    REASON(IDLE, "idle", "no packets came for almost its whole timeout")      \
    REASON(SUCCESSOR, "successor",                                            \
           "a connection with the same tuple is still being removed")         \
    REASON(TIMEOUT, "timeout",                                                \
           "it expires sooner than the NIC's counters can tell")              \
    REASON(OTHER_NIC, "other-nic",                                            \
           "another NIC carries its other direction, or another path of it")  \
    REASON(MAX_CONNS, "max-conns", "ct-offload-max-conns is reached")         \
    /* Path. */                                                               \
    REASON(NO_PORT, "no-port",                                                \
           "packets come from a port that is not a NIC's")                    \
    REASON(NO_MEGAFLOW, "no-megaflow",                                        \
           "no megaflow matches its packets yet")                             \
    REASON(COPIES, "copies",                                                  \
           "copies of a megaflow do different things until all of them are "  \
           "revalidated")                                                     \
    REASON(OTHER_ZONE, "other-zone",                                          \
           "its packets pass ct() in another zone, where their connection is "\
           "not established or cannot be carried")                            \
    REASON(FOLLOWER, "follower",                                              \
           "its packets pass ct() in another zone first; the connection "     \
           "there carries them")                                              \
    REASON(TOO_DEEP, "too-deep", "too many recirculations")                   \
    REASON(NO_CT, "no-ct", "its packets do not pass ct()")                    \
    REASON(OUTPUT_PORT, "output-port",                                        \
           "the output port is not one of the same NIC")                      \
    REASON(MATCH, "match",                                                    \
           "a megaflow matches a field that is not supported")                \
    REASON(ACTION, "action",                                                  \
           "a megaflow has an action that is not supported")                  \
    REASON(CT_OPTION, "ct-option",                                            \
           "a megaflow uses an option of ct() that is not supported")         \
    REASON(CT_CHANGE, "ct-change",                                            \
           "its packets change ct_mark or ct_label")                          \
    REASON(CT_FORCE, "ct-force", "its packets throw away the connection")     \
    REASON(REWRITE, "rewrite",                                                \
           "addresses or ports are changed in a way that is not supported")   \
    REASON(BOND, "bond",                                                      \
           "a megaflow outputs to a bond that is not a vport-bond")           \
    REASON(UNREACHABLE, "unreachable",                                        \
           "its uplink is one that the NIC cannot reach")                     \
    /* NIC. */                                                                \
    REASON(PENDING, "pending", "the NIC is working on it")                    \
    REASON(NIC_REFUSED, "nic-refused", "the NIC cannot do it")                \
    REASON(NIC_FULL, "nic-full", "the NIC has no room")                       \
    REASON(NIC_ERROR, "nic-error", "the NIC failed; it will be retried")

enum offload_reason {
#define REASON(ENUM, NAME, SENTENCE) REASON_##ENUM,
    OFFLOAD_REASONS
#undef REASON
    N_REASONS
};

/* Short stable name, e.g. "no-megaflow". */
const char *offload_reason_name(enum offload_reason);

/* A clause in plain words. */
const char *offload_reason_sentence(enum offload_reason);

#endif /* reason.h */
