/*
 * port: the child's end of the wire: frames out, memfds in, cancel.
 *
 * Two threads use it. The job thread reads frames while no job runs, sends results and waits for memfds. The
 * main thread watches a job that lasts: woken by the timer, it reads in the job thread's place and hands over
 * memfds and cancels, until the job has ended. So a short job wakes one thread only. One of the two reads at
 * a time (engine_main.c). Sending is locked, so that frames never mix.
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
    int timer; /* wakes the main thread */
    /* of the thread that reads */
    struct buf rx;
    size_t used;          /* bytes of the frame handed out last */
    int fds[PORT_MEMFDS]; /* received, not yet named by a MEMFD frame */
    unsigned nfds;
    pthread_mutex_t send_mu;
    /* locked by send_mu */
    bool over;       /* the job's last frame is out */
    struct buf held; /* frames that leave with the next ones */
    pthread_mutex_t mu;
    /* locked by mu */
    pthread_cond_t cv;
    struct port_memfd memfds[PORT_MEMFDS];
    unsigned nmemfds;
    uint64_t job;
    bool canceled;
};

int port_init(struct port *p, int fd) MUST_USE;
/* The thread that reads: the next frame. ERR_WOULDBLOCK when nothing comes within timeout_ms (-1 for ever) or,
 * for the main thread (`timed`), when the timer fires; ERR_END when the daemon is gone, ERR_CORRUPT. The
 * payload is valid until the next call. */
int port_read(struct port *p, int timeout_ms, bool timed, enum wire_type *ret_type,
              const uint8_t **ret_payload, uint32_t *ret_len) MUST_USE;
/* The frame that was read last is read again. */
void port_unread(struct port *p);
/* Before the other thread starts, and after the sandbox, which closes what is open. */
int port_timer_open(struct port *p) MUST_USE;
/* Any thread: the timer fires once after delay_ns, 0 = never. */
void port_timer(struct port *p, int64_t delay_ns);
/* Main thread: waits for the timer. */
void port_timer_wait(struct port *p);
/* The thread that reads: the descriptor that came with a MEMFD frame is memory for one batch, of this job or a later
 * one. ERR_CORRUPT when none came. */
int port_memfd(struct port *p, uint32_t slot) MUST_USE;
void port_cancel(struct port *p, uint64_t job);

/* Job thread, at JOB: forgets the cancel of the last one. */
void port_begin(struct port *p, uint64_t job);
bool port_canceled(struct port *p);
/* Job thread: waits for a memfd; the caller closes *ret_fd. ERR_CANCELED. */
int port_slot(struct port *p, uint32_t *ret_slot, int *ret_fd) MUST_USE;
/* Any thread: writes whole frames. A failure means that the daemon is gone: the process ends. */
void port_send(struct port *p, const struct buf *frames);
/* Any thread: frames that may wait for the next ones, so that one write carries both; port_flush sends them. */
void port_send_soon(struct port *p, const struct buf *frames);
void port_flush(struct port *p);
/* The job's last frame; and a heartbeat, which is left out after it. */
void port_send_last(struct port *p, const struct buf *frames);
void port_send_beat(struct port *p, const struct buf *frames);

#endif
