// HOOMD-blue's shape for a tabulated pair potential, over the arithmetic of ../potentials/table.h.
#pragma once

#include "../potentials/table.h"
#include "hoomd/HOOMDMath.h"
#include "hoomd/ManagedArray.h"

#ifndef __HIPCC__
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#endif

namespace amorph::component {

class EvaluatorTable {
  public:
    using Scalar = hoomd::Scalar;
    using Table = potentials::Table;
    using Cells = potentials::Cells;

    struct param_type {
        hoomd::ManagedArray<double> cells;
        double coefficient[Table::n_coefficients];  // of which there are as many as breaks
        int bits;
        int n_breaks;

        AMORPH_HOSTDEVICE void load_shared(char*& at, unsigned int& left) {
            cells.load_shared(at, left);
        }
        AMORPH_HOSTDEVICE void allocate_shared(char*& at, unsigned int& left) const {
            cells.allocate_shared(at, left);
        }
#ifdef ENABLE_HIP
        void set_memory_hint() const { cells.set_memory_hint(); }
#endif
#ifndef __HIPCC__
        // Nothing at any distance.
        param_type() : cells(Cells::size, false), coefficient{}, bits(0), n_breaks(1) {
            std::fill_n(cells.get(), Cells::size, 0.0);
        }
        explicit param_type(pybind11::dict values, bool managed = false)
            : coefficient{}, bits(values["bits"].cast<int>()), n_breaks(0) {
            using Array = pybind11::array_t<double, pybind11::array::c_style>;
            const auto given = values["coefficients"].cast<Array>();
            const auto numbers = values["cells"].cast<Array>();
            const auto require = [](bool right, const char* what) {
                if (!right) throw std::invalid_argument(what);
            };
            n_breaks = int(given.size()) - 2;
            require(n_breaks >= 1 && n_breaks <= Table::most_breaks,
                    "coefficients of a table must be its place, its wall and 1 to 8 breaks");
            require(bits >= 0 && bits <= Cells::most_bits, "bits of a table must be 0 to 16");
            require(numbers.ndim() == 2 && numbers.shape(1) == Cells::size && numbers.shape(0) > 0,
                    "cells of a table must be (n_cells, 8)");
            const double* const c = given.data();
            const double last = c[n_breaks + 1];
            if (last > 0.0) {
                const auto number = [this](double x) {
                    return long(potentials::high_bits(x) >> (20 - bits));
                };
                const long first = long(c[0]);
                require(c[1] > 0.0 && c[1] < last && std::is_sorted(c + 2, c + 2 + n_breaks) &&
                            first >= 0 &&
                            first + number(last) - number(c[1]) + n_breaks < numbers.shape(0),
                        "coefficients of a table reach beyond its cells");
                coefficient[Table::origin] = 6755399441055744.0 + double(first - number(c[1]));
                coefficient[Table::wall] = c[1];
                std::copy_n(c + 2, n_breaks, coefficient + Table::first_break);
            }
            cells = hoomd::ManagedArray<double>((unsigned int)(numbers.size()), managed);
            std::copy_n(numbers.data(), numbers.size(), cells.get());
        }
        pybind11::dict asDict() {
            const auto number = [this](double x) {
                return potentials::high_bits(x) >> (20 - bits);
            };
            pybind11::array_t<double> given(n_breaks + 2);
            double* const c = given.mutable_data();
            std::copy_n(coefficient + Table::wall, n_breaks + 1, c + 1);
            c[0] = c[n_breaks + 1] > 0.0
                       ? coefficient[Table::origin] - 6755399441055744.0 + number(c[1])
                       : 0.0;
            pybind11::array_t<double> numbers(
                {pybind11::ssize_t(cells.size()) / Cells::size, pybind11::ssize_t(Cells::size)});
            std::copy_n(cells.get(), cells.size(), numbers.mutable_data());
            pybind11::dict values;
            values["coefficients"] = given;
            values["cells"] = numbers;
            values["bits"] = bits;
            return values;
        }
#endif
    } __attribute__((aligned(16)));

    AMORPH_HOSTDEVICE EvaluatorTable(Scalar r_squared, Scalar r_cut_squared,
                                     const param_type& parameters)
        : r_squared_(r_squared), r_cut_squared_(r_cut_squared), parameters_(parameters) {}

    AMORPH_HOSTDEVICE static bool needsCharge() { return false; }
    AMORPH_HOSTDEVICE void setCharge(Scalar, Scalar) {}

    // False beyond the cutoff. There is no shift: a table has what its formula has.
    AMORPH_HOSTDEVICE bool evalForceAndEnergy(Scalar& force_over_r, Scalar& energy, bool) {
        if (!(r_squared_ < r_cut_squared_)) return false;
        const Cells cells{parameters_.cells.get(), parameters_.bits, parameters_.n_breaks};
        double u, f;
        Table::evaluate(double(r_squared_), Table::Pair{cells, parameters_.coefficient, 1}, u, f);
        energy = Scalar(u);
        force_over_r = Scalar(f);
        return true;
    }

    AMORPH_HOSTDEVICE Scalar evalPressureLRCIntegral() { return Scalar(0); }
    AMORPH_HOSTDEVICE Scalar evalEnergyLRCIntegral() { return Scalar(0); }

#ifndef __HIPCC__
    static std::string getName() { return "amorph_table"; }
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
