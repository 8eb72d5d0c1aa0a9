"""The Toolbox is prevented from logging, from writing files, and from raising errors of several lines."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from harness.errors import AttackError, HarnessError
from harness_art.problem import SpentError


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore the logs and warnings of the Toolbox, but not those of other code.

    Its progress bars and prints are switched off when its attacks are made.
    """
    logger = logging.getLogger("art")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # its modules' loggers have no level of their own
    # AutoAttack imports this fork of the standard module, but does not use it in a single process.
    lent = "multiprocess" not in sys.modules and not _installed("multiprocess")
    if lent:
        sys.modules["multiprocess"] = multiprocessing
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.filterwarnings("ignore", module=r"art(\.|$)")
            # These are raised inside numpy and torch by the Toolbox; the judge's call shows those of a model.
            for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, RuntimeWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        logger.setLevel(level)
        if lent:
            del sys.modules["multiprocess"]


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what the Toolbox raises into one line that names the attack.

    Raises:
        AttackError: the Toolbox raised an exception of its own.
    """
    try:
        yield
    except (HarnessError, SpentError, MemoryError):
        raise
    except Exception as error:
        if "out of memory" in str(error):
            raise  # a smaller batch may fit
        said = str(error) or type(error).__name__
        raise AttackError(f"art/{name} cannot do this: {said}") from error


class NumpyOfGeoDA(types.ModuleType):
    """NumpyOfGeoDA replaces numpy in the Toolbox's module of GeoDA.

    GeoDA calls a name that numpy 2 no longer has, and would save a table of cosines in the working folder.
    """

    def __init__(self) -> None:
        super().__init__("numpy")

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def mat(rows: Any) -> Any:
        """Return a two-dimensional array whose products are those of matrices."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            return np.asmatrix(rows)

    @staticmethod
    def save(*args: object, **kwargs: object) -> None:
        """Do nothing."""


class NumpyOfSignOPT(types.ModuleType):
    """NumpyOfSignOPT replaces numpy in the Toolbox's module of SignOPT, which looks for a first direction.

    SignOPT tries random directions, none of which impersonates a person, and takes no others.
    """

    def __init__(self) -> None:
        super().__init__("numpy")
        self.random = DirectionsOfSignOPT()

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


class DirectionsOfSignOPT:
    """DirectionsOfSignOPT draws numbers as numpy does, but for a direction that leads to the goal."""

    def __init__(self) -> None:
        self.first: list[Any] = []
        """The direction that is drawn next, if there is one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np.random, name)

    def randn(self, *shape: int) -> Any:
        """Return the first direction, once, or a random one."""
        return self.first.pop() if self.first else np.random.randn(*shape)  # noqa: NPY002


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
