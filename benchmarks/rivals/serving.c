/* The kernels of jevons/serving/compiled in C: the same rows, the same steps, the same accounts of each request.
 *
 * What is here is what a request of the cases passes: prefill lanes and their line, batched decoding in virtual time on
 * one pool and its line, two wheels of buckets, the cells and the records.  What a case has none of is left out:
 * thinned cells, routing, the co-located layout, failures, histograms.  Names are those of the kernels, where each step
 * is told.
 *
 * A lane loop and a pool loop do nearly all the work.  Each copies its numbers into a local structure whose address is
 * passed only to functions that are compiled into it, so that the numbers stand in registers; lines are in memory, and
 * whether they are empty is seen from the numbers.
 */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __GNUC__
#define INNER static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define INNER static inline
#define APART static
#define PREFETCH(address) ((void)(address))
#endif

#define NOBODY (-1)
#define ROUNDING (1 + 1e-12)
/* Requests that enter at a time at the most: so few that their slots stay in the cache. */
#define HELPING 128
/* Buckets between the one that is opened and the one whose rows are asked for. */
#define AHEAD 8
/* Rows of a bucket that are asked for. */
#define ASKED 4
/* Requests between one that comes and the one whose bucket is asked for. */
#define SOON 4

INNER double least(double a, double b) { return a < b ? a : b; }

/* --- Slots, a row of two lines of the cache for each request that is there ---------------------------------------- */

#define LINE_BYTES 64

typedef struct {
    /* All that is read when a request leaves.  When it leaves the wheel it is in: whole tokens and a fraction of
     * virtual time, in the lanes the bucket and the time. */
    double arrival, first_token, whole, part, output, input, cached;
    int32_t after, tag;
    /* The rest. */
    double entered, wait, left, prefill, deadline, prefill_start;
    int64_t request;
    int32_t replica, unused;
} slot_row;

/* Fails to compile if a row is not two lines. */
typedef char row_is_two_lines[sizeof(slot_row) == 2 * LINE_BYTES ? 1 : -1];

/* A tag: two bits for the stage, so many for the stream, the others for the hour. */
enum { STAGE_BITS = 2, STREAM_BITS = 14 };
enum { STAGE = (1 << STAGE_BITS) - 1, STREAM = (1 << STREAM_BITS) - 1, HOUR_SHIFT = STAGE_BITS + STREAM_BITS };
enum stage { FREE, PROMPT, QUEUED, DECODING };

INNER void set_stage(slot_row *row, enum stage stage) { row->tag = (row->tag & ~STAGE) | (int32_t)stage; }

INNER int64_t stream_of(const slot_row *row) { return (row->tag >> STAGE_BITS) & STREAM; }

/* The line of the cache at a row, or at the second half of one; of a row that does not exist nothing is read. */
INNER void ask_for(const slot_row *slots, int64_t slot, int64_t line) {
    PREFETCH((const void *)((uintptr_t)slots + (uintptr_t)(slot * (int64_t)sizeof *slots + line * LINE_BYTES)));
}

/* --- The law, as `state` begins with it --------------------------------------------------------------------------- */

typedef struct {
    double input_weight, output_weight, interactive, patience_s;
} stream_law;

typedef struct {
    double origin_s, hour_s, base_s, per_sequence_s, per_kv_token_s, per_prefill_token_s, chunk, max_batch;
    double lane_s_per_token, lane_buckets_per_s, lanes_share, share, requests_per_token, routing_key[4], unused[3];
    stream_law streams[];
} law_row;

/* --- Lines: first and last of the interactive ones, first and last of the others ---------------------------------- */

typedef struct {
    int32_t ends[4];
} line_pair;

INNER int is_empty(const line_pair *line) { return line->ends[0] == NOBODY && line->ends[2] == NOBODY; }

INNER int64_t head(const line_pair *line) { return line->ends[0] != NOBODY ? line->ends[0] : line->ends[2]; }

