// Minimisation of the energy, or at fixed pressure p of the enthalpy U + p V: FIRE, and Newton's
// method at its end. Part of a kernel: see kernels.cc.
#pragma once

#include "fire.h"
#include "inner.h"
#include "skin.h"

namespace amorph::engine::AMORPH_ISA {

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
          skin_(table_.max_sigma) {
        strain_.off = !AtPressure;
        first_volume_ = box_.volume(D);
        strain_.unit = D * __builtin_sqrt(first_volume_);
        if constexpr (D == 3) strain_.unit /= __builtin_sqrt(table_.max_sigma);
    }

    Status run() {
        const Status status = minimize();
        // FIRE's velocities are its own: the particles are at rest.
        for (int k = 0; k < w_.length; k += Pack::width) Pack(0.0).store(w_.v + k);
        return status;
    }

  private:
    Status minimize() {
        const double tolerance_squared = stage_.tolerance * stage_.tolerance;
        double newton_force = stage_.newton.start * table_.max_stiffness * table_.max_sigma;
        bool rebuild = true;
        for (int k = 0; k < w_.length; k += Pack::width) Pack(0.0).store(w_.v + k);
        for (std::int64_t steps = 0;; ++steps) {
            if (rebuild && !build()) return Status::not_finite;
            forces();
            FireSums s = sums<D>(w_);
            if constexpr (AtPressure) {
                s.power += strain_.force * strain_velocity_;
                s.speed_squared += strain_velocity_ * strain_velocity_;
                s.force_squared += strain_.force * strain_.force;
            }
            if (!(s.force_squared + s.speed_squared < 1e300)) return Status::not_finite;
            if (s.max_force_squared <= tolerance_squared && pressure_reached())
                return Status::converged;
            if (steps >= stage_.steps) return Status::step_limit;
            if ((steps & 31) == 0 && stop_.load(std::memory_order_relaxed))
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
                if (!AtPressure) return chosen.dt;
                constexpr double most = 0.02;  // strain of a step
                const double speed = chosen.back != 0.0 ? 0.0 : __builtin_fabs(strain_velocity_);
                return Fire::limited(chosen.dt, chosen, speed, __builtin_fabs(strain_.force),
                                     most * strain_.unit);
            });
            ++out_.steps;
            if (move.back != 0.0) {
                step_back(w_, move.back);
                if constexpr (AtPressure) {
                    strain_all(w_, box_, move.back * strain_velocity_ / strain_.unit);
                    strain_since_ += move.back * strain_velocity_ / strain_.unit;
                    strain_velocity_ = 0.0;
                }
            }
            if constexpr (AtPressure) {
                strain_velocity_ = move.keep * (strain_velocity_ + move.dt * strain_.force) +
                                   move.mix * strain_.force;
                const double strained = move.dt * strain_velocity_ / strain_.unit;
                strain_all(w_, box_, strained);
                strain_since_ += strained;
                const Status box = check_box();
                if (box != Status::ran) return box;
            }
            rebuild = skin_.used_up(advance<D>(w_, move.dt, move.keep, move.mix), strain_since_,
                                    table_.max_cutoff);
        }
    }

    bool build() {
        if (!inner_.build_neighbors(w_, box_, table_, skin_.renew())) return false;
        strain_since_ = 0.0;
        skin_.built(w_);
        ++out_.builds;
        return true;
    }

    void forces() {
        if constexpr (AtPressure) {
            inner_.measure_forces(w_, box_, table_, out_.energy, out_.virial);
            double trace = 0.0;
            for (int a = 0; a < D; ++a) trace += out_.virial[a];
            volume_ = box_.volume(D);
            strain_.force = -(trace + D * stage_.pressure * volume_) / strain_.unit;
        } else {
            inner_.compute_forces(w_, box_, table_);
        }
    }

    void hessian() {
        inner_.compute_hessian[AtPressure](w_, box_, table_, strain_);
        if constexpr (AtPressure) {
            volume_ = box_.volume(D);
            const double work = D * stage_.pressure * volume_;
            strain_.force -= work / strain_.unit;
            strain_.stiffness += D * work / (strain_.unit * strain_.unit);
        }
    }

    bool pressure_reached() const {
        if constexpr (!AtPressure) return true;
        if (stage_.pressure == 0.0) return __builtin_fabs(strain_.force) <= stage_.tolerance;
        const double off = __builtin_fabs(strain_.force) * strain_.unit / (D * volume_);
        return off <= stage_.pressure_tolerance * __builtin_fabs(stage_.pressure);
    }

    Status check_box() const {
        double widths[3] = {};
        box_.widths(D, widths);
        if (!(box_.volume(D) < 1e300)) return Status::not_finite;
        for (int a = 0; a < D; ++a)
            if (!(widths[a] >= 2.0 * table_.max_cutoff)) return Status::box_too_small;
        return box_.volume(D) < 1e3 * first_volume_ ? Status::ran : Status::box_unbounded;
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
            if (now <= stage_.tolerance && pressure_reached()) return true;
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
    Strain strain_{};
    double strain_velocity_ = 0.0;
    double strain_since_ = 0.0;  // the list was built
    double first_volume_ = 0.0;
    double volume_ = 0.0;
};

}  // namespace amorph::engine::AMORPH_ISA
