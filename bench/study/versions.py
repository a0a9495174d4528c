"""Numerical versions of the shared pieces; those of methods and protocols stand with their options.

A change of code that changes results bumps the number, and every key that depends on the piece changes with it.
"""

DATA = 1  # decoding, splits, draws of labels, augmentation, corruption
TRAINING = 1  # the loop, the optimiser, the schedule
BF16 = 3  # arithmetic of mixed precision, of trainings that use it
TIMM = 2  # arithmetic of timm's networks: their channels come last in memory
FEATURES = 2  # encoding, pooling, standardisation, half precision
