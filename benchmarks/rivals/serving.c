/* The kernels of jevons/serving/compiled in C: the same structures, the same steps, the same accounts of each request.
 *
 * What is here is what a request of the cases passes: prefill lanes, a wheel of buckets, batched decoding in virtual
 * time on one pool, the tallies and the records.  What a case has none of is left out: thinned cells, routing, the
 * co-located layout, failures.  Names are those of the kernels, where each step is told.
 */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define NOBODY (-1)
#define WHOLE_IS_BUCKET 99
#define ROUNDING (1 + 1e-12)

enum stage { FREE, PROMPT, QUEUED, DECODING };

/* --- State -------------------------------------------------------------------------------------------------------- */

typedef struct {
    double arrival, first_token, entered, output, input, cached, context, wait;
} hot_line;

typedef struct {
    double left, prefill, deadline, prefill_start, place_1, place_2;
} cold_line;

typedef struct {
    int32_t stream, cell, replica, stage;
} where_line;

typedef struct {
    hot_line *hot;
    cold_line *cold;
    where_line *where;
    int64_t *request, *whole;
    int32_t *after, *free;
    double *part;
    int64_t n_free;
} slots;

typedef struct {
    double base_s, per_sequence_s, per_kv_token_s, max_batch, lane_s_per_token, share;
    double input_weight[1], output_weight[1], patience_s[1];
    uint8_t interactive[1];
} law;

/* First and last of the interactive ones, first and last of the others. */
typedef struct {
    int64_t ends[4];
} line_pair;

typedef struct {
    double at, area, time, busy_s, nodes, slowness, per_s;
    int64_t on, busy, inside, bucket, due, later;
    line_pair lines;
    int32_t *buckets;
    int64_t mask;
} lanes;

typedef struct {
    double at, part, decode_area, decode_time, busy_s, step_s, token_due, nodes, mass, context_sum;
    double felt_number, felt_mass, felt_context, served, served_context, prefilled, armed;
    int64_t whole, inside, number, bucket, due, later;
    line_pair lines;
    int32_t *buckets;
} replica;

typedef struct {
    replica *each;
    int32_t *tree;
    int64_t leaves, mask, fineness;
} replicas;

typedef struct {
    double arrivals[2], tokens[3], latency[3], by_stream[6];
    int64_t flow[3];
    double (*records)[3];
} tallies;

/* --- Lines -------------------------------------------------------------------------------------------------------- */

static inline int is_empty(const line_pair *lines) { return lines->ends[0] == NOBODY && lines->ends[2] == NOBODY; }

static inline int64_t head(const line_pair *lines) {
    return lines->ends[0] != NOBODY ? lines->ends[0] : lines->ends[2];
}

static inline void append(slots *s, const law *l, line_pair *lines, int64_t slot) {
    int line = l->interactive[s->where[slot].stream] ? 0 : 2;
    s->after[slot] = NOBODY;
    if (lines->ends[line] == NOBODY) lines->ends[line] = slot;
    else s->after[lines->ends[line + 1]] = (int32_t)slot;
    lines->ends[line + 1] = slot;
}

static inline void pop(slots *s, line_pair *lines, int64_t slot) {
    int line = lines->ends[0] == slot ? 0 : 2;
    lines->ends[line] = s->after[slot];
}

/* --- The wheel ---------------------------------------------------------------------------------------------------- */

static inline int64_t bucket_of(int64_t whole, double part, int64_t fineness) {
    if (fineness == WHOLE_IS_BUCKET) return whole;
    if (fineness >= 0) return (whole << fineness) + (int64_t)(part * (double)((int64_t)1 << fineness));
    return whole >> -fineness;
}

static inline int64_t sorted_in(slots *s, int64_t first, int64_t slot) {
    int64_t whole = s->whole[slot], before = NOBODY, now = first;
    double part = s->part[slot];
    while (now != NOBODY) {
        int64_t other = s->whole[now];
        if (other > whole) break;
        if (other == whole) {
            double at = s->part[now];
            if (at > part || (at == part && s->request[now] > s->request[slot])) break;
        }
        before = now;
        now = s->after[now];
    }
    s->after[slot] = (int32_t)now;
    if (before == NOBODY) return slot;
    s->after[before] = (int32_t)slot;
    return first;
}

