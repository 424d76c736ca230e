// How far a neighbour list reaches beyond the cutoff. Part of a kernel: see kernels.cc.
#pragma once

#include "simd.h"
#include "workspace.h"

namespace amorph::engine::AMORPH_ISA {

// How wide the list's skin is, and when it is time for another one. A skin of s diameters lasts
// s / (2 v) steps where the fastest particle moves v diameters a step, and makes the force loop
// longer by about s; with a build costing as much as c force loops, s = sqrt(2 c v) is best.
class Skin {
  public:
    explicit Skin(double diameter) : diameter_(diameter), width_(0.3) {}

    // The width for the next list.
    double renew() {
        if (age_ > 0) width_ = best();
        age_ = 0;
        return width_ * diameter_;
    }
    // To be told how large the list has become. A particle's share of the build was measured to
    // cost as much as two packs of its pairs' forces.
    void built(const Workspace& w) {
        cost_ = 2.0 * w.n * Pack::width / double(w.row[w.n] + Pack::width);
    }
    // To be called after each step with the largest displacement, squared, and the strain since the
    // list was built; whether a pair may have come within its cutoff, or a narrower skin would pay.
    bool used_up(double moved_squared, double strain, double cutoff) {
        // A pair beyond cutoff and skin stays beyond exp(strain) of that, less two displacements.
        const double shrunk = strain < 0.0 ? -strain * (cutoff + width_ * diameter_) : 0.0;
        moved_ = (__builtin_sqrt(moved_squared) + 0.5 * shrunk) / diameter_;
        ++age_;
        return !(moved_ < 0.5 * width_) || (age_ % 16 == 0 && width_ > 2.0 * best());
    }

  private:
    double best() const {
        const double width = __builtin_sqrt(3.0 * cost_ * moved_ / age_);
        return width < 0.02 ? 0.02 : (width < 0.6 ? width : 0.6);
    }
    double diameter_;
    double width_;
    double cost_ = 1.0;
    double moved_ = 0.0;
    int age_ = 0;
};

}  // namespace amorph::engine::AMORPH_ISA
