// Packs of doubles for the vector units. This header is compiled once per instruction set, each
// time in a namespace of its own (AMORPH_ISA), so that no inline function of a wide build can be
// linked into a narrow one. Only the operations the engine needs are here.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../../potentials/table.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef AMORPH_ISA
#error "AMORPH_ISA names the instruction set's namespace"
#endif

// The force loop's parts must be one function, or its sums live in memory: lambdas too, and what
// moves packs (AMORPH_INLINE), which compilers leave out of line as the loops grow in number.
#if defined(_MSC_VER)
#define AMORPH_INLINE_LAMBDA
#else
#define AMORPH_INLINE_LAMBDA __attribute__((always_inline))
#endif

namespace amorph::engine::AMORPH_ISA {

// Neighbour entries: an index, and while a list is built the neighbour's type above it.
using Entry = std::uint32_t;

// Doubles a particle takes in the arrays of vectors: a vector is one load.
template <int D>
constexpr int point_stride = D == 2 ? 2 : 4;

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
inline Pack min(Pack a, Pack b) { return _mm512_min_pd(a.v, b.v); }
inline Pack fma(Pack a, Pack b, Pack c) { return _mm512_fmadd_pd(a.v, b.v, c.v); }
inline Pack gather(const double* p, Index i) { return _mm512_i32gather_pd(i.v, p, 8); }
inline Index gather(const std::int32_t* p, Index i) { return {_mm256_i32gather_epi32(p, i.v, 4)}; }
// entries of a table of up to `width` doubles held in one register
inline Pack lookup(Pack table, Index i) {
    return _mm512_permutexvar_pd(_mm512_cvtepu32_epi64(i.v), table.v);
}
inline double sum(Pack a) { return _mm512_reduce_add_pd(a.v); }
inline double maximum(Pack a) { return _mm512_reduce_max_pd(a.v); }
inline bool none(Mask m) { return m.m == 0; }
// Each particle's squared length, in all of its lanes, from its squared components.
constexpr int packs_of_points(int) { return 1; }
AMORPH_INLINE Pack point_squares(std::integral_constant<int, 2>, const Pack* q) {
    return _mm512_add_pd(q->v, _mm512_permute_pd(q->v, 0x55));
}
AMORPH_INLINE Pack point_squares(std::integral_constant<int, 3>, const Pack* q) {
    const __m512d two = _mm512_add_pd(q->v, _mm512_permute_pd(q->v, 0x55));
    return _mm512_add_pd(two, _mm512_shuffle_f64x2(two, two, 0xb1));
}
// lanes below count
inline Mask first_lanes(int count) {
    return {count >= 8 ? __mmask8(0xff) : __mmask8((1u << count) - 1u)};
}

// Which entries of a table in one register eight neighbours need.
struct Kinds {
    __m512i v;
    static Kinds load(const std::uint16_t* p) {
        return {_mm512_cvtepu16_epi64(_mm_load_si128(reinterpret_cast<const __m128i*>(p)))};
    }
};
inline Pack lookup(Pack table, Kinds k) { return _mm512_permutexvar_pd(k.v, table.v); }
inline Pack gather(const double* p, Kinds k) { return _mm512_i64gather_pd(k.v, p, 8); }

// 1/sqrt(a), to about one unit in the last place: fourteen bits from the table, all of them after
// a step of fourth order.
inline Pack inverse_square_root(Pack a) {
    const __m512d y = _mm512_rsqrt14_pd(a.v);
    const __m512d e = _mm512_fnmadd_pd(_mm512_mul_pd(a.v, y), y, _mm512_set1_pd(1.0));
    __m512d q = _mm512_fmadd_pd(e, _mm512_set1_pd(0.3125), _mm512_set1_pd(0.375));
    q = _mm512_fmadd_pd(e, q, _mm512_set1_pd(0.5));
    return _mm512_fmadd_pd(_mm512_mul_pd(y, e), q, y);
}

// x = m 2^e with m between 3/4 and 3/2, for x > 0
inline void split(Pack x, Pack& m, Pack& e) {
    m = _mm512_getmant_pd(x.v, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero);
    e = _mm512_sub_pd(_mm512_getexp_pd(x.v), _mm512_getexp_pd(m.v));
}

// 2^(i/8) for i = 0 to 7, the index being the low bits of a double that was shifted by 1.5 2^49.
constexpr int exponential_steps = 8;
inline Pack power_of_step(Pack shifted) {
    const __m512d table = _mm512_setr_pd(1.0, 1.0905077326652577, 1.189207115002721,
                                         1.2968395546510096, 1.4142135623730951, 1.5422108254079407,
                                         1.681792830507429, 1.8340080864093424);
    return _mm512_permutexvar_pd(_mm512_castpd_si512(shifted.v), table);
}
// x 2^floor(n)
inline Pack scale_down(Pack x, Pack n) { return _mm512_scalef_pd(x.v, n.v); }

// The vectors of eight particles (at places e of p) as one pack a component.
AMORPH_INLINE void load_points(std::integral_constant<int, 2>, const double* p, const Entry* e,
                               Pack* r) {
    const auto at = [p](Entry j) { return _mm_load_pd(p + j); };
    const auto two = [&at](Entry a, Entry b) {
        return _mm256_insertf128_pd(_mm256_castpd128_pd256(at(a)), at(b), 1);
    };
    const __m512d even =
        _mm512_insertf64x4(_mm512_castpd256_pd512(two(e[0], e[2])), two(e[4], e[6]), 1);
    const __m512d odd =
        _mm512_insertf64x4(_mm512_castpd256_pd512(two(e[1], e[3])), two(e[5], e[7]), 1);
    r[0] = _mm512_unpacklo_pd(even, odd);
    r[1] = _mm512_unpackhi_pd(even, odd);
}
AMORPH_INLINE void load_points(std::integral_constant<int, 3>, const double* p, const Entry* e,
                               Pack* r) {
    const auto at = [p](Entry j) { return _mm256_load_pd(p + j); };
    const auto two = [&at](Entry a, Entry b) {
        return _mm512_insertf64x4(_mm512_castpd256_pd512(at(a)), at(b), 1);
    };
    const __m512d a = two(e[0], e[2]);
    const __m512d b = two(e[1], e[3]);
    const __m512d c = two(e[4], e[6]);
    const __m512d d = two(e[5], e[7]);
    const __m512d xz0 = _mm512_unpacklo_pd(a, b);
    const __m512d xz1 = _mm512_unpacklo_pd(c, d);
    r[0] = _mm512_shuffle_f64x2(xz0, xz1, 0x88);
    r[1] = _mm512_shuffle_f64x2(_mm512_unpackhi_pd(a, b), _mm512_unpackhi_pd(c, d), 0x88);
    r[2] = _mm512_shuffle_f64x2(xz0, xz1, 0xdd);
}

// The cells of a table that eight squared distances lie in (see table.h): eight lines of memory,
// turned into a pack for each of their numbers.
AMORPH_INLINE void load_cell(const potentials::Cells& cells, Pack s, Pack place, Pack& start,
                             Pack* cell) {
    const __m512i bits = _mm512_castpd_si512(s.v);
    const __m128i shift = _mm_cvtsi32_si128(52 - cells.bits);
    const __m512i number = _mm512_srl_epi64(bits, shift);
    start = _mm512_castsi512_pd(_mm512_sll_epi64(number, shift));
    // The sum's lower half counts cells of 2^6 bytes.
    const __m512i sum = _mm512_add_epi64(number, _mm512_castpd_si512(place.v));
    alignas(64) std::int64_t at[8];
    _mm512_store_si512(at, _mm512_srai_epi64(_mm512_slli_epi64(sum, 32), 26));
    const char* const first = reinterpret_cast<const char*>(cells.first);
    for (int half = 0; half < 2; ++half, cell += 4) {
        const auto two = [&](int i, int j) AMORPH_INLINE_LAMBDA {
            const auto part = [&](int k) AMORPH_INLINE_LAMBDA {
                return _mm256_load_pd(reinterpret_cast<const double*>(first + at[k]) + 4 * half);
            };
            return _mm512_insertf64x4(_mm512_castpd256_pd512(part(i)), part(j), 1);
        };
        const __m512d a = two(0, 2), b = two(1, 3), c = two(4, 6), d = two(5, 7);
        const __m512d even0 = _mm512_unpacklo_pd(a, b), even1 = _mm512_unpacklo_pd(c, d);
        const __m512d odd0 = _mm512_unpackhi_pd(a, b), odd1 = _mm512_unpackhi_pd(c, d);
        cell[0] = _mm512_shuffle_f64x2(even0, even1, 0x88);
        cell[1] = _mm512_shuffle_f64x2(odd0, odd1, 0x88);
        cell[2] = _mm512_shuffle_f64x2(even0, even1, 0xdd);
        cell[3] = _mm512_shuffle_f64x2(odd0, odd1, 0xdd);
    }
}

// Adds a vector to each of eight particles, which are different ones (but for ghosts, that stay
// what they are). All loads stand before the stores: they need not wait for them.
AMORPH_INLINE void add_points(std::integral_constant<int, 2>, double* p, const Entry* e,
                              const Pack* f) {
    const auto two = [p](Entry a, Entry b) {
        return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_load_pd(p + a)), _mm_load_pd(p + b),
                                    1);
    };
    const __m512d even = _mm512_add_pd(
        _mm512_insertf64x4(_mm512_castpd256_pd512(two(e[0], e[2])), two(e[4], e[6]), 1),
        _mm512_unpacklo_pd(f[0].v, f[1].v));
    const __m512d odd = _mm512_add_pd(
        _mm512_insertf64x4(_mm512_castpd256_pd512(two(e[1], e[3])), two(e[5], e[7]), 1),
        _mm512_unpackhi_pd(f[0].v, f[1].v));
    _mm_store_pd(p + e[0], _mm512_castpd512_pd128(even));
    _mm_store_pd(p + e[1], _mm512_castpd512_pd128(odd));
    _mm_store_pd(p + e[2], _mm512_extractf64x2_pd(even, 1));
    _mm_store_pd(p + e[3], _mm512_extractf64x2_pd(odd, 1));
    _mm_store_pd(p + e[4], _mm512_extractf64x2_pd(even, 2));
    _mm_store_pd(p + e[5], _mm512_extractf64x2_pd(odd, 2));
    _mm_store_pd(p + e[6], _mm512_extractf64x2_pd(even, 3));
    _mm_store_pd(p + e[7], _mm512_extractf64x2_pd(odd, 3));
}
AMORPH_INLINE void add_points(std::integral_constant<int, 3>, double* p, const Entry* e,
                              const Pack* f) {
    const auto two = [p](Entry a, Entry b) {
        return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_load_pd(p + a)),
                                  _mm256_load_pd(p + b), 1);
    };
    const __m512d zero = _mm512_setzero_pd();
    const __m512d xy_even = _mm512_unpacklo_pd(f[0].v, f[1].v);
    const __m512d xy_odd = _mm512_unpackhi_pd(f[0].v, f[1].v);
    const __m512d z_even = _mm512_unpacklo_pd(f[2].v, zero);
    const __m512d z_odd = _mm512_unpackhi_pd(f[2].v, zero);
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    const __m512d p02 =
        _mm512_add_pd(two(e[0], e[2]), _mm512_permutex2var_pd(xy_even, low, z_even));
    const __m512d p13 = _mm512_add_pd(two(e[1], e[3]), _mm512_permutex2var_pd(xy_odd, low, z_odd));
    const __m512d p46 =
        _mm512_add_pd(two(e[4], e[6]), _mm512_permutex2var_pd(xy_even, high, z_even));
    const __m512d p57 = _mm512_add_pd(two(e[5], e[7]), _mm512_permutex2var_pd(xy_odd, high, z_odd));
    _mm256_store_pd(p + e[0], _mm512_castpd512_pd256(p02));
    _mm256_store_pd(p + e[1], _mm512_castpd512_pd256(p13));
    _mm256_store_pd(p + e[2], _mm512_extractf64x4_pd(p02, 1));
    _mm256_store_pd(p + e[3], _mm512_extractf64x4_pd(p13, 1));
    _mm256_store_pd(p + e[4], _mm512_castpd512_pd256(p46));
    _mm256_store_pd(p + e[5], _mm512_castpd512_pd256(p57));
    _mm256_store_pd(p + e[6], _mm512_extractf64x4_pd(p46, 1));
    _mm256_store_pd(p + e[7], _mm512_extractf64x4_pd(p57, 1));
}
// Adds each component's sum over the lanes to one particle's vector.
AMORPH_INLINE void add_sum(std::integral_constant<int, 2>, double* p, const Pack* f) {
    const __m512d both =
        _mm512_add_pd(_mm512_unpacklo_pd(f[0].v, f[1].v), _mm512_unpackhi_pd(f[0].v, f[1].v));
    const __m256d four =
        _mm256_add_pd(_mm512_castpd512_pd256(both), _mm512_extractf64x4_pd(both, 1));
    const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    _mm_store_pd(p, _mm_add_pd(_mm_load_pd(p), pair));
}
AMORPH_INLINE void add_sum(std::integral_constant<int, 3>, double* p, const Pack* f) {
    add_sum(std::integral_constant<int, 2>{}, p, f);
    p[2] += sum(f[2]);
}

