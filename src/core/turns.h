/*
 * turns: whose query starts next. The whole rule, without threads, clocks or queries: scheduler.c drives it
 * under its lock, the simulator in tests/unit/core/ drives it step by step.
 *
 * Each workspace has a FIFO (a lane). Lanes that have work and are below their limit of running queries stand
 * in a ring; every take serves the first lane and sends it to the end. So a workspace with thousands of
 * queued queries holds another one's next query back by at most one start, and one at its limit costs nobody
 * anything. Invariant: a lane is in the ring exactly when it has work and running < slots. Every operation is
 * O(1) but for the first sight of a workspace. Nothing here is locked.
 */
#ifndef QUERN_CORE_TURNS_H
#define QUERN_CORE_TURNS_H

#include <stdbool.h>
#include <stdint.h>

struct turns;
struct turn_lane;

/* Lives inside what is queued; all zero while it is not. */
struct turn_item {
    struct turn_item *prev, *next;
    struct turn_lane *lane;
};

enum turns_room { TURNS_ROOM, TURNS_FULL, TURNS_FULL_WORKSPACE };

struct turns *turns_new(void); /* NULL: out of memory */
/* Items that still wait are forgotten, not freed. */
void turns_free(struct turns *t);

/* Limits of a workspace: most queries that wait, most that run. A negative number is none. A lane that was
 * never given limits has none. False: out of memory. */
bool turns_limit(struct turns *t, int64_t workspace, int64_t queue, int64_t slots);
/* Would one more fit? `total` is the limit over all workspaces. */
enum turns_room turns_room(const struct turns *t, int64_t workspace, int64_t total);
/* Puts an item at the end of its workspace's lane, whatever the limits say (a start takes up all that was
 * accepted). False: out of memory. */
bool turns_push(struct turns *t, int64_t workspace, struct turn_item *item);
/* The same at the front of the lane: it has had its turn before and waited for something else. */
bool turns_push_front(struct turns *t, int64_t workspace, struct turn_item *item);
/* Takes the next item by turn: it runs from now on. NULL when nothing may start. */
struct turn_item *turns_take(struct turns *t);
/* Takes an item out of the queue: false when it does not wait (taken, or never pushed). */
bool turns_cancel(struct turns *t, struct turn_item *item);
/* A query of the workspace that was taken has ended. */
void turns_done(struct turns *t, int64_t workspace);
/* Removes any one item that waits; NULL when none does. For the end. */
struct turn_item *turns_drop(struct turns *t);

int64_t turns_queued(const struct turns *t); /* over all workspaces */
int64_t turns_queued_of(const struct turns *t, int64_t workspace);
int64_t turns_running_of(const struct turns *t, int64_t workspace);
/* Could turns_take answer with an item? */
bool turns_ready(const struct turns *t);
/* Calls fn for each workspace ever seen. */
void turns_each(const struct turns *t, void (*fn)(void *arg, int64_t workspace), void *arg);

#endif
