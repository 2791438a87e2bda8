"""The exception tree, and spellings that come near."""

from __future__ import annotations

import inspect

import pytest

from foolscope import errors
from foolscope.errors import Cancelled, FoolscopeError, nearest


def test_every_error_is_a_foolscope_error_and_stands_in_the_modules_docstring() -> None:
    classes = {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert classes.pop("Cancelled") is Cancelled
    assert not issubclass(Cancelled, FoolscopeError), "who stops a run does not fail"
    assert issubclass(classes.pop("GradientWarning"), UserWarning)
    assert errors.__doc__ is not None
    for name, value in classes.items():
        assert issubclass(value, FoolscopeError)
        assert name in errors.__doc__
        assert value.__doc__


@pytest.mark.parametrize("error", [errors.SpecError, errors.ParameterError, errors.InputError])
def test_bad_values_are_value_errors_too(error: type[FoolscopeError]) -> None:
    assert issubclass(error, ValueError)


@pytest.mark.parametrize(
    ("name", "candidates", "hint"),
    [
        ("pdg", ["fgsm", "pgd", "bim"], " Did you mean pgd?"),
        ("resnet", ["resnet20", "resnet18", "resnet50", "resnet34"], " Did you mean resnet50, resnet34, resnet20?"),
        ("LeNet", ["lenet", "vgg"], " Did you mean lenet?"),
        ("zebra", ["fgsm", "pgd"], ""),
        ("anything", [], ""),
        ("pgd", {"pgd": 1}, " Did you mean pgd?"),
    ],
)
def test_nearest(name: str, candidates: list[str], hint: str) -> None:
    assert nearest(name, candidates) == hint