static inline void put(slots *s, int32_t *buckets, int64_t mask, int64_t fineness, int64_t *due, int64_t *bucket,
                       int64_t *later, int64_t slot) {
    int64_t own = bucket_of(s->whole[slot], s->part[slot], fineness);
    if (*due == NOBODY) {
        s->after[slot] = NOBODY;
        *due = slot;
        *bucket = own;
    } else if (own > *bucket) {
        s->after[slot] = buckets[own & mask];
        buckets[own & mask] = (int32_t)slot;
        ++*later;
    } else if (own == *bucket) {
        *due = sorted_in(s, *due, slot);
    } else {
        while (*due != NOBODY) {
            int64_t following = s->after[*due];
            s->after[*due] = buckets[*bucket & mask];
            buckets[*bucket & mask] = (int32_t)*due;
            ++*later;
            *due = following;
        }
        s->after[slot] = NOBODY;
        *due = slot;
        *bucket = own;
    }
}

static int64_t first_bucket(const slots *s, const int32_t *buckets, int64_t mask, int64_t fineness) {
    int64_t lowest = -1;
    for (int64_t place = 0; place <= mask; place++)
        for (int64_t slot = buckets[place]; slot != NOBODY; slot = s->after[slot]) {
            int64_t own = bucket_of(s->whole[slot], s->part[slot], fineness);
            if (lowest == -1 || own < lowest) lowest = own;
        }
    return lowest;
}

static inline void take(slots *s, int32_t *buckets, int64_t mask, int64_t fineness, int64_t *due, int64_t *bucket,
                        int64_t *later) {
    *due = s->after[*due];
    int64_t steps = 0;
    while (*due == NOBODY && *later > 0) {
        ++*bucket;
        steps++;
        int64_t slot = buckets[*bucket & mask];
        if (slot != NOBODY) {
            buckets[*bucket & mask] = NOBODY;
            while (slot != NOBODY) {
                int64_t following = s->after[slot];
                if (bucket_of(s->whole[slot], s->part[slot], fineness) == *bucket) {
                    *due = sorted_in(s, *due, slot);
                    --*later;
                } else {
                    s->after[slot] = buckets[*bucket & mask];
                    buckets[*bucket & mask] = (int32_t)slot;
                }
                slot = following;
            }
        }
        if (steps > mask && *due == NOBODY) {
            *bucket = first_bucket(s, buckets, mask, fineness) - 1;
            steps = 0;
        }
    }
}

/* --- Counting ----------------------------------------------------------------------------------------------------- */

static inline void release(slots *s, int64_t slot) {
    s->where[slot].stage = FREE;
    s->free[s->n_free++] = (int32_t)slot;
}

static inline void lose(slots *s, tallies *t, int64_t slot) {
    t->flow[2]++;
    t->arrivals[1]++;
    t->records[s->request[slot]][0] = s->cold[slot].prefill_start;
    release(s, slot);
}

static inline void serve(slots *s, tallies *t, int64_t slot, double now) {
    const hot_line *h = &s->hot[slot];
    double first = h->first_token + h->wait, departure = now + h->wait;
    double ttft = first - h->arrival, decode = departure - first, tpot = decode / h->output;
    t->flow[1]++;
    t->tokens[0] += h->input;
    t->tokens[1] += h->cached;
    t->tokens[2] += h->output;
    t->latency[0] += 1;
    t->latency[1] += ttft;
    t->latency[2] += tpot;
    t->by_stream[0] += 1;
    t->by_stream[1] += ttft;
    t->by_stream[2] += tpot;
    t->by_stream[3] += ttft + decode;
    t->by_stream[4] += decode;
    t->by_stream[5] += h->output;
    double *record = t->records[s->request[slot]];
    record[0] = s->cold[slot].prefill_start;
    record[1] = first;
    record[2] = departure;
    release(s, slot);
}

/* --- Prefill lanes ------------------------------------------------------------------------------------------------ */

static inline void settle_lanes(lanes *p, double now) {
    double span = now - p->at;
    if (span > 0) {
        p->area += (double)p->inside * span;
        p->busy_s += fmin((double)p->busy, p->nodes) * span;
        p->at = now;
    }
}

static inline void start(slots *s, const law *l, lanes *p, int64_t slot) {
    p->busy++;
    if (isnan(s->cold[slot].prefill_start)) s->cold[slot].prefill_start = p->at;
    double end = p->at + s->cold[slot].prefill * l->lane_s_per_token * p->slowness;
    s->part[slot] = end;
    s->whole[slot] = (int64_t)(end * p->per_s);
    put(s, p->buckets, p->mask, WHOLE_IS_BUCKET, &p->due, &p->bucket, &p->later, slot);
}