INNER void append(slot_row *slots, const law_row *law, line_pair *line, int64_t slot) {
    int32_t *ends = law->streams[stream_of(&slots[slot])].interactive != 0 ? line->ends : line->ends + 2;
    slots[slot].after = NOBODY;
    if (ends[0] == NOBODY) ends[0] = (int32_t)slot;
    else slots[ends[1]].after = (int32_t)slot;
    ends[1] = (int32_t)slot;
}

INNER void pop(const slot_row *slots, line_pair *line, int64_t slot) {
    line->ends[line->ends[0] == slot ? 0 : 2] = slots[slot].after;
}

/* --- The wheel: buckets of time, of which the next one is sorted -------------------------------------------------- */

/* Fineness that says: the whole number is the bucket. */
#define WHOLE_IS_BUCKET 99

typedef struct {
    int32_t *buckets;
    /* Buckets, a power of two, less one. */
    int64_t mask;
    /* First of the bucket that is next, number of that bucket, and how many hang on later ones. */
    int64_t due, bucket, later;
} wheel;

INNER int64_t bucket_of(double whole, double part, int64_t fineness) {
    if (fineness == WHOLE_IS_BUCKET) return (int64_t)whole;
    if (fineness >= 0) return ((int64_t)whole << fineness) + (int64_t)(part * (double)((int64_t)1 << fineness));
    return (int64_t)whole >> -fineness;
}

INNER int64_t bucket_of_row(const slot_row *row, int64_t fineness) {
    return bucket_of(row->whole, row->part, fineness);
}

/* Hang a slot on a list in the order of times, then of requests; the first of the list. */
INNER int64_t sorted_in(slot_row *slots, int64_t due, int64_t slot) {
    double whole = slots[slot].whole, part = slots[slot].part;
    int64_t before = NOBODY, now = due;
    while (now != NOBODY) {
        const slot_row *other = &slots[now];
        if (other->whole > whole) break;
        if (other->whole == whole) {
            if (other->part > part) break;
            if (other->part == part && other->request > slots[slot].request) break;
        }
        before = now;
        now = other->after;
    }
    slots[slot].after = (int32_t)now;
    if (before == NOBODY) return slot;
    slots[before].after = (int32_t)slot;
    return due;
}

INNER void hang(slot_row *slots, wheel *w, int64_t bucket, int64_t slot) {
    int32_t *place = &w->buckets[bucket & w->mask];
    slots[slot].after = *place;
    *place = (int32_t)slot;
}

INNER void put(slot_row *slots, wheel *w, int64_t fineness, int64_t slot) {
    int64_t own = bucket_of_row(&slots[slot], fineness);
    if (w->due != NOBODY) {
        if (own > w->bucket) {
            hang(slots, w, own, slot);
            w->later++;
            return;
        }
        if (own == w->bucket) {
            w->due = sorted_in(slots, w->due, slot);
            return;
        }
        /* It leaves before the bucket that was next: that one waits again. */
        while (w->due != NOBODY) {
            int64_t following = slots[w->due].after;
            hang(slots, w, w->bucket, w->due);
            w->later++;
            w->due = following;
        }
    }
    slots[slot].after = NOBODY;
    w->due = slot;
    w->bucket = own;
}

/* Ask for the rows of those whose bucket comes soon: one after the other, the first on a bucket long before its turn,
 * as each is known by the row of the one before.  No branch asks whether there is another: it could not be foreseen. */
INNER void ask(const slot_row *slots, const wheel *w) {
    for (int behind = 0; behind < ASKED; behind++) {
        int64_t soon = w->bucket + AHEAD - AHEAD * behind / ASKED, slot = w->buckets[soon & w->mask];
        for (int link = 0; link < behind; link++) slot = slots[slot > 0 ? slot : 0].after;
        ask_for(slots, slot, 0);
    }
}

