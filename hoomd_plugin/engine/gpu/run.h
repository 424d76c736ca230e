// A replica's way through its stages, from the caller's arrays and back: ../cpu/run.h for a team.
#pragma once

#include "../rules/stages.h"
#include "dynamics.h"

namespace amorph::engine::device {

// One minimisation at fixed volume, or a measurement alone: what most work is, in kernels of its
// own that need not hold the rest.
template <class Formula, int D, int L, class Team>
AMORPH_HOSTDEVICE void run_stage(Team& team, const Replica<D, L>& r, const Batch& batch,
                                 Result& result) {
    Outcome& out = result.outcome;
    if (batch.n_stages > 0) {
        out.status = minimize<Formula, false>(team, r, batch.stage, batch.stop, result);
    } else {
        out.builds = 1;
        const Built built = build_list(team, r, 0.0, result.row_needed);
        out.status = built == Built::done ? Status::ran : Status::not_finite;
    }
    if (result.row_needed > 0) return;
    if (out.status == Status::not_finite)
        mark_not_finite(out);
    else
        measure_forces<Formula, false>(team, r, out);
}

template <class Formula, int D, int L, class Team>
AMORPH_APART AMORPH_HOSTDEVICE void general_measure(Team& team, const Replica<D, L>& r,
                                                    Outcome& out) {
    measure_forces<Formula, true>(team, r, out);
}

// What moves a replica of a batch.
template <class Formula, int D, int L, class Team>
class Way {
  public:
    AMORPH_HOSTDEVICE Way(Team& team, const Replica<D, L>& r, const Batch& batch,
                          std::int64_t replica, Result& result)
        : team_(team),
          r_(r),
          batch_(batch),
          result_(result),
          key_(batch.key.of(replica)),
          kept_(batch.trajectory) {
        const std::int64_t frames = replica * kept_.frames * r.n * D;
        if (kept_.positions != nullptr) kept_.positions += frames;
        if (kept_.velocities != nullptr) kept_.velocities += frames;
    }
    AMORPH_HOSTDEVICE Status minimize(const Stage& stage) {
        return device::minimize<Formula, true>(team_, r_, stage, batch_.stop, result_);
    }
    AMORPH_HOSTDEVICE Status move(const Stage& stage) {
        return device::move<Formula>(team_, r_, batch_, stage, key_, kept_, clock_, result_);
    }
    AMORPH_HOSTDEVICE void strain(double by) { strain_all(team_, r_, by); }
    AMORPH_HOSTDEVICE double volume() const { return box_volume<D>(r_.box); }
    // Where rows outgrow the list the replica runs again, with room for them.
    AMORPH_HOSTDEVICE bool gave_up() const { return result_.row_needed > 0; }
    AMORPH_HOSTDEVICE bool measure() {
        if (general_list(team_, r_, 0.0, result_.row_needed) != Built::done) return false;
        general_measure<Formula>(team_, r_, result_.outcome);
        return true;
    }

  private:
    Team& team_;
    const Replica<D, L>& r_;
    const Batch& batch_;
    Result& result_;
    RandomKey key_;
    Trajectory kept_;
    Clock clock_{};
};

// One replica from the caller's arrays and back. `General`: whatever there may be to do; only then
// may there be bonds.
template <class Formula, int D, int L, bool Shared, bool General, class Team>
AMORPH_HOSTDEVICE void run_replica(Team& team, const Batch& batch, char* shared, char* global,
                                   std::int64_t replica) {
    auto r = Replica<D, L>::template in<Shared>(batch, shared, global, replica);
    team.use(r.partials, group_count(r.n * L));
    const std::int64_t pairs = std::int64_t(r.n_types) * r.n_types;
    const std::int64_t coefficients = pairs * Formula::n_coefficients;
    if (batch.table_each) r.coefficients += replica * coefficients;
    if (batch.layout.table_shared) {
        team.each(int(coefficients), [&](int k) { r.table[k] = r.coefficients[k]; });
        team.each(int(pairs), [&](int k) { r.table[coefficients + k] = r.r_cut[k]; });
        r.coefficients = r.table;
        r.r_cut = r.table + coefficients;
    }
    double* const box = batch.boxes + (batch.box_each ? replica * 9 : 0);
    team.each(9, [&](int k) { r.box[k] = box[k]; });
    const std::int64_t offset = replica * r.n * D;
    double* const positions = batch.positions + offset;
    double* const velocities =
        General && batch.velocities != nullptr ? batch.velocities + offset : nullptr;
    team.each(r.n, [&](int i) {
        const int from = r.order[i] * D;
        Point<D> x, v;
        for (int a = 0; a < D; ++a) {
            x.r[a] = positions[from + a];
            v.r[a] = velocities != nullptr ? velocities[from + a] : 0.0;
            if (General && r.image != nullptr) r.image[i * D + a] = 0;
        }
        r.x[i] = x;
        r.v[i] = v;
        r.f[i] = Point<D>{};
    });
    team.sync();

    Result result{};
    if constexpr (General)
        engine::run_stages(Way<Formula, D, L, Team>(team, r, batch, replica, result), D,
                           batch.n_stages, batch.stages, result.outcome);
    else
        run_stage<Formula>(team, r, batch, result);

    if (result.row_needed == 0) {
        double* const forces = batch.forces != nullptr ? batch.forces + offset : nullptr;
        team.each(r.n, [&](int i) {
            const int to = r.order[i] * D;
            if (batch.n_stages > 0) {
                Point<D> x = r.x[i];
                double s[D];
                wrap<D>(r.box, x.r, s);
                for (int a = 0; a < D; ++a) positions[to + a] = x.r[a];
                if (velocities != nullptr)
                    for (int a = 0; a < D; ++a) velocities[to + a] = r.v[i].r[a];
            }
            if (forces != nullptr)
                for (int a = 0; a < D; ++a) forces[to + a] = r.f[i].r[a];
        });
        if (General && batch.box_each && batch.n_stages > 0)
            team.each(9, [&](int k) { box[k] = r.box[k]; });
    }
    if (team.rank() == 0) batch.results[replica] = result;
    team.sync();
}

}  // namespace amorph::engine::device
