"""Curves that can be fitted to points."""

from __future__ import annotations

import numpy as np


class Polynomial:
    """A polynomial of that degree, by least squares."""

    def __init__(self, degree: int) -> None:
        self.degree = degree
        self.coefficients = np.zeros(degree + 1)

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        self.coefficients = np.polyfit(x, y, self.degree)

    def error(self, x: np.ndarray, y: np.ndarray) -> float:
        """The root mean square of what is left."""
        return float(np.sqrt(np.mean((np.polyval(self.coefficients, x) - y) ** 2)))