/* The lowest bucket on which anybody hangs. */
APART int64_t first_bucket(const slot_row *slots, const int32_t *buckets, int64_t mask, int64_t fineness) {
    int64_t lowest = -1;
    for (int64_t place = 0; place <= mask; place++)
        for (int64_t slot = buckets[place]; slot != NOBODY; slot = slots[slot].after) {
            int64_t own = bucket_of_row(&slots[slot], fineness);
            if (lowest == -1 || own < lowest) lowest = own;
        }
    return lowest;
}

/* Take the first slot out, and if it was the last of its bucket sort the next. */
INNER void take(slot_row *slots, wheel *w, int64_t fineness) {
    w->due = slots[w->due].after;
    int64_t steps = 0;
    while (w->due == NOBODY && w->later > 0) {
        w->bucket++;
        steps++;
        ask(slots, w);
        int32_t *place = &w->buckets[w->bucket & w->mask];
        int64_t slot = *place;
        if (slot != NOBODY) {
            *place = NOBODY;
            while (slot != NOBODY) {
                int64_t following = slots[slot].after;
                if (bucket_of_row(&slots[slot], fineness) == w->bucket) {
                    w->due = sorted_in(slots, w->due, slot);
                    w->later--;
                } else {
                    /* It waits for a later lap. */
                    hang(slots, w, w->bucket, slot);
                }
                slot = following;
            }
        }
        if (steps > w->mask + 1 && w->due == NOBODY) {
            /* A whole lap and nobody's turn: go to whoever is first. */
            w->bucket = first_bucket(slots, w->buckets, w->mask, fineness) - 1;
            steps = 0;
        }
    }
}

/* --- Counting ----------------------------------------------------------------------------------------------------- */

/* An hour and stream: of the requests that arrived in it, and in the last three numbers of those that departed. */
typedef struct {
    double arrived, lost, served, ttft, tpot, latency, decode, tokens, input_left, cached_left, output_left;
} cell_row;

/* A single request: begin of prefill, first token, departure (NaN where it did not happen), whether it was lost. */
typedef struct {
    double prefill_start, first_token, departure, lost;
} record_row;

typedef struct {
    cell_row *cells;
    record_row *records;
    double origin_s, hour_s;
    int64_t warm_up, hours, streams;
    int64_t first_free, n_free;
} book;

INNER cell_row *cell_of(const book *b, const slot_row *row) {
    return &b->cells[(row->tag >> HOUR_SHIFT) * b->streams + stream_of(row)];
}

/* Make a slot free: the next that is taken, while its row is in the cache, of which the rest is asked for. */
INNER void release(slot_row *slots, book *b, int64_t slot) {
    ask_for(slots, slot, 1);
    slots[slot].tag = FREE;
    slots[slot].after = (int32_t)b->first_free;
    b->first_free = slot;
    b->n_free++;
}

APART void lose(slot_row *slots, book *b, int64_t slot) {
    record_row *record = &b->records[slots[slot].request];
    cell_of(b, &slots[slot])->lost += 1;
    record->prefill_start = slots[slot].prefill_start;
    record->lost = 1;
    release(slots, b, slot);
}

INNER void serve(slot_row *slots, book *b, int64_t slot, double now) {
    const slot_row *row = &slots[slot];
    double output = row->output, first = row->first_token;
    int64_t hour = (int64_t)floor((now - b->origin_s) / b->hour_s) + b->warm_up;
    if (b->warm_up <= hour && hour < b->hours) {
        cell_row *left = &b->cells[hour * b->streams + stream_of(row)];
        left->input_left += row->input;
        left->cached_left += row->cached;
        left->output_left += output;
    }
    double ttft = first - row->arrival, decode = now - first;
    cell_row *cell = cell_of(b, row);
    cell->served += 1;
    cell->ttft += ttft;
    cell->tpot += decode / output;
    cell->latency += ttft + decode;
    cell->decode += decode;
    cell->tokens += output;
    record_row *record = &b->records[row->request];
    record->prefill_start = row->prefill_start;
    record->first_token = first;
    record->departure = now;
    release(slots, b, slot);
}

