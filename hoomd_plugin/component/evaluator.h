// HOOMD-blue's shape for a pair potential, over the formulas of ../potentials. The formula comes
// without its switch: cutoff, shift and XPLOR are HOOMD's, so that what a user sets there counts.
#pragma once

#include "../potentials/potentials.h"
#include "hoomd/HOOMDMath.h"

#ifndef __HIPCC__
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#endif

namespace amorph::component {

template <class Potential>
class EvaluatorPair {
  public:
    using Scalar = hoomd::Scalar;
    static constexpr int n_parameters =
        1 + int(sizeof(Potential::pair_parameters) / sizeof(Potential::pair_parameters[0]));

    struct param_type {
        Scalar coefficient[Potential::n_coefficients];
        double given[n_parameters];  // sigma, then Potential::pair_parameters

        AMORPH_HOSTDEVICE void load_shared(char*&, unsigned int&) {}
        AMORPH_HOSTDEVICE void allocate_shared(char*&, unsigned int&) const {}
#ifdef ENABLE_HIP
        void set_memory_hint() const {}
#endif
#ifndef __HIPCC__
        param_type() : coefficient{}, given{} {}
        explicit param_type(pybind11::dict values, bool managed = false) {
            (void)managed;
            for (int k = 0; k < n_parameters; ++k) given[k] = values[name(k)].cast<double>();
            double c[Potential::n_coefficients];
            Potential::coefficients(given, c);
            Potential::uncut(c);
            for (int k = 0; k < Potential::n_coefficients; ++k) coefficient[k] = Scalar(c[k]);
        }
        pybind11::dict asDict() {
            pybind11::dict values;
            for (int k = 0; k < n_parameters; ++k) values[name(k)] = given[k];
            return values;
        }
        static const char* name(int k) {
            return k == 0 ? "sigma" : Potential::pair_parameters[k - 1];
        }
#endif
    } __attribute__((aligned(16)));

    AMORPH_HOSTDEVICE EvaluatorPair(Scalar r_squared, Scalar r_cut_squared,
                                    const param_type& parameters)
        : r_squared_(r_squared), r_cut_squared_(r_cut_squared), parameters_(parameters) {}

    AMORPH_HOSTDEVICE static bool needsCharge() { return false; }
    AMORPH_HOSTDEVICE void setCharge(Scalar, Scalar) {}

    // False beyond the cutoff.
    AMORPH_HOSTDEVICE bool evalForceAndEnergy(Scalar& force_over_r, Scalar& energy,
                                              bool energy_shift) {
        if (!(r_squared_ < r_cut_squared_)) return false;
        Potential::evaluate(r_squared_, parameters_.coefficient, energy, force_over_r);
        if (energy_shift) {
            Scalar at_cut, force_at_cut;
            Potential::evaluate(r_cut_squared_, parameters_.coefficient, at_cut, force_at_cut);
            energy -= at_cut;
        }
        return true;
    }

    // HOOMD's corrections for what lies beyond the cutoff: none, the potentials end there.
    AMORPH_HOSTDEVICE Scalar evalPressureLRCIntegral() { return Scalar(0); }
    AMORPH_HOSTDEVICE Scalar evalEnergyLRCIntegral() { return Scalar(0); }

#ifndef __HIPCC__
    static std::string getName() { return std::string("amorph_") + Potential::name; }
    std::string getShapeSpec() const {
        throw std::runtime_error("Shape definition not supported for this pair potential.");
    }
#endif

  private:
    Scalar r_squared_;
    Scalar r_cut_squared_;
    const param_type& parameters_;
};

}  // namespace amorph::component
