// How far a neighbour list reaches beyond the cutoff, and when it is time for another one.
#pragma once

#include <cmath>

#include "../../potentials/real.h"

namespace amorph::engine {

// A skin of s diameters lasts s / (2 v) steps where the fastest particle moves v diameters a step,
// and makes the force loop longer by a share of g s; with a build costing as much as c force loops,
// s = sqrt(2 c v / g) is best, or somewhat more: sqrt(factor v) with a factor of 3 c / g.
struct Skin {
    double diameter, cutoff;
    double most;    // the widest
    double factor;  // see above; may be changed when a list tells what it has cost
    double width;   // in diameters
    double moved = 0.0;
    int age = 0;

    AMORPH_HOSTDEVICE AMORPH_INLINE Skin(double max_sigma, double max_cutoff, double widest,
                                         double times)
        : diameter(max_sigma),
          cutoff(max_cutoff),
          most(widest),
          factor(times),
          width(0.3 < widest ? 0.3 : widest) {}

    AMORPH_HOSTDEVICE AMORPH_INLINE double best() const {
        constexpr double least = 0.02;
        const double s = ::sqrt(factor * moved / age);
        return s < least ? least : (s < most ? s : most);
    }
    // The width for the next list.
    AMORPH_HOSTDEVICE AMORPH_INLINE double renew() {
        if (age > 0) width = best();
        age = 0;
        return width * diameter;
    }
    // What a strain of the box takes off: a pair beyond cutoff and skin stays beyond exp(strain) of
    // that.
    AMORPH_HOSTDEVICE AMORPH_INLINE double shrunk(double strain) const {
        return strain < 0.0 ? -strain * (cutoff + width * diameter) : 0.0;
    }
    // How far a particle may go from where it was when the list was built, as both of a pair may;
    // 0 where the strain alone has used the skin up.
    AMORPH_HOSTDEVICE AMORPH_INLINE double reach(double strain) const {
        const double left = 0.5 * (width * diameter - shrunk(strain));
        return left > 0.0 ? left : 0.0;
    }
    // After a step: whether a pair may have come within its cutoff, or a narrower skin would pay.
    // `farthest` is the largest displacement since the list was built.
    AMORPH_HOSTDEVICE AMORPH_INLINE bool used_up(double farthest, double strain) {
        moved = (farthest + 0.5 * shrunk(strain)) / diameter;
        ++age;
        return !(moved < 0.5 * width) || (age % 16 == 0 && width > 2.0 * best());
    }
    // The same where only `far` is known, whether a particle has left the reach; `distance()` tells
    // the largest displacement, and is asked at the steps that need it.
    template <class Distance>
    AMORPH_HOSTDEVICE AMORPH_INLINE bool used_up(bool far, Distance distance, double strain) {
        if (cutoff == 0.0) {  // there is nothing to list
            ++age;
            return false;
        }
        if (!far && (age + 1) % 16 == 0) return used_up(distance(), strain);
        ++age;
        moved = 0.5 * width;
        return far;
    }
};

}  // namespace amorph::engine