/* A request that comes somewhere at a time. */
typedef struct {
    double time;
    int64_t slot;
} visit;

/* --- Prefill lanes ------------------------------------------------------------------------------------------------ */

typedef struct {
    double at, area, time, busy_s, nodes, slowness, s_per_token, buckets_per_s;
    int64_t on, busy, inside;
    wheel wheel;
} lanes;

/* Whose turn it is, taken out of the line; who has given up is lost, at the deadline: the area since was not theirs. */
INNER int64_t next_in_line(slot_row *slots, book *b, lanes *p, line_pair *line) {
    while (!is_empty(line)) {
        int64_t slot = head(line);
        const slot_row *row = &slots[slot];
        pop(slots, line, slot);
        if (row->deadline > p->at) return slot;
        double at = row->deadline > row->entered ? row->deadline : row->entered;
        p->inside--;
        p->area -= p->at - at;
        p->time += at - row->entered;
        lose(slots, b, slot);
    }
    return NOBODY;
}

/* Take requests in and let prompts end, until a time; how many ended, and in `done` which and when. */
APART int64_t advance_lanes(slot_row *slots, const law_row *law, lanes *own, line_pair *line, book *b, double until,
                            const visit *came, int64_t n, visit *done) {
    lanes p = *own;
    int64_t i = 0, ended = 0;
    double end = p.wheel.due != NOBODY ? slots[p.wheel.due].part : INFINITY;
    for (;;) {
        double arrival = i < n ? came[i].time : INFINITY, now = least(end, arrival), span = now - p.at;
        if (now >= until) break;
        if (span > 0) {
            p.area += (double)p.inside * span;
            p.busy_s += least((double)p.busy, p.nodes) * span;
            p.at = now;
        }
        int64_t slot = NOBODY;
        if (end <= arrival) {
            int64_t due = p.wheel.due;
            p.time += end - slots[due].entered;
            done[ended].time = end;
            done[ended++].slot = due;
            p.busy--;
            p.inside--;
            take(slots, &p.wheel, WHOLE_IS_BUCKET);
            /* Who is there and not in a lane waits. */
            if (p.inside > p.busy && p.busy < p.on) slot = next_in_line(slots, b, &p, line);
        } else {
            slot = came[i++].slot;
            p.inside++;
            set_stage(&slots[slot], PROMPT);
            slots[slot].entered = p.at;
            if (p.busy >= p.on) {
                append(slots, law, line, slot);
                slot = NOBODY;
            }
        }
        if (slot != NOBODY) {
            slot_row *row = &slots[slot];
            p.busy++;
            if (isnan(row->prefill_start)) row->prefill_start = p.at;
            row->part = p.at + row->prefill * p.s_per_token * p.slowness;
            row->whole = floor(row->part * p.buckets_per_s);
            put(slots, &p.wheel, WHOLE_IS_BUCKET, slot);
        }
        end = p.wheel.due != NOBODY ? slots[p.wheel.due].part : INFINITY;
    }
    *own = p;
    return ended;
}

/* --- Decoding on one pool ----------------------------------------------------------------------------------------- */

typedef struct {
    /* Time, and the clock of tokens. */
    double at, whole, part;
    double area, time, busy_s, step_s, token_due, nodes, mass, context, served, served_context, prefilled;
    /* Step: so much, and so much for each slot and token of context of the pool. */
    double base_s, per_slot_s, per_context_s;
    int64_t inside, number, fineness;
    wheel wheel;
} pool;

/* Carry the areas on to a time, until when each sequence has got so many tokens. */
INNER void pass_time(pool *p, double now, double tokens) {
    double span = now - p->at;
    p->area += (double)p->inside * span;
    p->busy_s += least((double)p->number, p->nodes) * span;
    p->served += p->mass * tokens;
    p->served_context += p->context * tokens;
    p->at = now;
}

