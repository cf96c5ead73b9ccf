"""One recipe for each file of weights."""

from course_lib.training.recipes.catalogue import RECIPES, find_recipe
from course_lib.training.recipes.recipe import Figure, Recipe

__all__ = ["RECIPES", "Figure", "Recipe", "find_recipe"]
