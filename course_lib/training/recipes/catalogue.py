"""The list of all recipes, one for each file of weights."""

from course_lib.project import CourseError
from course_lib.training.recipes.classifier import CLASSIFIER_RECIPES
from course_lib.training.recipes.damage import DAMAGE_RECIPES
from course_lib.training.recipes.diffusion import DIFFUSION_RECIPES
from course_lib.training.recipes.gans import GAN_RECIPES
from course_lib.training.recipes.hvaes import HVAE_RECIPES
from course_lib.training.recipes.hyperprior_vaes import HYPERPRIOR_RECIPES
from course_lib.training.recipes.measurement_encoders import ENCODER_RECIPES
from course_lib.training.recipes.recipe import Recipe
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
        *HYPERPRIOR_RECIPES,
        *ENCODER_RECIPES,
        *GAN_RECIPES,
        *CLASSIFIER_RECIPES,
        *RESTORATION_RECIPES,
        *DAMAGE_RECIPES,
        *SUPER_RESOLUTION_RECIPES,
        *DIFFUSION_RECIPES,
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        CourseError: there is none.
    """
    if name not in RECIPES:
        raise CourseError(f"No recipe {name!r}. There are: {', '.join(RECIPES)}.")
    return RECIPES[name]