INNER void settle(pool *p, double now) {
    double span = now - p->at;
    if (span > 0) {
        double tokens = p->number > 0 ? span / p->step_s : 0.0, part = p->part + tokens, carry = floor(part);
        pass_time(p, now, tokens);
        p->whole += carry;
        p->part = part - carry;
    }
}

INNER double weight_of(const law_row *law, const slot_row *row) { return law->streams[stream_of(row)].output_weight; }

INNER double context_of(const slot_row *row, double weight) { return (row->input + row->output / 2) * weight; }

INNER double tokens_left(const slot_row *row, const pool *p) { return (row->whole - p->whole) + (row->part - p->part); }

INNER int has_room(const pool *p, double weight, double room) {
    return p->mass + weight <= room * ROUNDING || (p->number == 0 && room > 0);
}

INNER void lost(slot_row *slots, book *b, pool *p, int64_t slot) {
    const slot_row *row = &slots[slot];
    double at = row->deadline > row->entered ? row->deadline : row->entered;
    p->inside--;
    p->area -= p->at - at;
    p->time += at - row->entered;
    lose(slots, b, slot);
}

/* Whoever in the line is next and finds room, taken out of it; who has given up is lost. */
INNER int64_t let_in(slot_row *slots, const law_row *law, book *b, pool *p, line_pair *line, double room) {
    while (!is_empty(line)) {
        int64_t slot = head(line);
        int in_time = slots[slot].deadline > p->at;
        if (in_time && !has_room(p, weight_of(law, &slots[slot]), room)) return NOBODY;
        pop(slots, line, slot);
        if (in_time) return slot;
        lost(slots, b, p, slot);
    }
    return NOBODY;
}

/* Let a request whose prompt is done decode. */
INNER void admit(slot_row *slots, const law_row *law, pool *p, int64_t slot) {
    slot_row *row = &slots[slot];
    double weight = weight_of(law, row);
    if (isnan(row->first_token)) row->first_token = p->at;
    /* From here on its time in decode is counted from its first token. */
    p->time += row->first_token - row->entered;
    row->deadline = INFINITY;
    p->prefilled += row->prefill;
    p->number++;
    p->mass += weight;
    p->context += context_of(row, weight);
    set_stage(row, DECODING);
    double left_whole = floor(row->left), part = p->part + (row->left - left_whole), carry = floor(part);
    row->whole = p->whole + left_whole + carry;
    row->part = part - carry;
    put(slots, &p->wheel, p->fineness, slot);
}

/* The sequences that end now: their end is where the clock of tokens is set. */
INNER void ring(slot_row *slots, const law_row *law, book *b, pool *p) {
    double whole = slots[p->wheel.due].whole, part = slots[p->wheel.due].part;
    pass_time(p, p->token_due, tokens_left(&slots[p->wheel.due], p));
    p->whole = whole;
    p->part = part;
    while (p->wheel.due != NOBODY) {
        int64_t slot = p->wheel.due;
        const slot_row *row = &slots[slot];
        if (row->whole != whole || row->part != part) break;
        take(slots, &p->wheel, p->fineness);
        double weight = weight_of(law, row);
        p->number--;
        p->inside--;
        p->mass -= weight;
        p->context -= context_of(row, weight);
        p->time += p->at - row->first_token;
        serve(slots, b, slot, p->at);
    }
    /* With nobody there the sums are known exactly, and the clock begins anew. */
    if (p->number == 0) p->mass = p->context = p->whole = p->part = 0.0;
}

INNER void retime(const slot_row *slots, pool *p) {
    p->token_due = INFINITY;
    if (p->wheel.due == NOBODY) return;
    p->step_s = INFINITY;
    if (p->nodes > 0) {
        p->step_s = p->base_s + p->per_slot_s * p->mass + p->per_context_s * p->context;
        p->token_due = p->at + tokens_left(&slots[p->wheel.due], p) * p->step_s;
    }
}

