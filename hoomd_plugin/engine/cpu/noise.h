// Normal random numbers for all particles of a replica. Part of a kernel: see kernels.cc.
#pragma once

#include "../rules/philox.h"
#include "../rules/stage.h"
#include "simd.h"
#include "workspace.h"

namespace amorph::engine::AMORPH_ISA {

// log(x) for 0 < x < infinity, to about one unit in the last place: x = m 2^e with m between 3/4
// and 3/2, log m = 2 atanh((m - 1) / (m + 1)) as a series (remainder below 1e-17).
inline Pack logarithm(Pack x) {
    Pack m, e;
    split(x, m, e);
    const Pack s = (m - Pack(1.0)) / (m + Pack(1.0));
    const Pack s2 = s * s;
    Pack p(1.0 / 25.0);
    for (int k = 23; k >= 3; k -= 2) p = fma(p, s2, Pack(1.0 / k));
    const Pack log_m = fma(Pack(2.0) * s * s2, p, Pack(2.0) * s);
    return fma(e, Pack(0.69314718055994530942), log_m);
}

// cos and sin of 2 pi u for 0 <= u < 1: u = q/4 + t with |t| <= 1/8, series in 2 pi t.
inline void turn(Pack u, Pack& cosine, Pack& sine) {
    const Pack q = round(u * Pack(4.0));
    const Pack x = fma(q, Pack(-0.25), u) * Pack(6.283185307179586477);
    const Pack x2 = x * x;
    Pack s(1.0 / 355687428096000.0);  // 1/17!
    s = fma(s, x2, Pack(-1.0 / 1307674368000.0));
    s = fma(s, x2, Pack(1.0 / 6227020800.0));
    s = fma(s, x2, Pack(-1.0 / 39916800.0));
    s = fma(s, x2, Pack(1.0 / 362880.0));
    s = fma(s, x2, Pack(-1.0 / 5040.0));
    s = fma(s, x2, Pack(1.0 / 120.0));
    s = fma(s, x2, Pack(-1.0 / 6.0));
    s = fma(s * x2, x, x);
    Pack c(1.0 / 20922789888000.0);  // 1/16!
    c = fma(c, x2, Pack(-1.0 / 87178291200.0));
    c = fma(c, x2, Pack(1.0 / 479001600.0));
    c = fma(c, x2, Pack(-1.0 / 3628800.0));
    c = fma(c, x2, Pack(1.0 / 40320.0));
    c = fma(c, x2, Pack(-1.0 / 720.0));
    c = fma(c, x2, Pack(1.0 / 24.0));
    c = fma(c, x2, Pack(-0.5));
    c = fma(c, x2, Pack(1.0));
    // By quarter turns: (c, s), (-s, c), (-c, -s), (s, -c), and the whole turn again.
    const Mask second = q > Pack(1.5);
    const Pack half = select(second, q - Pack(2.0), q);  // 0, 1, 0, 1, 2
    const Pack sign = select(second, Pack(-1.0), Pack(1.0));
    const Mask quarter = half > Pack(0.5);
    const Mask whole = half > Pack(1.5);
    const Pack first_c = select(quarter, Pack(0.0) - s, c);
    const Pack first_s = select(quarter, c, s);
    cosine = select(whole, c, first_c * sign);
    sine = select(whole, s, first_s * sign);
}

// Eight particles' Philox blocks at once: lanes side by side, for the compiler to vectorise.
struct PhiloxLanes {
    static constexpr int count = 8;
    std::uint32_t word[4][count];

    PhiloxLanes(std::uint64_t seed, const std::uint32_t* first, std::uint32_t c1, std::uint32_t c2,
                std::uint32_t c3) {
        for (int l = 0; l < count; ++l) {
            word[0][l] = first[l];
            word[1][l] = c1;
            word[2][l] = c2;
            word[3][l] = c3;
        }
        std::uint32_t k0 = static_cast<std::uint32_t>(seed);
        std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
        for (int round = 0; round < Philox::rounds; ++round) {
            for (int l = 0; l < count; ++l) {
                const std::uint64_t p0 = std::uint64_t(Philox::multiplier[0]) * word[0][l];
                const std::uint64_t p1 = std::uint64_t(Philox::multiplier[1]) * word[2][l];
                word[0][l] = static_cast<std::uint32_t>(p1 >> 32) ^ word[1][l] ^ k0;
                word[2][l] = static_cast<std::uint32_t>(p0 >> 32) ^ word[3][l] ^ k1;
                word[1][l] = static_cast<std::uint32_t>(p1);
                word[3][l] = static_cast<std::uint32_t>(p0);
            }
            k0 += Philox::key_step[0];
            k1 += Philox::key_step[1];
        }
    }
    void uniforms(int which, double* u) const {
        for (int l = 0; l < count; ++l)
            u[l] = ((word[2 * which][l] >> 5) * 67108864.0 + (word[2 * which + 1][l] >> 6)) *
                   (1.0 / 9007199254740992.0);
    }
};

// Independent normal numbers of variance 1 for every component of every particle, by the method of
// Box and Muller, into `out` (laid out as x). They belong to particles by their ids.
template <int D>
void draw_normals(const Workspace& w, const RandomKey& key, const std::uint32_t* purposes,
                  std::uint32_t md_step, double* out) {
    constexpr int S = point_stride<D>;
    constexpr int L = PhiloxLanes::count;
    for (int i = 0; i < w.n; i += L)
        for (int half = 0; half < D - 1; ++half) {
            std::uint32_t first[L];
            for (int l = 0; l < L; ++l)
                first[l] = purposes[half] << 24 |
                           static_cast<std::uint32_t>(w.id[i + l < w.n ? i + l : i]);
            const PhiloxLanes numbers(key.seed, first, key.replica, key.stream, md_step);
            alignas(64) double u[L], v[L], x[L], y[L];
            numbers.uniforms(0, u);
            numbers.uniforms(1, v);
            for (int l = 0; l < L; l += Pack::width) {
                const Pack radius =
                    square_root(Pack(-2.0) * logarithm(Pack(1.0) - Pack::load(u + l)));
                Pack cosine, sine;
                turn(Pack::load(v + l), cosine, sine);
                (radius * cosine).store(x + l);
                (radius * sine).store(y + l);
            }
            const int stop = w.n - i < L ? w.n - i : L;
            for (int l = 0; l < stop; ++l) {
                out[S * (i + l) + 2 * half] = x[l];
                if (2 * half + 1 < D) out[S * (i + l) + 2 * half + 1] = y[l];
            }
        }
}

}  // namespace amorph::engine::AMORPH_ISA