static inline void fill(slots *s, const law *l, lanes *p, tallies *t) {
    while (p->busy < p->on) {
        int64_t slot = head(&p->lines);
        while (slot != NOBODY && s->cold[slot].deadline <= p->at) {
            pop(s, &p->lines, slot);
            double at = fmax(s->cold[slot].deadline, s->hot[slot].entered);
            p->inside--;
            p->area -= p->at - at;
            p->time += at - s->hot[slot].entered;
            lose(s, t, slot);
            slot = head(&p->lines);
        }
        if (slot == NOBODY) break;
        pop(s, &p->lines, slot);
        start(s, l, p, slot);
    }
}

static int64_t advance_lanes(slots *s, const law *l, lanes *p, tallies *t, double until, const double *came_s,
                             const int32_t *came, int64_t n, double *done_s, int32_t *done) {
    int64_t i = 0, ended = 0;
    for (;;) {
        int64_t due = p->due;
        double end = due != NOBODY ? s->part[due] : INFINITY, arrival = i < n ? came_s[i] : INFINITY;
        if (end <= arrival) {
            if (end >= until) break;
            settle_lanes(p, end);
            p->busy--;
            p->inside--;
            p->time += end - s->hot[due].entered;
            take(s, p->buckets, p->mask, WHOLE_IS_BUCKET, &p->due, &p->bucket, &p->later);
            done_s[ended] = end;
            done[ended++] = (int32_t)due;
            if (!is_empty(&p->lines)) fill(s, l, p, t);
        } else {
            int64_t slot = came[i++];
            settle_lanes(p, arrival);
            s->hot[slot].entered = p->at;
            s->where[slot].stage = PROMPT;
            p->inside++;
            if (p->busy < p->on && is_empty(&p->lines)) {
                start(s, l, p, slot);
            } else {
                append(s, l, &p->lines, slot);
                fill(s, l, p, t);
            }
        }
    }
    return ended;
}

/* --- Decoding ----------------------------------------------------------------------------------------------------- */

static inline void feel(replica *r) {
    r->felt_number = (double)r->number;
    r->felt_mass = r->mass;
    r->felt_context = r->context_sum;
}

static inline void pass_time(const law *l, replica *r, double now, double tokens) {
    double span = now - r->at;
    r->decode_area += (double)r->inside * span;
    r->busy_s += fmin(r->felt_number, r->nodes) * span;
    r->served += r->mass * tokens / l->share;
    r->served_context += r->context_sum * tokens / l->share;
    r->at = now;
}

static inline void settle(const law *l, replica *r, double now) {
    double span = now - r->at, tokens = 0.0;
    if (span > 0) {
        if (r->number > 0) tokens = span / r->step_s;
        double part = r->part + tokens, carry = floor(part);
        r->whole += (int64_t)carry;
        r->part = part - carry;
        pass_time(l, r, now, tokens);
    }
}

static inline double ahead(const slots *s, const replica *r, int64_t slot) {
    return (double)(s->whole[slot] - r->whole) + (s->part[slot] - r->part);
}

static inline void retime(const slots *s, const law *l, replica *r) {
    r->token_due = INFINITY;
    if (r->due == NOBODY) return;
    if (r->nodes > 0) {
        double work = l->per_sequence_s * r->felt_mass + l->per_kv_token_s * r->felt_context;
        r->step_s = l->base_s + work / r->nodes;
        r->token_due = r->at + ahead(s, r, r->due) * r->step_s;
    } else {
        r->step_s = INFINITY;
    }
}

static inline int has_room(const slots *s, const law *l, const replica *r, int64_t slot) {
    double own = l->max_batch * r->nodes;
    return r->mass + l->output_weight[s->where[slot].stream] <= own * ROUNDING || (r->number == 0 && own > 0);
}

static inline void admit(slots *s, const law *l, replicas *all, replica *r, int64_t slot) {
    if (isnan(s->hot[slot].first_token)) s->hot[slot].first_token = r->at;
    s->cold[slot].deadline = INFINITY;
    r->prefilled += s->cold[slot].prefill / l->share;
    r->number++;
    r->mass += l->output_weight[s->where[slot].stream];
    r->context_sum += s->hot[slot].context;
    feel(r);
    s->where[slot].stage = DECODING;
    double tokens = s->cold[slot].left, whole = floor(tokens), part = r->part + (tokens - whole), carry = floor(part);
    s->whole[slot] = r->whole + (int64_t)whole + (int64_t)carry;
    s->part[slot] = part - carry;
    put(s, r->buckets, all->mask, all->fineness, &r->due, &r->bucket, &r->later, slot);
}

