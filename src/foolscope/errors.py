"""Every error that foolscope raises on purpose.

    FoolscopeError
    ├── SpecError          a spec string or a name that cannot be understood
    ├── ParameterError     a hyperparameter or option outside its range
    ├── InputError         images, labels or logits that break the contract
    ├── MissingError       a file, package or network that is needed and not there
    ├── CorruptError       a file that is there and cannot be read
    ├── StorageError       a result or store that cannot be written or read
    └── BudgetError        more queries asked for than were allowed

Each message is one line: what was wrong, what would be right, and where to look. The command line prints it and
exits with 2.  `Cancelled` is no error: a `watch` callback raises it to stop, and the command line exits with 130.
`GradientWarning` is no error either: the work goes on, and its result says which images it means.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FoolscopeError(Exception):
    """Base class of every error that foolscope raises on purpose."""


class SpecError(FoolscopeError, ValueError):
    """A spec string or a name that cannot be understood."""


class ParameterError(FoolscopeError, ValueError):
    """A hyperparameter or option outside its range."""


class InputError(FoolscopeError, ValueError):
    """Images, labels or logits that break the contract."""


class MissingError(FoolscopeError):
    """A file, package or network connection that is needed and not there."""


class CorruptError(FoolscopeError):
    """A file that is there and cannot be read."""


class StorageError(FoolscopeError):
    """A result that cannot be written, or a store that cannot be read."""


class BudgetError(FoolscopeError):
    """More queries asked for than the budget allows."""


class GradientWarning(UserWarning):
    """Gradients of some images are NaN or infinite: attacks moved these no further along them."""


class Cancelled(Exception):
    """Raised by a `watch` callback to stop a running attack, training or audit."""


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return ' Did you mean a, b?' for the candidates spelled most like `name`, or '' where none comes near."""
    matches = difflib.get_close_matches(name.lower(), list(candidates), n=3, cutoff=0.5)
    return f" Did you mean {', '.join(matches)}?" if matches else ""
