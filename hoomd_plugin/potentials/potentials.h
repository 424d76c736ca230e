// The pair potentials there are: a new one costs its header and its place in this list.
//
// Each is a type with
//   name, pair_parameters           its name and the names of its parameters by pair of types
//   r_cut(), max_stiffness()        cutoff and largest u'' of a pair, from (sigma, parameters...)
//   r_on()                          where the XPLOR switch begins; r_cut() if there is none
//   n_coefficients, coefficients()  what `evaluate` needs of a pair of types, from the same
//   uncut()                         makes coefficients those of the potential without its switch
//   evaluate()                      energy and -u'(r)/r from r^2, without branches
// Where all coefficients are zero, energy and force must be zero at any r: so are the ghosts'.
#pragma once

#include "four_term.h"
#include "harmonic_morse.h"
#include "morse.h"
#include "soft_sphere.h"

namespace amorph::potentials {

template <class... Potentials>
struct List {
    static constexpr int size = sizeof...(Potentials);
};

using All = List<HarmonicMorse, HarmonicMorseReduced, SoftSphere, Morse, FourTerm>;

}  // namespace amorph::potentials
