"""The version of this release. Also read, as text, when a wheel is built."""

__version__ = "0.1.0"
