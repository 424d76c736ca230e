// A replica's motion at a given temperature, step for step as in ../cpu/dynamics.h and with the
// same random numbers.
#pragma once

#include "../rules/philox.h"
#include "minimize.h"

namespace amorph::engine::device {

// Independent normal numbers of variance 1 for the components of a particle, known by its id.
template <int D>
AMORPH_HOSTDEVICE void draw_normals(const RandomKey& key, const std::uint32_t* purposes,
                                    std::uint32_t md_step, std::uint32_t id, double* out) {
    for (int half = 0; half < D - 1; ++half) {
        const Philox numbers(key.seed, purposes[half] << 24 | id, key.replica, key.stream, md_step);
        const double radius = potentials::square_root(-2.0 * ::log(1.0 - numbers.uniform(0)));
        double sine, cosine;
#if defined(__CUDA_ARCH__)
        sincospi(2.0 * numbers.uniform(1), &sine, &cosine);
#else
        const double angle = 6.283185307179586477 * numbers.uniform(1);
        sine = std::sin(angle);
        cosine = std::cos(angle);
#endif
        out[2 * half] = radius * cosine;
        if (2 * half + 1 < D) out[2 * half + 1] = radius * sine;
    }
}

// The particles in the order of their ids, without the box's images taken off.
template <int D, int L, class Team>
AMORPH_HOSTDEVICE void keep_frame(Team& team, const Replica<D, L>& r, const Trajectory& t,
                                  std::int64_t frame, bool velocities) {
    if (frame >= t.frames) return;
    team.each(r.n, [&](int i) {
        const std::int64_t to = (frame * r.n + r.order[i]) * D;
        for (int a = 0; a < D; ++a) {
            double x = r.x[i].r[a];
            for (int b = a; b < D; ++b) x += r.box[3 * a + b] * r.image[i * D + b];
            t.positions[to + a] = x;
            if (t.velocities != nullptr) t.velocities[to + a] = velocities ? r.v[i].r[a] : 0.0;
        }
    });
}

// Forces, and half a kick after them.
template <class Formula, int D, int L, class Team>
AMORPH_APART AMORPH_HOSTDEVICE void dynamics_forces(Team& team, const Replica<D, L>& r, bool tilted,
                                                    double half_kick) {
    const Images<D> images(r.box);
    team.template rows<L>(r.n, [&](int i, const auto& lanes) {
        double own[D];
        sum_lanes<Formula, true, Sought::force>(r, images, tilted, i, lanes, own);
        if (lanes.leads())
            for (int a = 0; a < D; ++a) r.v[i].r[a] += half_kick * own[a];
    });
}

// `stage.steps` time steps; returns as `minimize` does.
template <class Formula, int D, int L, class Team>
AMORPH_HOSTDEVICE Status move(Team& team, const Replica<D, L>& r, const Batch& batch,
                              const Stage& stage, const RandomKey& key, const Trajectory& kept,
                              Clock& at, Result& result) {
    const bool overdamped = stage.kind == Stage::Kind::brownian;
    const bool tilted = box_tilted<D>(r.box);
    const double most_squared = farthest_squared(r.scales.max_sigma);
    Skin skin = skin_of(D, r.scales, build_cost(r));
    const auto noise = [&](const std::uint32_t* purposes, int i, double* out) {
        draw_normals<D>(key, purposes, std::uint32_t(at.md_step), r.order[i], out);
    };
    if (overdamped) {
        // In place of the velocities stands the last step's noise.
        const std::uint32_t* const purposes = first_noise(batch.purposes, at.moved_by);
        team.each(r.n, [&](int i) { noise(purposes, i, r.v[i].r); });
    } else if (stage.draw_velocities) {
        const double width = thermal_speed(stage);
        team.each(r.n, [&](int i) {
            noise(batch.purposes.velocity, i, r.v[i].r);
            for (int a = 0; a < D; ++a) r.v[i].r[a] *= width;
        });
    }
    Status status = Status::ran;
    bool rebuild = true;
    double half_kick = 0.0;
    for (std::int64_t step = 0;; ++step) {
        if (rebuild) {
            ++result.outcome.builds;
            const Built built = general_list(team, r, skin.renew(), result.row_needed);
            if (built != Built::done) return Status::not_finite;
        }
        dynamics_forces<Formula>(team, r, tilted, half_kick);
        if (!overdamped) half_kick = 0.5 * stage.dt;
        if (step > 0 && batch.trajectory.keeps(at.md_step))
            keep_frame(team, r, kept, at.frames++, !overdamped);
        if (step >= stage.steps) break;
        if (looks_for_stop(step) && team.any(team.rank() == 0 && *batch.stop != 0)) {
            status = Status::interrupted;
            break;
        }
        const double temperature = stage.temperature.at(double(step));
        ++at.md_step;
        ++result.outcome.steps;
        const LangevinStep langevin(stage, temperature);
        const BrownianStep brownian(stage, temperature);
        const double reach = skin.reach(0.0);
        bool far = false, failed = false, infinite = false;
        team.each(r.n, [&](int i) {
            const Point<D> before = r.x[i];
            Point<D> x = before;
            Point<D> v = r.v[i];
            const Point<D> f = r.f[i];
            const Point<D> built = r.built[i];
            double random[D];
            if (overdamped || langevin.width > 0.0) noise(batch.purposes.noise, i, random);
            double from_built = 0.0, from_here = 0.0;
            for (int a = 0; a < D; ++a) {
                if (overdamped) {
                    x.r[a] += brownian.mobility * f.r[a] + brownian.heat * (v.r[a] + random[a]);
                    v.r[a] = random[a];
                } else {
                    v.r[a] += langevin.half * f.r[a];
                    x.r[a] += langevin.half * v.r[a];
                    v.r[a] *= langevin.decay;
                    if (langevin.width > 0.0) v.r[a] += langevin.width * random[a];
                    x.r[a] += langevin.half * v.r[a];
                }
                from_built += (x.r[a] - built.r[a]) * (x.r[a] - built.r[a]);
                from_here += (x.r[a] - before.r[a]) * (x.r[a] - before.r[a]);
            }
            r.x[i] = x;
            r.v[i] = v;
            if (!(from_built < reach * reach)) far = true;
            if (!(from_here < most_squared)) failed = true;
            if (!(from_here < 1e300)) infinite = true;
        });
        far = team.any(far || failed);
        if (far && team.any(failed)) {
            status = team.any(infinite) ? Status::not_finite : Status::unstable;
            break;
        }
        rebuild = skin.used_up(far, [&] { return largest_distance(team, r); }, 0.0);
    }
    if (overdamped)  // what stood there was noise
        team.each(r.n, [&](int i) { r.v[i] = Point<D>{}; });
    team.sync();
    at.moved_by = stage.kind;
    return status;
}

}  // namespace amorph::engine::device
