// HOOMD-blue's pair kernels for the potentials. The file is compiled by the GPU's compiler alone,
// without pybind11.
#include "evaluator.h"
#include "hoomd/md/PotentialPairGPU.cuh"

namespace hoomd::md::kernel {

// One line a potential: explicit instantiations cannot be made from the list.
#define AMORPH_INSTANTIATE(Potential)                                                         \
    template __attribute__((visibility("default"))) hipError_t                                \
    gpu_compute_pair_forces<amorph::component::EvaluatorPair<amorph::potentials::Potential>>( \
        const pair_args_t&,                                                                   \
        const amorph::component::EvaluatorPair<amorph::potentials::Potential>::param_type*);

AMORPH_INSTANTIATE(HarmonicMorse)
AMORPH_INSTANTIATE(HarmonicMorseReduced)
AMORPH_INSTANTIATE(SoftSphere)
AMORPH_INSTANTIATE(Morse)
AMORPH_INSTANTIATE(FourTerm)

static_assert(amorph::potentials::All::size == 5, "a potential is missing above");

}  // namespace hoomd::md::kernel
