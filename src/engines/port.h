/*
 * port: the child's end of the wire: frames out, memfds in, cancel.
 *
 * Two threads use it: the main thread reads frames (port_read) and hands over memfds and cancels; the job
 * thread sends results and waits for memfds. Sending is locked, so that frames never mix.
 */
#ifndef QUERN_ENGINES_PORT_H
#define QUERN_ENGINES_PORT_H

#include <pthread.h>

#include "engines/wire.h"

#define PORT_MEMFDS 8

struct port_memfd {
    uint32_t slot;
    int fd;
};

struct port {
    int fd;
    /* main thread only */
    struct buf rx;
    size_t used;          /* bytes of the frame handed out last */
    int fds[PORT_MEMFDS]; /* received, not yet named by a MEMFD frame */
    unsigned nfds;
    /* locked by send_mu */
    pthread_mutex_t send_mu;
    /* locked by mu */
    bool over; /* send_mu: the job's last frame is out */
    pthread_mutex_t mu;
    pthread_cond_t cv;
    struct port_memfd memfds[PORT_MEMFDS];
    unsigned nmemfds;
    uint64_t job;
    bool canceled;
};

int port_init(struct port *p, int fd) MUST_USE;
/* Main thread: the next frame. ERR_WOULDBLOCK when nothing comes within timeout_ms (-1 for ever), ERR_END
 * when the daemon is gone, ERR_CORRUPT. The payload is valid until the next call. */
int port_read(struct port *p, int timeout_ms, enum wire_type *ret_type, const uint8_t **ret_payload,
              uint32_t *ret_len) MUST_USE;
/* Main thread: the descriptor that came with a MEMFD frame is memory for one batch, of this job or a later
 * one. ERR_CORRUPT when none came. */
int port_memfd(struct port *p, uint32_t slot) MUST_USE;
void port_cancel(struct port *p, uint64_t job);

/* Main thread, at JOB: forgets the cancel of the last one. */
void port_begin(struct port *p, uint64_t job);
bool port_canceled(struct port *p);
/* Job thread: waits for a memfd; the caller closes *ret_fd. ERR_CANCELED. */
int port_slot(struct port *p, uint32_t *ret_slot, int *ret_fd) MUST_USE;
/* Any thread: writes whole frames. A failure means that the daemon is gone: the process ends. */
void port_send(struct port *p, const struct buf *frames);
/* The job's last frame; and a heartbeat, which is left out after it. */
void port_send_last(struct port *p, const struct buf *frames);
void port_send_beat(struct port *p, const struct buf *frames);

#endif
