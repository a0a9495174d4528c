"""Images in, batches out: catalog, image store, splits, augmentation, corruption."""
