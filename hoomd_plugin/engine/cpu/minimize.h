// Minimisation of the energy, or at fixed pressure p of the enthalpy U + p V: FIRE, and Newton's
// method at its end. Part of a kernel: see kernels.cc.
#pragma once

#include "../rules/skin.h"
#include "../rules/strain.h"
#include "fire.h"
#include "inner.h"

namespace amorph::engine::AMORPH_ISA {

// Of a skin that makes the force loop longer by about its width in diameters.
inline Skin skin_of(const PairTable& table) {
    return Skin(table.max_sigma, table.max_cutoff, 0.6, 3.0);
}

// What a list that was just built says of its cost: a particle's share of the build was measured to
// cost as much as two packs of its pairs' forces.
inline double skin_factor(const Workspace& w) {
    return 3.0 * (2.0 * w.n * Pack::width / double(w.row[w.n] + Pack::width));
}

// Positions and box times exp(strain), the positions where the list was built along with them.
inline void strain_all(Workspace& w, Box& box, double strain) {
    const double factor = __builtin_exp(strain);
    for (int k = 0; k < w.length; k += Pack::width) {
        (Pack(factor) * Pack::load(w.x + k)).store(w.x + k);
        (Pack(factor) * Pack::load(w.built + k)).store(w.built + k);
    }
    box.rescale(factor);
}

// One minimisation stage of one replica.
template <int D, bool AtPressure>
class Minimization {
  public:
    Minimization(Workspace& w, const Inner& inner, const Task& task, const Stage& stage,
                 Outcome& out)
        : w_(w),
          inner_(inner),
          box_(*task.box),
          table_(*task.table),
          stage_(stage),
          stop_(*task.stop),
          out_(out),
          fire_(stage.fire, table_.max_stiffness, table_.max_sigma),
          skin_(skin_of(table_)),
          strain_(D, box_.volume(D), table_.max_sigma, !AtPressure) {}

    Status run() {
        const Status status = minimize();
        // FIRE's velocities are its own: the particles are at rest.
        for (int k = 0; k < w_.length; k += Pack::width) Pack(0.0).store(w_.v + k);
        return status;
    }

  private:
    Status minimize() {
        double newton_force = stage_.newton.start * table_.max_stiffness * table_.max_sigma;
        bool rebuild = true;
        for (int k = 0; k < w_.length; k += Pack::width) Pack(0.0).store(w_.v + k);
        for (std::int64_t steps = 0;; ++steps) {
            if (rebuild && !build()) return Status::not_finite;
            forces();
            FireSums s = sums<D>(w_);
            if constexpr (AtPressure) strain_.add_to(s);
            const Status now = verdict(s, stage_, steps, pressed());
            if (now != Status::ran) return now;
            if (looks_for_stop(steps) && stop_.load(std::memory_order_relaxed))
                return Status::interrupted;
            const double largest =
                __builtin_sqrt(s.max_force_squared) + __builtin_fabs(strain_.force);
            if (largest < newton_force) {
                if (newton()) return Status::converged;
                newton_force = 0.1 * largest;
                rebuild = true;
                continue;
            }
            const FireMove move = fire_.decide(s, [this](const FireMove& chosen) {
                return AtPressure ? strain_.limited(chosen) : chosen.dt;
            });
            ++out_.steps;
            if (move.back != 0.0) step_back(w_, move.back);
            if constexpr (AtPressure) {
                if (move.back != 0.0) strain_all(w_, box_, strain_.back(move));
                strain_all(w_, box_, strain_.forth(move));
                const Status box = judge_box();
                if (box != Status::ran) return box;
            }
            const double farthest = __builtin_sqrt(advance<D>(w_, move.dt, move.keep, move.mix));
            rebuild = skin_.used_up(farthest, strain_.since_built);
        }
    }

    bool build() {
        if (!inner_.build_neighbors(w_, box_, table_, skin_.renew())) return false;
        strain_.since_built = 0.0;
        skin_.factor = skin_factor(w_);
        ++out_.builds;
        return true;
    }

    void forces() {
        if constexpr (AtPressure) {
            inner_.measure_forces(w_, box_, table_, out_.energy, out_.virial);
            double trace = 0.0;
            for (int a = 0; a < D; ++a) trace += out_.virial[a];
            strain_.volume = box_.volume(D);
            strain_.pull(D, trace, stage_.pressure);
        } else {
            inner_.compute_forces(w_, box_, table_);
        }
    }

    void hessian() {
        inner_.compute_hessian[AtPressure](w_, box_, table_, strain_);
        if constexpr (AtPressure) {
            strain_.volume = box_.volume(D);
            const double work = D * stage_.pressure * strain_.volume;
            strain_.force -= work / strain_.unit;
            strain_.stiffness += D * work / (strain_.unit * strain_.unit);
        }
    }

    bool pressed() const { return !AtPressure || strain_.reached(D, stage_); }

    Status judge_box() const {
        double widths[3] = {};
        box_.widths(D, widths);
        double narrowest = widths[0];
        for (int a = 1; a < D; ++a) narrowest = widths[a] < narrowest ? widths[a] : narrowest;
        return strain_.judge(box_.volume(D), narrowest, table_.max_cutoff);
    }

    // Newton's method from here. Afterwards the particles are at the minimum, or where they were
    // (and the list must be built again).
    bool newton() {
        const double reach = stage_.newton.reach * table_.max_sigma;
        const Box box = box_;
        ++out_.builds;
        if (!inner_.build_neighbors(w_, box_, table_, 2.0 * reach)) return false;
        hessian();
        double force = largest_force();
        double strained = 0.0;
        while (!stop_.load(std::memory_order_relaxed)) {
            double accuracy = stage_.newton.forcing * force;
            if (accuracy < 0.5 * stage_.tolerance) accuracy = 0.5 * stage_.tolerance;
            if (!solve_newton<D>(w_, strain_, accuracy, stage_.newton.max_products, out_.products))
                break;
            ++out_.steps;
            if constexpr (AtPressure) {
                strained += strain_.step / strain_.unit;
                if (!(__builtin_fabs(strained) * table_.max_cutoff < 0.5 * reach)) break;
                strain_all(w_, box_, strain_.step / strain_.unit);
            }
            add_scaled(w_, w_.x, 1.0, w_.step);
            for (int k = 0; k < w_.length; k += Pack::width)
                (Pack::load(w_.x + k) - Pack::load(w_.built + k)).store(w_.step + k);
            if (!(max_squared<D>(w_, w_.step) < 0.25 * reach * reach)) break;
            hessian();
            const double now = largest_force();
            if (now <= stage_.tolerance && pressed()) return true;
            if (!(now < 0.5 * force)) break;
            force = now;
        }
        if constexpr (AtPressure) strain_all(w_, box_, -strained_by(box));
        box_ = box;
        for (int k = 0; k < w_.length; k += Pack::width) Pack::load(w_.built + k).store(w_.x + k);
        return false;
    }
    double strained_by(const Box& before) const {
        return __builtin_log(box_.h[0][0] / before.h[0][0]);
    }
    double largest_force() const {
        const double particles = __builtin_sqrt(max_squared<D>(w_, w_.f));
        const double box = AtPressure ? __builtin_fabs(strain_.force) : 0.0;
        return particles > box ? particles : box;
    }

    Workspace& w_;
    const Inner& inner_;
    Box& box_;
    const PairTable& table_;
    const Stage& stage_;
    const std::atomic<bool>& stop_;
    Outcome& out_;
    Fire fire_;
    Skin skin_;
    Strain strain_;
};

}  // namespace amorph::engine::AMORPH_ISA
