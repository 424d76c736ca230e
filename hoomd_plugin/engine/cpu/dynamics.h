// Motion at a given temperature, mass 1, by the numbers of ../rules/motion.h. Part of a kernel: see
// kernels.cc.
#pragma once

#include "../rules/motion.h"
#include "minimize.h"
#include "noise.h"

namespace amorph::engine::AMORPH_ISA {

// Keeps the workspace's particles, in the order of their ids and without the box's images taken
// off.
template <int D>
void keep_frame(const Workspace& w, const Box& box, const Trajectory& t, std::int64_t frame,
                bool velocities) {
    constexpr int S = point_stride<D>;
    if (frame >= t.frames) return;
    for (int i = 0; i < w.n; ++i) {
        const std::int64_t to = (frame * w.n + w.id[i]) * D;
        for (int a = 0; a < D; ++a) {
            double r = w.x[S * i + a];
            for (int b = a; b < D; ++b) r += box.h[a][b] * w.image[3 * i + b];
            t.positions[to + a] = r;
            if (t.velocities != nullptr) t.velocities[to + a] = velocities ? w.v[S * i + a] : 0.0;
        }
    }
}

template <int D>
class Dynamics {
  public:
    Dynamics(Workspace& w, const Inner& inner, const Task& task, const Stage& stage, Outcome& out,
             Clock& clock)
        : w_(w),
          inner_(inner),
          task_(task),
          stage_(stage),
          out_(out),
          clock_(clock),
          skin_(skin_of(*task.table)),
          most_squared_(farthest_squared(task.table->max_sigma)) {}

    Status run() {
        const bool overdamped = stage_.kind == Stage::Kind::brownian;
        if (overdamped)
            first_noise();
        else if (stage_.draw_velocities)
            draw_velocities();
        Status status = forces(true) ? Status::ran : Status::not_finite;
        for (std::int64_t step = 0; status == Status::ran && step < stage_.steps; ++step) {
            if (looks_for_stop(step) && task_.stop->load(std::memory_order_relaxed))
                return Status::interrupted;
            const double temperature = stage_.temperature.at(double(step));
            ++clock_.md_step;
            status = overdamped ? brownian_step(temperature) : langevin_step(temperature);
            ++out_.steps;
            if (status != Status::ran) break;
            if (!forces(skin_.used_up(__builtin_sqrt(moved_), 0.0))) return Status::not_finite;
            if (!overdamped) kick();
            if (task_.trajectory.keeps(clock_.md_step))
                keep_frame<D>(w_, *task_.box, task_.trajectory, clock_.frames++, !overdamped);
        }
        if (overdamped)  // what stood there was noise
            for (int k = 0; k < w_.length; k += Pack::width) Pack(0.0).store(w_.v + k);
        clock_.moved_by = stage_.kind;
        return status;
    }

  private:
    bool forces(bool rebuild) {
        if (rebuild) {
            if (!inner_.build_neighbors(w_, *task_.box, *task_.table, skin_.renew())) return false;
            skin_.factor = skin_factor(w_);
            ++out_.builds;
        }
        inner_.compute_forces(w_, *task_.box, *task_.table);
        return true;
    }

    void noise(const std::uint32_t* purposes, double* out) {
        draw_normals<D>(w_, task_.key, purposes, static_cast<std::uint32_t>(clock_.md_step), out);
    }

    // In place of the velocities, which follow the particles when the list puts them in another
    // order, stands the last step's noise.
    void first_noise() { noise(engine::first_noise(task_.purposes, clock_.moved_by), w_.v); }

    void draw_velocities() {
        noise(task_.purposes.velocity, w_.v);
        const Pack width(thermal_speed(stage_));
        for (int k = 0; k < w_.length; k += Pack::width)
            (width * Pack::load(w_.v + k)).store(w_.v + k);
    }

    void kick() {
        const Pack half(0.5 * stage_.dt);
        for (int k = 0; k < w_.length; k += Pack::width)
            fma(half, Pack::load(w_.f + k), Pack::load(w_.v + k)).store(w_.v + k);
    }

    // What comes before the forces.
    Status langevin_step(double temperature) {
        const LangevinStep step(stage_, temperature);
        if (step.width > 0.0) noise(task_.purposes.noise, w_.noise);
        const Pack half(step.half), keep(step.decay), heat(step.width);
        return move([&](int k, Pack x) {
            Pack v = fma(half, Pack::load(w_.f + k), Pack::load(w_.v + k));
            x = fma(half, v, x);
            v = keep * v;
            if (step.width > 0.0) v = fma(heat, Pack::load(w_.noise + k), v);
            v.store(w_.v + k);
            return fma(half, v, x);
        });
    }

    Status brownian_step(double temperature) {
        const BrownianStep step(stage_, temperature);
        const Pack along(step.mobility), heat(step.heat);
        noise(task_.purposes.noise, w_.noise);
        return move([&](int k, Pack x) {
            const Pack next = Pack::load(w_.noise + k);
            const Pack both = Pack::load(w_.v + k) + next;
            next.store(w_.v + k);
            return fma(heat, both, fma(along, Pack::load(w_.f + k), x));
        });
    }

    // Moves every component, and says whether all went well; `moved_` is the largest way of a
    // particle, squared, since the list was built.
    template <class Step>
    Status move(Step&& step) {
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
        if (!(sum(total) < 1e300)) return Status::not_finite;
        return maximum(fast) < most_squared_ ? Status::ran : Status::unstable;
    }

    Workspace& w_;
    const Inner& inner_;
    const Task& task_;
    const Stage& stage_;
    Outcome& out_;
    Clock& clock_;
    Skin skin_;
    double most_squared_;
    double moved_ = 0.0;
};

}  // namespace amorph::engine::AMORPH_ISA
