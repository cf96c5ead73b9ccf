"""Property checks for the exercises, one file a chapter: right or wrong without a stored answer."""

from course_lib.exercises.autoencoders import (
    check_attention,
    check_loss_in_nats,
    check_rate,
    check_to_display,
)
from course_lib.exercises.blind_deconvolution import (
    check_kernel_gradient,
    check_slope_through_projection,
    check_trivial_pair,
)
from course_lib.exercises.diverse_super_resolution import (
    check_bins,
    check_group_price,
    check_projection,
)
from course_lib.exercises.gradient_descent import (
    check_gradient,
    check_heat,
    check_number_of_steps,
    check_projected_gradient,
    check_step_bound,
)
from course_lib.exercises.inverse_problems import (
    check_adjoint,
    check_noise_gain,
    check_null_projection,
)
from course_lib.exercises.inversion import (
    check_best_discriminator,
    check_effective_noise,
    check_latent_weight,
    check_nearest_in_model,
    check_x_step,
)
from course_lib.exercises.likelihood import check_bits, check_trace, check_velocity
from course_lib.exercises.measuring import check_coverage, check_energy_score, check_equal_error
from course_lib.exercises.property_check import PropertyCheck, Verdict, property_check
from course_lib.exercises.tychonov_wiener import (
    check_minimiser,
    check_residual,
    check_wiener_limits,
)
from course_lib.exercises.untrained_priors import (
    check_filter_factors,
    check_moving_variance,
    check_receptive_field,
)
from course_lib.exercises.variational_bayes import (
    check_image_divergence,
    check_log_density,
    check_mean_field_scale,
)

__all__ = [
    "PropertyCheck",
    "Verdict",
    "check_adjoint",
    "check_attention",
    "check_best_discriminator",
    "check_bins",
    "check_bits",
    "check_coverage",
    "check_effective_noise",
    "check_energy_score",
    "check_equal_error",
    "check_filter_factors",
    "check_gradient",
    "check_group_price",
    "check_heat",
    "check_image_divergence",
    "check_kernel_gradient",
    "check_latent_weight",
    "check_log_density",
    "check_loss_in_nats",
    "check_mean_field_scale",
    "check_minimiser",
    "check_moving_variance",
    "check_nearest_in_model",
    "check_noise_gain",
    "check_null_projection",
    "check_number_of_steps",
    "check_projected_gradient",
    "check_projection",
    "check_rate",
    "check_receptive_field",
    "check_residual",
    "check_slope_through_projection",
    "check_step_bound",
    "check_to_display",
    "check_trace",
    "check_trivial_pair",
    "check_velocity",
    "check_wiener_limits",
    "check_x_step",
    "property_check",
]
