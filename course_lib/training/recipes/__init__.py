"""One recipe for each file of weights."""

from course_lib.project import CourseError
from course_lib.training.recipes.classifier import CLASSIFIER_RECIPES
from course_lib.training.recipes.diffusion import DIFFUSION_RECIPES
from course_lib.training.recipes.gans import GAN_RECIPES
from course_lib.training.recipes.hvaes import HVAE_RECIPES
from course_lib.training.recipes.measurement_encoders import ENCODER_RECIPES
from course_lib.training.recipes.recipe import Figure, Recipe
from course_lib.training.recipes.restoration import RESTORATION_RECIPES
from course_lib.training.recipes.structured_vaes import STRUCTURED_VAE_RECIPES
from course_lib.training.recipes.super_resolution import SUPER_RESOLUTION_RECIPES
from course_lib.training.recipes.vaes import VAE_RECIPES

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        *VAE_RECIPES,
        *STRUCTURED_VAE_RECIPES,
        *HVAE_RECIPES,
        *ENCODER_RECIPES,
        *GAN_RECIPES,
        *CLASSIFIER_RECIPES,
        *RESTORATION_RECIPES,
        *SUPER_RESOLUTION_RECIPES,
        *DIFFUSION_RECIPES,
    )
}
# The package holds 80 MB of weights. These are left out; each takes a few minutes to train.
NOT_SHIPPED = {
    name: RECIPES.pop(name)
    for name in (
        "encoder_portraits64_x4",
        "encoder_portraits64_x8",
        "encoder_portraits64_hole",
        "encoder_plates64_x8",
        "srresnet_portraits64_x4",
        "srresnet_portraits64_x8",
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name, of those that ship and those that do not.

    Raises:
        CourseError: there is none.
    """
    known = RECIPES | NOT_SHIPPED
    if name not in known:
        raise CourseError(f"No recipe {name!r}. There are: {', '.join(known)}.")
    return known[name]


__all__ = ["NOT_SHIPPED", "RECIPES", "Figure", "Recipe", "find_recipe"]
