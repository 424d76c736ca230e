// Packs of doubles for the vector units. This header is compiled once per instruction set, each
// time in a namespace of its own (AMORPH_ISA), so that no inline function of a wide build can be
// linked into a narrow one. Only the operations the engine needs are here.
#pragma once

#include <cstdint>
#include <cstring>

#include "../potentials/real.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef AMORPH_ISA
#error "AMORPH_ISA names the instruction set's namespace"
#endif

namespace amorph::engine::AMORPH_ISA {

// Neighbour entries: an index in the low bits, and, for small parameter tables, the neighbour's
// type above it.
using Entry = std::uint32_t;

#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__)

struct Mask {
    __mmask8 m;
};

struct Pack {
    static constexpr int width = 8;
    __m512d v;
    Pack() = default;
    Pack(double x) : v(_mm512_set1_pd(x)) {}
    Pack(__m512d x) : v(x) {}
    static Pack load(const double* p) { return _mm512_loadu_pd(p); }
    void store(double* p) const { _mm512_storeu_pd(p, v); }
};

struct Index {
    __m256i v;
    static Index load(const Entry* p) {
        return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
    }
    Index low(Entry mask) const { return {_mm256_and_si256(v, _mm256_set1_epi32(int(mask)))}; }
    Index high(int shift) const { return {_mm256_srli_epi32(v, shift)}; }
};

inline Pack operator+(Pack a, Pack b) { return _mm512_add_pd(a.v, b.v); }
inline Pack operator-(Pack a, Pack b) { return _mm512_sub_pd(a.v, b.v); }
inline Pack operator*(Pack a, Pack b) { return _mm512_mul_pd(a.v, b.v); }
inline Pack operator/(Pack a, Pack b) { return _mm512_div_pd(a.v, b.v); }
inline Mask operator<(Pack a, Pack b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask operator>(Pack a, Pack b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_GT_OQ)}; }
inline Pack select(Mask m, Pack a, Pack b) { return _mm512_mask_blend_pd(m.m, b.v, a.v); }
inline unsigned bits(Mask m) { return m.m; }
inline Pack square_root(Pack a) { return _mm512_sqrt_pd(a.v); }
inline Pack round(Pack a) { return _mm512_roundscale_pd(a.v, 0); }
inline Pack max(Pack a, Pack b) { return _mm512_max_pd(a.v, b.v); }
inline Pack fma(Pack a, Pack b, Pack c) { return _mm512_fmadd_pd(a.v, b.v, c.v); }
inline Pack gather(const double* p, Index i) { return _mm512_i32gather_pd(i.v, p, 8); }
inline Index gather(const std::int32_t* p, Index i) { return {_mm256_i32gather_epi32(p, i.v, 4)}; }
// x 2^n for the integral n
inline Pack scale(Pack x, Pack n) { return _mm512_scalef_pd(x.v, n.v); }
// entries of a table of up to `width` doubles held in one register
inline Pack lookup(Pack table, Index i) {
    return _mm512_permutexvar_pd(_mm512_cvtepu32_epi64(i.v), table.v);
}
inline double sum(Pack a) { return _mm512_reduce_add_pd(a.v); }
inline double maximum(Pack a) { return _mm512_reduce_max_pd(a.v); }

// Appends to p (which has room for a whole pack) those of the first `count` entries that m chooses
// and whose ids are not `self`; returns how many.
inline int append(Entry* p, Index entries, Index ids, Mask m, int count, Entry self) {
    const __mmask8 first = count >= 8 ? __mmask8(0xff) : __mmask8((1u << count) - 1u);
    const __mmask8 others = _mm256_cmpneq_epi32_mask(ids.v, _mm256_set1_epi32(int(self)));
    const __mmask8 chosen = m.m & first & others;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm256_maskz_compress_epi32(chosen, entries.v));
    return __builtin_popcount(chosen);
}

#elif defined(__AVX2__) && defined(__FMA__)

struct Mask {
    __m256d m;
};

struct Pack {
    static constexpr int width = 4;
    __m256d v;
    Pack() = default;
    Pack(double x) : v(_mm256_set1_pd(x)) {}
    Pack(__m256d x) : v(x) {}
    static Pack load(const double* p) { return _mm256_loadu_pd(p); }
    void store(double* p) const { _mm256_storeu_pd(p, v); }
};

struct Index {
    __m128i v;
    static Index load(const Entry* p) {
        return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))};
    }
    Index low(Entry mask) const { return {_mm_and_si128(v, _mm_set1_epi32(int(mask)))}; }
    Index high(int shift) const { return {_mm_srli_epi32(v, shift)}; }
};

