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

// What a replica that failed is given: nothing that could be taken for a result.
inline void mark_not_finite(Outcome& out) {
    const double nan = __builtin_nan("");
    out.energy = out.max_force = nan;
    for (double& v : out.virial) v = nan;
}

// v = keep (v + dt F) + mix F, x += dt v. Returns whether a particle has left half the skin.
template <int D>
bool advance(Workspace& w, double dt, double keep, double mix, double half_skin_squared) {
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
    return maximum(most) > half_skin_squared;
}

template <class Potential, int D, bool Triclinic, bool Small>
Outcome minimize(Workspace& w, const Task& task) {
    const Box& box = *task.box;
    const PairTable& table = *task.table;
    const FireSettings& fire = task.fire;
    const double time = 1.0 / __builtin_sqrt(table.max_stiffness);
    const double dt_max = fire.dt_max * time;
    const double dt_min = fire.dt_min * time;
    const double max_move = fire.max_move * table.max_sigma;
    const double tolerance_squared = task.tolerance * task.tolerance;
    // A wide skin while particles fly, a narrow one when they settle: the list's life tells.
    double skin = 0.3 * table.max_sigma;
    const double skin_most = 0.5 * table.max_sigma;
    const double skin_least = 0.05 * table.max_sigma;

    Outcome out{};
    out.status = Status::step_limit;
    double dt = fire.dt_start * time;
    double mixing = fire.mixing;
    int downhill = 0;
    std::int64_t list_age = 0;
    bool rebuild = true;
    while (true) {
        if (rebuild) {
            if (out.builds > 0) {
                if (list_age < 8 && skin < skin_most) skin *= 1.25;
                if (list_age > 40 && skin > skin_least) skin *= 0.8;
            }
            if (!build_neighbors<D, Triclinic, Small>(w, box, table, skin)) {
                out.status = Status::not_finite;
                break;
            }
            ++out.builds;
            list_age = 0;
        }
        compute_forces<Potential, D, Triclinic, Small, false>(w, box, table, nullptr, nullptr);
        const Sums s = sums<D>(w);
        out.max_force = __builtin_sqrt(s.max_force_squared);
        if (!(s.force_squared + s.speed_squared < 1e300)) {
            out.status = Status::not_finite;
            break;
        }
        if (s.max_force_squared <= tolerance_squared) {
            out.status = Status::converged;
            break;
        }
        if (out.steps >= task.max_steps) break;
        if ((out.steps & 31) == 0 && task.stop->load(std::memory_order_relaxed)) {
            out.status = Status::interrupted;
            break;
        }

        double keep = 1.0;
        double mix = 0.0;
        if (s.power > 0.0) {
            if (++downhill > fire.delay) {
                dt = dt * fire.grow < dt_max ? dt * fire.grow : dt_max;
                mixing *= fire.mixing_decay;
            }
            keep = 1.0 - mixing;
            mix = mixing * __builtin_sqrt(s.speed_squared / s.force_squared);
        } else if (out.steps > 0) {
            downhill = 0;
            const double back = -0.5 * dt;
            // Not at the very start, where velocities are still random with respect to forces.
            if (out.steps > fire.delay && dt * fire.shrink >= dt_min) dt *= fire.shrink;
            mixing = fire.mixing;
            step_back(w, back);
        }
        double step = dt;
        if (s.power > 0.0) {
            const double fastest = __builtin_sqrt(s.max_speed_squared);
            if (fastest * step > max_move) step = max_move / fastest;
        }
        rebuild = advance<D>(w, step, keep, mix, 0.25 * skin * skin);
        ++out.steps;
        ++list_age;
    }
    if (out.status == Status::not_finite) {
        mark_not_finite(out);
        return out;
    }
    compute_forces<Potential, D, Triclinic, Small, true>(w, box, table, &out.energy, out.virial);
    out.max_force = __builtin_sqrt(sums<D>(w).max_force_squared);
    return out;
}

template <class Potential, int D, bool Triclinic, bool Small>
Outcome measure(Workspace& w, const Task& task) {
    Outcome out{};
    if (!build_neighbors<D, Triclinic, Small>(w, *task.box, *task.table, 0.0)) {
        out.status = Status::not_finite;
        mark_not_finite(out);
        return out;
    }
    out.builds = 1;
    compute_forces<Potential, D, Triclinic, Small, true>(w, *task.box, *task.table, &out.energy,
                                                         out.virial);
    out.max_force = __builtin_sqrt(sums<D>(w).max_force_squared);
    out.status = out.max_force <= task.tolerance ? Status::converged : Status::step_limit;
    return out;
}

}  // namespace amorph::engine::AMORPH_ISA
