// SPDX-License-Identifier: Apache-2.0
// What becomes of each key of DeepSpeed's configuration (0.19.6, the last version with 1-bit optimizers), as a table.
#pragma once

#include <array>
#include <string_view>

namespace onebit::host {

// The optimizers, by `type` in lower letters, as DeepSpeed compares them.
struct OptimizerName {
  std::string_view theirs, shown, ours;
  bool compressed;
};
inline constexpr std::array<OptimizerName, 6> kOptimizerNames = {{{"onebitadam", "OneBitAdam", "onebit_adam", true},
                                                                  {"zerooneadam", "ZeroOneAdam", "zeroone_adam", true},
                                                                  {"onebitlamb", "OneBitLamb", "onebit_lamb", true},
                                                                  {"adam", "Adam", "adam", false},
                                                                  {"adamw", "AdamW", "adam", false},
                                                                  {"lamb", "Lamb", "lamb", false}}};

// What a value must be to be taken.
enum class Takes { number, whole, pair, truth, nothing };

// A key of optimizer.params. ours: the option it becomes; "": none, and `note` says why. of: the optimizers of ours that have
// it, separated by spaces; "": all.
struct ParameterKey {
  std::string_view theirs, ours;
  Takes takes;
  std::string_view of, note;
};
inline constexpr std::array<ParameterKey, 24> kParameterKeys = {{
    {"lr", "lr", Takes::number, "", ""},
    {"betas", "betas", Takes::pair, "", ""},
    {"eps", "eps", Takes::number, "", ""},
    {"weight_decay", "weight_decay", Takes::number, "", ""},
    {"freeze_step", "freeze_step", Takes::whole, "onebit_adam onebit_lamb", ""},
    {"var_freeze_step", "var_freeze_step", Takes::whole, "zeroone_adam", ""},
    {"var_update_scaler", "var_update_scaler", Takes::whole, "zeroone_adam", ""},
    {"local_step_scaler", "local_step_scaler", Takes::whole, "zeroone_adam", ""},
    {"local_step_clipper", "local_step_clipper", Takes::whole, "zeroone_adam", ""},
    {"max_coeff", "max_coeff", Takes::number, "lamb onebit_lamb", ""},
    {"min_coeff", "min_coeff", Takes::number, "lamb onebit_lamb", ""},
    {"coeff_beta", "coeff_beta", Takes::number, "onebit_lamb", ""},
    {"factor_max", "factor_max", Takes::number, "onebit_lamb", ""},
    {"factor_min", "factor_min", Takes::number, "onebit_lamb", ""},
    {"factor_threshold", "factor_threshold", Takes::number, "onebit_lamb", ""},
    {"bias_correction", "bias_correction", Takes::truth, "adam lamb", ""},
    {"bias_correction", "", Takes::nothing, "",
     "DeepSpeed reads it and never corrects; bias_correction = false is what it did, true (the default here) what Adam does"},
    {"cuda_aware", "", Takes::nothing, "", "found out when ranks meet, by each communicator"},
    {"comm_backend_name", "", Takes::nothing, "", "is communicator.plugin here"},
    {"exp_avg_mask", "", Takes::nothing, "",
     "elements without a gradient stay where they are without a mask; `dense` exempts whole tensors from compression"},
    {"adam_w_mode", "", Takes::nothing, "", "weight decay is decoupled here, as with adam_w_mode = true"},
    {"torch_adam", "", Takes::nothing, "", "there is one Adam here"},
    {"amsgrad", "", Takes::nothing, "", "no optimizer here has it, and DeepSpeed's refuse it"},
    {"eps_inside_sqrt", "", Takes::nothing, "", "eps is added to the root here, as with eps_inside_sqrt = false"},
}};

// A key of the whole configuration that becomes no option.
struct OtherKey {
  std::string_view theirs, note;
};
inline constexpr std::array<OtherKey, 14> kOtherKeys = {{
    {"train_batch_size", "the loop's"},
    {"train_micro_batch_size_per_gpu", "the loop's"},
    {"gradient_accumulation_steps", "the loop's: all passes but the last under no_sync(), and set_gradient_scale(1 / passes)"},
    {"scheduler", "the loop's: in Python a scheduler of torch.optim.lr_scheduler on the DistributedOptimizer"},
    {"fp16",
     "the loop's: fp16 parameters have fp32 masters here; in Python give the GradScaler as grad_scaler; a step that overflows "
     "on any rank is skipped on all"},
    {"bf16", "the loop's: bf16 parameters have fp32 masters here"},
    {"amp", "the loop's: torch.autocast"},
    {"zero_optimization", "parameters and state are replicated here: there is no ZeRO"},
    {"zero_allow_untested_optimizer", "there is no ZeRO here"},
    {"prescale_gradients", "gradients are averaged in fp32 here"},
    {"gradient_predivide_factor", "gradients are averaged in fp32 here"},
    {"steps_per_print", "the loop's; -v, the metrics and the report of a session tell of steps"},
    {"wall_clock_breakdown", "session.trace writes a timeline"},
    {"activation_checkpointing", "the loop's: torch.utils.checkpoint"},
}};

}  // namespace onebit::host