inline Pack operator+(Pack a, Pack b) { return _mm256_add_pd(a.v, b.v); }
inline Pack operator-(Pack a, Pack b) { return _mm256_sub_pd(a.v, b.v); }
inline Pack operator*(Pack a, Pack b) { return _mm256_mul_pd(a.v, b.v); }
inline Pack operator/(Pack a, Pack b) { return _mm256_div_pd(a.v, b.v); }
inline Mask operator<(Pack a, Pack b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask operator>(Pack a, Pack b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_GT_OQ)}; }
inline Pack select(Mask m, Pack a, Pack b) { return _mm256_blendv_pd(b.v, a.v, m.m); }
inline unsigned bits(Mask m) { return unsigned(_mm256_movemask_pd(m.m)); }
inline Pack square_root(Pack a) { return _mm256_sqrt_pd(a.v); }
inline Pack round(Pack a) {
    return _mm256_round_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Pack max(Pack a, Pack b) { return _mm256_max_pd(a.v, b.v); }
inline Pack fma(Pack a, Pack b, Pack c) { return _mm256_fmadd_pd(a.v, b.v, c.v); }
inline Pack gather(const double* p, Index i) { return _mm256_i32gather_pd(p, i.v, 8); }
inline Index gather(const std::int32_t* p, Index i) { return {_mm_i32gather_epi32(p, i.v, 4)}; }
inline Pack scale(Pack x, Pack n) {
    const __m256i exponent = _mm256_slli_epi64(_mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n.v)), 52);
    return _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(x.v), exponent));
}
inline Pack lookup(Pack table, Index i) {
    // No permute of doubles by a variable index: move their halves.
    const __m256i wide = _mm256_cvtepu32_epi64(i.v);
    const __m256i even = _mm256_slli_epi64(wide, 1);
    const __m256i both =
        _mm256_or_si256(even, _mm256_slli_epi64(_mm256_or_si256(even, _mm256_set1_epi64x(1)), 32));
    return _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(table.v), both));
}
inline double sum(Pack a) {
    const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
    return _mm_cvtsd_f64(pair) + _mm_cvtsd_f64(_mm_unpackhi_pd(pair, pair));
}
inline double maximum(Pack a) {
    const __m128d pair = _mm_max_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(pair, _mm_unpackhi_pd(pair, pair)));
}
inline int append(Entry* p, Index entries, Index ids, Mask m, int count, Entry self) {
    alignas(16) Entry e[4];
    alignas(16) Entry id[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(e), entries.v);
    _mm_store_si128(reinterpret_cast<__m128i*>(id), ids.v);
    int n = 0;
    const unsigned chosen = bits(m);
    for (int k = 0; k < 4; ++k) {
        p[n] = e[k];
        n += (k < count) & (id[k] != self) & ((chosen >> k) & 1u);
    }
    return n;
}

#else  // one double at a time

struct Mask {
    bool m;
};

struct Pack {
    static constexpr int width = 1;
    double v;
    Pack() = default;
    Pack(double x) : v(x) {}
    static Pack load(const double* p) { return *p; }
    void store(double* p) const { *p = v; }
};

struct Index {
    Entry v;
    static Index load(const Entry* p) { return {*p}; }
    Index low(Entry mask) const { return {v & mask}; }
    Index high(int shift) const { return {v >> shift}; }
};

inline Pack operator+(Pack a, Pack b) { return a.v + b.v; }
inline Pack operator-(Pack a, Pack b) { return a.v - b.v; }
inline Pack operator*(Pack a, Pack b) { return a.v * b.v; }
inline Pack operator/(Pack a, Pack b) { return a.v / b.v; }
inline Mask operator<(Pack a, Pack b) { return {a.v < b.v}; }
inline Mask operator>(Pack a, Pack b) { return {a.v > b.v}; }
inline Pack select(Mask m, Pack a, Pack b) { return m.m ? a : b; }
inline unsigned bits(Mask m) { return m.m ? 1u : 0u; }
inline Pack square_root(Pack a) { return __builtin_sqrt(a.v); }
inline Pack round(Pack a) {
    // Nearest integer for |a| < 2^51 by the spacing of doubles near 1.5 2^52.
    constexpr double shift = 6755399441055744.0;
    return (a.v + shift) - shift;
}
inline Pack max(Pack a, Pack b) { return a.v > b.v ? a : b; }
inline Pack fma(Pack a, Pack b, Pack c) { return a.v * b.v + c.v; }
inline Pack gather(const double* p, Index i) { return p[i.v]; }
inline Index gather(const std::int32_t* p, Index i) { return {Entry(p[i.v])}; }
inline Pack scale(Pack x, Pack n) {
    std::int64_t b;
    std::memcpy(&b, &x.v, sizeof b);
    b += std::int64_t(n.v) * (std::int64_t(1) << 52);
    std::memcpy(&x.v, &b, sizeof b);
    return x;
}
inline Pack lookup(Pack table, Index) { return table; }
inline double sum(Pack a) { return a.v; }
inline double maximum(Pack a) { return a.v; }
inline int append(Entry* p, Index entries, Index ids, Mask m, int, Entry self) {
    *p = entries.v;
    return m.m && ids.v != self ? 1 : 0;
}

#endif

inline Pack& operator+=(Pack& a, Pack b) { return a = a + b; }
inline Pack& operator-=(Pack& a, Pack b) { return a = a - b; }

// exp(x) for x < 700, to about one unit in the last place: x = n ln 2 + r, the Taylor polynomial
// of degree 13 on |r| <= ln(2)/2 (remainder 4e-18), then a shift of the exponent. Below -700,
// and for a NaN, it gives exp(-700).
inline Pack exponential(Pack x) {
    x = max(x, Pack(-700.0));
    const Pack n = round(x * Pack(1.4426950408889634074));
    Pack r = fma(n, Pack(-6.93147180369123816490e-01), x);
    r = fma(n, Pack(-1.90821492927058770002e-10), r);
    Pack p(1.0 / 6227020800.0);
    p = fma(p, r, Pack(1.0 / 479001600.0));
    p = fma(p, r, Pack(1.0 / 39916800.0));
    p = fma(p, r, Pack(1.0 / 3628800.0));
    p = fma(p, r, Pack(1.0 / 362880.0));
    p = fma(p, r, Pack(1.0 / 40320.0));
    p = fma(p, r, Pack(1.0 / 5040.0));
    p = fma(p, r, Pack(1.0 / 720.0));
    p = fma(p, r, Pack(1.0 / 120.0));
    p = fma(p, r, Pack(1.0 / 24.0));
    p = fma(p, r, Pack(1.0 / 6.0));
    p = fma(p, r, Pack(0.5));
    p = fma(p, r, Pack(1.0));
    p = fma(p, r, Pack(1.0));
    return scale(p, n);
}

}  // namespace amorph::engine::AMORPH_ISA
