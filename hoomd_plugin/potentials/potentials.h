// The pair potentials there are: a new one costs its header and its place in this list.
//
// Each is a type with
//   name, pair_parameters           its name and the names of its parameters by pair of types
//   n_coefficients, coefficients()  what one pair of types needs, from (sigma, parameters...)
//   r_cut_squared                   which coefficient is the squared cutoff
//   max_stiffness()                 the largest u'' of the pair
//   evaluate()                      energy and -u'(r)/r from r^2, without branches
#pragma once

#include "harmonic_morse.h"
#include "soft_sphere.h"

namespace amorph::potentials {

template <class... Potentials>
struct List {
    static constexpr int size = sizeof...(Potentials);
};

using All = List<HarmonicMorse, HarmonicMorseReduced, SoftSphere>;

}  // namespace amorph::potentials
