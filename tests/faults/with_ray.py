from __future__ import annotations
RAY_CASES = {}
