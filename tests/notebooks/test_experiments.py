"""Pages show what they run: experiments hold settings and loops, chapters import little of them."""

import ast
from pathlib import Path

import pytest

from course_lib.book.chapters import chapters

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "course_lib/experiments").glob("*.py"))
MOST = 5  # names that a chapter may import from experiments


def imports(tree: ast.AST) -> dict[str, list[str]]:
    """Module -> names imported from it, and modules imported whole."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found.setdefault(node.module or "", []).extend(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            found |= {alias.name: ["*"] for alias in node.names}
    return found


def names_of_experiments(source: str) -> list[str]:
    """Names that a page imports from `course_lib.experiments` or below."""
    return [
        name
        for module, names in imports(ast.parse(source)).items()
        if module.startswith("course_lib.experiments")
        or (module == "course_lib" and "experiments" in names)
        for name in names
    ]


def is_record(node: ast.ClassDef) -> bool:
    """A NamedTuple, or a dataclass without a base: annotated fields, no method."""
    named_tuple = [ast.unparse(base) for base in node.bases] == ["NamedTuple"]
    decorated = any("dataclass" in ast.unparse(d) for d in node.decorator_list)
    fields = all(
        isinstance(part, ast.AnnAssign)
        or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        for part in node.body
    )
    return fields and (named_tuple or (decorated and not node.bases))


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.name)
def test_a_chapter_imports_few_names_from_experiments(chapter):
    names = names_of_experiments(chapter.source.read_text(encoding="utf-8"))
    assert len(names) <= MOST, f"write on the page or move to the library: {names}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_experiments_define_no_classes_but_records(module):
    tree = ast.parse(module.read_text(encoding="utf-8"))
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert [node.name for node in classes if not is_record(node)] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_experiments_borrow_nothing_from_recipes_or_private_names(module):
    for source, names in imports(ast.parse(module.read_text(encoding="utf-8"))).items():
        assert not source.startswith("course_lib.training.recipes")
        if source.startswith("course_lib"):
            assert not [name for name in names if name.startswith("_")]


def test_what_is_counted_and_what_is_a_record():
    """The checks see what they forbid."""
    page = (
        "from course_lib.experiments.a import b, c\n"
        "import course_lib.experiments.d\n"
        "from course_lib import experiments\n"
        "from course_lib.metrics import psnr\n"
    )
    assert sorted(names_of_experiments(page)) == ["*", "b", "c", "experiments"]
    for source, record in (
        ("class A(NamedTuple):\n    x: int", True),
        ("@dataclass(frozen=True)\nclass A:\n    'words'\n    x: int", True),
        ("class A(Functional):\n    x: int", False),
        ("@dataclass\nclass A(Functional):\n    x: int", False),
        ("@dataclass\nclass A:\n    x: int\n    def grad(self): ...", False),
        ("class A:\n    pass", False),
    ):
        (node,) = ast.parse(source).body
        assert is_record(node) == record
