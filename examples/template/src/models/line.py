"""A line through points, by gradient descent."""

from __future__ import annotations


class Line:
    """``y = slope * x + offset``."""

    def __init__(self, rate: float, slope: float = 0.0) -> None:
        self.rate, self.slope, self.offset = rate, slope, 0.0

    def step(self, points: list[tuple[float, float]]) -> float:
        """One step downhill; the mean squared error before it."""
        wrong = [(x, self.slope * x + self.offset - y) for x, y in points]
        self.slope -= self.rate * sum(2 * x * by for x, by in wrong) / len(points)
        self.offset -= self.rate * sum(2 * by for _, by in wrong) / len(points)
        return sum(by * by for _, by in wrong) / len(points)

    def weights(self) -> dict[str, float]:
        """What was learned."""
        return {"slope": round(self.slope, 6), "offset": round(self.offset, 6)}