static inline void lost(slots *s, replica *r, tallies *t, int64_t slot) {
    double at = fmax(s->cold[slot].deadline, s->hot[slot].entered);
    r->inside--;
    r->decode_area -= r->at - at;
    r->decode_time += at - s->hot[slot].entered;
    lose(s, t, slot);
}

static inline void let_in(slots *s, const law *l, replicas *all, replica *r, tallies *t) {
    while (!is_empty(&r->lines)) {
        int64_t slot = head(&r->lines);
        if (s->cold[slot].deadline <= r->at) {
            pop(s, &r->lines, slot);
            lost(s, r, t, slot);
        } else if (has_room(s, l, r, slot)) {
            pop(s, &r->lines, slot);
            admit(s, l, all, r, slot);
        } else {
            break;
        }
    }
}

static inline void join(slots *s, const law *l, replicas *all, replica *r, tallies *t, int64_t slot, double now) {
    settle(l, r, now);
    s->hot[slot].entered = r->at;
    s->where[slot].replica = (int32_t)(r - all->each);
    s->where[slot].stage = QUEUED;
    r->inside++;
    if (is_empty(&r->lines) && has_room(s, l, r, slot)) {
        admit(s, l, all, r, slot);
    } else if (s->cold[slot].deadline <= r->at) {
        lost(s, r, t, slot);
        return;
    } else {
        append(s, l, &r->lines, slot);
        let_in(s, l, all, r, t);
    }
    retime(s, l, r);
}

static inline void ring(slots *s, const law *l, replicas *all, replica *r, tallies *t) {
    int64_t whole = s->whole[r->due];
    double part = s->part[r->due], tokens = ahead(s, r, r->due);
    r->whole = whole;
    r->part = part;
    pass_time(l, r, r->token_due, tokens);
    while (r->due != NOBODY) {
        int64_t slot = r->due;
        if (s->whole[slot] != whole || s->part[slot] != part) break;
        take(s, r->buckets, all->mask, all->fineness, &r->due, &r->bucket, &r->later);
        r->number--;
        r->mass -= l->output_weight[s->where[slot].stream];
        r->context_sum -= s->hot[slot].context;
        if (r->number == 0) r->mass = r->context_sum = 0.0;
        feel(r);
        r->inside--;
        r->decode_time += r->at - s->hot[slot].entered;
        serve(s, t, slot, r->at);
    }
    if (r->number == 0) {
        r->whole = 0;
        r->part = 0.0;
    }
    if (!is_empty(&r->lines)) let_in(s, l, all, r, t);
    retime(s, l, r);
}

static inline void enter_tournament(replicas *all, int64_t r, double due) {
    all->each[r].armed = due;
    for (int64_t node = (all->leaves + r) >> 1; node > 0; node >>= 1) {
        int32_t left = all->tree[2 * node], right = all->tree[2 * node + 1];
        all->tree[node] = all->each[left].armed <= all->each[right].armed ? left : right;
    }
}

static void advance_replicas(slots *s, const law *l, replicas *all, tallies *t, double until, const double *came_s,
                             const int32_t *came, int64_t n) {
    int64_t i = 0;
    for (;;) {
        int64_t r = all->tree[1];
        double armed = all->each[r].armed, arrival = i < n ? came_s[i] : INFINITY;
        if (armed <= arrival) {
            if (armed >= until) break;
            if (all->each[r].token_due <= armed) ring(s, l, all, &all->each[r], t);
            enter_tournament(all, r, all->each[r].token_due);
        } else {
            int64_t slot = came[i++];
            /* One pool: every request is sent to the first. */
            join(s, l, all, &all->each[0], t, slot, arrival);
            if (all->each[0].token_due < all->each[0].armed) enter_tournament(all, 0, all->each[0].token_due);
        }
    }
}

/* --- A case ------------------------------------------------------------------------------------------------------- */

typedef struct {
    /* Requests, and how many enter at a time. */
    int64_t n, chunk;
    const double *arrival, *input, *output;
    int64_t lanes;
    double lane_s_per_token, lane_buckets_per_s;
    int64_t lane_buckets;
    /* Nodes that decode. */
    double nodes, base_s, per_sequence_s, max_batch;
    int64_t buckets, fineness;
    /* Slots at first. */
    int64_t slots;
} job;