/* Ask for the rows of a request that comes later, and for the bucket of one that comes soon. */
INNER void ask_for_coming(const slot_row *slots, const pool *p, const visit *came, int64_t i, int64_t n) {
    int64_t later = came[i + 2 * SOON < n ? i + 2 * SOON : n - 1].slot;
    int64_t soon = came[i + SOON < n ? i + SOON : n - 1].slot;
    ask_for(slots, later, 0);
    ask_for(slots, later, 1);
    PREFETCH(&p->wheel.buckets[bucket_of(p->whole + slots[soon].left, p->part, p->fineness) & p->wheel.mask]);
}

/* Take requests in and let sequences end, until a time. */
APART void advance_pool(slot_row *slots, const law_row *law, pool *own, line_pair *line, book *b, double until,
                        const visit *came, int64_t n) {
    pool p = *own;
    int64_t i = 0;
    const double room = law->max_batch * p.nodes;
    double arrival = i < n ? came[i].time : INFINITY;
    for (;;) {
        int64_t slot = NOBODY;
        if (p.token_due <= arrival) {
            if (p.token_due >= until) break;
            ring(slots, law, b, &p);
        } else {
            ask_for_coming(slots, &p, came, i, n);
            slot = came[i++].slot;
            settle(&p, arrival);
            arrival = i < n ? came[i].time : INFINITY;
            slots[slot].entered = p.at;
            /* Who is there and does not decode waits. */
            int others_wait = p.inside > p.number;
            p.inside++;
            if (others_wait || !has_room(&p, weight_of(law, &slots[slot]), room)) {
                set_stage(&slots[slot], QUEUED);
                if (slots[slot].deadline <= p.at) lost(slots, b, &p, slot);
                else append(slots, law, line, slot);
                slot = NOBODY;
            }
        }
        for (;;) {
            if (slot == NOBODY && p.inside > p.number) slot = let_in(slots, law, b, &p, line, room);
            if (slot == NOBODY) break;
            admit(slots, law, &p, slot);
            slot = NOBODY;
        }
        retime(slots, &p);
    }
    *own = p;
}

/* --- A case ------------------------------------------------------------------------------------------------------- */

typedef struct {
    /* Rows of a block of `n` requests: arrival, stream, input, cached and output tokens. */
    const double *block;
    int64_t n;
    const law_row *law;
    /* Hours before the first that counts, all hours, streams. */
    int64_t warm_up, hours, streams;
    int64_t lanes, lane_buckets;
    /* Nodes that decode; log2 of the buckets to a token. */
    double nodes;
    int64_t fineness, buckets;
    /* Slots at first. */
    int64_t slots;
} job;

/* What is known at the end of the nodes. */
typedef struct {
    double lanes_area, lanes_time, lanes_busy_s;
    double area, time, busy_s, served, served_context, prefilled;
} account;

