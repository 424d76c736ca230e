// What FIRE does to all particles; when and how far is decided in fire_rules.h. Part of a kernel:
// see kernels.cc.
#pragma once

#include "../rules/fire.h"
#include "forces.h"
#include "kernels.h"

namespace amorph::engine::AMORPH_ISA {

template <int D>
FireSums sums(const Workspace& w) {
    constexpr int chunk = packs_of_points(D);
    Pack power(0.0), vv(0.0), ff(0.0), f_most(0.0), v_most(0.0);
    for (int k = 0; k < w.length; k += chunk * Pack::width) {
        Pack f2[chunk], v2[chunk];
        for (int q = 0; q < chunk; ++q) {
            const Pack f = Pack::load(w.f + k + q * Pack::width);
            const Pack v = Pack::load(w.v + k + q * Pack::width);
            power = fma(f, v, power);
            f2[q] = f * f;
            v2[q] = v * v;
            ff += f2[q];
            vv += v2[q];
        }
        f_most = max(f_most, point_squares(std::integral_constant<int, D>{}, f2));
        v_most = max(v_most, point_squares(std::integral_constant<int, D>{}, v2));
    }
    return {sum(power), sum(vv), sum(ff), maximum(f_most), maximum(v_most)};
}

// x += back v with the velocities set to zero: the half step back.
inline void step_back(Workspace& w, double back) {
    for (int k = 0; k < w.length; k += Pack::width) {
        fma(Pack(back), Pack::load(w.v + k), Pack::load(w.x + k)).store(w.x + k);
        Pack(0.0).store(w.v + k);
    }
}

// v = keep (v + dt F) + mix F, x += dt v. Returns how far, squared, a particle is at most from
// where it was when the list was built.
template <int D>
double advance(Workspace& w, double dt, double keep, double mix) {
    constexpr int chunk = packs_of_points(D);
    const Pack step(dt), old(keep), along(mix);
    Pack most(0.0);
    for (int k = 0; k < w.length; k += chunk * Pack::width) {
        Pack d2[chunk];
        for (int q = 0; q < chunk; ++q) {
            const int at = k + q * Pack::width;
            const Pack f = Pack::load(w.f + at);
            const Pack v = fma(old, fma(step, f, Pack::load(w.v + at)), along * f);
            v.store(w.v + at);
            const Pack x = fma(step, v, Pack::load(w.x + at));
            x.store(w.x + at);
            const Pack d = x - Pack::load(w.built + at);
            d2[q] = d * d;
        }
        most = max(most, point_squares(std::integral_constant<int, D>{}, d2));
    }
    return maximum(most);
}

}  // namespace amorph::engine::AMORPH_ISA
