"""Sizes and durations as a person reads them."""

from __future__ import annotations


def human_size(size: float) -> str:
    """Bytes in decimal units, two or three figures: ``950 B``, ``1.2 MB``, ``107 MB``."""
    if size < 999.5:
        return f"{size:.0f} B"
    units = ("kB", "MB", "GB", "TB", "PB")
    power = next((n for n in range(1, len(units)) if size < 999.5 * 1000**n), len(units))
    scaled = size / 1000**power
    return f"{scaled:.{1 if scaled < 9.95 else 0}f} {units[power - 1]}"


def human_seconds(seconds: float) -> str:
    """``3.1 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