/* Rows from the begin of a line of the cache on, those from `old` on free.  `memory` is what must be freed. */
static slot_row *grown(const slot_row *slots, void **memory, book *b, int64_t old, int64_t size) {
    void *more = malloc(size * sizeof *slots + LINE_BYTES);
    slot_row *rows = (slot_row *)(((uintptr_t)more + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES);
    if (old > 0) memcpy(rows, slots, old * sizeof *rows);
    memset(rows + old, 0, (size - old) * sizeof *rows);
    for (int64_t slot = old; slot < size; slot++) rows[slot].after = (int32_t)(slot + 1);
    rows[size - 1].after = (int32_t)b->first_free;
    b->first_free = old;
    b->n_free += size - old;
    free(*memory);
    *memory = more;
    return rows;
}

/* Give the requests from one to another their slots. */
static void enter(slot_row *slots, const job *j, book *b, int64_t first, int64_t last, visit *came) {
    const law_row *law = j->law;
    const double *arrivals = j->block, *streams = arrivals + j->n, *inputs = streams + j->n;
    const double *cached = inputs + j->n, *outputs = cached + j->n;
    int64_t following = b->first_free;
    for (int64_t i = first; i < last; i++) {
        int64_t slot = following, stream = (int64_t)streams[i];
        int64_t hour = (int64_t)floor(arrivals[i] / law->hour_s) + j->warm_up;
        slot_row *row = &slots[slot];
        following = row->after;
        row->arrival = arrivals[i] + law->origin_s;
        row->first_token = NAN;
        row->output = outputs[i];
        row->input = inputs[i];
        row->cached = cached[i];
        row->wait = 0.0;
        row->left = outputs[i];
        row->prefill = (inputs[i] - cached[i]) * law->streams[stream].input_weight;
        row->deadline = row->arrival + law->streams[stream].patience_s;
        row->prefill_start = NAN;
        row->request = i;
        hour = hour < 0 ? 0 : hour >= j->hours ? j->hours - 1 : hour;
        row->tag = (int32_t)(hour << HOUR_SHIFT | stream << STAGE_BITS);
        b->cells[hour * j->streams + stream].arrived += 1;
        came[i - first].time = row->arrival;
        came[i - first].slot = slot;
    }
    b->first_free = following;
    b->n_free -= last - first;
}

static wheel empty_wheel(int64_t n) {
    wheel w = {.buckets = malloc(n * sizeof *w.buckets), .mask = n - 1, .due = NOBODY};
    for (int64_t i = 0; i < n; i++) w.buckets[i] = NOBODY;
    return w;
}

/* Serve the requests of a job.  `cells` must be zero, and `records` NaN but for whether they were lost. */
void serve_job(const job *j, cell_row *cells, record_row *records, account *found) {
    const law_row *law = j->law;
    book b = {.cells = cells, .records = records, .origin_s = law->origin_s, .hour_s = law->hour_s,
              .warm_up = j->warm_up, .hours = j->hours, .streams = j->streams, .first_free = NOBODY};
    lanes prefill = {.nodes = 1.0, .slowness = 1.0, .s_per_token = law->lane_s_per_token,
                     .buckets_per_s = law->lane_buckets_per_s, .on = j->lanes, .wheel = empty_wheel(j->lane_buckets)};
    pool decode = {.step_s = INFINITY, .token_due = INFINITY, .nodes = j->nodes, .fineness = j->fineness,
                   .base_s = law->base_s, .per_slot_s = law->per_sequence_s / j->nodes,
                   .per_context_s = law->per_kv_token_s / j->nodes, .wheel = empty_wheel(j->buckets)};
    line_pair prefill_line = {{NOBODY, NOBODY, NOBODY, NOBODY}}, decode_line = prefill_line;
    void *memory = NULL;
    int64_t size = j->slots;
    slot_row *slots = grown(NULL, &memory, &b, 0, size);
    visit *came = malloc(HELPING * sizeof *came), *done = malloc(size * sizeof *done);
    for (int64_t first = 0, last; first < j->n; first = last) {
        last = first + HELPING < j->n ? first + HELPING : j->n;
        while (b.n_free < last - first) {
            slots = grown(slots, &memory, &b, size, 2 * size);
            size *= 2;
            done = realloc(done, size * sizeof *done);
        }
        enter(slots, j, &b, first, last, came);
        /* Past the last of these nothing is known yet. */
        double until = last < j->n ? nextafter(came[last - first - 1].time, INFINITY) : INFINITY;
        int64_t n = advance_lanes(slots, law, &prefill, &prefill_line, &b, until, came, last - first, done);
        advance_pool(slots, law, &decode, &decode_line, &b, until, done, n);
    }
    *found = (account){.lanes_area = prefill.area, .lanes_time = prefill.time, .lanes_busy_s = prefill.busy_s,
                       .area = decode.area, .time = decode.time, .busy_s = decode.busy_s, .served = decode.served,
                       .served_context = decode.served_context, .prefilled = decode.prefilled};
    free(memory), free(prefill.wheel.buckets), free(decode.wheel.buckets), free(came), free(done);
}