static void grow(slots *s, int64_t old, int64_t size) {
    s->hot = realloc(s->hot, size * sizeof *s->hot);
    s->cold = realloc(s->cold, size * sizeof *s->cold);
    s->where = realloc(s->where, size * sizeof *s->where);
    s->request = realloc(s->request, size * sizeof *s->request);
    s->whole = realloc(s->whole, size * sizeof *s->whole);
    s->part = realloc(s->part, size * sizeof *s->part);
    s->after = realloc(s->after, size * sizeof *s->after);
    int32_t *more = malloc(size * sizeof *more);
    for (int64_t i = 0; i < size - old; i++) more[i] = (int32_t)(size - 1 - i);
    for (int64_t i = 0; i < s->n_free; i++) more[size - old + i] = s->free[i];
    free(s->free);
    s->free = more;
    s->n_free += size - old;
}

static void enter(slots *s, const law *l, tallies *t, const job *j, int64_t first, int64_t last, double *came_s,
                  int32_t *came) {
    for (int64_t i = first; i < last; i++) {
        int64_t slot = s->free[--s->n_free];
        double inputs = j->input[i], output = j->output[i];
        s->hot[slot] = (hot_line){.arrival = j->arrival[i], .first_token = NAN, .output = output, .input = inputs,
                                  .context = (inputs + output / 2) * l->output_weight[0]};
        s->cold[slot] = (cold_line){.left = output, .prefill = inputs * l->input_weight[0],
                                    .deadline = j->arrival[i] + l->patience_s[0], .prefill_start = NAN};
        s->where[slot].stream = 0;
        s->where[slot].cell = 0;
        s->request[slot] = i;
        t->arrivals[0] += 1;
        came_s[i - first] = j->arrival[i];
        came[i - first] = (int32_t)slot;
    }
    t->flow[0] += last - first;
}

static int32_t *empty_buckets(int64_t n) {
    int32_t *buckets = malloc(n * sizeof *buckets);
    for (int64_t i = 0; i < n; i++) buckets[i] = NOBODY;
    return buckets;
}

/* Serve the requests of a job; `records` gets begin of prefill, first token and departure of each. */
void serve_job(const job *j, double (*records)[3]) {
    static const line_pair nobody_waits = {{NOBODY, NOBODY, NOBODY, NOBODY}};
    law l = {.base_s = j->base_s, .per_sequence_s = j->per_sequence_s, .max_batch = j->max_batch,
             .lane_s_per_token = j->lane_s_per_token, .share = 1.0, .input_weight = {1.0}, .output_weight = {1.0},
             .patience_s = {INFINITY}, .interactive = {1}};
    lanes p = {.nodes = 1.0, .slowness = 1.0, .per_s = j->lane_buckets_per_s, .on = j->lanes, .due = NOBODY,
               .lines = nobody_waits, .buckets = empty_buckets(j->lane_buckets), .mask = j->lane_buckets - 1};
    replica pool = {.step_s = INFINITY, .token_due = INFINITY, .nodes = j->nodes, .armed = INFINITY, .due = NOBODY,
                    .lines = nobody_waits, .buckets = empty_buckets(j->buckets)};
    int32_t tree[2] = {0, 0};
    replicas all = {.each = &pool, .tree = tree, .leaves = 1, .mask = j->buckets - 1, .fineness = j->fineness};
    tallies t = {.records = records};
    slots s = {0};
    int64_t size = j->slots;
    grow(&s, 0, size);
    double *came_s = malloc(j->chunk * sizeof *came_s), *done_s = malloc(size * sizeof *done_s);
    int32_t *came = malloc(j->chunk * sizeof *came), *done = malloc(size * sizeof *done);
    for (int64_t first = 0; first < j->n; first += j->chunk) {
        int64_t last = first + j->chunk < j->n ? first + j->chunk : j->n, n = last - first;
        double until = last < j->n ? j->arrival[last] : INFINITY;
        while (s.n_free < n) {
            grow(&s, size, 2 * size);
            size *= 2;
            done_s = realloc(done_s, size * sizeof *done_s);
            done = realloc(done, size * sizeof *done);
        }
        enter(&s, &l, &t, j, first, last, came_s, came);
        n = advance_lanes(&s, &l, &p, &t, until, came_s, came, n, done_s, done);
        advance_replicas(&s, &l, &all, &t, until, done_s, done, n);
    }
    free(p.buckets), free(pool.buckets), free(came_s), free(came), free(done_s), free(done);
    free(s.hot), free(s.cold), free(s.where), free(s.request), free(s.whole), free(s.part), free(s.after), free(s.free);
}
