/* The departures of a case and nothing else: the least that a program for the task can do.
 *
 * Servers, first come, first served, need no list of events: who comes takes the server that is free first, and the
 * heap of the times at which servers get free gives its customers back in the order in which they leave.  Nodes
 * that decode in batches keep one virtual time, in which each sequence leaves a fixed number of tokens after it joined.
 */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct {
    double key;
    int64_t who;
} entry;

/* A binary heap, least key first. */
typedef struct {
    entry *entries;
    int64_t size;
} heap;

static void sink(heap *h, entry moved) {
    int64_t at = 0, child;
    while ((child = 2 * at + 1) < h->size) {
        child += child + 1 < h->size && h->entries[child + 1].key < h->entries[child].key;
        if (moved.key <= h->entries[child].key) break;
        h->entries[at] = h->entries[child];
        at = child;
    }
    h->entries[at] = moved;
}

static void push(heap *h, entry added) {
    int64_t at = h->size++;
    while (at && added.key < h->entries[(at - 1) / 2].key) {
        h->entries[at] = h->entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    h->entries[at] = added;
}

static entry pop(heap *h) {
    entry top = h->entries[0];
    h->size--;
    if (h->size) sink(h, h->entries[h->size]);
    return top;
}

/* Servers of one stage; customers are told to `next` in the order in which they leave. */
typedef struct {
    heap free;
    int64_t count;
    const double *service;
} servers;

/* Nodes that decode: V is counted in tokens that each sequence has got. */
typedef struct {
    heap active;
    double base, per_sequence, now, virtual_now, step;
    int64_t slots;
    const double *tokens;
    /* Who waits for a slot: a ring as large as the number of customers. */
    int64_t *line, head, tail;
    double *departure;
} batch;

/* Take a customer in; gives who leaves the server that it takes, nobody if that was never used. */
static entry take(servers *s, double coming, int64_t who) {
    entry nobody = {coming, -1};
    if (s->free.size < s->count) {
        push(&s->free, (entry){coming + s->service[who], who});
        return nobody;
    }
    entry left = s->free.entries[0];
    sink(&s->free, (entry){(left.key > coming ? left.key : coming) + s->service[who], who});
    return left;
}

static void join_now(batch *b, int64_t who) {
    push(&b->active, (entry){b->virtual_now + b->tokens[who], who});
}

static void settle(batch *b, double to) {
    while (b->active.size) {
        double step = b->base + b->per_sequence * b->active.size;
        double due = b->now + (b->active.entries[0].key - b->virtual_now) * step;
        if (due > to) {
            b->virtual_now += (to - b->now) / step;
            break;
        }
        entry left = pop(&b->active);
        b->departure[left.who] = b->now = due;
        b->virtual_now = b->active.size ? left.key : 0.0;
        if (b->head < b->tail) join_now(b, b->line[b->head++]);
    }
    b->now = to;
}

static void join(batch *b, double coming, int64_t who) {
    settle(b, coming);
    if (b->active.size < b->slots) join_now(b, who);
    else b->line[b->tail++] = who;
}

/* One stage of servers. */
void one_stage(int64_t n, const double *arrival, int64_t count, const double *service, double *departure) {
    servers only = {{malloc(count * sizeof(entry)), 0}, count, service};
    for (int64_t i = 0; i < n; i++) {
        entry left = take(&only, arrival[i], i);
        if (left.who >= 0) departure[left.who] = left.key;
    }
    while (only.free.size) {
        entry left = pop(&only.free);
        departure[left.who] = left.key;
    }
    free(only.free.entries);
}

/* Two stages of servers. */
void two_stages(int64_t n, const double *arrival, int64_t count, const double *service, int64_t count_then,
                const double *service_then, double *departure) {
    servers first = {{malloc(count * sizeof(entry)), 0}, count, service};
    servers second = {{malloc(count_then * sizeof(entry)), 0}, count_then, service_then};
    for (int64_t i = 0; i < n + count; i++) {
        entry between = i < n ? take(&first, arrival[i], i) : first.free.size ? pop(&first.free) : (entry){0.0, -1};
        if (between.who < 0) continue;
        entry left = take(&second, between.key, between.who);
        if (left.who >= 0) departure[left.who] = left.key;
    }
    while (second.free.size) {
        entry left = pop(&second.free);
        departure[left.who] = left.key;
    }
    free(first.free.entries);
    free(second.free.entries);
}

/* Servers, then nodes whose steps last base + per_sequence (sequences on all nodes). */
void serving(int64_t n, const double *arrival, int64_t count, const double *service, double base, double per_sequence,
             int64_t slots, const double *tokens, double *departure) {
    servers first = {{malloc(count * sizeof(entry)), 0}, count, service};
    batch second = {.active = {malloc(slots * sizeof(entry)), 0}, .base = base, .per_sequence = per_sequence,
                    .slots = slots, .tokens = tokens, .line = malloc(n * sizeof(int64_t)), .departure = departure};
    for (int64_t i = 0; i < n + count; i++) {
        entry between = i < n ? take(&first, arrival[i], i) : first.free.size ? pop(&first.free) : (entry){0.0, -1};
        if (between.who >= 0) join(&second, between.key, between.who);
    }
    settle(&second, INFINITY);
    free(first.free.entries);
    free(second.active.entries);
    free(second.line);
}
