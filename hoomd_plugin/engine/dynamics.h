// Motion at a given temperature, mass 1. Part of a kernel: see kernels.cc.
//
// Langevin dynamics by BAOAB, and its limit of large friction, in which the noise of a step is the
// mean of two: B. Leimkuhler and C. Matthews, Appl. Math. Res. Express 2013, 34 (2013). Both sample
// a harmonic well without error in the positions.
#pragma once

#include "forces.h"
#include "kernels.h"
#include "noise.h"
#include "skin.h"

namespace amorph::engine::AMORPH_ISA {

// Keeps the workspace's particles, in the order of their ids and without the box's images taken
// off.
template <int D>
void keep_frame(const Workspace& w, const Box& box, const Trajectory& t, std::int64_t frame) {
    constexpr int S = point_stride<D>;
    if (frame >= t.frames) return;
    for (int i = 0; i < w.n; ++i) {
        const std::int64_t to = (frame * w.n + w.id[i]) * D;
        for (int a = 0; a < D; ++a) {
            double r = w.x[S * i + a];
            for (int b = a; b < D; ++b) r += box.h[a][b] * w.image[3 * i + b];
            t.positions[to + a] = r;
            if (t.velocities != nullptr) t.velocities[to + a] = w.v[S * i + a];
        }
    }
}

template <class Potential, int D, bool Triclinic, bool Small>
class Dynamics {
  public:
    Dynamics(Workspace& w, const Task& task, const Stage& stage, Outcome& out,
             std::int64_t& md_step, std::int64_t& frames)
        : w_(w),
          task_(task),
          stage_(stage),
          out_(out),
          md_step_(md_step),
          frames_(frames),
          skin_(task.table->max_sigma) {
        const double most = 0.5 * task.table->max_sigma;
        most_squared_ = most * most;
    }

    Status run() {
        const bool overdamped = stage_.kind == Stage::Kind::brownian;
        if (overdamped)
            noise();  // the first half of the first step's
        else if (stage_.draw_velocities)
            draw_velocities();
        if (!forces(true)) return Status::not_finite;
        for (std::int64_t step = 0; step < stage_.steps; ++step) {
            if ((step & 31) == 0 && task_.stop->load(std::memory_order_relaxed))
                return Status::interrupted;
            const double temperature = stage_.temperature.at(double(step));
            ++md_step_;
            const bool stable =
                overdamped ? brownian_step(temperature) : langevin_step(temperature);
            ++out_.steps;
            if (!stable) return Status::unstable;
            if (!forces(skin_.used_up(moved_, 0.0, 0.0))) return Status::not_finite;
            if (!overdamped) kick();
            if (task_.trajectory.every > 0 && md_step_ % task_.trajectory.every == 0)
                keep_frame<D>(w_, *task_.box, task_.trajectory, frames_++);
        }
        return Status::ran;
    }

  private:
    bool forces(bool rebuild) {
        if (rebuild) {
            if (!build_neighbors<D, Triclinic, Small>(w_, *task_.box, *task_.table, skin_.renew()))
                return false;
            skin_.built(w_);
            ++out_.builds;
        }
        compute_forces<Potential, D, Triclinic, Small, false>(w_, *task_.box, *task_.table, nullptr,
                                                              nullptr);
        return true;
    }

    void noise() {
        draw_normals<D>(w_, task_.stream, task_.purposes.noise,
                        static_cast<std::uint32_t>(md_step_), w_.noise);
    }

    void draw_velocities() {
        draw_normals<D>(w_, task_.stream, task_.purposes.velocity,
                        static_cast<std::uint32_t>(md_step_), w_.v);
        const Pack width(__builtin_sqrt(stage_.temperature.at(0.0)));
        for (int k = 0; k < w_.length; k += Pack::width)
            (width * Pack::load(w_.v + k)).store(w_.v + k);
    }

    void kick() {
        const Pack half(0.5 * stage_.dt);
        for (int k = 0; k < w_.length; k += Pack::width)
            fma(half, Pack::load(w_.f + k), Pack::load(w_.v + k)).store(w_.v + k);
    }

    // Half a kick, half a drift, friction and noise, half a drift: what comes before the forces.
    // False where a particle moved too far; `moved_` is the largest way, squared, since the list
    // was built.
    bool langevin_step(double temperature) {
        const double decay = __builtin_exp(-stage_.friction * stage_.dt);
        const double width = __builtin_sqrt(temperature * (1.0 - decay * decay));
        if (width > 0.0) noise();
        const Pack half(0.5 * stage_.dt), keep(decay), heat(width);
        return move([&](int k, Pack x) {
            Pack v = fma(half, Pack::load(w_.f + k), Pack::load(w_.v + k));
            x = fma(half, v, x);
            v = keep * v;
            if (width > 0.0) v = fma(heat, Pack::load(w_.noise + k), v);
            v.store(w_.v + k);
            return fma(half, v, x);
        });
    }

    // x += dt/friction F + sqrt(2 T dt/friction) (R + R')/2, R' the next step's R; kept in v.
    bool brownian_step(double temperature) {
        const double mobility = stage_.dt / stage_.friction;
        const Pack along(mobility), heat(0.5 * __builtin_sqrt(2.0 * temperature * mobility));
        for (int k = 0; k < w_.length; k += Pack::width) Pack::load(w_.noise + k).store(w_.v + k);
        noise();
        const bool stable = move([&](int k, Pack x) {
            const Pack both = Pack::load(w_.v + k) + Pack::load(w_.noise + k);
            return fma(heat, both, fma(along, Pack::load(w_.f + k), x));
        });
        for (int k = 0; k < w_.length; k += Pack::width) Pack(0.0).store(w_.v + k);
        return stable;
    }

    template <class Step>
    bool move(Step&& step) {
        constexpr std::integral_constant<int, D> dimension;
        constexpr int chunk = packs_of_points(D);
        Pack far(0.0), fast(0.0), total(0.0);
        for (int k = 0; k < w_.length; k += chunk * Pack::width) {
            Pack from_built[chunk], from_here[chunk];
            for (int q = 0; q < chunk; ++q) {
                const int at = k + q * Pack::width;
                const Pack before = Pack::load(w_.x + at);
                const Pack after = step(at, before);
                after.store(w_.x + at);
                const Pack d = after - Pack::load(w_.built + at);
                const Pack h = after - before;
                from_built[q] = d * d;
                from_here[q] = h * h;
                total += from_here[q];
            }
            far = max(point_squares(dimension, from_built), far);
            fast = max(point_squares(dimension, from_here), fast);
        }
        moved_ = maximum(far);
        // What is not a number shows in the sum; the maximum passes it over.
        return sum(total) < 1e300 && maximum(fast) < most_squared_;
    }

    Workspace& w_;
    const Task& task_;
    const Stage& stage_;
    Outcome& out_;
    std::int64_t& md_step_;
    std::int64_t& frames_;
    Skin skin_;
    double most_squared_;
    double moved_ = 0.0;
};

}  // namespace amorph::engine::AMORPH_ISA