// Appends to p (which has room for a whole pack) those of the entries from lane `from` on and
// before lane `count` that m chooses; returns how many.
AMORPH_INLINE int append(Entry* p, Index entries, Mask m, int from, int count) {
    const __mmask8 chosen = m.m & first_lanes(count).m & __mmask8(from > 0 ? 0xffu << from : 0xffu);
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
inline Pack min(Pack a, Pack b) { return _mm256_min_pd(a.v, b.v); }
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
inline bool none(Mask m) { return _mm256_movemask_pd(m.m) == 0; }
constexpr int packs_of_points(int) { return 1; }
AMORPH_INLINE Pack point_squares(std::integral_constant<int, 2>, const Pack* q) {
    return _mm256_add_pd(q->v, _mm256_permute_pd(q->v, 0x5));
}
AMORPH_INLINE Pack point_squares(std::integral_constant<int, 3>, const Pack* q) {
    const __m256d two = _mm256_add_pd(q->v, _mm256_permute_pd(q->v, 0x5));
    return _mm256_add_pd(two, _mm256_permute2f128_pd(two, two, 0x01));
}
inline Mask first_lanes(int count) {
    return {_mm256_castsi256_pd(
        _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3)))};
}

struct Kinds {
    __m128i v;
    static Kinds load(const std::uint16_t* p) {
        return {_mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
    }
};
inline Pack lookup(Pack table, Kinds k) { return lookup(table, Index{k.v}); }
inline Pack gather(const double* p, Kinds k) { return _mm256_i32gather_pd(p, k.v, 8); }

inline Pack inverse_square_root(Pack a) { return Pack(1.0) / square_root(a); }

inline void split(Pack x, Pack& m, Pack& e) {
    const __m256i bits = _mm256_castpd_si256(x.v);
    const __m256i one = _mm256_castpd_si256(_mm256_set1_pd(1.0));
    m = _mm256_castsi256_pd(_mm256_or_si256(
        _mm256_and_si256(bits, _mm256_set1_epi64x((std::int64_t(1) << 52) - 1)), one));
    // The exponent as a double: its bits below those of 2^52.
    const __m256d shift = _mm256_set1_pd(4503599627370496.0);
    const __m256i biased = _mm256_srli_epi64(bits, 52);
    e = _mm256_sub_pd(
        _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(biased, _mm256_castpd_si256(shift))),
                      shift),
        _mm256_set1_pd(1023.0));
    const Mask large = m > Pack(1.5);
    m = select(large, m * Pack(0.5), m);
    e = select(large, e + Pack(1.0), e);
}

