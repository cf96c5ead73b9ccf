"""Tools that make the book: run chapters, store their cost, write the edition without solutions."""

from course_lib.book.budgets import budget_card
