"""Make vision models see more as people do, and measure whether they do."""

__version__ = "0.1.0"