constexpr int exponential_steps = 4;
inline Pack power_of_step(Pack shifted) {
    const Pack table =
        _mm256_setr_pd(1.0, 1.189207115002721, 1.4142135623730951, 1.681792830507429);
    const __m256i i = _mm256_and_si256(_mm256_castpd_si256(shifted.v), _mm256_set1_epi64x(3));
    const __m256i even = _mm256_slli_epi64(i, 1);
    const __m256i both =
        _mm256_or_si256(even, _mm256_slli_epi64(_mm256_or_si256(even, _mm256_set1_epi64x(1)), 32));
    return _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(table.v), both));
}
inline Pack scale_down(Pack x, Pack n) { return scale(x, _mm256_floor_pd(n.v)); }

AMORPH_INLINE void load_points(std::integral_constant<int, 2>, const double* p, const Entry* e,
                               Pack* r) {
    const auto two = [p](Entry a, Entry b) {
        return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_load_pd(p + a)), _mm_load_pd(p + b),
                                    1);
    };
    const __m256d even = two(e[0], e[2]);
    const __m256d odd = two(e[1], e[3]);
    r[0] = _mm256_unpacklo_pd(even, odd);
    r[1] = _mm256_unpackhi_pd(even, odd);
}
AMORPH_INLINE void load_points(std::integral_constant<int, 3>, const double* p, const Entry* e,
                               Pack* r) {
    const auto at = [p](Entry j) { return _mm256_load_pd(p + j); };
    const __m256d a = at(e[0]), b = at(e[1]), c = at(e[2]), d = at(e[3]);
    const __m256d xz0 = _mm256_unpacklo_pd(a, b);
    const __m256d xz1 = _mm256_unpacklo_pd(c, d);
    r[0] = _mm256_permute2f128_pd(xz0, xz1, 0x20);
    r[1] = _mm256_permute2f128_pd(_mm256_unpackhi_pd(a, b), _mm256_unpackhi_pd(c, d), 0x20);
    r[2] = _mm256_permute2f128_pd(xz0, xz1, 0x31);
}
AMORPH_INLINE void load_cell(const potentials::Cells& cells, Pack s, Pack place, Pack& start,
                             Pack* cell) {
    const __m256i bits = _mm256_castpd_si256(s.v);
    const __m128i shift = _mm_cvtsi32_si128(52 - cells.bits);
    const __m256i number = _mm256_srl_epi64(bits, shift);
    start = _mm256_castsi256_pd(_mm256_sll_epi64(number, shift));
    alignas(32) std::int64_t at[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(at),
                       _mm256_add_epi64(number, _mm256_castpd_si256(place.v)));
    for (int half = 0; half < 2; ++half, cell += 4) {
        const auto part = [&](int k) AMORPH_INLINE_LAMBDA {
            const std::int64_t line = std::int32_t(at[k]);
            return _mm256_load_pd(cells.first + line * potentials::Cells::size + 4 * half);
        };
        const __m256d a = part(0), b = part(1), c = part(2), d = part(3);
        const __m256d even0 = _mm256_unpacklo_pd(a, b), even1 = _mm256_unpacklo_pd(c, d);
        const __m256d odd0 = _mm256_unpackhi_pd(a, b), odd1 = _mm256_unpackhi_pd(c, d);
        cell[0] = _mm256_permute2f128_pd(even0, even1, 0x20);
        cell[1] = _mm256_permute2f128_pd(odd0, odd1, 0x20);
        cell[2] = _mm256_permute2f128_pd(even0, even1, 0x31);
        cell[3] = _mm256_permute2f128_pd(odd0, odd1, 0x31);
    }
}
AMORPH_INLINE void add_points(std::integral_constant<int, 2>, double* p, const Entry* e,
                              const Pack* f) {
    const auto two = [p](Entry a, Entry b) {
        return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_load_pd(p + a)), _mm_load_pd(p + b),
                                    1);
    };
    const __m256d even = _mm256_add_pd(two(e[0], e[2]), _mm256_unpacklo_pd(f[0].v, f[1].v));
    const __m256d odd = _mm256_add_pd(two(e[1], e[3]), _mm256_unpackhi_pd(f[0].v, f[1].v));
    _mm_store_pd(p + e[0], _mm256_castpd256_pd128(even));
    _mm_store_pd(p + e[1], _mm256_castpd256_pd128(odd));
    _mm_store_pd(p + e[2], _mm256_extractf128_pd(even, 1));
    _mm_store_pd(p + e[3], _mm256_extractf128_pd(odd, 1));
}
AMORPH_INLINE void add_points(std::integral_constant<int, 3>, double* p, const Entry* e,
                              const Pack* f) {
    const __m256d zero = _mm256_setzero_pd();
    const __m256d xy_even = _mm256_unpacklo_pd(f[0].v, f[1].v);
    const __m256d xy_odd = _mm256_unpackhi_pd(f[0].v, f[1].v);
    const __m256d z_even = _mm256_unpacklo_pd(f[2].v, zero);
    const __m256d z_odd = _mm256_unpackhi_pd(f[2].v, zero);
    const __m256d p0 =
        _mm256_add_pd(_mm256_load_pd(p + e[0]), _mm256_permute2f128_pd(xy_even, z_even, 0x20));
    const __m256d p1 =
        _mm256_add_pd(_mm256_load_pd(p + e[1]), _mm256_permute2f128_pd(xy_odd, z_odd, 0x20));
    const __m256d p2 =
        _mm256_add_pd(_mm256_load_pd(p + e[2]), _mm256_permute2f128_pd(xy_even, z_even, 0x31));
    const __m256d p3 =
        _mm256_add_pd(_mm256_load_pd(p + e[3]), _mm256_permute2f128_pd(xy_odd, z_odd, 0x31));
    _mm256_store_pd(p + e[0], p0);
    _mm256_store_pd(p + e[1], p1);
    _mm256_store_pd(p + e[2], p2);
    _mm256_store_pd(p + e[3], p3);
}
AMORPH_INLINE void add_sum(std::integral_constant<int, 2>, double* p, const Pack* f) {
    const __m256d both =
        _mm256_add_pd(_mm256_unpacklo_pd(f[0].v, f[1].v), _mm256_unpackhi_pd(f[0].v, f[1].v));
    const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(both), _mm256_extractf128_pd(both, 1));
    _mm_store_pd(p, _mm_add_pd(_mm_load_pd(p), pair));
}
AMORPH_INLINE void add_sum(std::integral_constant<int, 3>, double* p, const Pack* f) {
    add_sum(std::integral_constant<int, 2>{}, p, f);
    p[2] += sum(f[2]);
}

