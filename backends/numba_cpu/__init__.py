"""The CPU backend: kernels compiled by Numba around one register-blocked micro-kernel."""

from __future__ import annotations
