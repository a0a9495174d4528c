"""A winner taken home: encoder and head as plain files, a model card, and predictions on a folder of images."""
