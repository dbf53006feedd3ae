/* Sixteen numbers at a time, fp32 in registers, fp32 or (with -DBF16) bf16 in memory.
 *
 * The vectors are the compiler's own, so the same source serves any processor.
 */
#include <stdint.h>
#include <string.h>

#define LANES 16
#define INLINE static inline __attribute__((always_inline))

typedef float V __attribute__((vector_size(64)));
typedef uint32_t W __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));

INLINE V pick(I where, V yes, V no) { return (V)((where & (I)yes) | (~where & (I)no)); }
INLINE V all(float value) { return (V){} + value; }

#ifdef BF16
typedef uint16_t T;
typedef uint16_t H __attribute__((vector_size(32)));
typedef uint16_t UnalignedH __attribute__((vector_size(32), aligned(2)));

INLINE V load(const T *from) {
    return (V)(__builtin_convertvector(*(const UnalignedH *)from, W) << 16);
}
INLINE V rounded(V value) { /* to nearest, ties to even; NaN stays NaN */
    W bits = (W)value;
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
    return pick(value == value, (V)bits, value);
}
INLINE void store(T *to, V value) {
    *(UnalignedH *)to = __builtin_convertvector((W)rounded(value) >> 16, H);
}
#ifdef __AVX512BF16__
#include <immintrin.h>
#define PAIRS
typedef __m512bh P;

INLINE P load_pairs(const T *from) { return (P)_mm512_loadu_si512(from); }
INLINE V add_pairs(V sum, P a, P b) { return (V)_mm512_dpbf16_ps((__m512)sum, a, b); }
#endif
#else
typedef float T;
typedef float UnalignedV __attribute__((vector_size(64), aligned(4)));

INLINE V load(const T *from) { return *(const UnalignedV *)from; }
INLINE V rounded(V value) { return value; }
INLINE void store(T *to, V value) { *(UnalignedV *)to = value; }
#endif

/* The same for fewer than 16: the rest is zero, and not written. */
INLINE V load_some(const T *from, int count) {
    T few[LANES] = {0};
    memcpy(few, from, count * sizeof(T));
    return load(few);
}
INLINE void store_some(T *to, V value, int count) {
    T few[LANES];
    store(few, value);
    memcpy(to, few, count * sizeof(T));
}
INLINE float total(V v) {
    v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    return v[0] + v[1];
}
/* e^x by 2^n times a polynomial (Cephes' expf), relative error about 2e-7; x within +-87. */
INLINE V exponential(V x) {
    x = pick(x > 87.f, all(87.f), x);
    x = pick(x < -87.f, all(-87.f), x);
    I n = __builtin_convertvector(x * 1.44269504f + pick(x < 0.f, all(-.5f), all(.5f)), I);
    V whole = __builtin_convertvector(n, V);
    V r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return (p * r * r + r + 1.f) * (V)((n + 127) << 23);
}

/* Loop over a row's full vectors, then over what is left of it (`count` lanes). */
#define EACH(i, width, count)                                                                      \
    for (int i = 0, count; i < (width); i += LANES)                                                \
        if ((count = (width) - i < LANES ? (width) - i : LANES))

#define GET(from, count) (count == LANES ? load(from) : load_some(from, count))
#define PUT(to, value, count)                                                                      \
    (count == LANES ? store(to, value) : store_some(to, value, count))
