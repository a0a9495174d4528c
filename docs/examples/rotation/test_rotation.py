"""The contract that every pretext task keeps to."""

from bench.testing import MethodContract


class TestRotation(MethodContract):
    name = "rotation"
