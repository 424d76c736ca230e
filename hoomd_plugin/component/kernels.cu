// HOOMD-blue's pair kernels for the potentials. The file is compiled by the GPU's compiler alone,
// without pybind11.
#include "evaluator.h"
#include "hoomd/md/PotentialPairGPU.cuh"
#include "table_evaluator.h"

namespace hoomd::md::kernel {

// A line for each potential, made when this is configured: templates cannot be instantiated by a
// list of types.
#define AMORPH_INSTANTIATE(Potential)                                                         \
    template __attribute__((visibility("default"))) hipError_t                                \
    gpu_compute_pair_forces<amorph::component::EvaluatorPair<amorph::potentials::Potential>>( \
        const pair_args_t&,                                                                   \
        const amorph::component::EvaluatorPair<amorph::potentials::Potential>::param_type*);

#include "amorph_instances.h"

template __attribute__((visibility("default"))) hipError_t
gpu_compute_pair_forces<amorph::component::EvaluatorTable>(
    const pair_args_t&, const amorph::component::EvaluatorTable::param_type*);

}  // namespace hoomd::md::kernel
