// What of a kernel depends on the potential, the tilt of the box and the size of the table of
// types. The rest calls it through these pointers and is compiled once: a call costs nanoseconds
// where what it calls takes microseconds. Part of a kernel: see kernels.cc.
#pragma once

#include "newton.h"

namespace amorph::engine::AMORPH_ISA {

struct Inner {
    bool (*build_neighbors)(Workspace&, const Box&, const PairTable&, double skin);
    void (*compute_forces)(Workspace&, const Box&, const PairTable&);
    void (*measure_forces)(Workspace&, const Box&, const PairTable&, double& energy,
                           double* virial);
    void (*compute_hessian[2])(Workspace&, const Box&, const PairTable&, Strain&);  // [strained]
};

template <class Potential, int D, bool Triclinic, bool Small>
inline constexpr Inner inner_of = {
    build_neighbors<D, Triclinic, Small>,
    compute_forces<Potential, D, Triclinic, Small>,
    measure_forces<Potential, D, Triclinic, Small>,
    {compute_hessian<Potential, D, false>, compute_hessian<Potential, D, true>}};

// Rescaling changes no tilt: one choice serves all stages.
template <class Potential, int D>
const Inner& inner_for(const Box& box, const PairTable& table) {
    const bool small = table.n_types < small_types;
    if (box.triclinic(D))
        return small ? inner_of<Potential, D, true, true> : inner_of<Potential, D, true, false>;
    return small ? inner_of<Potential, D, false, true> : inner_of<Potential, D, false, false>;
}

}  // namespace amorph::engine::AMORPH_ISA
