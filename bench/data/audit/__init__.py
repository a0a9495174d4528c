"""What is wrong with a folder of images before anything is learned from it."""
