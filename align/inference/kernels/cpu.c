/* The small steps between the matrix products of a forward pass, for one row or many.
 *
 * Compiled twice: as it is for fp32, with -DBF16 for bf16 storage. Sums are fp32 and round where a
 * result is stored. Every function takes row-major arrays, splits its rows over
 * OpenMP's threads (the runtime that torch has loaded, so the pool is shared), and allocates
 * nothing on the heap.
 */
#include "vectors.h"

INLINE void normalise(const T *x, const T *weight, T *out, int width, float eps) {
    V sum = {};
    EACH(i, width, count) {
        V value = GET(x + i, count);
        sum += value * value;
    }
    float scale = 1.f / __builtin_sqrtf(total(sum) / width + eps);
    /* rounded between the two factors, as transformers does */
    EACH(i, width, count) {
        V value = rounded(GET(x + i, count) * scale) * GET(weight + i, count);
        PUT(out + i, value, count);
    }
}

/* out (rows, width) = x / rms(x) * weight; Zhang and Sennrich, arXiv 1910.07467. */
void rms_norm(const T *x, const T *weight, T *out, long rows, int width, float eps) {
#pragma omp parallel for if (rows > 4)
    for (long row = 0; row < rows; row++)
        normalise(x + row * width, weight, out + row * width, width, eps);
}

/* out (rows, width) = silu(gate) * up, with gate and up side by side in each row of x. */
void silu_mul(const T *x, T *out, long rows, int width) {
#pragma omp parallel for if (rows > 4)
    for (long row = 0; row < rows; row++) {
        const T *gate = x + row * 2 * width, *up = gate + width;
        EACH(i, width, count) {
            V g = GET(gate + i, count);
            PUT(out + row * width + i, rounded(g / (1.f + exponential(-g))) * GET(up + i, count),
                count);
        }
    }
}

/* One layer's keys and values: (slots, kv_heads, tokens, head) each; head is a multiple of 16. */
typedef struct {
    T *keys, *values;
    const T *query_norm, *key_norm; /* (head) each, or null: Qwen3 */
    int heads, kv_heads, head, tokens, window; /* window 0: none */
    float scale, eps;
} Layer;

INLINE void rotate(T *x, const T *cosine, const T *sine, int head) {
    int half = head / 2;
    EACH(i, half, count) {
        V a = GET(x + i, count), b = GET(x + half + i, count);
        PUT(x + i, a * GET(cosine + i, count) - b * GET(sine + i, count), count);
        PUT(x + half + i, b * GET(cosine + half + i, count) + a * GET(sine + half + i, count),
            count);
    }
}

/* Rotate (Su et al., arXiv 2104.09864) the queries and keys of qkv (rows, all heads) in place, and
 * put keys and values at their slots and positions. cosine and sine are (rows, head). */
void rotate_and_store(const Layer *layer, T *qkv, const T *cosine, const T *sine, const int *slots,
                      const int *positions, long rows) {
    int head = layer->head, heads = layer->heads, kv = layer->kv_heads;
    long width = (long)(heads + 2 * kv) * head;
#pragma omp parallel for if (rows > 4)
    for (long row = 0; row < rows; row++) {
        T *at = qkv + row * width;
        for (int h = 0; h < heads + kv; h++) {
            const T *norm = h < heads ? layer->query_norm : layer->key_norm;
            if (norm) normalise(at + h * head, norm, at + h * head, head, layer->eps);
            rotate(at + h * head, cosine + row * head, sine + row * head, head);
        }
        for (int h = 0; h < kv; h++) {
            long to = (((long)slots[row] * kv + h) * layer->tokens + positions[row]) * head;
            memcpy(layer->keys + to, at + (heads + h) * head, head * sizeof(T));
            memcpy(layer->values + to, at + (heads + kv + h) * head, head * sizeof(T));
        }
    }
}

#define BLOCK 64  /* keys at a time */
#define AHEAD 16  /* keys asked for before their turn */
#define WIDEST 16 /* vectors of a head */

/* Up to four queries of one key head over the keys [start, end) of its slot, in blocks with a
 * running maximum (Milakov and Gimelshein, arXiv 1805.02867). A key is read once for all. */
