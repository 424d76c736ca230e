// The few operations a pair potential needs besides + - * /, for scalars on host and device.
// Another real type (the engine's vector packs, say) brings its own overloads, found by
// argument-dependent lookup, so that each formula is written once for all of them.
#pragma once

#include <cmath>

#if defined(__CUDACC__) || defined(__HIPCC__)
#define AMORPH_HOSTDEVICE __host__ __device__
#else
#define AMORPH_HOSTDEVICE
#endif

// For what every kernel of the engine shares. These are compiled for several instruction sets: of a
// function that is not inlined the linker would keep one, which not every processor can run.
#if defined(_MSC_VER)
#define AMORPH_INLINE __forceinline
#else
#define AMORPH_INLINE inline __attribute__((always_inline))
#endif

namespace amorph::potentials {

AMORPH_HOSTDEVICE inline double square_root(double x) { return ::sqrt(x); }
AMORPH_HOSTDEVICE inline float square_root(float x) { return ::sqrtf(x); }

AMORPH_HOSTDEVICE inline double inverse_square_root(double x) { return 1.0 / ::sqrt(x); }
AMORPH_HOSTDEVICE inline float inverse_square_root(float x) { return 1.0f / ::sqrtf(x); }

AMORPH_HOSTDEVICE inline double exponential(double x) { return ::exp(x); }
AMORPH_HOSTDEVICE inline float exponential(float x) { return ::expf(x); }

// With a NaN as first argument they give the second.
AMORPH_HOSTDEVICE inline double larger(double a, double b) { return a > b ? a : b; }
AMORPH_HOSTDEVICE inline float larger(float a, float b) { return a > b ? a : b; }
AMORPH_HOSTDEVICE inline double smaller(double a, double b) { return a < b ? a : b; }
AMORPH_HOSTDEVICE inline float smaller(float a, float b) { return a < b ? a : b; }

// The chosen one of two values that were both computed: the form vector units need.
AMORPH_HOSTDEVICE inline double select(bool condition, double yes, double no) {
    return condition ? yes : no;
}
AMORPH_HOSTDEVICE inline float select(bool condition, float yes, float no) {
    return condition ? yes : no;
}

}  // namespace amorph::potentials