AMORPH_INLINE int append(Entry* p, Index entries, Mask m, int from, int count) {
    alignas(16) Entry e[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(e), entries.v);
    int n = 0;
    const unsigned chosen = bits(m);
    for (int k = 0; k < 4; ++k) {
        p[n] = e[k];
        n += (k >= from) & (k < count) & ((chosen >> k) & 1u);
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
inline Pack min(Pack a, Pack b) { return a.v < b.v ? a : b; }
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
inline bool none(Mask m) { return !m.m; }
constexpr int packs_of_points(int dimension) { return dimension == 2 ? 2 : 4; }
template <int D>
AMORPH_INLINE Pack point_squares(std::integral_constant<int, D>, const Pack* q) {
    return D == 2 ? q[0].v + q[1].v : (q[0].v + q[1].v) + (q[2].v + q[3].v);
}
inline Mask first_lanes(int count) { return {count > 0}; }

struct Kinds {
    std::uint16_t v;
    static Kinds load(const std::uint16_t* p) { return {*p}; }
};
inline Pack lookup(Pack table, Kinds) { return table; }
inline Pack gather(const double* p, Kinds k) { return p[k.v]; }

inline Pack inverse_square_root(Pack a) { return 1.0 / __builtin_sqrt(a.v); }

inline void split(Pack x, Pack& m, Pack& e) {
    int exponent;
    double mantissa = __builtin_frexp(x.v, &exponent);  // between 1/2 and 1
    const bool small = mantissa < 0.75;
    m = small ? 2.0 * mantissa : mantissa;
    e = double(small ? exponent - 1 : exponent);
}

constexpr int exponential_steps = 1;
inline Pack power_of_step(Pack) { return 1.0; }
inline Pack scale_down(Pack x, Pack n) { return scale(x, n); }

AMORPH_INLINE void load_cell(const potentials::Cells& cells, Pack s, Pack place, Pack& start,
                             Pack* cell) {
    std::int64_t number, origin;
    std::memcpy(&number, &s.v, sizeof number);
    std::memcpy(&origin, &place.v, sizeof origin);
    number >>= 52 - cells.bits;
    const std::int64_t line = std::int32_t(number + origin);
    number <<= 52 - cells.bits;
    std::memcpy(&start.v, &number, sizeof number);
    for (int k = 0; k < potentials::Cells::size; ++k)
        cell[k] = cells.first[line * potentials::Cells::size + k];
}

template <int D>
AMORPH_INLINE void load_points(std::integral_constant<int, D>, const double* p, const Entry* e,
                               Pack* r) {
    for (int a = 0; a < D; ++a) r[a] = p[e[0] + a];
}
template <int D>
AMORPH_INLINE void add_points(std::integral_constant<int, D>, double* p, const Entry* e,
                              const Pack* f) {
    for (int a = 0; a < D; ++a) p[e[0] + a] += f[a].v;
}
template <int D>
AMORPH_INLINE void add_sum(std::integral_constant<int, D>, double* p, const Pack* f) {
    for (int a = 0; a < D; ++a) p[a] += f[a].v;
}
AMORPH_INLINE int append(Entry* p, Index entries, Mask m, int from, int) {
    *p = entries.v;
    return m.m && from <= 0 ? 1 : 0;
}

#endif

inline Pack larger(Pack a, Pack b) { return max(a, b); }
inline Pack smaller(Pack a, Pack b) { return min(a, b); }
inline Pack& operator+=(Pack& a, Pack b) { return a = a + b; }
inline Pack& operator-=(Pack& a, Pack b) { return a = a - b; }

// The polynomial of exp on |x| <= h: the series up to `degree` + 1, its last term spread over the
// lower ones by the Chebyshev polynomial of that degree.
template <int degree>
struct ExponentialSeries {
    double c[degree + 1] = {};
    constexpr explicit ExponentialSeries(double h) {
        constexpr int n = degree + 1;
        double factorial = 1.0;
        for (int k = 0; k <= degree; ++k) {
            c[k] = 1.0 / factorial;
            factorial *= k + 1;
        }
        // T_n = sum over k of t_k x^(n - 2 k), the leading 2^(n - 1)
        double t = 1.0;  // t_k over the leading one
        double power = 1.0;
        for (int k = 1; 2 * k <= n; ++k) {
            t *= -double(n - 2 * k + 2) * (n - 2 * k + 1) / (4.0 * k * (n - k));
            power *= h * h;
            c[n - 2 * k] -= t * power / factorial;
        }
    }
};

// exp(x) for |x| < 700, to a few units in the last place (the error grows as |x| 1e-16):
// x = n ln 2 + r with n in steps of 1/s, 2^(n - floor(n)) from a register, a polynomial in r, and
// a shift of the exponent. Beyond those bounds what it gives is no number to use.
inline Pack exponential(Pack x) {
    constexpr int s = exponential_steps;
    constexpr double shift = 6755399441055744.0 / s;  // 1.5 2^52 / s: added to it, x rounds to 1/s
    constexpr double ln2 = 0.69314718055994530942;
    const Pack shifted = fma(x, Pack(1.4426950408889634074), Pack(shift));
    const Pack n = shifted - Pack(shift);
    const Pack r = fma(n, Pack(-ln2), x);
    Pack p;
    if constexpr (s == 8) {
        constexpr ExponentialSeries<7> e(0.5 * ln2 / s);
        const Pack r2 = r * r;
        const Pack high =
            fma(r2, fma(r, Pack(e.c[7]), Pack(e.c[6])), fma(r, Pack(e.c[5]), Pack(e.c[4])));
        const Pack low = fma(r2, fma(r, Pack(e.c[3]), Pack(e.c[2])), r + Pack(1.0));
        p = fma(high, r2 * r2, low);
    } else {
        constexpr int degree = s == 4 ? 8 : 12;
        constexpr ExponentialSeries<degree> e(0.5 * ln2 / s);
        p = Pack(e.c[degree]);
        for (int k = degree - 1; k >= 0; --k) p = fma(p, r, Pack(e.c[k]));
    }
    return scale_down(p * power_of_step(shifted), n);
}

}  // namespace amorph::engine::AMORPH_ISA
