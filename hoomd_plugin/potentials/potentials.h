// The pair potentials there are. They are listed in handover/potentials.json, of which manifest.py
// makes the headers amorph_*.h: a new one costs its header here and its entry there.
//
// Each is a type derived from its entry, which has
//   name, pair_parameters           its name and the names of its parameters by pair of types
//   r_cut(), r_on()                 cutoff of a pair, and where the XPLOR switch begins (r_cut() if
//                                   there is none), from (sigma, parameters...)
// and with
//   max_stiffness()                 largest u'' of a pair, from the same
//   n_coefficients, coefficients()  what `evaluate` needs of a pair of types, from the same
//   uncut()                         makes coefficients those of the potential without its switch
//   evaluate()                      energy and -u'(r)/r from r^2, without branches
//   Formula                         where some share these: the type that has them for all
// Where all coefficients are zero, energy and force must be zero at any r: so are the ghosts'.
#pragma once

#include "amorph_potentials.h"
#include "table.h"

namespace amorph::potentials {

template <class... Potentials>
struct List {
    static constexpr int size = sizeof...(Potentials);
};

// The formulas, by the names of their parameters.
using Formulas = List<AMORPH_POTENTIALS>;

template <class... Potentials>
constexpr List<Potentials..., Table> with_table(List<Potentials...>) {
    return {};
}

// What the engine takes: the formulas, and after them the table of any other.
using All = decltype(with_table(Formulas{}));
constexpr int table_index = Formulas::size;

}  // namespace amorph::potentials