INLINE void attend_queries(const T *query, const T *keys, const T *values, T *out, int start,
                           int end, float scale, int queries, int vectors) {
    int head = vectors * LANES;
    V q[4][WIDEST], sum[4][WIDEST];
    float score[4][BLOCK], most[4], mass[4];
    for (int g = 0; g < queries; g++) {
        for (int c = 0; c < vectors; c++)
            q[g][c] = load(query + g * head + c * LANES) * scale, sum[g][c] = (V){};
        most[g] = -1e30f, mass[g] = 0;
    }
    for (int from = start; from < end; from += BLOCK) {
        int count = end - from < BLOCK ? end - from : BLOCK;
        for (int t = 0; t < count; t++) {
            V partial[4] = {};
            for (int c = 0; c < vectors; c++) {
                long place = (long)(from + t) * head + c * LANES;
                __builtin_prefetch(keys + place + AHEAD * head);
                __builtin_prefetch(values + place);
                V key = load(keys + place);
                for (int g = 0; g < queries; g++) partial[g] += q[g][c] * key;
            }
            for (int g = 0; g < queries; g++) score[g][t] = total(partial[g]);
        }
        for (int g = 0; g < queries; g++) {
            float top = most[g];
            for (int t = 0; t < count; t++) top = score[g][t] > top ? score[g][t] : top;
            for (int t = count; t < BLOCK; t++) score[g][t] = -1e30f;
            float fade = exponential((V){most[g] - top})[0];
            V weights = {};
            for (int t = 0; t < count; t += LANES) {
                V weight;
                memcpy(&weight, &score[g][t], sizeof weight);
                I there = ~(weight <= -1e30f); /* NaN is there */
                weight = (V)((I)exponential(weight - top) & there);
                weights += weight;
                memcpy(&score[g][t], &weight, sizeof weight);
            }
            mass[g] = mass[g] * fade + total(weights), most[g] = top;
            for (int c = 0; c < vectors; c++) sum[g][c] *= fade;
        }
        for (int t = 0; t < count; t++)
            for (int c = 0; c < vectors; c++) {
                V value = load(values + (long)(from + t) * head + c * LANES);
                for (int g = 0; g < queries; g++) sum[g][c] += value * score[g][t];
            }
    }
    for (int g = 0; g < queries; g++)
        for (int c = 0; c < vectors; c++)
            store(out + g * head + c * LANES, sum[g][c] * (1.f / mass[g]));
}

/* The common widths are known when compiled, so that sums stay in registers. */
static void attend_some(const T *query, const T *keys, const T *values, T *out, int start, int end,
                        float scale, int queries, int head) {
#define CASE(number, vectors)                                                                      \
    if (queries == number && head == vectors * LANES)                                              \
        return attend_queries(query, keys, values, out, start, end, scale, number, vectors);
    CASE(1, 4) CASE(2, 4) CASE(3, 4) CASE(4, 4) CASE(1, 8) CASE(2, 8) CASE(3, 8) CASE(4, 8)
#undef CASE
    attend_queries(query, keys, values, out, start, end, scale, queries, head / LANES);
}

/* out (rows, heads, head): each row's newest query over everything its slot holds up to its
 * position. Rows of different lengths cost what they are long. */
void attend(const Layer *layer, const T *qkv, T *out, const int *slots, const int *positions,
            long rows) {
    int head = layer->head, heads = layer->heads, kv = layer->kv_heads, group = heads / kv;
    long width = (long)(heads + 2 * kv) * head;
#pragma omp parallel for schedule(dynamic, 2)
    for (long at = 0; at < rows * kv; at++) {
        long row = at / kv, h = at % kv;
        long from = ((long)slots[row] * kv + h) * layer->tokens * head;
        int end = positions[row] + 1;
        int start = layer->window && end > layer->window ? end - layer->window : 0;
        for (int g = 0; g < group; g += 4) {
            long first = h * group + g;
            attend_some(qkv + row * width + first * head, layer->keys + from, layer->values + from,
                        out + (row * heads + first) * head, start, end, layer->scale,
                        group - g < 4 ? group - g : 4, head);
        }
    }
}

/* One range of a linear layer's outputs and the LoRA factors of all bank slots for it. */
typedef struct {
    const T *a, *b;   /* (slots, capacity, in), (slots, capacity, out) */
    const int *ranks; /* (slots): 0 where an adapter leaves this layer alone */
    int capacity, out, offset;
} Part;

#define TALLEST 1024 /* rank */
#define TILE 4       /* rows that share what is read of an adapter */

