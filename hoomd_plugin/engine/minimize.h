// A replica's minimisation: FIRE, and Newton's method at its end. Part of a kernel: see kernels.cc.
#pragma once

#include "fire.h"
#include "newton.h"

namespace amorph::engine::AMORPH_ISA {

// What a replica that failed is given: nothing that could be taken for a result.
inline void mark_not_finite(Outcome& out) {
    const double nan = __builtin_nan("");
    out.energy = out.max_force = nan;
    for (double& v : out.virial) v = nan;
}

// Newton's method from here. Afterwards the particles are at the minimum, or where they were (and
// the list must be built again).
template <class Potential, int D, bool Triclinic, bool Small>
bool finish_with_newton(Workspace& w, const Task& task, Outcome& out) {
    const Box& box = *task.box;
    const PairTable& table = *task.table;
    const double reach = task.newton.reach * table.max_sigma;
    ++out.builds;
    if (!build_neighbors<D, Triclinic, Small>(w, box, table, 2.0 * reach)) return false;
    compute_hessian<Potential, D, Triclinic, Small>(w, box, table);
    double force = __builtin_sqrt(max_squared<D>(w, w.f));
    while (true) {
        if (task.stop->load(std::memory_order_relaxed)) break;
        double accuracy = task.newton.forcing * force;
        if (accuracy < 0.5 * task.tolerance) accuracy = 0.5 * task.tolerance;
        if (!solve_newton<D>(w, accuracy, task.newton.max_products, out.products)) break;
        ++out.steps;
        add_scaled(w, w.x, 1.0, w.step);
        for (int k = 0; k < w.length; k += Pack::width)
            (Pack::load(w.x + k) - Pack::load(w.built + k)).store(w.step + k);
        if (!(max_squared<D>(w, w.step) < reach * reach)) break;
        compute_hessian<Potential, D, Triclinic, Small>(w, box, table);
        const double now = __builtin_sqrt(max_squared<D>(w, w.f));
        if (now <= task.tolerance) return true;
        if (!(now < 0.5 * force)) break;
        force = now;
    }
    for (int k = 0; k < w.length; k += Pack::width) Pack::load(w.built + k).store(w.x + k);
    return false;
}

template <class Potential, int D, bool Triclinic, bool Small>
Outcome minimize(Workspace& w, const Task& task) {
    const Box& box = *task.box;
    const PairTable& table = *task.table;
    const double tolerance_squared = task.tolerance * task.tolerance;
    double newton_force = task.newton.start * table.max_stiffness * table.max_sigma;

    Outcome out{};
    out.status = Status::step_limit;
    Fire fire(task.fire, table);
    Skin skin(table.max_sigma);
    bool rebuild = true;
    while (true) {
        if (rebuild) {
            if (!build_neighbors<D, Triclinic, Small>(w, box, table, skin.renew())) {
                out.status = Status::not_finite;
                break;
            }
            skin.built(w);
            ++out.builds;
        }
        compute_forces<Potential, D, Triclinic, Small, false>(w, box, table, nullptr, nullptr);
        const Sums s = sums<D>(w);
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
        if (s.max_force_squared < newton_force * newton_force) {
            if (finish_with_newton<Potential, D, Triclinic, Small>(w, task, out)) {
                out.status = Status::converged;
                break;
            }
            newton_force = 0.1 * __builtin_sqrt(s.max_force_squared);
            rebuild = true;
            continue;
        }
        rebuild = skin.used_up(fire.step<D>(w, s));
        ++out.steps;
    }
    if (out.status == Status::not_finite) {
        mark_not_finite(out);
        return out;
    }
    compute_forces<Potential, D, Triclinic, Small, true>(w, box, table, &out.energy, out.virial);
    out.max_force = __builtin_sqrt(max_squared<D>(w, w.f));
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
    out.max_force = __builtin_sqrt(max_squared<D>(w, w.f));
    out.status = out.max_force <= task.tolerance ? Status::converged : Status::step_limit;
    return out;
}

}  // namespace amorph::engine::AMORPH_ISA
