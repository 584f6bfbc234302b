/* SPDX-License-Identifier: Apache-2.0 */

#ifndef TC_SOCKET_H
#define TC_SOCKET_H 1

/* Requests to the kernel's traffic control
 * ========================================
 *
 * A socket for rtnetlink that sends many requests with one system call and
 * finds out what became of each: acknowledgements are matched to requests by
 * sequence number.
 *
 *     struct tc_batch batch;
 *
 *     tc_batch_init(&batch);
 *     ...for each request:
 *         make a message with NLM_F_ACK and the sequence number
 *             tc_batch_seq(&batch) in tc_batch_reserve(&batch);
 *         tc_batch_commit(&batch);
 *     tc_socket_transact(sock, &batch, NULL, NULL);
 *     ...look at batch.results[i] of each;
 *     tc_batch_destroy(&batch);
 *
 * The kernel executes requests in order, while they are being sent.
 *
 * Thread-safety: a socket or batch may be used by one thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nlmsghdr;
struct tc_socket;

/* What became of a request. */
struct tc_result {
    int error;                      /* 0 or a positive errno value; EINPROGRESS
                                     * if its acknowledgement was lost, so that
                                     * nobody knows. */
    char *extack;                   /* The kernel's words, or null. */
};

/* Messages that are to be sent. */
struct tc_batch {
    uint8_t *data;
    size_t len, allocated;
    struct tc_result *results;      /* 'n' of them. */
    size_t *offsets;                /* Of messages in 'data'. */
    size_t n, n_allocated;
};

void tc_batch_init(struct tc_batch *);
void tc_batch_destroy(struct tc_batch *);

/* Removes all messages and results. */
void tc_batch_clear(struct tc_batch *);

/* Returns room for FLOWER_MAX_LEN bytes, for one more message. */
void *tc_batch_reserve(struct tc_batch *);

/* Returns the sequence number of the next message. */
uint32_t tc_batch_seq(const struct tc_batch *);

/* Adds the message that was made where tc_batch_reserve() said. */
void tc_batch_commit(struct tc_batch *);

/* Opens a socket.  Returns 0 or a positive errno value. */
int tc_socket_open(struct tc_socket **);

/* Null is allowed. */
void tc_socket_close(struct tc_socket *);

/* Called for a message that is an answer to request 'i' but no
 * acknowledgement. */
typedef void tc_reply_cb(size_t i, const struct nlmsghdr *, void *aux);

/* Sends the requests in 'batch' and stores their results there.  'cb' may be
 * null. */
void tc_socket_transact(struct tc_socket *, struct tc_batch *batch,
                        tc_reply_cb *cb, void *aux);

/* Sends 'request', a request with NLM_F_DUMP, and calls 'cb' for each message
 * of the answer, with 0 for 'i'.  Returns 0 or a positive errno value: ENOBUFS
 * if a part of the answer was lost. */
int tc_socket_dump(struct tc_socket *, struct nlmsghdr *request,
                   tc_reply_cb *cb, void *aux);

/* Number of system calls and requests since the start of the program. */
void tc_socket_get_stats(uint64_t *n_calls, uint64_t *n_requests);

#endif /* tc-socket.h */
