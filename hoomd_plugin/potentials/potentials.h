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
#include "table.h"

namespace amorph::potentials {

template <class... Potentials>
struct List {
    static constexpr int size = sizeof...(Potentials);
};

// The formulas, by the names of their parameters.
using Formulas = List<HarmonicMorse, HarmonicMorseReduced, SoftSphere, Morse, FourTerm>;

template <class... Potentials>
constexpr List<Potentials..., Table> with_table(List<Potentials...>) {
    return {};
}

// What the engine takes: the formulas, and after them the table of any other.
using All = decltype(with_table(Formulas{}));
constexpr int table_index = Formulas::size;

}  // namespace amorph::potentials
