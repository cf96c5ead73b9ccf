"""One recipe for each file of weights."""

from course_lib.project import CourseError
from course_lib.training.recipes.classifier import CLASSIFIER_RECIPES
from course_lib.training.recipes.diffusion import DIFFUSION_RECIPES
from course_lib.training.recipes.gans import GAN_RECIPES
from course_lib.training.recipes.recipe import Figure, Recipe
from course_lib.training.recipes.restoration import RESTORATION_RECIPES
from course_lib.training.recipes.vaes import VAE_RECIPES

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        *VAE_RECIPES,
        *GAN_RECIPES,
        *CLASSIFIER_RECIPES,
        *RESTORATION_RECIPES,
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


__all__ = ["RECIPES", "Figure", "Recipe", "find_recipe"]
