// FIRE 2, the fast inertial relaxation engine with semi-implicit Euler steps and the half step
// back: J. Guenole et al., Comput. Mater. Sci. 175, 109584 (2020). Part of a kernel: see
// kernels.cc.
#pragma once

#include "forces.h"
#include "kernels.h"

namespace amorph::engine::AMORPH_ISA {

struct Sums {
    double power;          // F . v
    double speed_squared;  // v . v
    double force_squared;  // F . F
    double max_force_squared;
    double max_speed_squared;
};

template <int D>
Sums sums(const Workspace& w) {
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

// What FIRE decides at a step: x += back v with v = 0 where back is not 0, then
// v = keep (v + dt F) + mix F, x += dt v.
struct FireMove {
    double back;
    double dt, keep, mix;
};

// The state FIRE carries from step to step, and its rules.
struct Fire {
    const FireSettings& settings;
    double dt_max, dt_min, max_move;
    double dt, mixing;
    double taken = 0.0;  // the last time step
    int downhill = 0;
    std::int64_t steps = 0;

    Fire(const FireSettings& s, const PairTable& table) : settings(s), mixing(s.mixing) {
        const double time = 1.0 / __builtin_sqrt(table.max_stiffness);
        dt_max = s.dt_max * time;
        dt_min = s.dt_min * time;
        dt = s.dt_start * time;
        max_move = s.max_move * table.max_sigma;
    }

    // `other_limit` bounds the time step by what moves besides the particles.
    template <class OtherLimit>
    FireMove decide(const Sums& s, OtherLimit&& other_limit) {
        FireMove move{0.0, dt, 1.0, 0.0};
        if (s.power > 0.0) {
            if (++downhill > settings.delay) {
                dt = dt * settings.grow < dt_max ? dt * settings.grow : dt_max;
                mixing *= settings.mixing_decay;
            }
            move.keep = 1.0 - mixing;
            move.mix = mixing * __builtin_sqrt(s.speed_squared / s.force_squared);
        } else if (steps > 0) {
            downhill = 0;
            move.back = -0.5 * taken;
            // Not at the very start, where velocities are still random with respect to forces.
            if (steps > settings.delay && dt * settings.shrink >= dt_min) dt *= settings.shrink;
            mixing = settings.mixing;
        }
        const double speed = move.back != 0.0 ? 0.0 : __builtin_sqrt(s.max_speed_squared);
        move.dt = limited(dt, move, speed, __builtin_sqrt(s.max_force_squared), max_move);
        move.dt = other_limit(move);
        taken = move.dt;
        ++steps;
        return move;
    }

    // The longest time step up to h in which nothing of the given speed and force moves farther
    // than `most`, kick included: h (keep (v + h f) + mix f) <= most.
    static double limited(double h, const FireMove& move, double speed, double force, double most) {
        const double before = move.keep * speed + move.mix * force;
        const double kick = move.keep * force;
        if (h * (before + h * kick) <= most) return h;
        return 2.0 * most / (before + __builtin_sqrt(before * before + 4.0 * kick * most));
    }
};

}  // namespace amorph::engine::AMORPH_ISA