/* h[row][r] = x[row] . a[r] for `rows` rows and `ranks` ranks, both known when compiled. */
INLINE void shrink_tile(const T *x, const T *a, float *h, int width, int rows, int ranks) {
    V sum[TILE][4] = {};
    int done = 0;
#ifdef PAIRS /* products of bf16 pairs, summed in fp32 by one instruction */
    for (; done + 2 * LANES <= width; done += 2 * LANES) {
        P wide[4];
        for (int r = 0; r < ranks; r++) {
            const T *from = a + (long)r * width + done;
            __builtin_prefetch(from + (long)ranks * width);
            wide[r] = load_pairs(from);
        }
        for (int row = 0; row < rows; row++) {
            P value = load_pairs(x + (long)row * width + done);
            for (int r = 0; r < ranks; r++) sum[row][r] = add_pairs(sum[row][r], value, wide[r]);
        }
    }
#endif
    x += done, a += done;
    EACH(i, width - done, count) {
        V wide[4];
        for (int r = 0; r < ranks; r++) {
            const T *from = a + (long)r * width + i;
            /* the ranks after these: too many streams for the processor to guess */
            __builtin_prefetch(from + (long)ranks * width);
            wide[r] = GET(from, count);
        }
        for (int row = 0; row < rows; row++) {
            V value = GET(x + (long)row * width + i, count);
            for (int r = 0; r < ranks; r++) sum[row][r] += value * wide[r];
        }
    }
    for (int row = 0; row < rows; row++)
        for (int r = 0; r < ranks; r++) h[row * TALLEST + r] = total(sum[row][r]);
}

INLINE void shrink(const T *x, const T *a, float *h, int rank, int width, int rows) {
    int r = 0;
    for (; r + 4 <= rank; r += 4) shrink_tile(x, a + (long)r * width, h + r, width, rows, 4);
    for (; r < rank; r++) shrink_tile(x, a + (long)r * width, h + r, width, rows, 1);
}

/* y[row] += sum over r of h[row][r] * b[r], 64 outputs at a time. */
INLINE void expand(const float *h, const T *b, T *y, int rank, int out, long stride, int rows) {
    int j = 0;
    for (; j + 4 * LANES <= out; j += 4 * LANES) {
        V sum[TILE][4] = {};
        for (int r = 0; r < rank; r++) {
            V wide[4];
            for (int c = 0; c < 4; c++) {
                const T *from = b + (long)r * out + j + c * LANES;
                __builtin_prefetch(from + 4 * LANES); /* the next 64 outputs of this rank */
                wide[c] = load(from);
            }
            for (int row = 0; row < rows; row++)
                for (int c = 0; c < 4; c++) sum[row][c] += wide[c] * h[row * TALLEST + r];
        }
        for (int row = 0; row < rows; row++)
            for (int c = 0; c < 4; c++) {
                T *to = y + row * stride + j + c * LANES;
                store(to, load(to) + sum[row][c]);
            }
    }
    EACH(i, out - j, count)
        for (int row = 0; row < rows; row++) {
            T *to = y + row * stride + j + i;
            V sum = {};
            for (int r = 0; r < rank; r++)
                sum += GET(b + (long)r * out + j + i, count) * h[row * TALLEST + r];
            PUT(to, GET(to, count) + sum, count);
        }
}

INLINE void add_rows(const Part *part, const T *x, T *y, int slot, int in, long outs, int rows) {
    float h[TILE * TALLEST];
    int rank = part->ranks[slot];
    shrink(x, part->a + (long)slot * part->capacity * in, h, rank, in, rows);
    expand(h, part->b + (long)slot * part->capacity * part->out, y + part->offset, rank, part->out,
           outs, rows);
}

/* y (rows, outs) += x (rows, in) @ A.T @ B of each row's own bank slot; slot -1: nothing.
 * Neighbours with the same slot are taken together. */
void lora(const Part *parts, int count, const T *x, T *y, const int *slots, long rows, int in,
          int outs) {
#pragma omp parallel for if (rows > 1)
    for (long tile = 0; tile < (rows + TILE - 1) / TILE; tile++) {
        long end = (tile + 1) * TILE < rows ? (tile + 1) * TILE : rows, row = tile * TILE;
        while (row < end) {
            int slot = slots[row], same = 1;
            while (row + same < end && slots[row + same] == slot) same++;
            for (int p = 0; p < count && slot >= 0; p++) {
                const T *from = x + row * in;
                T *to = y + row * outs;
                if (same == 4) add_rows(parts + p, from, to, slot, in, outs, 4);
                else if (same == 3) add_rows(parts + p, from, to, slot, in, outs, 3);
                else if (same == 2) add_rows(parts + p, from, to, slot, in, outs, 2);
                else add_rows(parts + p, from, to, slot, in, outs, 1);
            }
            row += same;
        }
    }
}
