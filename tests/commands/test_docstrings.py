"""Google docstrings taken apart."""

from __future__ import annotations

from fusionbench.commands.docstrings import arguments, choices, formulas, opening, plain


def test_markup_is_taken_off():
    assert plain("``a`` as in :class:`fusionbench.Batch` and :meth:`~x.y.z`") == "a as in Batch and z"


def test_the_opening_ends_at_the_first_section():
    assert opening("One.\n\n    Two.\n\n    Args:\n        x: y\n") == "One.\n\nTwo."
    assert opening(None) == ""


def test_formulas_are_indented_blocks_with_what_leads_to_them():
    doc = "Title.\n\nPaper: x.\n\nWith q::\n\n    a = b\n\nMore words.\n\n    c = d\n"
    assert formulas(doc) == "With q:\n\n    a = b\n\n    c = d"


def test_values_are_taken_apart_and_nothing_is_lost_where_none_is_named():
    assert choices("Which. ``a``: the first; ``b``: the second.", ("a", "b")) == (
        "Which",
        {"a": "the first", "b": "the second"},
    )
    assert choices("``a`` (one head) or ``b`` (two (2)); None: as is.", ("a", "b", None)) == (
        "",
        {"a": "one head", "b": "(two (2))", None: "as is"},
    )
    assert choices("Which way.", ("a",)) == ("Which way.", {"a": ""})


def test_arguments_of_the_constructor_are_read_too():
    class Documented:
        """Nothing about arguments."""

        def __init__(self, a, *b):
            """Make it.

            Args:
                a: First.
                *b: Others,
                    continued.

            Raises:
                ValueError: never.
            """

    assert arguments(Documented) == {"a": "First.", "b": "Others, continued."}


def test_what_a_base_said_of_an_argument_is_taken_where_a_class_says_nothing():
    class Base:
        """A base.

        Args:
            kept: Said by the base.
            said_again: Said by the base.
            not_taken: An argument that the class does not have.
        """

    class Derived(Base):
        """A class.

        Args:
            said_again: Said by the class.
        """

        def __init__(self, kept=1, said_again=2): ...

    assert arguments(Derived) == {"kept": "Said by the base.", "said_again": "Said by the class."}
